/**
 * State of a cell that runs in the background, from what the notebook saved and what the server says. Pure.
 */
import { formatDuration, formatElapsed, formatTime, waitLabel } from '../text';
import type { CellState, ICellBundle, IOutput, ISnapshot } from '../tokens';
import type { Status } from '../wire';

/** Seconds after which a state that only the notebook knows is shown with its time. */
const FRESH = 10;

/** What the state's line shows. */
export interface ICellLine {
  readonly state: CellState;
  /** Code in backticks. */
  readonly text: string;
  /** Whether the text changes with time alone. */
  readonly isTicking: boolean;
  /** Whether the cell can be stopped. */
  readonly canStop: boolean;
}

const STATES: Readonly<Record<Status, CellState>> = {
  pending: 'waiting',
  running: 'running',
  completed: 'done',
  failed: 'failed',
  cancelled: 'cancelled',
  skipped: 'cancelled'
};

/** Return whether a state is final. */
export function hasEnded(state: CellState): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

/** Return the line about a cell: `running 12 s`, `done in 3.2 s, set `x``, `failed after 2 min: ValueError: ...`. */
export function cellLine(bundle: ICellBundle, snapshot: ISnapshot | null, outputs: readonly IOutput[], now: number): ICellLine {
  const isLive = snapshot !== null && snapshot.stale === '';
  const node = isLive ? snapshot.states.get(bundle.node) : undefined;
  const summary = isLive ? snapshot.summary : null;
  // The server knows no state of a node before it starts.
  const live: CellState | null = node ? STATES[node[1]] : summary ? STATES[summary.status === 'running' ? 'pending' : summary.status] : null;
  const state = hasEnded(bundle.state) ? bundle.state : (live ?? bundle.state);
  const started = node?.[2] ?? bundle.started_at;
  const ended = node?.[3] ?? bundle.ended_at;
  const took = started !== null && ended !== null ? formatDuration(ended - started) : '';
  // The message belongs to the state that the kernel saw.
  const message = state === bundle.state ? bundle.message : '';
  const isOld = !isLive && bundle.seen_at !== null && now - bundle.seen_at > FRESH;
  const seen = isOld ? `, as of ${formatTime(bundle.seen_at)}${snapshot?.stale ? ' (the server does not answer)' : ''}` : '';
  const line = { state, isTicking: !hasEnded(state) && !isOld, canStop: isLive && !hasEnded(state) };
  switch (state) {
    case 'waiting': {
      const wait = waitLabel(node, now).toLowerCase();
      // A cell that the kernel has sent off needs nothing else, unless it says so.
      const cause = message || (summary && !summary.paused && !summary.held ? 'for a worker' : '');
      return { ...line, text: `${wait || `waiting${after(' ', cause)}`}${seen}` };
    }
    case 'running': {
      const until = isOld ? bundle.seen_at : now;
      return { ...line, text: `running${started !== null ? ` ${formatElapsed(until - started)}` : ''}${after(', ', message)}${seen}` };
    }
    case 'done':
      return { ...line, text: `done${after(' in ', took)}${after(', ', message)}` };
    case 'failed':
      return { ...line, text: `failed${after(' after ', took)}${after(': ', message || errorLine(outputs) || (summary?.error ?? ''))}` };
    case 'cancelled':
      return { ...line, text: `cancelled${after(' after ', took)}${after(', ', message)}` };
  }
}

/** Return name and first line of the message of the last error among outputs. */
export function errorLine(outputs: readonly IOutput[]): string {
  const error = outputs.filter(({ output_type }) => output_type === 'error').pop();
  const first = String(error?.['evalue'] ?? '')
    .trim()
    .split('\n', 1)[0];
  return [error?.['ename'], first].filter(Boolean).join(': ');
}

function after(separator: string, text: string): string {
  return text === '' ? '' : separator + text.split('\n', 1)[0];
}
