/**
 * What of a transport graph is drawn: plumbing is hidden, many alike are folded into one, edges bridge what is hidden.
 *
 * Pure, and linear in nodes and edges. `covalab.view.shape` is the same in Python; a test compares the two.
 */
import { type Edge, type Node, NodeKind } from '../wire';

/** What one drawn box stands for: a node, many nodes that are alike, or a dot where many edges meet. */
export interface IUnit {
  readonly kind: 'node' | 'group' | 'junction';
  /** The nodes it stands for, in order. Never empty. */
  readonly members: readonly number[];
}

/** What is drawn: boxes, and pairs of positions in `units` that are joined. */
export interface IShape {
  readonly units: readonly IUnit[];
  readonly edges: readonly (readonly [from: number, to: number])[];
  /** For each node the position of its unit, or -1 when it is hidden. */
  readonly unitOf: Int32Array;
  readonly hidden: number;
}

export interface IShapeOptions {
  /** Draw parameters, collections and item access as well. */
  readonly everything?: boolean;
  /** From how many alike on they are folded; 0 folds nothing. */
  readonly threshold?: number;
  /** Nodes that are drawn although their kind is hidden, because they failed. */
  readonly keep?: ReadonlySet<number>;
}

export const FOLD_THRESHOLD = 12;

/** More edges than this through one hidden node, and it is drawn as a dot instead of bridged. */
const BRIDGE_LIMIT = 64;

const PLUMBING: ReadonlySet<NodeKind> = new Set([
  NodeKind.PARAMETER,
  NodeKind.LIST,
  NodeKind.DICT,
  NodeKind.OUTPUT,
  NodeKind.ITEM,
  NodeKind.ATTRIBUTE
]);

/** Tell whether nodes of this kind are hidden unless everything is asked for. */
export function isPlumbing(kind: NodeKind): boolean {
  return PLUMBING.has(kind);
}

/** Decide what to draw of a graph. */
export function shapeOf(nodes: readonly Node[], edges: readonly Edge[], options: IShapeOptions = {}): IShape {
  const { everything = false, threshold = FOLD_THRESHOLD, keep = new Set<number>() } = options;
  const links = Private.link(nodes.length, edges);
  let hidden = nodes.map(([, kind], node) => !everything && PLUMBING.has(kind) && !keep.has(node));
  if (!hidden.includes(false)) {
    hidden = nodes.map(() => false);
  }
  const groupOf = threshold > 0 ? Private.groups(nodes, links, hidden, threshold) : nodes.map(() => -1);

  const units: Private.Unit[] = [];
  const unitOf = new Int32Array(nodes.length).fill(-1);
  const folded = new Map<number, number>();
  nodes.forEach((_, node) => {
    if (hidden[node]) {
      return;
    }
    const group = groupOf[node];
    const known = group >= 0 ? folded.get(group) : undefined;
    if (known !== undefined) {
      units[known].members.push(node);
      unitOf[node] = known;
      return;
    }
    unitOf[node] = units.length;
    if (group >= 0) {
      folded.set(group, units.length);
    }
    units.push({ kind: group >= 0 ? 'group' : 'node', members: [node] });
  });

  const drawn: [number, number][] = [];
  const seen = new Set<number>();
  const join = (from: number, to: number): void => {
    const key = from * (2 * nodes.length + 1) + to; // there are fewer units than nodes and dots together
    if (from !== to && !seen.has(key)) {
      seen.add(key);
      drawn.push([from, to]);
    }
  };
  // The units whose values reach a hidden node: its edges are drawn from there.
  const reaching: ReadonlySet<number>[] = new Array(nodes.length);
  for (const node of links.order) {
    const sources = new Set<number>();
    for (const parent of links.parents[node]) {
      if (unitOf[parent] >= 0) {
        sources.add(unitOf[parent]);
      } else {
        reaching[parent]?.forEach(unit => sources.add(unit));
      }
    }
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
    readonly children: readonly number[][];
    /** Parents before children. */
    readonly order: readonly number[];
  }

  export function link(count: number, edges: readonly Edge[]): ILinks {
    const parents: number[][] = Array.from({ length: count }, () => []);
    const children: number[][] = Array.from({ length: count }, () => []);
    for (const [source, target] of edges) {
      parents[target].push(source);
      children[source].push(target);
    }
    const waiting = parents.map(list => list.length);
    const order: number[] = [];
    waiting.forEach((missing, node) => missing === 0 && order.push(node));
    for (const node of order) {
      // It grows meanwhile, and the loop goes on to its end.
      for (const child of children[node]) {
        if (--waiting[child] === 0) {
          order.push(child);
        }
      }
    }
    return { parents, children, order };
  }

  /**
   * For each node the first node of its group, or -1.
   *
   * Alike are nodes of one function whose ancestors are alike and whose descendants are alike, however many there are
   * of each. Being alike includes being equally deep, so joining the alike makes no cycle.
   */
  export function groups(
    nodes: readonly Node[],
    links: ILinks,
    hidden: readonly boolean[],
    threshold: number
  ): number[] {
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
    const classes = (order: readonly number[], before: readonly number[][]): number[] => {
      const result: number[] = new Array(nodes.length).fill(0);
      for (const node of order) {
        const around = [...new Set(before[node].map(other => result[other]))].filter(id => id > 0).sort((a, b) => a - b);
        // A hidden node with nothing before it is a constant: it makes no difference.
        result[node] = hidden[node] && around.length === 0 ? 0 : intern(`${own[node]}|${around.join()}`);
      }
      return result;
    };
    const above = classes(links.order, links.parents);
    const below = classes([...links.order].reverse(), links.children);

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
