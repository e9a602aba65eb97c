/** Words and numbers as people read them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { captionOf } from '../src/graph/paint';
import {
  canCancel,
  describeCounts,
  errorLabel,
  failureLine,
  formatAge,
  formatDuration,
  formatElapsed,
  formatSize,
  outcomeOf,
  prettyName,
  retriesLeft,
  successRate,
  summaryLabel,
  parseAnswer,
  waitLabel
} from '../src/text';
import { type Attempt, type ErrorType, type Failure, type Interrupt, NodeKind, type NodeState } from '../src/wire';

function failure(type: ErrorType, message: string): Failure {
  return { type, message, exception: 'OSError', traceback: '', kinds: [], original: null };
}

function attempt(number: number, type: ErrorType): Attempt {
  return { number, outcome: [0, 'failed', 1, 2, null, failure(type, ''), '', '', '', null], next_at: null };
}

test('a node that is put off says how long it still waits', () => {
  const again: NodeState = [0, 'pending', null, null, 2, 112];
  assert.equal(waitLabel(again, 100), 'Runs again in 12 s');
  assert.equal(waitLabel(again, 100.3), 'Runs again in 12 s');
  assert.equal(waitLabel(again, 111.9), 'Runs again in 1 s');
  assert.equal(waitLabel(again, 113), 'Runs again now');
  assert.equal(waitLabel(again, null), 'Waits to run again');
  assert.equal(waitLabel([0, 'pending', null, null, 0, 190], 100), 'Starts in 1 min 30 s');
  assert.equal(captionOf(again, 100), 'Runs again in 12 s');
});

test('a node that is not put off waits for no time', () => {
  const others: (NodeState | undefined)[] = [undefined, [0, 'pending', null, null, 1, null], [0, 'cancelled', null, 5, 1, 112]];
  others.forEach(state => assert.equal(waitLabel(state, 100), ''));
  assert.equal(captionOf([0, 'running', 90, null, 2, null], 100), '10 s · try 2');
  assert.equal(captionOf([0, 'running', 90, null, 1, null], 100, NodeKind.PAUSE), 'Waits for an answer · 10 s');
});

test('runs whose worker was lost use no retry up', () => {
  assert.equal(retriesLeft(3, []), 3);
  assert.equal(retriesLeft(3, [attempt(1, 'runtime'), attempt(2, 'worker_lost')]), 2);
  assert.equal(retriesLeft(1, [attempt(1, 'runtime'), attempt(2, 'timeout')]), 0);
});

test('failures are told in words and in one line', () => {
  assert.equal(errorLabel('timeout'), 'The time limit was exceeded');
  assert.equal(errorLabel('newer' as ErrorType), 'newer');
  assert.equal(failureLine(failure('runtime', '\nno route to host\nat all')), 'OSError: no route to host');
  assert.equal(failureLine({ ...failure('timeout', 'too slow'), exception: '' }), 'too slow');
});

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
  assert.equal(prettyName(':pause_for:approval', NodeKind.PAUSE), 'approval');
  assert.equal(prettyName(':intervention_point:', NodeKind.POINT), 'intervention point');
  assert.equal(prettyName(':intervention_point:review', NodeKind.POINT), 'review');
});

test('an answer is JSON if it is JSON, else text, and says which before it is sent', () => {
  const cases: [string, string, string][] = [
    ['1.0', '1.0', 'JSON: a number'],
    [' true ', 'true', 'JSON: true'],
    ['null', 'null', 'JSON: null'],
    ['[1, 2]', '[1, 2]', 'JSON: a list of 2 items'],
    ['{"ok": [1]}', '{"ok": [1]}', 'JSON: a dictionary of 1 key'],
    ['"3"', '"3"', 'JSON: a text'],
    ['ship it', '"ship it"', 'text'],
    ['say "no"', '"say \\"no\\""', 'text'],
    ['True', '"True"', 'text'],
    ['', '""', 'text, which is empty'],
    ['{ok: 1}', '"{ok: 1}"', 'text; it is not valid JSON']
  ];
  cases.forEach(([text, json, description]) => assert.deepEqual(parseAnswer(text), { json, description }));
});

test('what became of a question says who answered what', () => {
  const asked: Interrupt = { id: 'd:1', node: 1, type: 'approval', created_at: 0, status: 'resumed', text: '', request_id: '', actor: 'ada', value: [4, 'bool', 'True', null, null], resumed_at: 1 };
  assert.equal(outcomeOf(asked), '“approval” was answered by ada with True');
  assert.equal(outcomeOf({ ...asked, actor: `Anonymous Arche (${'0a'.repeat(16)})` }), '“approval” was answered by Anonymous Arche with True');
  assert.equal(outcomeOf({ ...asked, actor: null, value: null }), '“approval” was answered');
  assert.equal(outcomeOf({ ...asked, status: 'cancelled' }), '“approval” is not asked any more');
});

test('what runs or waits for its time can be cancelled, what nobody has started cannot', () => {
  assert.equal(canCancel({ status: 'running', held: false, starts_at: null }), true);
  assert.equal(canCancel({ status: 'pending', held: true, starts_at: 100 }), true);
  assert.equal(canCancel({ status: 'pending', held: true, starts_at: null }), false);
  assert.equal(canCancel({ status: 'completed', held: false, starts_at: 100 }), false);
});

test('a rate is neither all nor none while it is only nearly so', () => {
  const rate = (completed: number, failed: number): string => successRate({ counts: { completed, failed }, error_types: {}, oldest_running: null });
  assert.deepEqual([rate(0, 0), rate(3, 1), rate(9999, 1), rate(1, 9999), rate(5, 0), rate(0, 5)], ['', '75 %', '> 99 %', '< 1 %', '100 %', '0 %']);
});

test('a dispatch that is paused or only waits says so, for as long as it is not over', () => {
  const counts = { pending: 1, running: 1, completed: 0, failed: 0, cancelled: 0, skipped: 0 };
  const standing = { status: 'running', held: false, starts_at: null, paused: false, waiting: 0, counts } as const;
  assert.equal(summaryLabel(standing), 'Running');
  assert.equal(summaryLabel({ ...standing, waiting: 1 }), 'Waiting');
  assert.equal(summaryLabel({ ...standing, waiting: 1, counts: { ...counts, running: 2 } }), 'Running');
  assert.equal(summaryLabel({ ...standing, waiting: 1, paused: true }), 'Paused');
  assert.equal(summaryLabel({ ...standing, status: 'completed', paused: true }), 'Completed');
  assert.equal(summaryLabel({ ...standing, held: true }), 'Not started');
  assert.match(summaryLabel({ ...standing, held: true, starts_at: 86_400 * 365 }), /^Starts .*197[01]/);
  assert.equal(summaryLabel({ ...standing, starts_at: 100 }), 'Running');
});
