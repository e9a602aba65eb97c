/**
 * Reduction of a transport graph to what is drawn: plumbing nodes are hidden and bridged by edges, like nodes are grouped.
 *
 * Pure, and linear in nodes and edges. `covalab.view.shape` is the same algorithm in Python; a test compares the two, so a
 * change here needs the same change there.
 */
import { atOnce, type Steps } from './slices';
import { type Counts, type Edge, type Node, NodeKind, type NodeState } from '../wire';

/** Content of one drawn box: a node, a group of like nodes, or a junction (a dot where many edges meet). */
export interface IUnit {
  readonly kind: 'node' | 'group' | 'junction';
  /** The nodes it represents, in order. Never empty. */
  readonly members: readonly number[];
}

/** The reduced graph: units, and edges as pairs of positions in `units`. */
export interface IShape {
  readonly units: readonly IUnit[];
  readonly edges: readonly (readonly [from: number, to: number])[];
  /** For each node the position of its unit; -1 when it is hidden. */
  readonly unitOf: Int32Array;
  readonly hidden: number;
}

export interface IShapeOptions {
  /** Whether plumbing nodes (parameters, collections, item access) are drawn as well. */
  readonly everything?: boolean;
  /** The least number of like nodes that form a group; 0 disables grouping. */
  readonly threshold?: number;
  /** Plumbing nodes that are drawn nevertheless, because they failed. */
  readonly keep?: ReadonlySet<number>;
}

export const FOLD_THRESHOLD = 12;

/** Nodes of one step. */
const STEP = 512;

/** Name of the edges that only say in which order the cells of a session run. */
export const SESSION = ':session:';

/** The most edges that bridge one hidden node; with more, it is drawn as a junction: m + n edges instead of m * n. */
const BRIDGE_LIMIT = 64;

const PLUMBING: ReadonlySet<NodeKind> = new Set([
  NodeKind.PARAMETER,
  NodeKind.LIST,
  NodeKind.DICT,
  NodeKind.OUTPUT,
  NodeKind.ITEM,
  NodeKind.ATTRIBUTE
]);

/** Kinds of nodes that no worker runs, unless they have a function. */
const VIRTUAL: ReadonlySet<NodeKind> = new Set([NodeKind.PARAMETER, NodeKind.LIST, NodeKind.DICT, NodeKind.OUTPUT]);

/** Return whether nodes of this kind are hidden by default. */
export function isPlumbing(kind: NodeKind): boolean {
  return PLUMBING.has(kind);
}

/** Return the counts of a dispatch without the nodes that run but are hidden: item access, attributes, outputs. */
export function drawnCounts(counts: Counts, nodes: readonly Node[], states: ReadonlyMap<number, NodeState>): Counts {
  const runs = ([, kind, fn]: Node): boolean => !VIRTUAL.has(kind) || (kind === NodeKind.OUTPUT && fn >= 0);
  const hidden = [...nodes.keys()].filter(at => PLUMBING.has(nodes[at][1]) && runs(nodes[at]));
  if (hidden.length === 0 || hidden.length === nodes.filter(runs).length) {
    return counts;
  }
  const numbers = { ...counts };
  for (const node of hidden) {
    const status = states.get(node)?.[1] ?? 'pending';
    // One that failed is drawn.
    if (status !== 'failed') {
      numbers[status] = Math.max(0, numbers[status] - 1);
    }
  }
  return numbers;
}

/** Reduce a graph to the units and edges that are drawn. */
export function shapeOf(nodes: readonly Node[], edges: readonly Edge[], options: IShapeOptions = {}): IShape {
  return atOnce(shapeSteps(nodes, edges, options));
}

/** Reduce a graph in steps, which a page takes in slices when the graph is large. */
export function* shapeSteps(nodes: readonly Node[], edges: readonly Edge[], options: IShapeOptions = {}): Steps<IShape> {
  const { everything = false, threshold = FOLD_THRESHOLD, keep = new Set<number>() } = options;
  const links = yield* Private.link(nodes.length, edges);
  let hidden = nodes.map(([, kind], node) => !everything && PLUMBING.has(kind) && !keep.has(node));
  // A graph of plumbing only is drawn as it is, not as an empty picture.
  if (!hidden.includes(false)) {
    hidden = nodes.map(() => false);
  }
  const groupOf = threshold > 0 ? yield* Private.groups(nodes, links, hidden, threshold) : nodes.map(() => -1);

  yield;
  const { units, unitOf } = Private.unite(hidden, groupOf);
  const drawn: [number, number][] = [];
  const seen = new Set<number>();
  const join = (from: number, to: number): void => {
    const key = from * (2 * nodes.length + 1) + to; // unique: there are at most as many units as nodes and junctions together
    if (from !== to && !seen.has(key)) {
      seen.add(key);
      drawn.push([from, to]);
    }
  };
  // For each hidden node the units whose values reach it: its outgoing edges are drawn from those.
  const reaching: ReadonlySet<number>[] = new Array(nodes.length);
  let steps = 0;
  for (const node of links.order) {
    if (++steps % STEP === 0) {
      yield;
    }
    // The order of a session is drawn only where nothing else leads to the node.
    const values = Private.sources(links.values[node], unitOf, reaching);
    const sources = values.size > 0 ? values : Private.sources(links.parents[node], unitOf, reaching);
    const unit = unitOf[node];
    if (unit >= 0) {
      sources.forEach(source => join(source, unit));
    } else if (sources.size * links.children[node].length > BRIDGE_LIMIT && sources.size > 1 && links.children[node].length > 1) {
      const junction = units.length;
      units.push({ kind: 'junction', members: [node] });
      unitOf[node] = junction;
      sources.forEach(source => join(source, junction));
    } else {
      reaching[node] = sources;
    }
  }
  return { units, edges: drawn, unitOf, hidden: hidden.filter(Boolean).length };
}

namespace Private {
  export interface Unit {
    kind: IUnit['kind'];
    members: number[];
  }

  export interface ILinks {
    readonly parents: readonly number[][];
    /** The parents without those that only an edge of a session joins. */
    readonly values: readonly number[][];
    readonly children: readonly number[][];
    /** Parents before children. */
    readonly order: readonly number[];
  }

  export function* link(count: number, edges: readonly Edge[]): Steps<ILinks> {
    const parents: number[][] = Array.from({ length: count }, () => []);
    const children: number[][] = Array.from({ length: count }, () => []);
    for (const [source, target] of edges) {
      parents[target].push(source);
      children[source].push(target);
    }
    yield;
    const waiting = parents.map(list => list.length);
    const order: number[] = [];
    waiting.forEach((missing, node) => missing === 0 && order.push(node));
    for (const node of order) {
      // `order` grows during the loop, which visits the added nodes as well.
      for (const child of children[node]) {
        if (--waiting[child] === 0) {
          order.push(child);
        }
      }
    }
    return { parents, values: withoutSession(parents, edges), children, order };
  }

  function withoutSession(parents: readonly number[][], edges: readonly Edge[]): readonly number[][] {
    if (!edges.some(([, , name]) => name === SESSION)) {
      return parents;
    }
    const values: number[][] = parents.map(() => []);
    edges.forEach(([source, target, name]) => name === SESSION || values[target].push(source));
    return values;
  }

  /** Return the units whose values come through these parents. */
  export function sources(parents: readonly number[], unitOf: Int32Array, reaching: readonly ReadonlySet<number>[]): ReadonlySet<number> {
    const found = new Set<number>();
    for (const parent of parents) {
      if (unitOf[parent] >= 0) {
        found.add(unitOf[parent]);
      } else {
        reaching[parent]?.forEach(unit => found.add(unit));
      }
    }
    return found;
  }

  /** Make the units: one for each visible node that is in no group, and one for each group, at its first node. */
  export function unite(hidden: readonly boolean[], groupOf: readonly number[]): { units: Unit[]; unitOf: Int32Array } {
    const units: Unit[] = [];
    const unitOf = new Int32Array(hidden.length).fill(-1);
    const unitOfGroup = new Map<number, number>();
    hidden.forEach((isHidden, node) => {
      if (isHidden) {
        return;
      }
      const group = groupOf[node];
      const known = group >= 0 ? unitOfGroup.get(group) : undefined;
      if (known !== undefined) {
        units[known].members.push(node);
        unitOf[node] = known;
        return;
      }
      unitOf[node] = units.length;
      if (group >= 0) {
        unitOfGroup.set(group, units.length);
      }
      units.push({ kind: group >= 0 ? 'group' : 'node', members: [node] });
    });
    return { units, unitOf };
  }

  /**
   * Return for each node the first node of its group; -1 when it is in none.
   *
   * Nodes are alike when they have the same function and their ancestors are alike and their descendants are alike,
   * however many there are of each. Like nodes are equally deep, so joining them makes no cycle.
   */
  export function* groups(
    nodes: readonly Node[],
    links: ILinks,
    hidden: readonly boolean[],
    threshold: number
  ): Steps<number[]> {
    const names = new Map<string, number>();
    const intern = (key: string): number => {
      const id = names.get(key) ?? names.size + 1;
      names.set(key, id);
      return id;
    };
    const own = nodes.map(([name, kind, fn], node) => {
      if (hidden[node]) {
        return `h${kind}`;
      }
      if (fn >= 0) {
        return `f${fn}`;
      }
      return PLUMBING.has(kind) ? `k${kind}` : `n${kind}${name}`;
    });
    const classes = function* (order: readonly number[], before: readonly number[][]): Steps<number[]> {
      const result: number[] = new Array(nodes.length).fill(0);
      let steps = 0;
      for (const node of order) {
        if (++steps % STEP === 0) {
          yield;
        }
        const around = [...new Set(before[node].map(other => result[other]))].filter(id => id > 0).sort((a, b) => a - b);
        // A hidden node without visible ancestors is a constant: tasks with different constants are alike.
        result[node] = hidden[node] && around.length === 0 ? 0 : intern(`${own[node]}|${around.join()}`);
      }
      return result;
    };
    const above = yield* classes(links.order, links.parents);
    const below = yield* classes([...links.order].reverse(), links.children);

    const alike = new Map<string, number[]>();
    nodes.forEach((_, node) => {
      if (!hidden[node]) {
        const key = `${above[node]}.${below[node]}`;
        const members = alike.get(key);
        members ? members.push(node) : alike.set(key, [node]);
      }
    });
    const result: number[] = new Array(nodes.length).fill(-1);
    for (const members of alike.values()) {
      if (members.length >= threshold) {
        members.forEach(node => (result[node] = members[0]));
      }
    }
    return result;
  }
}
