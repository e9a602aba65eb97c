/**
 * How all tasks stand, for as long as somebody looks. No DOM.
 */
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Client } from './client';
import type { DispatchesModel } from './dispatches';
import { prettyName } from './text';
import type { TaskRow, TasksSummary } from './wire';

const PAUSE = 3000;

/** The task that has been running for longest. */
export interface ILongest {
  readonly dispatch: string;
  readonly name: string;
  readonly started: number;
}

/** Counts the tasks of all dispatches again when a dispatch has changed: every few seconds, and only while shown. */
export class Overview implements IDisposable {
  constructor(client: Client, dispatches: DispatchesModel) {
    this._client = client;
    this._dispatches = dispatches;
    dispatches.changed.connect(this._onChange, this);
    document.addEventListener('visibilitychange', this._plan);
  }

  /** Emitted after the tasks were counted again. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Null until they were counted. */
  get summary(): TasksSummary | null {
    return this._summary;
  }

  get longest(): ILongest | null {
    return this._longest;
  }

  /** Whether somebody looks. */
  set isShown(shown: boolean) {
    this._shown = shown;
    this._plan();
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    window.clearTimeout(this._timer);
    this._dispatches.changed.disconnect(this._onChange, this);
    document.removeEventListener('visibilitychange', this._plan);
    Signal.clearData(this);
  }

  private _onChange(): void {
    this._old = true;
    this._plan();
  }

  private _plan = (): void => {
    if (this._old && this._shown && !document.hidden && this._timer === 0 && !this._disposed) {
      this._timer = window.setTimeout(() => void this._read(), Math.max(0, this._last + PAUSE - Date.now()));
    }
  };

  private async _read(): Promise<void> {
    this._last = Date.now();
    if (this._shown && !document.hidden) {
      this._old = false;
      try {
        const summary = await this._client.tasksSummary();
        this._longest = await this._named(summary.oldest_running);
        this._summary = summary;
        this._changed.emit();
      } catch {
        this._old = true; // the list says what is wrong; with its next change this is tried again
        this._timer = 0;
        return;
      }
    }
    this._timer = 0;
    this._plan();
  }

  /** A row has no name: ask for that once. */
  private async _named(row: TaskRow | null): Promise<ILongest | null> {
    if (!row) {
      return null;
    }
    const key = `${row.dispatch}:${row.node}`;
    if (this._name[0] !== key) {
      const { name, kind } = await this._client.node(row.dispatch, row.node);
      this._name = [key, prettyName(name, kind)];
    }
    return { dispatch: row.dispatch, name: this._name[1], started: row.started_at ?? row.enqueued_at };
  }

  private readonly _client: Client;
  private readonly _dispatches: DispatchesModel;
  private readonly _changed = new Signal<this, void>(this);
  private _summary: TasksSummary | null = null;
  private _longest: ILongest | null = null;
  private _name: readonly [string, string] = ['', ''];
  private _old = true;
  private _shown = false;
  private _timer = 0;
  private _last = 0;
  private _disposed = false;
}
