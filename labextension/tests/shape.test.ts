/** Tests of the reduction of a graph to what is drawn. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barParts } from '../src/graph/boxStates';
import { drawnCounts, SESSION, shapeOf } from '../src/graph/shape';
import { type Edge, type Node, NodeKind } from '../src/wire';
import { mapped, randomGraph } from './graphs';

test('like tasks are one unit with the edges of all of them', () => {
  const { nodes, edges } = mapped(20);
  const { units, edges: joined } = shapeOf(nodes, edges);

  assert.deepEqual(units.map(({ kind, members }) => [kind, members.length]), [['node', 1], ['group', 20], ['node', 1]]);
  assert.deepEqual(joined, [[0, 1], [1, 2]]);
});

test('a few like tasks are not grouped', () => {
  const { nodes, edges } = mapped(5);

  assert.equal(shapeOf(nodes, edges).units.length, 7);
});

test('parameters and collections are drawn with `everything`', () => {
  const { nodes, edges } = mapped(5);
  const shape = shapeOf(nodes, edges, { everything: true });

  assert.equal(shape.units.length, nodes.length);
  assert.equal(shape.hidden, 0);
});

test('a plumbing node that failed is drawn', () => {
  const { nodes, edges } = mapped(5);
  const list = nodes.findIndex(([, kind]) => kind === NodeKind.LIST);

  assert.equal(shapeOf(nodes, edges).unitOf[list], -1);
  assert.ok(shapeOf(nodes, edges, { keep: new Set([list]) }).unitOf[list] >= 0);
});

test('a graph of plumbing only is drawn as it is, not as an empty picture', () => {
  assert.equal(shapeOf([[':parameter:1', NodeKind.PARAMETER, -1, 0, -1]], []).units.length, 1);
});

test('every visible node is in one unit, and units are joined without a cycle', () => {
  for (let seed = 0; seed < 200; seed++) {
    const { nodes, edges } = randomGraph(seed, 1 + (seed % 60));
    const { units, edges: joined, hidden } = shapeOf(nodes, edges, { threshold: 2 });

    const members = units.filter(({ kind }) => kind !== 'junction').flatMap(unit => unit.members);
    assert.equal(new Set(members).size, members.length);
    assert.equal(members.length, nodes.length - hidden);
    assert.ok(isAcyclic(units.length, joined), `seed ${seed}`);
  }
});

test('units are joined when a node of one reaches a node of the other through hidden nodes', () => {
  for (let seed = 0; seed < 100; seed++) {
    const { nodes, edges } = randomGraph(seed, 30);
    const shape = shapeOf(nodes, edges, { threshold: 0 });
    const joined = new Set(shape.edges.map(String));
    for (const [source, target] of edges) {
      const [from, to] = [shape.unitOf[source], shape.unitOf[target]];
      assert.ok(from < 0 || to < 0 || joined.has(`${from},${to}`), `seed ${seed}: ${source} to ${target}`);
    }
  }
});

test('a hidden list between many nodes and many others is drawn as a junction', () => {
  const { nodes, edges } = mapped(10);
  const list = nodes.findIndex(([, kind]) => kind === NodeKind.LIST);
  for (let more = 0; more < 20; more++) {
    const user = nodes.push([`use_${more}`, NodeKind.ELECTRON, 10 + more, -1, -1]) - 1;
    edges.push([list, user, 'scores', 0, 0]);
  }
  const shape = shapeOf(nodes, edges);

  assert.equal(shape.units.filter(({ kind }) => kind === 'junction').length, 1);
  assert.ok(shape.edges.length < 60);
});

function isAcyclic(count: number, edges: readonly (readonly [number, number])[]): boolean {
  const missing: number[] = new Array<number>(count).fill(0);
  edges.forEach(([, to]) => missing[to]++);
  const free = missing.flatMap((left, unit) => (left === 0 ? [unit] : []));
  for (const unit of free) {
    edges.filter(([from]) => from === unit).forEach(([, to]) => --missing[to] === 0 && free.push(to));
  }
  return free.length === count;
}

const CELLS: Node[] = ['a', 'b', 'c'].map((name, at) => [name, NodeKind.ELECTRON, at, 0, -1]);

function joined(...edges: [number, number, string][]): (readonly [number, number])[] {
  return [...shapeOf(CELLS, edges.map(([source, target, name]): Edge => [source, target, name, 1, -1])).edges];
}

test('the order of a session is drawn only where no value comes', () => {
  assert.deepEqual(joined([0, 1, SESSION], [1, 2, SESSION]), [[0, 1], [1, 2]]);
  assert.deepEqual(joined([0, 1, SESSION], [1, 2, SESSION], [0, 2, 'x']), [[0, 1], [0, 2]]);
  assert.deepEqual(joined([0, 1, SESSION], [0, 1, 'x'], [1, 2, 'y']), [[0, 1], [1, 2]]);
});

test('counts say what is drawn', () => {
  const nodes: Node[] = [...CELLS.slice(0, 2), ['a[0]', NodeKind.ITEM, -1, 0, -1], ['a.b', NodeKind.ATTRIBUTE, -1, 0, -1], ['out', NodeKind.OUTPUT, 7, 0, -1]];
  const counts = { pending: 2, running: 0, completed: 2, failed: 1, cancelled: 0, skipped: 0 };

  const drawn = drawnCounts(counts, nodes, new Map([[0, [0, 'completed', 1, 2, 1, null]], [2, [2, 'completed', 1, 2, 1, null]], [3, [3, 'failed', 1, 2, 1, null]]]));

  assert.deepEqual(drawn, { pending: 1, running: 0, completed: 1, failed: 1, cancelled: 0, skipped: 0 });
});

test('one that failed among hundreds is seen in the bar of its group, which stays as long as it is', () => {
  const counts = { pending: 0, running: 0, completed: 299, failed: 1, cancelled: 0, skipped: 0 };
  const parts = barParts(counts, 80);

  assert.equal(parts.get('failed'), 4);
  assert.equal([...parts.values()].reduce((sum, length) => sum + length, 0), 80);
  assert.deepEqual([...barParts({ ...counts, completed: 3, pending: 4 }, 80)], [['completed', 30], ['failed', 10], ['pending', 40]]);
});
