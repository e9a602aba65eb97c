/**
 * Base class of the two sources of a dispatch: the Jupyter server and the kernel.
 */
import { type ISignal, Signal } from '@lumino/signaling';
import type { IBundle, IDispatchSource, ILogQuery, ISnapshot } from '../tokens';
import type { ExecutionView, LogPage, NodeDetail, StreamPage, Timeline } from '../wire';
import { fromBundle } from './snapshot';

/** Holds the latest snapshot and emits the signals; a subclass transports requests and changes. */
export abstract class DispatchSource implements IDispatchSource {
  /** `bundle` is shown until the first changes arrive, and for as long as the id is unknown to the other side. */
  protected constructor(id: string, bundle: IBundle | null) {
    this.id = id;
    this._snapshot = bundle && fromBundle(bundle);
  }

  readonly id: string;

  get snapshot(): ISnapshot | null {
    return this._snapshot;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get executionChanged(): ISignal<this, void> {
    return this._executionChanged;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    Signal.clearData(this);
  }

  abstract readonly outputs: IDispatchSource['outputs'];
  abstract readonly reasons: IDispatchSource['reasons'];
  abstract readonly preview: IDispatchSource['preview'];
  abstract node(node: number): Promise<NodeDetail>;
  abstract timeline(): Promise<Timeline>;
  abstract log(query: ILogQuery): Promise<LogPage>;
  abstract readonly tag: IDispatchSource['tag'];
  abstract cancel(): Promise<void>;
  abstract execution(): Promise<ExecutionView>;
  abstract stream(since: number, last: number): Promise<StreamPage>;
  abstract answer(interrupt: string, request: string, json: string): Promise<ExecutionView>;
  abstract pause(paused: boolean): Promise<ExecutionView>;

  /** Replace the snapshot and emit `changed`; after disposal nothing happens, since an answer may still arrive then. */
  protected setSnapshot(snapshot: ISnapshot | null): void {
    if (!this._disposed) {
      this._snapshot = snapshot;
      this._changed.emit();
    }
  }

  /** Emit `executionChanged`. */
  protected emitExecutionChanged(): void {
    this._executionChanged.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _executionChanged = new Signal<this, void>(this);
  private _snapshot: ISnapshot | null;
  private _disposed = false;
}
