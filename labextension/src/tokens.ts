/**
 * Interfaces and constants that the parts of the front end share.
 */
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import type { DispatchSummary, Edge, ExecutionView, Graph, LogPage, Node, NodeDetail, NodeProgress, NodeState, Preview, StreamPage, Timeline } from './wire';

/** MIME type of a dispatch in the output of a cell. */
export const MIME_TYPE = 'application/vnd.covalab.dispatch+json';

/** MIME type of the output of a cell that runs in the background. */
export const CELL_MIME_TYPE = 'application/vnd.covalab.cell+json';

/** Schema id of the events that the Jupyter server pushes. */
export const EVENT_SCHEMA = 'https://events.covalab.dev/dispatches/v1';

/** A graph as it is drawn; the remaining fields of `Graph` are present when the server sent it. */
export interface IGraph extends Partial<Omit<Graph, 'nodes' | 'edges'>> {
  readonly nodes: readonly Node[];
  readonly edges: readonly Edge[];
}

/** A dispatch as a notebook saves it, under `MIME_TYPE`. */
export interface IBundle {
  readonly id: string;
  readonly summary: DispatchSummary;
  readonly graph: IGraph | null;
  readonly states: readonly NodeState[];
  /** The outputs of its nodes, where a `Result` is shown. */
  readonly outputs?: INodeDisplays | null;
}

/** Outputs of nodes as a notebook saves them. */
export interface INodeDisplays {
  readonly nodes: readonly { readonly node: number; readonly name: string; readonly outputs: readonly IOutput[]; readonly is_open: boolean }[];
  /** Text about nodes that are left out; empty if none is. */
  readonly more: string;
}

/** One output of a node, in the shape of nbformat 4. */
export interface IOutput {
  readonly output_type: string;
  readonly [key: string]: unknown;
}

/** The outputs of a node from position `first` on: those that changed after the number that was asked for. */
export interface IOutputsPage {
  readonly outputs: readonly IOutput[];
  readonly first: number;
  readonly number: number;
  readonly is_final: boolean;
}

/** Shows outputs; the widget for pages without our extension has none, since it has no registry of renderers. */
export interface IOutputsView extends IDisposable {
  readonly node: HTMLElement;
  /** Show these outputs instead of those before; what is the same stays as it is. */
  show(outputs: readonly IOutput[]): void;
}

/** State of a cell that runs in the background. */
export type CellState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';

/** A cell that runs in the background, as a notebook saves it under `CELL_MIME_TYPE`. */
export interface ICellBundle {
  readonly id: string;
  readonly node: number;
  readonly name: string;
  readonly state: CellState;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  readonly seen_at: number | null;
  /** Rest of the state's line; code in backticks. */
  readonly message: string;
  readonly outputs: readonly IOutput[];
  /** The number of outputs that are not whole, to keep the notebook small. */
  readonly n_cut: number;
  readonly number: number;
  readonly is_final: boolean;
}

/** The part of a value that is asked for, as `core.previews.PreviewQuery`. */
export interface IPreviewQuery {
  readonly offset?: number;
  readonly count?: number;
  /** The number of the column by which the rows are sorted; -1: as they are. */
  readonly sort?: number;
  readonly descending?: boolean;
  readonly find?: string;
  /** A file with the whole value instead. */
  readonly whole?: boolean;
}

/** The part of a log that is asked for, as `core.run_log.LogQuery`. */
export interface ILogQuery {
  /** The place after which, or before which, the lines are; neither: the last ones. */
  readonly after?: string;
  readonly before?: string;
  readonly count: number;
  /** Kinds of lines, separated by commas; empty: all. */
  readonly kinds: string;
  readonly text: string;
}

/** The known state of a dispatch. Immutable: a change makes a new snapshot. */
export interface ISnapshot {
  readonly summary: DispatchSummary;
  /** Null until it is read. The same object for as long as it is the same graph. */
  readonly graph: IGraph | null;
  readonly states: ReadonlyMap<number, NodeState>;
  /** The known child dispatches (sublattices) by the node that they stand for. */
  readonly children: ReadonlyMap<number, string>;
  /** How far running nodes are that say so, by node. */
  readonly progress: ReadonlyMap<number, NodeProgress>;
  /** The reason why this may be out of date, for the reader; empty while it is live. */
  readonly stale: string;
  /** The dispatch that runs this one again, if there is one. */
  readonly successor?: DispatchSummary | null;
  /** Whether it was deleted, with its results. */
  readonly isDeleted?: boolean;
}

/** The origin of a view's data: the Jupyter server or the kernel. */
export interface IDispatchSource extends IDisposable {
  readonly id: string;
  /** Null until a first snapshot is known. */
  readonly snapshot: ISnapshot | null;
  /** Emitted after the snapshot was replaced. */
  readonly changed: ISignal<IDispatchSource, void>;
  /** Read everything about one node. */
  node(node: number): Promise<NodeDetail>;
  /** Read the outputs of one node that changed after a number; null where outputs cannot be shown. */
  readonly outputs: ((node: number, since: number) => Promise<IOutputsPage>) | null;
  /** Read which worker ran or runs which node, and the runs that were not the last of their node. */
  timeline(): Promise<Timeline>;
  /** Read why the cells of a notebook run ran when they did, were reused or were not run, by node; null where there is no server. */
  readonly reasons: (() => Promise<ReadonlyMap<number, string>>) | null;
  /** Read a page of what all nodes printed and how their states changed, in the order of time. */
  log(query: ILogQuery): Promise<LogPage>;
  /** Add tags and remove some; null where there is no server. */
  readonly tag: ((add: readonly string[], remove: readonly string[]) => Promise<void>) | null;
  /** Read a part of a node's value as it is shown; null where there is no server that makes previews. */
  readonly preview: ((node: number, query: IPreviewQuery) => Promise<Preview>) | null;
  /** Request cancellation. Resolves when the request is recorded, not when all tasks have ended. */
  cancel(): Promise<void>;
  /** Emitted when the execution may have changed; it may also be emitted when it has not. */
  readonly executionChanged: ISignal<IDispatchSource, void>;
  /** Read the execution: state, interrupts, interventions and the length of the stream. */
  execution(): Promise<ExecutionView>;
  /** Read the newest entries of the stream after number `since`, at most `last` of them. */
  stream(since: number, last: number): Promise<StreamPage>;
  /** Answer an interrupt with a JSON text. Repeating a call with the same `request` has no effect. */
  answer(interrupt: string, request: string, json: string): Promise<ExecutionView>;
  /** Pause the dispatch (no new task starts), or resume it. */
  pause(paused: boolean): Promise<ExecutionView>;
}

/** Read a bundle from an output; null when it is malformed, since any program may have written the notebook. */
export function readBundle(data: unknown): IBundle | null {
  const bundle = data as Partial<IBundle> | null;
  if (typeof bundle !== 'object' || bundle === null || typeof bundle.id !== 'string' || typeof bundle.summary?.status !== 'string') {
    return null;
  }
  const graph = Array.isArray(bundle.graph?.nodes) && Array.isArray(bundle.graph.edges) ? bundle.graph : null;
  return { id: bundle.id, summary: bundle.summary, graph, states: Array.isArray(bundle.states) ? bundle.states : [], outputs: readDisplays(bundle.outputs) };
}

/** Read the outputs of nodes; null when there are none. */
function readDisplays(data: unknown): INodeDisplays | null {
  const displays = data as Partial<INodeDisplays> | null | undefined;
  if (!Array.isArray(displays?.nodes)) {
    return null;
  }
  const nodes = displays.nodes.map(one => ({
    node: Number(one?.node),
    name: String(one?.name ?? ''),
    outputs: Array.isArray(one?.outputs) ? one.outputs.filter(isOutput) : [],
    is_open: one?.is_open === true
  }));
  return nodes.length > 0 ? { nodes, more: String(displays.more ?? '') } : null;
}

function isOutput(value: unknown): value is IOutput {
  return typeof (value as IOutput | null)?.output_type === 'string';
}

const CELL_STATES: ReadonlySet<unknown> = new Set<CellState>(['waiting', 'running', 'done', 'failed', 'cancelled']);

/** Read the bundle of a cell from an output; null when it is malformed. */
export function readCellBundle(data: unknown): ICellBundle | null {
  const bundle = data as Partial<ICellBundle> | null;
  if (typeof bundle !== 'object' || bundle === null || typeof bundle.id !== 'string' || typeof bundle.node !== 'number' || !CELL_STATES.has(bundle.state)) {
    return null;
  }
  const time = (value: unknown): number | null => (typeof value === 'number' ? value : null);
  return {
    id: bundle.id,
    node: bundle.node,
    name: String(bundle.name ?? ''),
    state: bundle.state!,
    started_at: time(bundle.started_at),
    ended_at: time(bundle.ended_at),
    seen_at: time(bundle.seen_at),
    message: String(bundle.message ?? ''),
    outputs: Array.isArray(bundle.outputs) ? bundle.outputs.filter(isOutput) : [],
    n_cut: time(bundle.n_cut) ?? 0,
    number: time(bundle.number) ?? 0,
    is_final: bundle.is_final === true
  };
}

/** Return the digest of the text of the cell that showed an output; null where the output does not have it. */
export function sourceOf(data: unknown): string | null {
  const digest = (data as { source_digest?: unknown } | null | undefined)?.source_digest;
  return typeof digest === 'string' && digest !== '' ? digest : null;
}

/** Return a newer output with the digest that the one before has: only the kernel knows the text of the cell. */
export function withSourceOf(before: unknown, newer: unknown): Record<string, unknown> {
  const digest = sourceOf(before);
  return { ...(newer as Record<string, unknown>), ...(digest && { source_digest: digest }) };
}
