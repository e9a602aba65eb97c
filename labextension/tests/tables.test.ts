/** Tests of the table of tasks and of the lines of a log that a page holds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chosenRows, type ITableQuery, taskRows } from '../src/dispatch/taskRows';
import { LogWindow, MOST_LINES, placeOf } from '../src/model/log';
import { type LogLine, type LogPage, type Node, NodeKind, type NodeState, type Status, type Timeline } from '../src/wire';

const ALL: ITableQuery = { text: '', only: null, sort: null, descending: false };

function table(why: ReadonlyMap<number, string> = new Map()): ReturnType<typeof taskRows> {
  const names = ['load', 'fit', 'fit', 'fit', 'best'];
  const nodes = [...names.map((name): Node => [name, NodeKind.ELECTRON, 0, -1, -1]), [':parameter:3', NodeKind.PARAMETER, -1, 0, -1] as Node];
  const states = new Map<number, NodeState>(
    (
      [
        [0, 'completed', null, 1, 0, null],
        [1, 'completed', 1, 9, 1, null],
        [2, 'failed', 2, 3, 2, null],
        [3, 'running', 3, null, 1, null]
      ] as NodeState[]
    ).map(state => [state[0], state])
  );
  const timeline: Timeline = { workers: ['host:1', 'host:2'], places: [[1, 1], [2, 0], [3, 1]], earlier: [], reasons: [[2, 'ValueError: too deep']] };
  return taskRows({ nodes, edges: [] }, states, timeline, why);
}

const numbers = (query: Partial<ITableQuery>): number[] => chosenRows(table(), { ...ALL, ...query }, 10).map(({ node }) => node);

test('a cell says why it ran when it did, one that failed its error', () => {
  const why = new Map([[0, 'reused: from node 3 of a-1'], [1, 'ran: no run of this text is kept; ran: after cell 1: it uses `x`'], [2, 'ran: x']]);
  assert.deepEqual(
    table(why).map(({ error }) => error),
    ['reused: from node 3 of a-1', 'after cell 1: it uses `x`; no run of this text is kept', 'ValueError: too deep', '', '']
  );
});

test('the table has the tasks, and nothing that does no work of its own', () => {
  assert.deepEqual(
    table().map(({ name, state, workerLabel, error }) => [name, state, workerLabel, error]),
    [
      ['load', 'Reused', '', ''],
      ['fit #1', 'Completed', 'Worker 2', ''],
      ['fit #2', 'Failed', 'Worker 1', 'ValueError: too deep'],
      ['fit #3', 'Running', 'Worker 2', ''],
      ['best', 'Pending', '', '']
    ]
  );
});

test('rows are filtered by status and by words of any column', () => {
  assert.deepEqual(numbers({ only: 'running' }), [3]);
  assert.deepEqual(numbers({ text: 'deep value' }), [2]);
  assert.deepEqual(numbers({ text: 'FIT host:2' }), [1, 3]);
  assert.deepEqual(numbers({ text: 'worker' }), [1, 2, 3]);
  assert.deepEqual(numbers({ text: 'reused' }), [0]);
});

test('rows are sorted by a column; what has nothing in it is last, in both directions', () => {
  assert.deepEqual(numbers({ sort: 'took' }), [2, 3, 1, 0, 4]);
  assert.deepEqual(numbers({ sort: 'took', descending: true }), [1, 3, 2, 0, 4]);
  assert.deepEqual(numbers({ sort: 'state' }), [2, 3, 4, 1, 0]);
  assert.deepEqual(numbers({ sort: 'name' }), [4, 1, 2, 3, 0]);
  assert.deepEqual(numbers({ sort: 'worker', descending: true }), [1, 3, 2, 0, 4]);
});

test('names that objects have already are names like others', () => {
  const names = ['__proto__', 'constructor', '__proto__', 'toString'];
  const nodes = names.map((name): Node => [name, NodeKind.ELECTRON, 0, -1, -1]);
  const rows = taskRows({ nodes, edges: [] }, new Map(), null);

  assert.deepEqual(rows.map(({ name }) => name), ['__proto__ #1', 'constructor', '__proto__ #2', 'toString']);
  assert.deepEqual(chosenRows(rows, { ...ALL, sort: 'name' }, 0).map(({ node }) => node), [0, 2, 1, 3]);
});

function lines(from: number, to: number): LogLine[] {
  return Array.from({ length: to - from }, (_, at): LogLine => [from + at, 0, 1, 0, 'stdout', 'fit', `line ${from + at}`, null]);
}

function page(from: number, to: number, more = from > 0): LogPage {
  const its = lines(from, to);
  return { lines: its, more, reached: placeOf(its[0]), has_ended: false, is_by_start: false };
}

const times = (log: LogWindow): [number, number, number] => [log.lines.length, log.lines[0][0], log.lines[log.lines.length - 1][0]];

test('the end of a log that goes on is added to what is held, with what came late', () => {
  const log = new LogWindow();
  log.showLast(page(10, 20));
  log.addEarlier(page(0, 10));
  log.showLast(page(15, 25));
  assert.deepEqual([times(log), log.earlier, log.later], [[25, 0, 24], null, null]);

  const late: LogLine = [17.5, 3, 1, 0, 'state', 'best', 'late', 'running'];
  log.showLast({ ...page(15, 25), lines: [...lines(15, 18), late, ...lines(18, 25)] });
  assert.equal(log.lines.filter(([, , , , , , text]) => text === 'late').length, 1);
  assert.equal(log.lines.length, 26);
});

test('what came between two reads of the end, and was not read, is no part of what is shown', () => {
  const log = new LogWindow();
  log.showLast(page(0, 10, false));
  log.showLast(page(100, 110));
  assert.deepEqual([times(log), log.earlier], [[10, 100, 109], '100,0,1,0']);
});

test('a log holds so many lines at most, and knows from where on the others are', () => {
  const log = new LogWindow();
  log.showLast(page(5000, 5000 + MOST_LINES));
  log.addEarlier(page(4000, 5000));
  assert.deepEqual([times(log), log.earlier, log.later], [[MOST_LINES, 4000, 3999 + MOST_LINES], '4000,0,1,0', `${3999 + MOST_LINES},0,1,0`]);
  log.addLater({ ...page(4000 + MOST_LINES, 4500 + MOST_LINES), more: false });
  assert.deepEqual([times(log), log.earlier, log.later], [[MOST_LINES, 4500, 4499 + MOST_LINES], '4500,0,1,0', null]);
});

test('a search that found nothing so far goes on from where it came', () => {
  const log = new LogWindow();
  const nothing = (reached: string): LogPage => ({ lines: [], more: true, reached, has_ended: false, is_by_start: false });
  log.showLast(nothing('900,0,1,0'));
  log.addEarlier(nothing('500,0,1,0'));
  log.showLast(nothing('901,0,1,0'));
  assert.equal(log.earlier, '500,0,1,0');
});

test('every status has a place in the order of states', () => {
  const all: Status[] = ['pending', 'running', 'completed', 'failed', 'cancelled', 'skipped'];
  const nodes = all.map((): Node => ['f', NodeKind.ELECTRON, 0, -1, -1]);
  const states = new Map(all.map((status, node): [number, NodeState] => [node, [node, status, 1, 2, 1, null]]));
  const sorted = chosenRows(taskRows({ nodes, edges: [] }, states, null), { ...ALL, sort: 'state' }, 3);
  assert.deepEqual(sorted.map(({ status }) => status), ['failed', 'running', 'cancelled', 'skipped', 'pending', 'completed']);
});
