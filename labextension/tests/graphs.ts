/**
 * Graphs for the tests, and a random number generator with a seed.
 */
import { type Edge, EdgeKind, type Node, NodeKind } from '../src/wire';

/** Return a generator of numbers from 0 to below 1 (mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Make a random graph: `count` nodes of a few functions and all kinds, edges from earlier to later nodes. */
export function randomGraph(seed: number, count: number): { nodes: Node[]; edges: Edge[] } {
  const next = numbers(seed);
  const kinds = Object.values(NodeKind);
  const nodes = Array.from({ length: count }, (): Node => {
    const kind = next() < 0.6 ? NodeKind.ELECTRON : kinds[Math.floor(next() * kinds.length)];
    const fn = Math.floor(next() * 3);
    return [`f${fn}`, kind, kind === NodeKind.ELECTRON ? fn : -1, -1, -1];
  });
  const edges: Edge[] = [];
  for (let target = 1; target < count; target++) {
    for (let more = next() * 3; more > 1; more--) {
      edges.push([Math.floor(next() * target), target, 'x', EdgeKind.ARG, 0]);
    }
  }
  return { nodes, edges };
}

/** Make a graph of one source, `count` tasks of one function each with a parameter of its own, a list of their results, one sink. */
export function mapped(count: number): { nodes: Node[]; edges: Edge[] } {
  const nodes: Node[] = [['load', NodeKind.ELECTRON, 0, -1, -1]];
  const edges: Edge[] = [];
  const results: number[] = [];
  for (let at = 0; at < count; at++) {
    const task = nodes.push(['train', NodeKind.ELECTRON, 1, -1, -1]) - 1;
    const parameter = nodes.push([`:parameter:${at}`, NodeKind.PARAMETER, -1, 0, -1]) - 1;
    edges.push([0, task, 'data', EdgeKind.ARG, 0], [parameter, task, 'c', EdgeKind.ARG, 1]);
    results.push(task);
  }
  const best = nodes.push(['best', NodeKind.ELECTRON, 2, -1, -1]) - 1;
  const list = nodes.push([':electron_list:', NodeKind.LIST, -1, -1, -1]) - 1;
  results.forEach((task, at) => edges.push([task, list, '', EdgeKind.ARG, at]));
  edges.push([list, best, 'scores', EdgeKind.ARG, 0]);
  return { nodes, edges };
}
