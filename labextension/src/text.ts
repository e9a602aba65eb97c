/**
 * Words and numbers as people read them. Pure.
 */
import { type Attempt, type Counts, type DispatchSummary, type ErrorType, type Failure, type Interrupt, NodeKind, type NodeState, type Status, type TasksSummary, type Value } from './wire';

export const STATUSES: readonly Status[] = ['completed', 'running', 'failed', 'cancelled', 'skipped', 'pending'];

const TERMINAL: ReadonlySet<Status> = new Set<Status>(['completed', 'failed', 'cancelled', 'skipped']);

const LABELS: Readonly<Record<Status, string>> = {
  pending: 'Pending',
  running: 'Running',
  completed: 'Completed',
  failed: 'Failed',
  cancelled: 'Cancelled',
  skipped: 'Skipped'
};

/** Tell whether a status never changes any more. */
export function isTerminal(status: Status): boolean {
  return TERMINAL.has(status);
}

/** The word for a status. */
export function statusLabel(status: Status): string {
  return LABELS[status];
}

/** The word for where a dispatch stands. */
export function summaryLabel({ status, held, starts_at, paused, waiting, counts }: IStanding): string {
  if (held) {
    return typeof starts_at === 'number' ? `Starts ${new Date(starts_at * 1000).toLocaleString()}` : 'Not started';
  }
  if (isTerminal(status)) {
    return LABELS[status];
  }
  // What waits for a person counts as running.
  return paused ? 'Paused' : waiting > 0 && counts.running <= waiting ? 'Waiting' : LABELS[status];
}

/** Whether there is something to cancel: it runs, or waits for its time. One that nobody has started can be deleted. */
export function canCancel({ status, held, starts_at }: Pick<DispatchSummary, 'status' | 'held' | 'starts_at'>): boolean {
  return !isTerminal(status) && (!held || starts_at !== null);
}

/** The part of a summary that says where a dispatch stands. */
export type IStanding = Pick<DispatchSummary, 'status' | 'held' | 'starts_at' | 'paused' | 'waiting' | 'counts'>;

const ERRORS: Readonly<Record<ErrorType, string>> = {
  runtime: 'The task raised an exception',
  timeout: 'The time limit was exceeded',
  serialization: 'A value could not be packed or unpacked',
  storage: 'A value could not be written or read',
  worker_lost: 'The worker was lost',
  dependency: 'A task it needs did not complete',
  cancelled: 'It was cancelled',
  deps: 'What it depends on could not be prepared',
  executor: 'The executor could not run it',
  sublattice: 'Its sublattice did not complete'
};

/** What kind of failure this is; one that a newer dispatcher has is shown as it is. */
export function errorLabel(type: ErrorType): string {
  return ERRORS[type] ?? type;
}

/** What a failure says, in one line. */
export function failureLine({ exception, message }: Failure): string {
  return [exception, message.trim().split('\n', 1)[0]].filter(Boolean).join(': ');
}

/** How many retries are left after the current run, or the next: runs whose worker was lost have used none up. */
export function retriesLeft(retries: number, attempts: readonly Attempt[]): number {
  const used = attempts.filter(({ outcome }) => outcome[5]?.type !== 'worker_lost').length;
  return Math.max(0, retries - used);
}

/** How long a node still waits for its next run, or `''`: `Runs again in 12 s`; where no time goes on, that it waits. */
export function waitLabel(state: NodeState | undefined, now: number | null): string {
  const [, status, , , attempt, next] = state ?? [0, 'pending' as Status, null, null, 0, null];
  if (status !== 'pending' || (next ?? null) === null) {
    return '';
  }
  if (now === null) {
    return attempt > 0 ? 'Waits to run again' : 'Waits to start';
  }
  const seconds = Math.ceil(next! - now);
  return `${attempt > 0 ? 'Runs again' : 'Starts'} ${seconds > 0 ? `in ${formatElapsed(seconds)}` : 'now'}`;
}

/** A node's name without the marks that Covalent puts around it. */
export function prettyName(name: string, kind: NodeKind): string {
  switch (kind) {
    case NodeKind.PARAMETER:
      return name.replace(/^:parameter:/, '');
    case NodeKind.LIST:
      return 'list';
    case NodeKind.DICT:
      return 'dict';
    case NodeKind.OUTPUT:
      return 'output';
    case NodeKind.PAUSE:
      return name.replace(/^:pause_for:/, '');
    case NodeKind.POINT:
      return name.replace(/^:intervention_point:/, '') || 'intervention point';
    default:
      return name.replace(/^:(sublattice:)?/, '') || name;
  }
}

/** A length of time, in at most two units: `340 ms`, `2.4 s`, `3 min 20 s`, `1 h 5 min`. */
export function formatDuration(seconds: number): string {
  if (seconds < 1) {
    return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  }
  if (seconds < 9.95) {
    return `${seconds.toFixed(1)} s`;
  }
  return formatWhole(Math.round(seconds));
}

/** A length of time that is still growing: whole seconds, so that it does not flicker. */
export function formatElapsed(seconds: number): string {
  return formatWhole(Math.max(0, Math.floor(seconds)));
}

function formatWhole(seconds: number): string {
  const units: readonly (readonly [number, string])[] = [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's']
  ];
  const first = Math.max(0, units.findIndex(([size]) => seconds >= size));
  if (seconds < 1) {
    return '0 s';
  }
  const [size, unit] = units[first];
  const rest = units[first + 1];
  const more = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${more > 0 ? ` ${more} ${rest[1]}` : ''}`;
}

/** How long ago: `just now`, `5 min ago`, `yesterday`, then the date. */
export function formatAge(then: number, now: number): string {
  const seconds = now - then;
  if (seconds < 45) {
    return 'just now';
  }
  if (seconds < 3600) {
    return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  }
  if (seconds < 86400) {
    return `${Math.round(seconds / 3600)} h ago`;
  }
  const days = Math.floor(seconds / 86400);
  return days === 1 ? 'yesterday' : days < 7 ? `${days} days ago` : new Date(then * 1000).toLocaleDateString();
}

/** A point in time, in the reader's own zone. */
export function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, {
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit'
  });
}

/** A number of bytes. */
export function formatSize(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** How many nodes there are. */
export function total(counts: Counts): number {
  return STATUSES.reduce((sum, status) => sum + counts[status], 0);
}

/** How many of how many are over, and what the others do: `14 of 26 done`, `4 running`, `1 failed`. */
export function describeCounts(counts: Counts): string[] {
  const all = total(counts);
  if (all === 0) {
    return [];
  }
  const words = [counts.completed === all ? `${all} of ${all} done` : `${counts.completed} of ${all} done`];
  for (const status of STATUSES) {
    if (status !== 'completed' && counts[status] > 0) {
      words.push(`${counts[status]} ${statusLabel(status).toLowerCase()}`);
    }
  }
  return words;
}

/** What becomes of a text that somebody typed as an answer: JSON if it is JSON, else text. `json` is what is sent. */
export function takeAnswer(text: string): { readonly json: string; readonly words: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const meant = /^\s*[[{"]/.test(text) ? '; it is not valid JSON' : text.trim() === '' ? ', which is empty' : '';
    return { json: JSON.stringify(text), words: `text${meant}` };
  }
  return { json: text.trim(), words: `JSON: ${describePlain(value)}` };
}

function describePlain(value: unknown): string {
  if (value === null || typeof value === 'boolean') {
    return String(value);
  }
  if (Array.isArray(value)) {
    return `a list of ${counted(value.length, 'item')}`;
  }
  return typeof value === 'object' ? `a dictionary of ${counted(Object.keys(value).length, 'key')}` : typeof value === 'number' ? 'a number' : 'a text';
}

/** How many: `1 item`, `1,234 items`. */
export function counted(count: number, what: string): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}

/** What became of a question to a person that is asked no longer. */
export function outcomeOf({ type, status, actor, value }: Interrupt): string {
  if (status !== 'resumed') {
    return `“${type}” is not asked any more`;
  }
  const text = value ? ` with ${value[2] || value[1]}` : '';
  return `“${type}” was answered${actor ? ` by ${personName(actor)}` : ''}${text}`;
}

/** Who answered, for people: Jupyter knows somebody without a name by a long random number, which says nothing. */
export function personName(actor: string): string {
  return actor.replace(/ \([0-9a-f]{32}\)$/, '');
}

/** How many of the tasks that ended by themselves did so well: `98 %`; empty while none has ended. */
export function successRate({ counts }: TasksSummary): string {
  const [good, bad] = [counts['completed'] ?? 0, counts['failed'] ?? 0];
  if (good + bad === 0) {
    return '';
  }
  const rate = Math.round((100 * good) / (good + bad));
  // Neither all nor none is said of what is only nearly so.
  return bad > 0 && rate === 100 ? '> 99 %' : good > 0 && rate === 0 ? '< 1 %' : `${rate} %`;
}

/** The type and size of a value, in one short line. */
export function describeValue([size, type]: Value): string {
  return `${type} · ${formatSize(size)}`;
}
