/**
 * Event feed: the dispatch events of the Jupyter server as a signal.
 */
import type { Event } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import { EVENT_SCHEMA } from '../tokens';
import type { DispatchSummary } from '../wire';

/** Connects to the event stream until disposed. */
export class Feed implements IDisposable {
  constructor(events: Event.IManager) {
    this._events = events;
    events.stream.connect(this._onEvent, this);
  }

  /** Emitted with the dispatches that changed. Lost events are not repeated, so a model also polls. */
  get changed(): ISignal<this, readonly DispatchSummary[]> {
    return this._changed;
  }

  /** Emitted with the id of a dispatch that this page has deleted. */
  get deleted(): ISignal<this, string> {
    return this._deleted;
  }

  announceDeleted(id: string): void {
    this._deleted.emit(id);
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    if (!this._disposed) {
      this._disposed = true;
      this._events.stream.disconnect(this._onEvent, this);
      Signal.clearData(this);
    }
  }

  private _onEvent(_: Event.IManager, event: Event.Emission): void {
    if (event.schema_id === EVENT_SCHEMA) {
      this._changed.emit((event['dispatches'] ?? []) as unknown as readonly DispatchSummary[]);
    }
  }

  private readonly _events: Event.IManager;
  private readonly _deleted = new Signal<this, string>(this);
  private readonly _changed = new Signal<this, readonly DispatchSummary[]>(this);
  private _disposed = false;
}
