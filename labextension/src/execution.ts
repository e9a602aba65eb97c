/**
 * What happens in a dispatch beside its graph, read again when something may have happened, and not too often. No DOM.
 */
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { ExecutionView } from './wire';

const PAUSE = 1000;
const TRIES = 3;

/** Reads one execution, at most once a second; when that fails, a few times more, and less often. */
export class ExecutionReader implements IDisposable {
  constructor(read: () => Promise<ExecutionView>, pause = PAUSE) {
    this._read = read;
    this._pause = pause;
  }

  /** Emitted after the execution was replaced by a newer one. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** As it was read last; null before that. */
  get execution(): ExecutionView | null {
    return this._execution;
  }

  /** Whether the last try to read it did not succeed. */
  get hasFailed(): boolean {
    return this._failures > 0;
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
      this._timer = window.setTimeout(() => void this._fetch(), Math.max(0, this._last + (this.hasFailed ? 5 : 1) * this._pause - Date.now()));
    }
  }

  /** Take what an answer brought, unless something newer is known. */
  take(execution: ExecutionView): void {
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
    this._failures = read ? 0 : this._failures + 1;
    this._reading = false;
    if (read) {
      this.take(read);
    }
    if (this._again || (this.hasFailed && this._failures <= TRIES)) {
      this._again = false;
      this.ask();
    }
  }

  private readonly _read: () => Promise<ExecutionView>;
  private readonly _pause: number;
  private readonly _changed = new Signal<this, void>(this);
  private _execution: ExecutionView | null = null;
  private _timer = 0;
  private _last = 0;
  private _reading = false;
  private _again = false;
  private _failures = 0;
  private _disposed = false;
}
