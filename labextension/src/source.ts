/**
 * A dispatch as the Jupyter server knows it: read once, then again whenever the server says that it changed.
 */
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';
import { type Client, RefusedError } from './client';
import type { Feed } from './feed';
import { fromBundle, withChanges } from './snapshot';
import { isTerminal } from './text';
import type { IBundle, IDispatchSource, IGraph, ISnapshot } from './tokens';
import type { DispatchSummary, ExecutionView, NodeDetail, StreamPage } from './wire';

const SECOND = 1000;

/** Follows one dispatch over REST and events. */
export class ServerSource implements IDispatchSource {
  /** `bundle` is what the notebook kept: shown until the server has answered, and when it does not know the id. */
  constructor(id: string, client: Client, feed: Feed, bundle: IBundle | null) {
    this.id = id;
    this._client = client;
    this._feed = feed;
    this._snapshot = bundle && fromBundle(bundle, '');
    this._feed.changed.connect(this._onEvent, this);
    // Events come at once but are not repeated when one is lost; this makes up for those.
    this._poll = new Poll({
      name: `covalab:dispatch-${id}`,
      factory: () => this._read(),
      frequency: { interval: 5 * SECOND, backoff: true, max: 60 * SECOND },
      standby: 'when-hidden'
    });
  }

  readonly id: string;

  get snapshot(): ISnapshot | null {
    return this._snapshot;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get stirred(): ISignal<this, void> {
    return this._stirred;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    if (!this._disposed) {
      this._disposed = true;
      this._feed.changed.disconnect(this._onEvent, this);
      this._poll.dispose();
      Signal.clearData(this);
    }
  }

  node(node: number): Promise<NodeDetail> {
    return this._client.node(this.id, node);
  }

  async cancel(): Promise<void> {
    await this._client.cancel(this.id);
    this._refresh().catch((error: unknown) => this._fail(error));
  }

  execution(): Promise<ExecutionView> {
    return this._client.execution(this.id);
  }

  stream(since: number, last: number): Promise<StreamPage> {
    return this._client.stream(this.id, since, last);
  }

  answer(interrupt: string, request: string, json: string): Promise<ExecutionView> {
    return this._client.answer(this.id, interrupt, request, json);
  }

  pause(wanted: boolean): Promise<ExecutionView> {
    return this._client.pause(this.id, wanted);
  }

  private _onEvent(_: Feed, dispatches: readonly DispatchSummary[]): void {
    const news = dispatches.find(({ id }) => id === this.id);
    if (news) {
      this._stirred.emit();
    }
    if (news && (!this._live || news.version > (this._snapshot?.summary.version ?? -1))) {
      this._refresh().catch((error: unknown) => this._fail(error));
    }
  }

  /** Read what changed; when that is already going on, once more after it. */
  private async _refresh(): Promise<void> {
    if (this._reading) {
      this._again = true;
      return;
    }
    this._reading = true;
    try {
      do {
        this._again = false;
        await this._fetch();
      } while (this._again && !this._disposed);
    } finally {
      this._reading = false;
    }
  }

  private async _read(): Promise<void> {
    try {
      await this._refresh();
    } catch (error) {
      this._fail(error);
      throw error; // the poll waits longer after each failure
    }
    this._stirred.emit();
    if (this._live && this._snapshot && isTerminal(this._snapshot.summary.status)) {
      void this._poll.stop();
    }
  }

  private async _fetch(): Promise<void> {
    const since = this._live ? (this._snapshot?.summary.version ?? 0) : 0;
    const wanted: Promise<IGraph | null> = this._live && this._snapshot?.graph ? Promise.resolve(null) : this._client.graph(this.id);
    const [changes, graph] = await Promise.all([this._client.changes(this.id, since), wanted]);
    if (this._disposed) {
      return;
    }
    this._live = true;
    this._snapshot = withChanges(this._snapshot, changes, graph);
    this._changed.emit();
  }

  private _fail(error: unknown): void {
    if (this._disposed) {
      return;
    }
    const unknown = error instanceof RefusedError && error.status === 404;
    const reason = unknown
      ? 'This Jupyter server does not know the dispatch: shown as the notebook saved it.'
      : `Shown as last seen: ${error instanceof Error ? error.message : String(error)}`;
    if (unknown) {
      void this._poll.stop();
    }
    if (this._snapshot) {
      this._snapshot = { ...this._snapshot, stale: reason };
      this._changed.emit();
    }
    this._live = false;
  }

  private readonly _client: Client;
  private readonly _feed: Feed;
  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _stirred = new Signal<this, void>(this);
  private _snapshot: ISnapshot | null;
  /** Whether the snapshot is the server's, so that only what changed since is missing. */
  private _live = false;
  private _reading = false;
  private _again = false;
  private _disposed = false;
}
