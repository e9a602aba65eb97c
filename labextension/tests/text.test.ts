/** Words and numbers as people read them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeCounts, formatAge, formatDuration, formatElapsed, formatSize, prettyName } from '../src/text';
import { NodeKind } from '../src/wire';

test('lengths of time are in at most two units', () => {
  const cases: [number, string][] = [
    [-1, '0 ms'],
    [0.0004, '0 ms'],
    [0.34, '340 ms'],
    [2.44, '2.4 s'],
    [9.96, '10 s'],
    [59.7, '1 min'],
    [200, '3 min 20 s'],
    [3900, '1 h 5 min'],
    [90_000, '1 d 1 h']
  ];
  cases.forEach(([seconds, text]) => assert.equal(formatDuration(seconds), text));
  assert.equal(formatElapsed(0.9), '0 s');
  assert.equal(formatElapsed(59.9), '59 s');
});

test('ages are in words', () => {
  assert.equal(formatAge(100, 110), 'just now');
  assert.equal(formatAge(0, 600), '10 min ago');
  assert.equal(formatAge(0, 3 * 3600), '3 h ago');
  assert.equal(formatAge(0, 30 * 3600), 'yesterday');
});

test('sizes have three digits at most', () => {
  assert.deepEqual([0, 999, 1234, 48_213, 123_456_789].map(formatSize), ['0 bytes', '999 bytes', '1.2 kB', '48.2 kB', '123 MB']);
});

test('counts say how many are done, and what the others do', () => {
  const none = { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0, skipped: 0 };
  assert.deepEqual(describeCounts(none), []);
  assert.deepEqual(describeCounts({ ...none, completed: 3, running: 1, pending: 2 }), ['3 of 6 done', '1 running', '2 pending']);
});

test("names lose Covalent's marks", () => {
  assert.equal(prettyName(':parameter:0.5', NodeKind.PARAMETER), '0.5');
  assert.equal(prettyName(':sublattice:inner', NodeKind.SUBLATTICE), 'inner');
  assert.equal(prettyName(':load()[0]', NodeKind.ITEM), 'load()[0]');
  assert.equal(prettyName(':electron_list:', NodeKind.LIST), 'list');
  assert.equal(prettyName('train', NodeKind.ELECTRON), 'train');
});
