/**
 * Functions that build and update snapshots. Pure; both sources use them.
 */
import type { IBundle, IGraph, ISnapshot } from '../tokens';
import type { DispatchChanges, NodeState } from '../wire';

/** Return the snapshot that a saved bundle holds. */
export function fromBundle(bundle: IBundle, stale = ''): ISnapshot {
  return { summary: bundle.summary, graph: bundle.graph, states: byNode(bundle.states), children: new Map(), progress: new Map(), stale };
}

/** Return the snapshot after these changes; the same snapshot if they are older than it. */
export function withChanges(snapshot: ISnapshot | null, changes: DispatchChanges, graph: IGraph | null): ISnapshot {
  // Changes since 0 hold every node that ever changed, so the states that a notebook saved are dropped.
  const base = changes.since === 0 ? null : snapshot;
  if (base && changes.summary.version < base.summary.version) {
    return base;
  }
  const states = new Map(base?.states ?? []);
  changes.nodes.forEach(state => states.set(state[0], state));
  const children = new Map(base?.children ?? []);
  Object.entries(changes.children).forEach(([node, child]) => children.set(Number(node), child));
  // Saved bundles, and dispatchers of before, have none.
  const progress = new Map((changes.progress ?? []).map(one => [one[0], one]));
  return { summary: changes.summary, graph: graph ?? snapshot?.graph ?? null, states, children, progress, stale: '' };
}

function byNode(states: readonly NodeState[]): Map<number, NodeState> {
  return new Map(states.map(state => [state[0], state]));
}
