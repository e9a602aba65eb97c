/**
 * Lines of a log that a page holds: a window, to which earlier and later lines are added. Pure, no DOM.
 */
import type { LogLine, LogPage } from '../wire';

/** The most lines that are held; those at the other end are dropped. */
export const MOST_LINES = 2000;

/** Return the place of a line, as the server takes it. */
export function placeOf([at, node, attempt, number]: LogLine): string {
  return [at, node, attempt, number].join();
}

function compare(a: LogLine, b: LogLine): number {
  for (const at of [0, 1, 2, 3] as const) {
    if (a[at] !== b[at]) {
      return a[at] - b[at];
    }
  }
  return 0;
}

/** Holds lines in the order of the log. */
export class LogWindow {
  lines: readonly LogLine[] = [];

  /** The places to ask on from at both ends; null where the log begins, or ends. */
  earlier: string | null = null;
  later: string | null = null;

  /** Replace the end of the lines by the last page of the log. */
  showLast(page: LogPage): void {
    const first = page.lines[0];
    if (!first && this.lines.length === 0 && this.earlier !== null) {
      return; // a search that has found nothing is further than this page
    }
    const before = first ? this.lines.filter(line => compare(line, first) < 0) : [];
    // More may have come since than a page has: what lies between is not known.
    const isGap = this.lines.length === 0 || this.later !== null || (page.more && before.length === this.lines.length);
    if (isGap) {
      this.lines = page.lines;
      this.earlier = page.more ? page.reached : null;
    } else if (first) {
      this.lines = [...before, ...page.lines];
    }
    this.later = null;
    this._dropFirst();
  }

  /** Add the page before the first line. */
  addEarlier(page: LogPage): void {
    this.lines = [...page.lines, ...this.lines];
    this.earlier = page.more ? page.reached : null;
    if (this.lines.length > MOST_LINES) {
      this.lines = this.lines.slice(0, MOST_LINES);
      this.later = placeOf(this.lines[MOST_LINES - 1]);
    }
  }

  /** Add the page after the last line. */
  addLater(page: LogPage): void {
    this.lines = [...this.lines, ...page.lines];
    this.later = page.more ? page.reached : null;
    this._dropFirst();
  }

  clear(): void {
    this.lines = [];
    this.earlier = this.later = null;
  }

  private _dropFirst(): void {
    if (this.lines.length > MOST_LINES) {
      this.lines = this.lines.slice(-MOST_LINES);
      this.earlier = placeOf(this.lines[0]);
    }
  }
}
