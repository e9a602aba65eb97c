/**
 * Decision which dispatches a reader is told about: long ones that ended, failed or wait for a person. No DOM.
 */
import { formatDuration, isTerminal } from '../text';
import type { DispatchSummary } from '../wire';

/** Something to notify of. */
export interface IEnding {
  readonly id: string;
  readonly text: string;
  readonly isBad: boolean;
}

/** Remembers which dispatches were seen under way, so that each end is announced once, and no old one. */
export class Endings {
  /** `after` returns the least seconds that a dispatch must have taken; 0 or less: none is announced. */
  constructor(after: () => number) {
    this._after = after;
  }

  /** Take summaries that changed, and return what to notify of. */
  take(summaries: readonly DispatchSummary[], now: number): IEnding[] {
    return summaries.flatMap(summary => this._of(summary, now) ?? []);
  }

  private _of(summary: DispatchSummary, now: number): IEnding | null {
    const { id, name, status, root, waiting, started_at: start, ended_at: end } = summary;
    const before = this._waiting.get(id);
    const seconds = (end ?? now) - (start ?? end ?? now);
    const isLong = this._after() > 0 && seconds >= this._after();
    if (!isTerminal(status)) {
      this._waiting.set(id, waiting);
      return waiting > (before ?? 0) && isLong ? { id, text: `${name} waits for an answer.`, isBad: false } : null;
    }
    this._waiting.delete(id);
    // One that this page did not see under way ended long ago, or before the page was opened.
    if (before === undefined || !isLong || root !== null || status === 'cancelled') {
      return null;
    }
    const took = formatDuration(seconds);
    return status === 'completed' ? { id, text: `${name} completed after ${took}.`, isBad: false } : { id, text: `${name} failed after ${took}.`, isBad: true };
  }

  private readonly _after: () => number;
  private readonly _waiting = new Map<string, number>();
}
