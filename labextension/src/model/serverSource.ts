/**
 * Source that reads a dispatch from the Jupyter server: once, then after each event that names it.
 */
import { Poll } from '@lumino/polling';
import type { Client } from '../client';
import { RefusedError } from '../refusal';
import { errorMessage, isTerminal } from '../text';
import type { IBundle, IGraph, ILogQuery, IOutputsPage, IPreviewQuery } from '../tokens';
import type { DispatchSummary, ExecutionView, LogPage, NodeDetail, Preview, StreamPage, Timeline } from '../wire';
import type { Feed } from './feed';
import { withChanges } from './snapshot';
import { DispatchSource } from './source';

const SECOND = 1000;

/** Follows one dispatch over REST and events. */
export class ServerSource extends DispatchSource {
  constructor(id: string, client: Client, feed: Feed, bundle: IBundle | null) {
    super(id, bundle);
    this._client = client;
    this._feed = feed;
    this._feed.changed.connect(this._onEvent, this);
    this._feed.deleted.connect(this._onDeleted, this);
    // Events arrive at once, but a lost event is not repeated: the poll finds what it would have announced.
    this._poll = new Poll({
      name: `covalab:dispatch-${id}`,
      factory: () => this._pollOnce(),
      frequency: { interval: 5 * SECOND, backoff: true, max: 60 * SECOND },
      standby: 'when-hidden'
    });
  }

  override dispose(): void {
    if (!this.isDisposed) {
      super.dispose();
      this._feed.changed.disconnect(this._onEvent, this);
      this._feed.deleted.disconnect(this._onDeleted, this);
      this._poll.dispose();
    }
  }

  node(node: number): Promise<NodeDetail> {
    return this._client.node(this.id, node);
  }

  timeline(): Promise<Timeline> {
    return this._client.timeline(this.id);
  }

  readonly reasons = async (): Promise<ReadonlyMap<number, string>> => {
    const { why } = await this._client.notebook(this.id);
    return new Map(Object.entries(why).map(([node, text]) => [Number(node), text]));
  };

  log(query: ILogQuery): Promise<LogPage> {
    return this._client.log(this.id, query);
  }

  readonly tag = async (add: readonly string[], remove: readonly string[]): Promise<void> => {
    const summary = await this._client.tag(this.id, add, remove);
    this.setSnapshot(this.snapshot && { ...this.snapshot, summary: { ...this.snapshot.summary, tags: summary.tags } });
  };

  readonly outputs = (node: number, since: number): Promise<IOutputsPage> => this._client.outputs(this.id, node, since);

  readonly preview = (node: number, query: IPreviewQuery): Promise<Preview> => this._client.preview(this.id, node, query);

  async cancel(): Promise<void> {
    await this._client.cancel(this.id);
    this._refresh().catch((error: unknown) => this._markStale(error));
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

  pause(paused: boolean): Promise<ExecutionView> {
    return this._client.pause(this.id, paused);
  }

  private _onEvent(_: Feed, dispatches: readonly DispatchSummary[]): void {
    const successor = dispatches.find(({ origin, root }) => origin === this.id && root === null);
    if (successor && this.snapshot) {
      this.setSnapshot({ ...this.snapshot, successor });
    }
    const summary = dispatches.find(({ id }) => id === this.id);
    if (!summary) {
      return;
    }
    // Not only when the version grew: a change of the execution does not always change the summary.
    this.emitExecutionChanged();
    const known = this.snapshot?.summary;
    // How far running nodes are is no change of the dispatch, and has no version.
    if (!this._live || summary.version > (known?.version ?? -1) || (summary.progress ?? null) !== (known?.progress ?? null)) {
      this._refresh().catch((error: unknown) => this._markStale(error));
    }
  }

  private _onDeleted(_: Feed, id: string): void {
    if (id === this.id && this.snapshot) {
      void this._poll.stop();
      this._live = false;
      this.setSnapshot({ ...this.snapshot, stale: 'Deleted: its results are gone.', isDeleted: true });
    }
  }

  /** Read the dispatch that runs this one again; from then on events bring it. */
  private async _readSuccessor(): Promise<void> {
    const successor = await this._client.again(this.id).catch(() => null);
    if (successor && this.snapshot && !this.snapshot.isDeleted) {
      this.setSnapshot({ ...this.snapshot, successor });
    }
  }

  /** Read the changes. Calls during a read are merged into one more read after it. */
  private async _refresh(): Promise<void> {
    if (this._reading) {
      this._readAgain = true;
      return;
    }
    this._reading = true;
    try {
      do {
        this._readAgain = false;
        await this._fetch();
      } while (this._readAgain && !this.isDisposed);
    } finally {
      this._reading = false;
    }
  }

  private async _pollOnce(): Promise<void> {
    try {
      await this._refresh();
    } catch (error) {
      this._markStale(error);
      throw error; // the poll backs off after each failure
    }
    this.emitExecutionChanged();
    if (this._live && this.snapshot && isTerminal(this.snapshot.summary.status)) {
      void this._poll.stop(); // a finished dispatch is immutable
      void this._readSuccessor();
    }
  }

  private async _fetch(): Promise<void> {
    const since = this._live ? (this.snapshot?.summary.version ?? 0) : 0;
    const graphRead: Promise<IGraph | null> = this._live && this.snapshot?.graph ? Promise.resolve(null) : this._client.graph(this.id);
    const [changes, graph] = await Promise.all([this._client.changes(this.id, since), graphRead]);
    if (this.isDisposed) {
      return;
    }
    this._live = true;
    const { successor = null } = this.snapshot ?? {};
    this.setSnapshot({ ...withChanges(this.snapshot, changes, graph), successor });
  }

  private _markStale(error: unknown): void {
    if (this.isDisposed) {
      return;
    }
    const isUnknown = error instanceof RefusedError && error.status === 404;
    if (isUnknown) {
      void this._poll.stop();
    }
    if (this.snapshot) {
      const stale = isUnknown
        ? 'This Jupyter server does not know the dispatch: it was deleted, or is another server’s. Shown as the notebook saved it.'
        : isTerminal(this.snapshot.summary.status)
          ? `Shown as last seen: ${errorMessage(error)}`
          : `The server does not answer; the work goes on. Shown as last seen: ${errorMessage(error)}`;
      this.setSnapshot({ ...this.snapshot, stale });
    }
    this._live = false;
  }

  private readonly _client: Client;
  private readonly _feed: Feed;
  private readonly _poll: Poll;
  /** Whether the snapshot is the server's, so that only the changes since its version have to be read. */
  private _live = false;
  private _reading = false;
  private _readAgain = false;
}
