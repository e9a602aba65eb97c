/** Tests of the timeline: waits, lanes, critical path, and the sentence that says where the time went. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonOf } from '../src/timeline/reason';
import { type IScheduleInput, type ISchedule, scheduleOf, simulate } from '../src/timeline/schedule';
import { type Edge, EdgeKind, type Node, NodeKind, type NodeState, type Status } from '../src/wire';

/** One task: name, inputs, start, end (null: it runs), worker; `at` is its number in the list. */
type Task = readonly [name: string, inputs: readonly number[], start: number | null, end: number | null, worker?: number | undefined, more?: { status?: Status; kind?: NodeKind; attempt?: number }];

function input(tasks: readonly Task[], ended: number | null, more: Partial<IScheduleInput> = {}): IScheduleInput {
  const nodes = tasks.map(([name, , , , , extra]): Node => [name, extra?.kind ?? NodeKind.ELECTRON, extra?.kind === NodeKind.LIST ? -1 : 0, -1, -1]);
  const edges = tasks.flatMap(([, inputs], target) => inputs.map((source): Edge => [source, target, 'x', EdgeKind.ARG, 0]));
  const states = new Map<number, NodeState>();
  tasks.forEach(([, , start, end, , extra], node) => {
    if (start !== null) {
      states.set(node, [node, extra?.status ?? (end === null ? 'running' : 'completed'), start, end, extra?.attempt ?? 1, null]);
    }
  });
  const places = tasks.flatMap(([, , , , worker], node): (readonly [number, number])[] => (worker === undefined ? [] : [[node, worker]]));
  const summary = { created_at: 0, started_at: 0, ended_at: ended, status: ended === null ? ('running' as const) : ('completed' as const) };
  return { nodes, edges, states, timeline: { workers: ['a:10', 'a:9'], places, earlier: [], reasons: [] }, summary, ...more };
}

const names = (found: ISchedule, from: IScheduleInput): string[] => found.path.map(node => from.nodes[node][0]);

function why(from: IScheduleInput, now = 0): string {
  return reasonOf(scheduleOf(from, now), from, node => from.nodes[node][0], now);
}

// One load, three fits on two workers, and the best: the third fit waits until a worker is free.
const SWEEP = input(
  [
    ['load', [], 0, 2, 0],
    ['fit a', [0], 2, 6, 0],
    ['fit b', [0], 2, 6, 1],
    ['fit c', [0], 6, 10, 0],
    [':list:', [1, 2, 3], null, null, undefined, { kind: NodeKind.LIST }],
    ['best', [4], 10, 11, 1]
  ],
  11
);

test('the critical path goes back over the input that came last, through collections', () => {
  const found = scheduleOf(SWEEP, 0);
  assert.deepEqual(names(found, SWEEP), ['load', 'fit c', 'best']);
  assert.deepEqual(found.account, { run: 7, start: 0, worker: 4, rerun: 0, person: 0 });
  assert.deepEqual(
    found.bars.filter(({ isCritical }) => isCritical).map(({ node }) => node),
    [0, 3, 5]
  );
});

test('the sentence names the waits, the longest task, and what more workers would save', () => {
  assert.equal(why(SWEEP), '11 s, of it 4.0 s waiting for a worker; longest on the critical path: fit c, 4.0 s; 1 more worker could save about 4.0 s.');
});

test('runs of the path and its waits are the whole time', () => {
  const { account } = scheduleOf(SWEEP, 0);
  assert.equal(
    Object.values(account).reduce((sum, seconds) => sum + seconds, 0),
    11
  );
});

test('lanes are the workers in the order of their names, then what needs none', () => {
  const more = input([['a', [], 0, 1, 0], ['b', [], 0, 1, 1], ['ask', [], 0, 5, undefined, { kind: NodeKind.PAUSE }], ['old', [], 0, 0, 1, { attempt: 0 }]], 5);
  const { lanes, bars } = scheduleOf(more, 0);
  assert.deepEqual(
    lanes.map(({ name, title }) => [name, title]),
    [
      ['Worker 1', 'a:9'],
      ['Worker 2', 'a:10'],
      ['People', 'Waits for an answer'],
      ['Reused', 'An earlier run stands for these']
    ]
  );
  assert.deepEqual(new Map(bars.map(({ node, lane }) => [node, lane])), new Map([[0, 1], [1, 0], [2, 2], [3, 3]]));
  assert.match(why(more), /^5\.0 s, of it 5\.0 s waiting for an answer/);
});

test('runs at the same time in one lane are below each other', () => {
  const { lanes, bars } = scheduleOf({ ...SWEEP, timeline: null }, 0);
  assert.deepEqual(
    lanes.map(({ name, rows }) => [name, rows]),
    [['Tasks', 2]]
  );
  assert.deepEqual(bars.map(({ row }) => row), [0, 0, 1, 0, 0]);
});

test('how many wait is known for every moment', () => {
  assert.deepEqual(scheduleOf(SWEEP, 0).waiting, [
    [2, 1],
    [6, 0]
  ]);
  const live = input([['a', [], 1, null, 0], ['b', [], null, null]], null);
  assert.deepEqual(scheduleOf(live, 4).waiting, [
    [0, 2],
    [1, 1],
    [4, 0]
  ]);
});

test('while it runs, the path ends at what runs for longest', () => {
  const live = input([['a', [], 0, 3, 0], ['b', [0], 4, null, 0], ['c', [], 5, null, 1]], null);
  assert.deepEqual(names(scheduleOf(live, 20), live), ['a', 'b']);
  assert.equal(why(live, 20), '20 s so far, of it 1.0 s waiting for a worker; longest on the critical path: b, 16 s.');
});

test('earlier runs of a node are bars of their own, and their time is named', () => {
  const again = input([['a', [], 6, 8, 0, { attempt: 2 }]], 8, {
    timeline: { workers: ['w'], places: [[0, 0]], earlier: [[0, 0, 1, 3, 'failed']], reasons: [] }
  });
  const { bars, account } = scheduleOf(again, 0);
  assert.deepEqual(bars.map(({ kind, status, start }) => [kind, status, start]), [
    ['earlier', 'failed', 1],
    ['run', 'completed', 6]
  ]);
  assert.deepEqual(account, { run: 2, start: 1, worker: 0, rerun: 5, person: 0 });
  assert.equal(why(again), '8.0 s, of it 5.0 s in runs that failed and the waits after them and 1.0 s before the first task began; nearly all of it is a.');
});

test('a dispatch that did not wait says what it did', () => {
  const chain = input([['a', [], 0, 2, 0], ['b', [0], 2, 9, 0]], 9);
  assert.equal(why(chain), '9.0 s, spent in 2 tasks that need each other; longest on the critical path: b, 7.0 s.');
  assert.equal(why(input([['only', [], 0, 9, 0]], 9)), '9.0 s; nearly all of it is only.');
  assert.equal(why(input([['later', [], null, null]], null), 3), '');
});

test('more workers make nothing slower, and as many as tasks the longest chain', () => {
  const many = input([['load', [], 0, 1, 0], ...Array.from({ length: 9 }, (_, at): Task => [`fit ${at}`, [0], 1 + at, 2 + at, 0])], 10);
  const took = [1, 2, 3, 9, Infinity].map(workers => simulate(many, workers));
  assert.deepEqual(took, [10, 6, 4, 2, 2]);
});
