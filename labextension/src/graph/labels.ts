/**
 * Labels that tell nodes of one name apart: what differs in their arguments, like `fit(depth=3)`.
 *
 * Pure. `covalab.core.labels` is the same algorithm in Python; a test compares the two, so a change here needs the same
 * change there.
 */
import { prettyName } from '../text';
import { type Edge, EdgeKind, type Graph, type Node, NodeKind } from '../wire';

const KINDS: ReadonlySet<NodeKind> = new Set<NodeKind>([NodeKind.ELECTRON, NodeKind.SUBLATTICE]);
const PREFIX = ':parameter:';
const TEXT_LIMIT = 20;
const LIMIT = 40;
const SHOWN = 3;

/** Place of `session` in the settings of a node. */
const SESSION = 7;

/** Names of nodes that are not only their own, by graph. */
const known = new WeakMap<readonly Node[], ReadonlyMap<number, string>>();

/** A name that was made up for a cell that sets nothing. */
const UNNAMED = /^cell(_\d+)?$/;

/** Let the nodes of a notebook run be called by the numbers of their cells: `[3] make_a`, or `[7]`. */
export function nameCells({ nodes, settings }: Pick<Graph, 'nodes' | 'settings'>): void {
  const names = new Map<number, string>();
  nodes.forEach(([name, kind, , , its], node) => {
    // Its cells, and nothing else that it does, share a session.
    if (kind === NodeKind.ELECTRON && settings[its]?.[SESSION]) {
      const number = `[${names.size + 1}]`;
      names.set(node, UNNAMED.test(name) ? number : `${number} ${name}`);
    }
  });
  known.set(nodes, names);
}

/** Return the name of a node, with what tells it apart from others of that name. */
export function nodeName(graph: { readonly nodes: readonly Node[]; readonly edges: readonly Edge[] }, node: number): string {
  const [name, kind] = graph.nodes[node];
  let names = known.get(graph.nodes);
  if (!names) {
    names = new Map([...labelsOf(graph.nodes, graph.edges)].map(([one, label]) => [one, prettyName(graph.nodes[one][0], graph.nodes[one][1]) + label]));
    known.set(graph.nodes, names);
  }
  return names.get(node) ?? prettyName(name, kind);
}

/** Return for each node that shares its name what follows the name: `(depth=3)`, or its number ` #2`. */
export function labelsOf(nodes: readonly Node[], edges: readonly Edge[]): ReadonlyMap<number, string> {
  const siblings = new Map<string, number[]>();
  nodes.forEach(([name, kind], number) => {
    if (KINDS.has(kind)) {
      const key = `${kind} ${name}`;
      const members = siblings.get(key);
      members ? members.push(number) : siblings.set(key, [number]);
    }
  });
  const args = new Map<number, Map<string, number>>();
  for (const members of siblings.values()) {
    if (members.length > 1) {
      members.forEach(member => args.set(member, new Map()));
    }
  }
  for (const [source, target, name, kind, index] of edges) {
    if (kind !== EdgeKind.WAIT) {
      args.get(target)?.set(name || String(index), source);
    }
  }
  const found = new Map<number, string>();
  // In the order of their first members: what comes first in a graph is what later nodes take results of.
  for (const members of siblings.values()) {
    if (members.length > 1) {
      label(members, nodes, args, found);
    }
  }
  return found;
}

function label(members: readonly number[], nodes: readonly Node[], args: ReadonlyMap<number, ReadonlyMap<string, number>>, found: Map<number, string>): void {
  const texts = members.map(member => new Map([...args.get(member)!].map(([name, source]) => [name, textOf(nodes, source, found)])));
  const names = new Set(texts.flatMap(one => [...one.keys()]));
  const differing = [...names].filter(name => new Set(texts.map(one => one.get(name) ?? '')).size > 1).slice(0, SHOWN);
  const shown = texts.map(one =>
    cut(
      differing
        .filter(name => one.get(name))
        .map(name => `${name}=${one.get(name)}`)
        .join(', '),
      LIMIT
    )
  );
  const counts = new Map<string, number>();
  shown.forEach(text => counts.set(text, (counts.get(text) ?? 0) + 1));
  members.forEach((member, position) => {
    const text = shown[position];
    found.set(member, (text && `(${text})`) + (counts.get(text)! > 1 ? ` #${position + 1}` : ''));
  });
}

function textOf(nodes: readonly Node[], source: number, found: ReadonlyMap<number, string>): string {
  const [name, kind] = nodes[source];
  if (kind === NodeKind.PARAMETER) {
    return cut(name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name, TEXT_LIMIT);
  }
  const own = found.get(source);
  return own === undefined ? '' : name + own;
}

/** Cut a text by code points, as Python does. */
function cut(text: string, limit: number): string {
  if (text.length <= limit) {
    return text;
  }
  const points = [...text];
  return points.length <= limit ? text : `${points.slice(0, limit - 1).join('')}…`;
}
