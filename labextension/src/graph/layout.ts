/**
 * Layered graph layout: layers by longest path, order by barycentre, coordinates by isotonic regression.
 *
 * Pure, and linear in boxes, edges and bends except for the sorting within a layer. `covalab.view.layout` is the same
 * algorithm in Python; a test compares the two, so a change here needs the same change there.
 */
import { atOnce, type Steps } from './slices';

/** A graph to lay out. Boxes are numbered from 0. */
export interface IDiagram {
  readonly count: number;
  readonly edges: readonly (readonly [from: number, to: number])[];
}

/** Layers and the order within them: the part of a layout that does not depend on the sizes of boxes. */
export interface IRanks {
  /** Boxes first, then the bends of long edges. */
  readonly layerOf: readonly number[];
  readonly layers: readonly (readonly number[])[];
  /** For each edge the boxes and bends on its way, from its source to its target. */
  readonly routes: readonly (readonly number[])[];
}

/** The centre of every box and bend within its layer; layers reach from 0 to `breadth`. */
export interface IPlaces {
  readonly across: readonly number[];
  readonly breadth: number;
}

const ORDER_SWEEPS = 4;
const PLACE_SWEEPS = 6;

/**
 * The most bends per box. With more of them (and more than 2,000 in all) long edges are drawn straight instead: a dense
 * graph has layers times edges of them, and the layout would no longer be linear in boxes and edges.
 */
const BENDS_PER_BOX = 4;

/** Breadth of a bend within its layer. */
const BEND_SIZE = 10;

/** Assign every box a layer and an order within it. */
export function rank(diagram: IDiagram): IRanks {
  return atOnce(rankSteps(diagram));
}

/** Assign layers and order in steps, which a page takes in slices when the graph is large. */
export function* rankSteps(diagram: IDiagram): Steps<IRanks> {
  const { count, edges } = diagram;
  const layerOf = Private.layer(count, edges);
  yield;
  const routes: number[][] = [];
  const bends = edges.reduce((sum, [from, to]) => sum + Math.max(0, layerOf[to] - layerOf[from] - 1), 0);
  const bend = bends <= Math.max(2000, BENDS_PER_BOX * count);
  for (const [from, to] of edges) {
    const route = [from];
    for (let layer = layerOf[from] + 1; bend && layer < layerOf[to]; layer++) {
      route.push(layerOf.length);
      layerOf.push(layer);
    }
    route.push(to);
    routes.push(route);
  }
  const layers: number[][] = [];
  layerOf.forEach((layer, item) => {
    while (layers.length <= layer) {
      layers.push([]);
    }
    layers[layer].push(item);
  });
  yield;
  const [before, after] = Private.neighbours(layerOf, routes);
  yield;
  const position: number[] = new Array(layerOf.length).fill(0);
  const number = (layer: number[]): void => layer.forEach((item, index) => (position[item] = index));
  layers.forEach(number);
  const weight = new Float64Array(layerOf.length);
  const sort = (layer: number[], around: readonly number[][]): void => {
    for (const item of layer) {
      weight[item] = Private.mean(position, position[item], around[item]);
    }
    // Equal weights keep their order: without that the layout would differ from Python's, and jump between updates.
    layer.sort((a, b) => weight[a] - weight[b] || position[a] - position[b]);
    number(layer);
  };
  // Crossings fall fastest in the first sweeps; more of them cost time and hardly change the picture.
  for (let sweep = 0; sweep < ORDER_SWEEPS; sweep++) {
    layers.slice(1).forEach(layer => sort(layer, before));
    yield;
    layers.slice(0, -1).reverse().forEach(layer => sort(layer, after));
    yield;
  }
  return { layerOf, layers, routes };
}

/** Compute the coordinate of every box and bend within its layer, for boxes of these breadths, `gap` apart. */
export function place(ranks: IRanks, sizes: readonly number[], gap: number): IPlaces {
  return atOnce(placeSteps(ranks, sizes, gap));
}

/** Compute coordinates in steps. */
export function* placeSteps(ranks: IRanks, sizes: readonly number[], gap: number): Steps<IPlaces> {
  const { layerOf, layers, routes } = ranks;
  const room = layerOf.map((_, item) => (item < sizes.length ? sizes[item] : BEND_SIZE));
  const [before, after] = Private.neighbours(layerOf, routes);
  yield;
  const across: number[] = new Array(layerOf.length).fill(0);
  const offsets = layers.map(layer => {
    const result: number[] = [];
    layer.forEach((item, index) =>
      result.push(index === 0 ? 0 : result[index - 1] + (room[layer[index - 1]] + room[item]) / 2 + gap)
    );
    return result;
  });
  layers.forEach((layer, index) => {
    const middle = offsets[index][layer.length - 1] / 2;
    layer.forEach((item, at) => (across[item] = offsets[index][at] - middle));
  });
  const pull = (index: number, one: readonly number[][], other?: readonly number[][]): void => {
    const layer = layers[index];
    const offset = offsets[index];
    // Minus the offsets, `boxes keep order and distance` becomes `the sequence does not decrease`, which isotonic solves.
    const wanted = layer.map((item, at) => Private.mean(across, across[item], one[item], other?.[item]) - offset[at]);
    Private.isotonic(wanted);
    layer.forEach((item, at) => (across[item] = wanted[at] + offset[at]));
  };
  const indices = layers.map((_, index) => index);
  for (let sweep = 0; sweep < PLACE_SWEEPS; sweep++) {
    const down = sweep % 2 === 0;
    for (const index of down ? indices.slice(1) : indices.slice(0, -1).reverse()) {
      pull(index, down ? before : after);
    }
    yield;
  }
  // The sweeps favour the last direction; the final pass considers both neighbours.
  indices.forEach(index => pull(index, before, after));

  let low = Infinity;
  let high = -Infinity;
  across.forEach((value, item) => {
    low = Math.min(low, value - room[item] / 2);
    high = Math.max(high, value + room[item] / 2);
  });
  return {
    across: across.map(value => value - low),
    breadth: across.length === 0 ? 0 : high - low
  };
}

namespace Private {
  /** Assign layers by the longest path from the sources. A source is placed right before its first child, for short edges. */
  export function layer(count: number, edges: readonly (readonly [number, number])[]): number[] {
    const parents: number[] = new Array(count).fill(0);
    const children: number[][] = Array.from({ length: count }, () => []);
    for (const [from, to] of edges) {
      parents[to]++;
      children[from].push(to);
    }
    const missing = [...parents];
    const result: number[] = new Array(count).fill(0);
    const order: number[] = [];
    missing.forEach((left, box) => left === 0 && order.push(box));
    for (const box of order) {
      // `order` grows during the loop, which visits the added boxes as well.
      for (const child of children[box]) {
        result[child] = Math.max(result[child], result[box] + 1);
        if (--missing[child] === 0) {
          order.push(child);
        }
      }
    }
    for (let box = 0; box < count; box++) {
      if (parents[box] === 0 && children[box].length > 0) {
        result[box] = children[box].reduce((least, child) => Math.min(least, result[child]), Infinity) - 1;
      }
    }
    return result;
  }

  /** Return the neighbours of each box and bend in the layer before and in the layer after. */
  export function neighbours(layerOf: readonly number[], routes: readonly (readonly number[])[]): [number[][], number[][]] {
    const before: number[][] = layerOf.map(() => []);
    const after: number[][] = layerOf.map(() => []);
    for (const route of routes) {
      for (let at = 1; at < route.length; at++) {
        before[route[at]].push(route[at - 1]);
        after[route[at - 1]].push(route[at]);
      }
    }
    return [before, after];
  }

  const NONE: readonly number[] = [];

  /** Return the mean of the values of these items, if any. It allocates nothing, as it runs for every box in every sweep. */
  export function mean(
    values: readonly number[],
    otherwise: number,
    items: readonly number[],
    more: readonly number[] = NONE
  ): number {
    let sum = 0;
    for (const item of items) {
      sum += values[item];
    }
    for (const item of more) {
      sum += values[item];
    }
    const count = items.length + more.length;
    return count === 0 ? otherwise : sum / count;
  }

  /** Replace `wanted` by the closest non-decreasing sequence (least squares), by pooling adjacent violators. */
  export function isotonic(wanted: number[]): void {
    const sums = new Float64Array(wanted.length);
    const sizes = new Int32Array(wanted.length);
    let blocks = 0;
    for (const value of wanted) {
      sums[blocks] = value;
      sizes[blocks] = 1;
      while (blocks > 0 && sums[blocks - 1] / sizes[blocks - 1] > sums[blocks] / sizes[blocks]) {
        sums[blocks - 1] += sums[blocks];
        sizes[blocks - 1] += sizes[blocks];
        blocks--;
      }
      blocks++;
    }
    for (let block = 0, at = 0; block < blocks; block++) {
      wanted.fill(sums[block] / sizes[block], at, (at += sizes[block]));
    }
  }
}
