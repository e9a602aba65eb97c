/**
 * Sentence that says where the time of a dispatch went, and what would make it shorter. Pure.
 */
import { counted, formatDuration, formatElapsed } from '../text';
import { type IAccount, type IScheduleInput, type ISchedule, simulate } from './schedule';

/** Least share of the whole time that is worth a word. */
const SHARE = 0.05;

/** Least share that more workers must save to be worth a word, and least seconds. */
const SAVING = 0.1;
const SAVED_SECONDS = 0.5;

/** Most nodes of a graph for which other numbers of workers are tried: it takes a moment for each. */
const MOST_SIMULATED = 5000;

/** Numbers of further workers that are tried. */
const MORE = [1, 2, 4, 8, 16, 32, 64];

const WAITS: readonly (readonly [keyof IAccount, string])[] = [
  ['worker', 'waiting for a worker'],
  ['start', 'before the first task began'],
  ['rerun', 'in runs that failed and the waits after them'],
  ['person', 'waiting for an answer']
];

/** Return the answer to “why is it slow”; `nameOf` names a node. Empty if nothing has begun. */
export function reasonOf(schedule: ISchedule, input: IScheduleInput, nameOf: (node: number) => string, now: number): string {
  const { path, account, start, end } = schedule;
  const all = (end ?? now) - start;
  if (path.length === 0 || all <= 0) {
    return '';
  }
  const waits = WAITS.filter(([kind]) => account[kind] >= SHARE * all)
    .sort(([a], [b]) => account[b] - account[a])
    .map(([kind, text]) => `${formatDuration(account[kind])} ${text}`);
  const length = end === null ? `${formatElapsed(all)} so far` : formatDuration(all);
  const longest = longestOf(schedule, now);
  const parts = [waits.length > 0 ? `${length}, of it ${joined(waits)}` : path.length === 1 ? length : `${length}, spent in ${counted(path.length, 'task')} that need each other`];
  if (longest && longest.seconds >= SHARE * all) {
    const { node, seconds } = longest;
    parts.push(path.length === 1 ? `nearly all of it is ${nameOf(node)}` : `longest on the critical path: ${nameOf(node)}, ${formatDuration(seconds)}`);
  }
  if (end !== null && account.worker >= SAVING * all) {
    parts.push(...savingOf(schedule, input, all));
  }
  return `${parts.join('; ')}.`;
}

function joined(texts: readonly string[]): string {
  return texts.length < 2 ? texts.join() : `${texts.slice(0, -1).join(', ')} and ${texts[texts.length - 1]}`;
}

/** Return the longest run on the critical path. */
function longestOf({ bars }: ISchedule, now: number): { node: number; seconds: number } | null {
  let found: { node: number; seconds: number } | null = null;
  for (const { node, start, end, isCritical, kind } of bars) {
    const seconds = (end ?? now) - start;
    if (isCritical && kind === 'run' && seconds > (found?.seconds ?? 0)) {
      found = { node, seconds };
    }
  }
  return found;
}

/** Return what the fewest further workers would save that save most of what any number would. */
function savingOf({ workers }: ISchedule, input: IScheduleInput, all: number): string[] {
  if (workers === 0 || input.nodes.length > MOST_SIMULATED) {
    return [];
  }
  const now = simulate(input, workers);
  const possible = now - simulate(input, Infinity);
  if (possible < SAVING * all || possible < SAVED_SECONDS) {
    return [];
  }
  for (const more of MORE) {
    const saved = now - simulate(input, workers + more);
    if (saved >= 0.8 * possible) {
      return [`${counted(more, 'more worker')} could save about ${formatDuration(saved)}`];
    }
  }
  return [`many more workers could save up to ${formatDuration(possible)}`];
}
