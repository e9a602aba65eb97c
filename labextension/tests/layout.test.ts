/** Tests of layout and scene. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { place, rank } from '../src/graph/layout';
import { arrange, cardWidth, hit } from '../src/graph/scene';
import { shapeOf } from '../src/graph/shape';
import { mapped, randomGraph } from './graphs';

const EDGES: readonly (readonly [number, number])[] = [
  [0, 1],
  [1, 2],
  [0, 2]
];

test('an edge leads from one layer to a later one, and bends once in each between', () => {
  for (let seed = 0; seed < 100; seed++) {
    const { nodes, edges } = randomGraph(seed, 40);
    const pairs = edges.map(([source, target]) => [source, target] as const);
    const { layerOf, routes } = rank({ count: nodes.length, edges: pairs });
    for (const route of routes) {
      route.slice(1).forEach((item, at) => assert.equal(layerOf[item], layerOf[route[at]] + 1));
    }
  }
});

test('boxes of a layer keep their distance', () => {
  for (let seed = 0; seed < 100; seed++) {
    const { nodes, edges } = randomGraph(seed, 40);
    const ranks = rank({ count: nodes.length, edges: edges.map(([source, target]) => [source, target] as const) });
    const sizes = nodes.map((_, at) => 20 + (at % 3) * 10);
    const { across, breadth } = place(ranks, sizes, 5);
    for (const layer of ranks.layers) {
      layer.slice(1).forEach((item, at) => {
        const room = ((sizes[layer[at]] ?? 10) + (sizes[item] ?? 10)) / 2 + 5;
        assert.ok(across[item] - across[layer[at]] >= room - 1e-6, `seed ${seed}`);
      });
      layer.forEach(item => assert.ok(across[item] >= 0 && across[item] <= breadth));
    }
  }
});

test('a chain is a straight line', () => {
  const ranks = rank({ count: 4, edges: [[0, 1], [1, 2], [2, 3]] });
  const { across } = place(ranks, [46, 46, 46, 46], 10);

  assert.deepEqual(new Set(across).size, 1);
});

test('a long edge goes around the box it passes', () => {
  const ranks = rank({ count: 3, edges: EDGES });
  const { across } = place(ranks, [46, 46, 46], 10);
  const [, bend] = ranks.routes[2];

  assert.ok(Math.abs(across[bend] - across[1]) >= 23);
});

test('ten thousand boxes are laid out with a bounded number of bends', () => {
  const width = 100;
  const edges: [number, number][] = [];
  for (let box = width; box < 10_000; box++) {
    edges.push([box - width, box], [(box * 7919) % (box - width + 1), box]);
  }
  const ranks = rank({ count: 10_000, edges });

  assert.ok(ranks.layerOf.length <= 5 * 10_000);
  assert.equal(place(ranks, new Array<number>(10_000).fill(46), 14).across.length, ranks.layerOf.length);
});

test('an empty graph has an empty layout', () => {
  assert.deepEqual(place(rank({ count: 0, edges: [] }), [], 10), { across: [], breadth: 0 });
});

test('an open group has a cell for each member, and a click on the cell hits the member', () => {
  const { nodes, edges } = mapped(30);
  const shape = shapeOf(nodes, edges);
  const ranks = rank({ count: shape.units.length, edges: shape.edges });
  const group = shape.units.findIndex(({ kind }) => kind === 'group');
  const { members } = shape.units[group];
  const scene = arrange({ shape, ranks, open: new Map([[members[0], members]]), card: cardWidth(['train']) }, true);

  scene.boxes[group].cells.forEach((cell, at) => {
    assert.deepEqual(hit(scene, cell.x + 3, cell.y + 3), { box: group, member: members[at] });
  });
  assert.deepEqual(hit(scene, scene.boxes[0].x + 1, scene.boxes[0].y + 1), { box: 0, member: null });
  assert.equal(hit(scene, -50, -50), null);
});
