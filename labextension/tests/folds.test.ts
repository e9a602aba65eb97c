/** Tests of open groups: pages of siblings, and the way to one of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foldPage, matches, nextOf, PAGE, pageWith } from '../src/graph/folds';
import { OpenFolds } from '../src/graph/openFolds';
import { shapeOf } from '../src/graph/shape';
import type { NodeState, Status } from '../src/wire';
import { mapped } from './graphs';

const members = Array.from({ length: 100 }, (_, at) => at * 2);

function states(some: Readonly<Record<number, Status>>): Map<number, NodeState> {
  return new Map(members.map(node => [node, [node, some[node] ?? 'completed', 0, 1, 1, null]]));
}

const known = states({ 150: 'failed', 40: 'failed', 60: 'running' });

test('siblings that need a reader are first, and each is on one page', () => {
  const first = foldPage(members, known, { only: null, page: 0 });
  assert.deepEqual(first.shown.slice(0, 4), [40, 150, 60, 0]);
  assert.equal(first.pages, Math.ceil(members.length / PAGE));
  const all = Array.from({ length: first.pages }, (_, page) => foldPage(members, known, { only: null, page }).shown).flat();
  assert.deepEqual([...all].sort((a, b) => a - b), members);
});

test('a filter shows the siblings of one status, and a page that is not there the nearest', () => {
  assert.deepEqual(foldPage(members, known, { only: 'failed', page: 7 }), { shown: [40, 150], page: 0, pages: 1, matching: 2 });
  assert.deepEqual(foldPage(members, known, { only: 'skipped', page: -1 }), { shown: [], page: 0, pages: 1, matching: 0 });
});

test('the page of a sibling is found', () => {
  for (const node of members) {
    assert.ok(foldPage(members, known, { only: null, page: pageWith(members, known, node, null) }).shown.includes(node));
  }
});

test('next goes round', () => {
  assert.deepEqual([nextOf([3, 9], null), nextOf([3, 9], 3), nextOf([3, 9], 9), nextOf([], 3)], [3, 9, 3, null]);
});

test('a search finds names and numbers of what is shown', () => {
  const names = ['load', 'fit(depth=3)', 'fit(depth=13)', ':list:'];
  const find = (text: string): number[] => matches(4, node => names[node], node => node !== 3, text);
  assert.deepEqual([find('DEPTH=3'), find('fit'), find('2'), find(':'), find(' ')], [[1], [1, 2], [2], [], []]);
});

test('an open group describes its page, and is forgotten with its graph', () => {
  const { nodes, edges } = mapped(60);
  const shape = shapeOf(nodes, edges);
  const group = shape.units.find(({ kind }) => kind === 'group')!.members;
  const folds = new OpenFolds();
  const none = new Map<number, NodeState>();
  assert.equal(folds.describe(shape, none, nodes), null);
  folds.toggle(group[0]);
  folds.turn(1, shape, none);
  const found = folds.describe(shape, none, nodes)!;
  assert.deepEqual([found.name, found.first, found.shown, found.matching, found.counts.pending], ['train', PAGE, PAGE, 60, 60]);
  folds.turn(9, shape, none);
  assert.equal(folds.shown(shape, none).get(group[0])!.length, 60 - 2 * PAGE);
  assert.equal(folds.shown(shapeOf(nodes.slice(0, 1), []), none).size, 0);
});
