/** Tests of labels and formatted numbers. */
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
  reuseLine,
  successRate,
  summaryLabel,
  parseAnswer,
  waitLabel,
  progressLabel,
  shareOf
} from '../src/text';
import { type Attempt, type ErrorType, type Failure, type Interrupt, NodeKind, type NodeState } from '../src/wire';

function failure(type: ErrorType, message: string): Failure {
  return { type, message, exception: 'OSError', traceback: '', kinds: [], original: null, left: null, damaged: [], goes_on: false };
}

function attempt(number: number, type: ErrorType): Attempt {
  return { number, outcome: [0, 'failed', 1, 2, null, failure(type, ''), '', '', '', null, null, null, null], next_at: null };
}

test('a node with a scheduled retry shows how long it waits', () => {
  const again: NodeState = [0, 'pending', null, null, 2, 112];
  assert.equal(waitLabel(again, 100), 'Runs again in 12 s');
  assert.equal(waitLabel(again, 100.3), 'Runs again in 12 s');
  assert.equal(waitLabel(again, 111.9), 'Runs again in 1 s');
  assert.equal(waitLabel(again, 113), 'Runs again now');
  assert.equal(waitLabel(again, null), 'Waits to run again');
  assert.equal(waitLabel([0, 'pending', null, null, 0, 190], 100), 'Starts in 1 min 30 s');
  assert.equal(captionOf(again, 100), 'Runs again in 12 s');
});

test('a node without a scheduled retry shows no waiting time', () => {
  const others: (NodeState | undefined)[] = [undefined, [0, 'pending', null, null, 1, null], [0, 'cancelled', null, 5, 1, 112]];
  others.forEach(state => assert.equal(waitLabel(state, 100), ''));
  assert.equal(captionOf([0, 'running', 90, null, 2, null], 100), '10 s · try 2');
  assert.equal(captionOf([0, 'running', 90, null, 1, null], 100, NodeKind.PAUSE), 'Waits for an answer · 10 s');
});

test('a run whose worker was lost uses no retry up', () => {
  assert.equal(retriesLeft(3, []), 3);
  assert.equal(retriesLeft(3, [attempt(1, 'runtime'), attempt(2, 'worker_lost')]), 2);
  assert.equal(retriesLeft(1, [attempt(1, 'runtime'), attempt(2, 'timeout')]), 0);
});

test('failures have a label and a line', () => {
  assert.equal(errorLabel('timeout'), 'The time limit was exceeded');
  assert.equal(errorLabel('newer' as ErrorType), 'newer');
  assert.equal(failureLine(failure('runtime', '\nno route to host\nat all')), 'OSError: no route to host');
  assert.equal(failureLine({ ...failure('timeout', 'too slow'), exception: '' }), 'too slow');
});

test('durations have at most two units', () => {
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

test('ages are relative', () => {
  assert.equal(formatAge(100, 110), 'just now');
  assert.equal(formatAge(0, 600), '10 min ago');
  assert.equal(formatAge(0, 3 * 3600), '3 h ago');
  assert.equal(formatAge(0, 30 * 3600), 'yesterday');
});

test('sizes have three digits at most', () => {
  assert.deepEqual([0, 999, 1234, 48_213, 123_456_789].map(formatSize), ['0 bytes', '999 bytes', '1.2 kB', '48.2 kB', '123 MB']);
});

test('counts list completed nodes and the others by status', () => {
  const none = { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0, skipped: 0 };
  assert.deepEqual(describeCounts(none), []);
  assert.deepEqual(describeCounts({ ...none, completed: 3, running: 1, pending: 2 }), ['3 of 6 done', '1 running', '2 pending']);
});

test("names are shown without Covalent's prefixes", () => {
  assert.equal(prettyName(':parameter:0.5', NodeKind.PARAMETER), '0.5');
  assert.equal(prettyName(':sublattice:inner', NodeKind.SUBLATTICE), 'inner');
  assert.equal(prettyName(':load()[0]', NodeKind.ITEM), 'load()[0]');
  assert.equal(prettyName(':electron_list:', NodeKind.LIST), 'list');
  assert.equal(prettyName('train', NodeKind.ELECTRON), 'train');
  assert.equal(prettyName(':pause_for:approval', NodeKind.PAUSE), 'approval');
  assert.equal(prettyName(':intervention_point:', NodeKind.POINT), 'intervention point');
  assert.equal(prettyName(':intervention_point:review', NodeKind.POINT), 'review');
});

test('an answer is JSON if it is valid JSON, else text, and is described as such', () => {
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

test('the outcome of an interrupt names person and answer', () => {
  const answered: Interrupt = { id: 'd:1', node: 1, type: 'approval', created_at: 0, status: 'resumed', text: '', request_id: '', actor: 'ada', value: [4, 'bool', 'True', null, null, [], -1], resumed_at: 1 };
  assert.equal(outcomeOf(answered), '“approval” was answered by ada with True');
  assert.equal(outcomeOf({ ...answered, actor: `Anonymous Arche (${'0a'.repeat(16)})` }), '“approval” was answered by Anonymous Arche with True');
  assert.equal(outcomeOf({ ...answered, actor: null, value: null }), '“approval” was answered');
  assert.equal(outcomeOf({ ...answered, status: 'cancelled' }), '“approval” is not asked any more');
});

test('a running or scheduled dispatch can be cancelled, a held one cannot', () => {
  assert.equal(canCancel({ status: 'running', held: false, starts_at: null }), true);
  assert.equal(canCancel({ status: 'pending', held: true, starts_at: 100 }), true);
  assert.equal(canCancel({ status: 'pending', held: true, starts_at: null }), false);
  assert.equal(canCancel({ status: 'completed', held: false, starts_at: 100 }), false);
});

test('why a node ran or was reused is one line', () => {
  assert.equal(reuseLine(null), null);
  assert.deepEqual(reuseLine(['abc', 3, ['as it was'], []]), ['Reused', 'from node 3 of abc; as it was']);
  assert.deepEqual(reuseLine(['', -1, ['x has another value'], ['uses `now`']]), ['Ran, because', 'x has another value; not kept for reuse: uses `now`']);
});

test('a success rate is 0 % or 100 % only if it is exactly that', () => {
  const rate = (completed: number, failed: number): string => successRate({ counts: { completed, failed }, error_types: {}, oldest_running: null });
  assert.deepEqual([rate(0, 0), rate(3, 1), rate(9999, 1), rate(1, 9999), rate(5, 0), rate(0, 5)], ['', '75 %', '> 99 %', '< 1 %', '100 %', '0 %']);
});

test('a dispatch that is paused or only waits has that as its label until it ends', () => {
  const counts = { pending: 1, running: 1, completed: 0, failed: 0, cancelled: 0, skipped: 0 };
  const running = { status: 'running', held: false, starts_at: null, paused: false, waiting: 0, counts } as const;
  assert.equal(summaryLabel(running), 'Running');
  assert.equal(summaryLabel({ ...running, waiting: 1 }), 'Waiting');
  assert.equal(summaryLabel({ ...running, waiting: 1, counts: { ...counts, running: 2 } }), 'Running');
  assert.equal(summaryLabel({ ...running, waiting: 1, paused: true }), 'Paused');
  assert.equal(summaryLabel({ ...running, status: 'completed', paused: true }), 'Completed');
  assert.equal(summaryLabel({ ...running, held: true }), 'Not started');
  assert.match(summaryLabel({ ...running, held: true, starts_at: 86_400 * 365 }), /^Starts .*197[01]/);
  assert.equal(summaryLabel({ ...running, starts_at: 100 }), 'Running');
});

test('progress without a total has no share', () => {
  assert.deepEqual([shareOf([0, 45, 100, '']), shareOf([0, 45, null, '']), shareOf([0, 200, 100, '']), shareOf(undefined)], [0.45, null, 1, null]);
  assert.equal(progressLabel([0, 1234, 10000, 'epochs']), 'epochs · 1,234 of 10,000 · 12 %');
  assert.equal(progressLabel([0, 7, null, '']), '7 done');
});
