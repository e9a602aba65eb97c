/**
 * Reader of a dispatch's execution (state, interrupts, interventions, stream), limited in how often it reads. No DOM.
 */
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { ExecutionView } from '../wire';

/** Milliseconds between two reads. */
const INTERVAL = 1000;

/** After a failure the interval is this many times longer. */
const BACKOFF = 5;

const MAX_RETRIES = 3;

/** Reads one execution at most once per interval; after a failure, a few times more and less often. */
export class ExecutionReader implements IDisposable {
  constructor(read: () => Promise<ExecutionView>, interval = INTERVAL) {
    this._read = read;
    this._interval = interval;
  }

  /** Emitted after the execution was replaced by a newer one. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The execution as last read; null before the first read. */
  get execution(): ExecutionView | null {
    return this._execution;
  }

  /** Whether the last read failed. */
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

  /** Read the execution now or when the interval is over. A failure is not reported: the view shows that it is stale. */
  refresh(): void {
    if (this._reading) {
      this._readAgain = true; // the answer on its way may be older than the change
    } else if (this._timer === 0 && !this._disposed) {
      const interval = (this.hasFailed ? BACKOFF : 1) * this._interval;
      this._timer = window.setTimeout(() => void this._fetch(), Math.max(0, this._lastRead + interval - Date.now()));
    }
  }

  /** Accept an execution that a command returned, unless a newer one is known. */
  accept(execution: ExecutionView): void {
    if (!this._disposed && execution.version >= (this._execution?.version ?? -1)) {
      this._execution = execution;
      this._changed.emit();
    }
  }

  private async _fetch(): Promise<void> {
    this._timer = 0;
    this._lastRead = Date.now();
    this._reading = true;
    const execution = await this._read().catch(() => null);
    this._failures = execution ? 0 : this._failures + 1;
    this._reading = false;
    if (execution) {
      this.accept(execution);
    }
    if (this._readAgain || (this.hasFailed && this._failures <= MAX_RETRIES)) {
      this._readAgain = false;
      this.refresh();
    }
  }

  private readonly _read: () => Promise<ExecutionView>;
  private readonly _interval: number;
  private readonly _changed = new Signal<this, void>(this);
  private _execution: ExecutionView | null = null;
  private _timer = 0;
  private _lastRead = 0;
  private _reading = false;
  private _readAgain = false;
  private _failures = 0;
  private _disposed = false;
}
