/**
 * What happens in a dispatch beside its graph, read again when something may have happened, and not too often. No DOM.
 */
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Execution } from './wire';

const PAUSE = 1000;
const PAUSE_AFTER_FAILURE = 5000;

/** Reads one execution, at most once a second; less often while that fails. */
export class ExecutionReader implements IDisposable {
  constructor(read: () => Promise<Execution>) {
    this._read = read;
  }

  /** Emitted after the execution was replaced by a newer one. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** As it was read last; null before that. */
  get execution(): Execution | null {
    return this._execution;
  }

  /** Whether the last try to read it did not succeed. */
  get hasFailed(): boolean {
    return this._failed;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    window.clearTimeout(this._timer);
    Signal.clearData(this);
  }

  /** Read it, now or soon. A failure is no news: whoever shows the dispatch says that it is out of reach. */
  ask(): void {
    if (this._reading) {
      this._again = true;
    } else if (this._timer === 0 && !this._disposed) {
      this._timer = window.setTimeout(() => void this._fetch(), Math.max(0, this._last + (this._failed ? PAUSE_AFTER_FAILURE : PAUSE) - Date.now()));
    }
  }

  /** Take what an answer brought, unless something newer is known. */
  take(execution: Execution): void {
    if (!this._disposed && execution.version >= (this._execution?.version ?? -1)) {
      this._execution = execution;
      this._changed.emit();
    }
  }

  private async _fetch(): Promise<void> {
    this._timer = 0;
    this._last = Date.now();
    this._reading = true;
    const read = await this._read().catch(() => null);
    this._failed = read === null;
    this._reading = false;
    if (read) {
      this.take(read);
    }
    if (this._again) {
      this._again = false;
      this.ask();
    }
  }

  private readonly _read: () => Promise<Execution>;
  private readonly _changed = new Signal<this, void>(this);
  private _execution: Execution | null = null;
  private _timer = 0;
  private _last = 0;
  private _reading = false;
  private _again = false;
  private _failed = false;
  private _disposed = false;
}
