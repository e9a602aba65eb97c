/**
 * How a snapshot of a dispatch grows: pure, and the same for both hosts.
 */
import type { IBundle, IGraph, ISnapshot } from './tokens';
import type { DispatchChanges, NodeState } from './wire';

/** What a notebook or a kernel gave to begin with. */
export function fromBundle(bundle: IBundle, stale: string): ISnapshot {
  return { summary: bundle.summary, graph: bundle.graph, states: byNode(bundle.states), children: new Map(), stale };
}

/** The snapshot after these changes; changes that are older than what is known are left out. */
export function withChanges(snapshot: ISnapshot | null, changes: DispatchChanges, graph: IGraph | null): ISnapshot {
  const known = changes.since === 0 ? null : snapshot;
  if (known && changes.summary.version < known.summary.version) {
    return known;
  }
  const states = new Map(known?.states ?? []);
  changes.nodes.forEach(state => states.set(state[0], state));
  const children = new Map(known?.children ?? []);
  Object.entries(changes.children).forEach(([node, child]) => children.set(Number(node), child));
  return { summary: changes.summary, graph: graph ?? snapshot?.graph ?? null, states, children, stale: '' };
}

function byNode(states: readonly NodeState[]): Map<number, NodeState> {
  return new Map(states.map(state => [state[0], state]));
}
