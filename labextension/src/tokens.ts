/**
 * The seams between the parts of the front end.
 */
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import type { DispatchSummary, Edge, ExecutionView, Graph, Node, NodeDetail, NodeState, StreamPage } from './wire';

/** The MIME type of a dispatch in the output of a cell. */
export const MIME_TYPE = 'application/vnd.covalab.dispatch+json';

/** The schema of the events that the Jupyter server pushes. */
export const EVENT_SCHEMA = 'https://events.covalab.dev/dispatches/v1';

/** A graph as it is drawn; the rest of `Graph` is there when the server sent it. */
export interface IGraph extends Partial<Omit<Graph, 'nodes' | 'edges'>> {
  readonly nodes: readonly Node[];
  readonly edges: readonly Edge[];
}

/** A dispatch as a notebook keeps it, under `MIME_TYPE`. */
export interface IBundle {
  readonly id: string;
  readonly summary: DispatchSummary;
  readonly graph: IGraph | null;
  readonly states: readonly NodeState[];
}

/** What is known about a dispatch now. */
export interface ISnapshot {
  readonly summary: DispatchSummary;
  /** Null until it is known. The same object for as long as it is the same graph. */
  readonly graph: IGraph | null;
  readonly states: ReadonlyMap<number, NodeState>;
  /** The dispatches that nodes stand for (sublattices), as far as they are known. */
  readonly children: ReadonlyMap<number, string>;
  /** Why this may be old, in words for the reader; empty while it is live. */
  readonly stale: string;
}

/** Where a view gets a dispatch from: the Jupyter server, or the kernel. */
export interface IDispatchSource extends IDisposable {
  readonly id: string;
  /** Null until something is known. */
  readonly snapshot: ISnapshot | null;
  /** Emitted after the snapshot was replaced. */
  readonly changed: ISignal<IDispatchSource, void>;
  /** Everything about one node, as it is now. */
  node(node: number): Promise<NodeDetail>;
  /** Ask that the dispatch be cancelled. Settled when that was noted, not when all has ended. */
  cancel(): Promise<void>;
  /** Emitted when something may have happened beside the graph. */
  readonly stirred: ISignal<IDispatchSource, void>;
  /** What happens beside the graph, as it is now. */
  execution(): Promise<ExecutionView>;
  /** The newest entries of the stream after number `since`, at most `last` of them. */
  stream(since: number, last: number): Promise<StreamPage>;
  /** Answer what waits for a person with the value of a JSON text; the same `request` again changes nothing. */
  answer(interrupt: string, request: string, json: string): Promise<ExecutionView>;
  /** Ask that nothing new be started, or that it go on. */
  pause(wanted: boolean): Promise<ExecutionView>;
}

/** Read what a notebook keeps; null when it is no dispatch (somebody else may have written the file). */
export function readBundle(data: unknown): IBundle | null {
  const bundle = data as Partial<IBundle> | null;
  if (typeof bundle !== 'object' || bundle === null || typeof bundle.id !== 'string' || typeof bundle.summary?.status !== 'string') {
    return null;
  }
  const graph = Array.isArray(bundle.graph?.nodes) && Array.isArray(bundle.graph.edges) ? bundle.graph : null;
  return { id: bundle.id, summary: bundle.summary, graph, states: Array.isArray(bundle.states) ? bundle.states : [] };
}
