/**
 * Labels and formatted numbers for the reader. Pure. The tables that Python shares are in `words.ts`.
 */
import { type Attempt, type Counts, type DispatchSummary, type ErrorType, type Failure, type Interrupt, NodeKind, type NodeProgress, type NodeState, type Reuse, type Status, type TasksSummary, type Value } from './wire';
import { DURATION_UNITS, FIXED_NAMES, NAME_PREFIXES, STATUS_LABELS, STATUSES, SUMMARY_LABELS, TERMINAL, WAIT_LABELS } from './words';

export { STATUSES };

/** Return whether a status is final. */
export function isTerminal(status: Status): boolean {
  return TERMINAL.has(status);
}

/** Return the label of a status. */
export function statusLabel(status: Status): string {
  return STATUS_LABELS[status];
}

/** The fields of a summary that its label depends on. */
export type ILabelFields = Pick<DispatchSummary, 'status' | 'held' | 'starts_at' | 'paused' | 'waiting' | 'counts'>;

/** Return the label of a dispatch: its status, unless it is held, paused or waiting. */
export function summaryLabel({ status, held, starts_at, paused, waiting, counts }: ILabelFields): string {
  if (held) {
    return typeof starts_at === 'number' ? `Starts ${BEGINNING.format(starts_at * 1000)}` : SUMMARY_LABELS.held;
  }
  if (isTerminal(status)) {
    return STATUS_LABELS[status];
  }
  if (paused) {
    return SUMMARY_LABELS.paused;
  }
  // A node that waits for a person counts as running.
  return waiting > 0 && counts.running <= waiting ? SUMMARY_LABELS.waiting : STATUS_LABELS[status];
}

/** Return whether a dispatch can be cancelled: it runs, or is to start at a time. One that was never started can only be deleted. */
export function canCancel({ status, held, starts_at }: Pick<DispatchSummary, 'status' | 'held' | 'starts_at'>): boolean {
  return !isTerminal(status) && (!held || starts_at !== null);
}

/** Return whether a dispatch is a notebook that runs as a whole: it comes from a notebook, and from no cell of it. */
export function isNotebookRun({ notebook, cell }: Pick<DispatchSummary, 'notebook' | 'cell'>): boolean {
  return cell === '' && notebook.endsWith('.ipynb');
}

/** Return whether a value is what a cell of a session left: the names after it. */
export function isRecord(type: string): boolean {
  return type.endsWith('CellRecord');
}

/** Return the names in the short text of a record, which may be cut; other texts are returned as they are. */
export function namesIn(text: string): string {
  return /^<names after cell \d+: (.*?)>?$/s.exec(text)?.[1] ?? text;
}

const ERROR_LABELS: Readonly<Record<ErrorType, string>> = {
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

/** Return the label of an error type; a type that only a newer dispatcher has is returned as it is. */
export function errorLabel(type: ErrorType): string {
  return ERROR_LABELS[type] ?? type;
}

const ERROR_WORDS: Readonly<Partial<Record<ErrorType, string>>> = {
  runtime: 'runtime error',
  dependency: 'dependency failed'
};

/** Return an error type in a word or two, beside its number of tasks. */
export function errorWords(type: ErrorType): string {
  return ERROR_WORDS[type] ?? type.replace('_', ' ');
}

/** Return the exception and the first line of the message of a failure. */
export function failureLine({ exception, message }: Failure): string {
  return [exception, message.trim().split('\n', 1)[0]].filter(Boolean).join(': ');
}

/** Return the number of retries left after the current or next run; a run whose worker was lost uses none up. */
export function retriesLeft(retries: number, attempts: readonly Attempt[]): number {
  const used = attempts.filter(({ outcome }) => outcome[5]?.type !== 'worker_lost').length;
  return Math.max(0, retries - used);
}

/** Return how long a pending node waits for its next run, as `Runs again in 12 s`; without `now`, only that it waits. Else `''`. */
export function waitLabel(state: NodeState | undefined, now: number | null): string {
  const [, status, , , attempt, next] = state ?? [0, 'pending' as Status, null, null, 0, null];
  if (status !== 'pending' || (next ?? null) === null) {
    return '';
  }
  if (now === null) {
    return attempt > 0 ? WAIT_LABELS.rerun : WAIT_LABELS.start;
  }
  const seconds = Math.ceil(next! - now);
  return `${attempt > 0 ? 'Runs again' : 'Starts'} ${seconds > 0 ? `in ${formatElapsed(seconds)}` : 'now'}`;
}

/** Return a node's name without the prefixes that Covalent gives to it. */
export function prettyName(name: string, kind: NodeKind): string {
  const fixed = FIXED_NAMES[kind];
  if (fixed !== undefined) {
    return fixed;
  }
  const prefix = NAME_PREFIXES[kind];
  if (prefix !== undefined) {
    const short = name.startsWith(prefix) ? name.slice(prefix.length) : name;
    return short || (kind === NodeKind.POINT ? 'intervention point' : '');
  }
  return name.replace(/^:(sublattice:)?/, '') || name;
}

/** Format a duration in at most two units: `340 ms`, `2.4 s`, `3 min 20 s`, `1 h 5 min`. */
export function formatDuration(seconds: number): string {
  if (seconds < 1) {
    return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  }
  if (seconds < 9.95) {
    return `${seconds.toFixed(1)} s`;
  }
  return formatWhole(Math.round(seconds));
}

/** Format a duration that is still growing, in whole seconds so that it does not flicker. */
export function formatElapsed(seconds: number): string {
  return formatWhole(Math.max(0, Math.floor(seconds)));
}

function formatWhole(seconds: number): string {
  if (seconds < 1) {
    return '0 s';
  }
  const first = Math.max(0, DURATION_UNITS.findIndex(([size]) => seconds >= size));
  const [size, unit] = DURATION_UNITS[first];
  const rest = DURATION_UNITS[first + 1];
  const more = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${more > 0 ? ` ${more} ${rest[1]}` : ''}`;
}

/** Format the time since a moment: `just now`, `5 min ago`, `yesterday`, then the date. */
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

/** Format a moment in the reader's time zone, with 24 hours as logs have them. */
export function formatTime(seconds: number): string {
  return MOMENT.format(seconds * 1000);
}

/** Made once: a table formats dozens of moments in each frame while it is scrolled. */
const MOMENT = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

/** One that may be next year. */
const BEGINNING = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23' });

/** Return what workers are called where several are shown: `Worker 1` and so on, in the order of their own names. */
export function workerLabels(workers: readonly string[]): ReadonlyMap<string, string> {
  const sorted = [...workers].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return new Map(sorted.map((worker, at) => [worker, `Worker ${at + 1}`]));
}

/** Return the share of its work that a node has done, from 0 to 1; null when that is not known. */
export function shareOf(progress: NodeProgress | undefined): number | null {
  const total = progress?.[2] ?? null;
  return progress && total ? Math.max(0, Math.min(1, progress[1] / total)) : null;
}

/** Describe how far a node is: `epochs · 45 of 100 · 45 %`. */
export function progressLabel(progress: NodeProgress): string {
  const [, done, total, text] = progress;
  const format = (count: number): string => count.toLocaleString('en', { maximumFractionDigits: 1 });
  const share = shareOf(progress);
  return [text, total === null ? `${format(done)} done` : `${format(done)} of ${format(total)}`, share === null ? '' : `${Math.round(100 * share)} %`].filter(Boolean).join(' · ');
}

/** Format a number of bytes. */
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

/** Return the number of nodes. */
export function total(counts: Counts): number {
  return STATUSES.reduce((sum, status) => sum + counts[status], 0);
}

/** Return the number of completed nodes out of all, and of the others by status: `14 of 26 done`, `4 running`, `1 failed`. */
export function describeCounts(counts: Counts): string[] {
  const all = total(counts);
  if (all === 0) {
    return [];
  }
  const parts = [`${counts.completed} of ${all} done`];
  for (const status of STATUSES) {
    if (status !== 'completed' && counts[status] > 0) {
      parts.push(`${counts[status]} ${statusLabel(status).toLowerCase()}`);
    }
  }
  return parts;
}

/** Parse a typed answer: JSON if it is valid JSON, else text. `json` is sent, `description` is shown before. */
export function parseAnswer(text: string): { readonly json: string; readonly description: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const note = /^\s*[[{"]/.test(text) ? '; it is not valid JSON' : text.trim() === '' ? ', which is empty' : '';
    return { json: JSON.stringify(text), description: `text${note}` };
  }
  return { json: text.trim(), description: `JSON: ${describeJson(value)}` };
}

function describeJson(value: unknown): string {
  if (value === null || typeof value === 'boolean') {
    return String(value);
  }
  if (Array.isArray(value)) {
    return `a list of ${counted(value.length, 'item')}`;
  }
  return typeof value === 'object' ? `a dictionary of ${counted(Object.keys(value).length, 'key')}` : typeof value === 'number' ? 'a number' : 'a text';
}

/** Return a number and a noun: `1 item`, `1,234 items`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? noun : plural}`;
}

/** Describe the outcome of an interrupt that no longer waits. */
export function outcomeOf({ type, status, actor, value }: Interrupt): string {
  if (status !== 'resumed') {
    return `“${type}” is not asked any more`;
  }
  const text = value ? ` with ${value[2] || value[1]}` : '';
  return `“${type}” was answered${actor ? ` by ${personName(actor)}` : ''}${text}`;
}

/** Return the name of a person without the random id that Jupyter appends to anonymous users. */
export function personName(actor: string): string {
  return actor.replace(/ \([0-9a-f]{32}\)$/, '');
}

/** Return the share of completed tasks among the completed and failed ones: `98 %`; empty while there are none. */
export function successRate({ counts }: TasksSummary): string {
  const [good, bad] = [counts['completed'] ?? 0, counts['failed'] ?? 0];
  if (good + bad === 0) {
    return '';
  }
  const rate = Math.round((100 * good) / (good + bad));
  // Rounding must not hide the last failure or the first success.
  return bad > 0 && rate === 100 ? '> 99 %' : good > 0 && rate === 0 ? '< 1 %' : `${rate} %`;
}

/** Return why a node ran or was reused, as a label and a text; null if it takes no part in reuse. */
export function reuseLine(reuse: Reuse | null): readonly [string, string] | null {
  if (!reuse) {
    return null;
  }
  const [dispatch, node, reasons, doubts] = reuse;
  if (dispatch) {
    return ['Reused', [`from node ${node} of ${dispatch}`, ...reasons].join('; ')];
  }
  return ['Ran, because', [...reasons, ...doubts.map(doubt => `not kept for reuse: ${doubt}`)].join('; ')];
}

/** Return the type and size of a value in one short line. */
export function describeValue([size, type]: Value): string {
  return `${type} · ${formatSize(size)}`;
}

/** Return tags as they are shown: `#paper #night`. */
export function tagsLabel(tags: readonly string[] | undefined): string {
  return (tags ?? []).map(tag => `#${tag}`).join(' '); // a notebook may have been saved before there were tags
}

/** Return the message of anything that was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
