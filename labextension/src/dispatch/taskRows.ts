/**
 * Rows of the table of tasks: chosen, sorted, and said in texts. Pure.
 */
import { URGENCY } from '../graph/folds';
import { nodeName } from '../graph/labels';
import { isPlumbing } from '../graph/shape';
import { statusLabel, waitLabel, workerLabels } from '../text';
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
  /** What the timeline calls the worker. */
  readonly workerLabel: string;
  /** Why it failed; of a cell of a notebook also why it ran when it did, was reused or was not run. */
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
export function taskRows(graph: IGraph, states: ReadonlyMap<number, NodeState>, timeline: Timeline | null, why: ReadonlyMap<number, string> = new Map()): ITaskRow[] {
  const workers = new Map(timeline?.places.map(([node, worker]) => [node, timeline.workers[worker]]));
  const labels = workerLabels(timeline?.workers ?? []);
  const reasons = new Map(timeline?.reasons);
  const rows: ITaskRow[] = [];
  graph.nodes.forEach(([, kind], node) => {
    if (isPlumbing(kind)) {
      return;
    }
    const state = states.get(node);
    const [, status, started, ended, attempt] = state ?? [node, 'pending' as Status, null, null, 0];
    const worker = workers.get(node) ?? '';
    const isReused = status === 'completed' && attempt === 0;
    rows.push({
      node,
      name: nodeName(graph, node),
      status,
      state: isReused ? 'Reused' : waitLabel(state, null) || statusLabel(status),
      attempt,
      started: isReused ? null : started,
      ended,
      worker: isReused ? '' : worker,
      workerLabel: isReused ? '' : (labels.get(worker) ?? ''),
      error: reasons.get(node) ?? whyText(why.get(node) ?? '')
    });
  });
  return rows;
}

/** Parts of a reason: `core/explanations.py` puts a fact before each. */
const FACT = /; (?=(?:ran|reused|because|not run|is not kept for reuse): )/;

/** Reason that most cells have: what is said besides comes before it, where a narrow column shows it. */
const USUAL = 'no run of this text is kept';

/** Return a reason without the word for what the state says already. */
function whyText(text: string): string {
  const parts = text.split(FACT).map(part => part.replace(/^ran: /, ''));
  return [...parts.filter(part => part !== USUAL), ...parts.filter(part => part === USUAL)].join('; ');
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
    const all = words.length > 0 ? `${row.name} ${row.state} ${row.worker} ${row.workerLabel} ${row.error}`.toLowerCase() : '';
    return words.every(word => all.includes(word));
  });
  if (sort === null) {
    return found;
  }
  const keys = found.map(row => keyOf(row, sort, now));
  const ranks = ranksOf(keys.filter(key => typeof key === 'string'));
  const keyed = found.map((row, at) => ({ row, key: typeof keys[at] === 'string' ? ranks.get(keys[at])! : keys[at] }));
  keyed.sort(({ row: a, key: x }, { row: b, key: y }) => {
    if (x === null || y === null) {
      return Number(x === null) - Number(y === null) || a.node - b.node;
    }
    return (descending ? (y as number) - (x as number) : (x as number) - (y as number)) || a.node - b.node;
  });
  return keyed.map(({ row }) => row);
}

/** Return the place of each text among all: thousands of rows have few workers, and to compare texts costs the most. */
function ranksOf(texts: readonly string[]): ReadonlyMap<string, number> {
  const ranks = new Map<string, number>();
  let last: string | null = null;
  for (const text of [...new Set(texts)].sort(COLLATOR.compare)) {
    // What the order holds for equal, like `e` and a composed one, has one place.
    ranks.set(text, last === null ? 0 : ranks.get(last)! + (COLLATOR.compare(last, text) === 0 ? 0 : 1));
    last = text;
  }
  return ranks;
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
