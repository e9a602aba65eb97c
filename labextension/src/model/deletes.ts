/**
 * Deletions that wait a few seconds, in which they can be taken back. No DOM.
 */

/** Milliseconds in which a deletion can be taken back. */
export const UNDO = 6000;

/** Holds what is to be deleted; `act` deletes one, `changed` is called whenever `ids` has changed. */
export class PendingDeletes {
  constructor(act: (id: string) => Promise<void>, changed: () => void) {
    this._act = act;
    this._changed = changed;
  }

  /** The ids that are to be deleted, and those that are being deleted. */
  has(id: string): boolean {
    return this._waiting.has(id) || this._leaving.has(id);
  }

  /** Number of those that can be taken back. */
  get count(): number {
    return this._waiting.size;
  }

  /** Delete these after a while; the time of those that wait begins anew. */
  add(ids: Iterable<string>): void {
    for (const id of ids) {
      this._waiting.add(id);
    }
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this._run(), UNDO);
    this._changed();
  }

  /** Delete none of those that wait. */
  undo(): void {
    clearTimeout(this._timer);
    this._waiting.clear();
    this._changed();
  }

  /** Forget what waits: the page is closed, and nothing has been deleted. */
  dispose(): void {
    clearTimeout(this._timer);
  }

  private async _run(): Promise<void> {
    const ids = [...this._waiting];
    ids.forEach(id => this._leaving.add(id));
    this._waiting.clear();
    this._changed();
    for (const id of ids) {
      await this._act(id).catch(() => undefined); // `act` shows its own errors; the row comes back
      this._leaving.delete(id);
    }
    this._changed();
  }

  private readonly _act: (id: string) => Promise<void>;
  private readonly _changed: () => void;
  private readonly _waiting = new Set<string>();
  private readonly _leaving = new Set<string>();
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
