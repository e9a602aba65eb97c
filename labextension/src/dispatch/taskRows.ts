/**
 * Rows of the table of tasks: chosen, sorted, and said in texts. Pure.
 */
import { URGENCY } from '../graph/folds';
import { nodeName } from '../graph/labels';
import { isPlumbing } from '../graph/shape';
import { statusLabel, waitLabel } from '../text';
import type { IGraph } from '../tokens';
import type { NodeState, Status, Timeline } from '../wire';

export type Column = 'name' | 'state' | 'attempt' | 'started' | 'took' | 'worker' | 'error';

/** One task. */
export interface ITaskRow {
  readonly node: number;
  readonly name: string;
  readonly status: Status;
  readonly state: string;
  readonly attempt: number;
  readonly started: number | null;
  readonly ended: number | null;
  readonly worker: string;
  readonly error: string;
}

/** What of the table is shown. */
export interface ITableQuery {
  readonly text: string;
  /** Only tasks of this status; null: all. */
  readonly only: Status | null;
  readonly sort: Column | null;
  readonly descending: boolean;
}

/** Return all tasks, in the order of the graph. */
export function taskRows(graph: IGraph, states: ReadonlyMap<number, NodeState>, timeline: Timeline | null): ITaskRow[] {
  const workers = new Map(timeline?.places.map(([node, worker]) => [node, timeline.workers[worker]]));
  const reasons = new Map(timeline?.reasons);
  const rows: ITaskRow[] = [];
  graph.nodes.forEach(([, kind], node) => {
    if (isPlumbing(kind)) {
      return;
    }
    const state = states.get(node);
    const [, status, started, ended, attempt] = state ?? [node, 'pending' as Status, null, null, 0];
    const isReused = status === 'completed' && attempt === 0;
    rows.push({
      node,
      name: nodeName(graph, node),
      status,
      state: isReused ? 'Reused' : waitLabel(state, null) || statusLabel(status),
      attempt,
      started: isReused ? null : started,
      ended,
      worker: isReused ? '' : (workers.get(node) ?? ''),
      error: reasons.get(node) ?? ''
    });
  });
  return rows;
}

/** Return how long a task ran, or has run until `now`; null if it has not. */
export function secondsOf({ status, started, ended }: ITaskRow, now: number): number | null {
  return started === null || status === 'pending' ? null : Math.max(0, (ended ?? now) - started);
}

/** Return the rows that a query asks for, in its order; rows that have nothing in the column are last. */
export function chosenRows(rows: readonly ITaskRow[], { text, only, sort, descending }: ITableQuery, now: number): ITaskRow[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.filter(row => {
    if (only !== null && row.status !== only) {
      return false;
    }
    const all = words.length > 0 ? `${row.name} ${row.state} ${row.worker} ${row.error}`.toLowerCase() : '';
    return words.every(word => all.includes(word));
  });
  if (sort === null) {
    return found;
  }
  const keys = new Map(found.map(row => [row, keyOf(row, sort, now)]));
  return found.sort((a, b) => {
    const [x, y] = [keys.get(a)!, keys.get(b)!];
    if (x === null || y === null) {
      return Number(x === null) - Number(y === null) || a.node - b.node;
    }
    const order = typeof x === 'string' ? COLLATOR.compare(x, y as string) : x - (y as number);
    return (descending ? -order : order) || a.node - b.node;
  });
}

const COLLATOR = new Intl.Collator('en', { numeric: true });

function keyOf(row: ITaskRow, sort: Column, now: number): string | number | null {
  switch (sort) {
    case 'state':
      return URGENCY.indexOf(row.status) + (row.state === 'Reused' ? 0.5 : 0);
    case 'took':
      return secondsOf(row, now);
    case 'attempt':
      return row.attempt || null;
    case 'started':
      return row.started;
    default:
      return row[sort] || null;
  }
}
