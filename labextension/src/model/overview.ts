/**
 * Model of the dashboard: counts of all tasks, read again while the dashboard is visible. No DOM.
 */
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Client } from '../client';
import type { DispatchesModel } from './dispatches';
import { nameCells, nodeName } from '../graph/labels';
import { isNotebookRun, prettyName, total } from '../text';
import type { TaskRow, TasksSummary } from '../wire';

/** Milliseconds between two reads. */
const INTERVAL = 3000;

/** The most nodes of a graph that is read for the name of one of them. */
const MOST_NODES = 5000;

/** The longest running task. */
export interface ILongestTask {
  readonly dispatch: string;
  readonly name: string;
  readonly started: number;
}

/** Reads the counts after a dispatch has changed, at most once per interval, and only while they are visible. */
export class Overview implements IDisposable {
  constructor(client: Client, dispatches: DispatchesModel) {
    this._client = client;
    this._dispatches = dispatches;
    dispatches.changed.connect(this._onChange, this);
    document.addEventListener('visibilitychange', this._schedule);
  }

  /** Emitted after the counts were read. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The counts as last read; null before the first read. */
  get summary(): TasksSummary | null {
    return this._summary;
  }

  get longest(): ILongestTask | null {
    return this._longest;
  }

  /** Whether the dashboard is visible. */
  set isShown(shown: boolean) {
    this._shown = shown;
    this._schedule();
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    window.clearTimeout(this._timer);
    this._dispatches.changed.disconnect(this._onChange, this);
    document.removeEventListener('visibilitychange', this._schedule);
    Signal.clearData(this);
  }

  private _onChange(): void {
    this._outdated = true;
    this._schedule();
  }

  private _schedule = (): void => {
    if (this._outdated && this._shown && !document.hidden && this._timer === 0 && !this._disposed) {
      this._timer = window.setTimeout(() => void this._read(), Math.max(0, this._lastRead + INTERVAL - Date.now()));
    }
  };

  private async _read(): Promise<void> {
    this._lastRead = Date.now();
    // It may have been hidden while the timer ran.
    if (this._shown && !document.hidden) {
      this._outdated = false;
      try {
        const summary = await this._client.tasksSummary();
        this._longest = await this._describe(summary.oldest_running);
        this._summary = summary;
        this._changed.emit();
      } catch {
        this._outdated = true; // read again with the next change; the list shows the error
        this._timer = 0;
        return;
      }
    }
    this._timer = 0;
    this._schedule();
  }

  /** Describe a task by its name, which its row lacks; it is read once. */
  private async _describe(row: TaskRow | null): Promise<ILongestTask | null> {
    if (!row) {
      return null;
    }
    const key = `${row.dispatch}:${row.node}`;
    if (this._name[0] !== key) {
      this._name = [key, await this._nameOf(row)];
    }
    return { dispatch: row.dispatch, name: this._name[1], started: row.started_at ?? row.enqueued_at };
  }

  /** Return the name of a task as its dispatch has it, with what tells it apart from its siblings. */
  private async _nameOf({ dispatch, node }: TaskRow): Promise<string> {
    const summary = this._dispatches.dispatches.find(({ id }) => id === dispatch);
    if (!summary || total(summary.counts) > MOST_NODES) {
      const { name, kind } = await this._client.node(dispatch, node);
      return prettyName(name, kind);
    }
    const graph = await this._client.graph(dispatch);
    if (isNotebookRun(summary)) {
      nameCells(graph);
    }
    return nodeName(graph, node);
  }

  private readonly _client: Client;
  private readonly _dispatches: DispatchesModel;
  private readonly _changed = new Signal<this, void>(this);
  private _summary: TasksSummary | null = null;
  private _longest: ILongestTask | null = null;
  private _name: readonly [string, string] = ['', ''];
  private _outdated = true;
  private _shown = false;
  private _timer = 0;
  private _lastRead = 0;
  private _disposed = false;
}
