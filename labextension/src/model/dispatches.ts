/**
 * Model of the list of dispatches: the newest ones, kept up to date by events and a poll. No DOM.
 */
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Client } from '../client';
import type { Feed } from './feed';
import { errorMessage, isTerminal } from '../text';
import type { DispatchSummary, ExecutionView } from '../wire';

/** Dispatches per page. */
const PAGE = 50;

/** The most child dispatches that are read. */
const MAX_CHILDREN = 1000;

/** Holds the newest dispatches, and the child dispatches of those that were unfolded. */
export class DispatchesModel implements IDisposable {
  constructor(client: Client, feed: Feed) {
    this._client = client;
    this._feed = feed;
    this._feed.changed.connect(this._onEvent, this);
    this._poll = new Poll({
      name: 'covalab:dispatches',
      factory: () => this._read(),
      frequency: { interval: 20_000, backoff: true, max: 120_000 },
      standby: 'when-hidden'
    });
  }

  /** Emitted after the list, or a dispatch in it, has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** All known dispatches, the newest first. */
  get dispatches(): readonly DispatchSummary[] {
    return this._sorted;
  }

  /** The dispatches that have not ended. */
  get active(): readonly DispatchSummary[] {
    return this._sorted.filter(({ status, held }) => !isTerminal(status) && !held);
  }

  /** The reason why the list may be out of date; empty while it is not. */
  get problem(): string {
    return this._problem;
  }

  /** Whether the server has older dispatches that are not listed. */
  get hasMore(): boolean {
    return this._hasMore;
  }

  /** Whether the list was read at least once. */
  get isReady(): boolean {
    return this._ready;
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

  /** Return the child dispatches below a dispatch, the oldest first, as far as `unfold` has read them. */
  below(root: string): readonly DispatchSummary[] {
    return [...(this._families.get(root)?.values() ?? [])].sort((a, b) => a.created_at - b.created_at);
  }

  /** Read the child dispatches below a dispatch; from then on events keep them up to date. */
  async unfold(root: string): Promise<void> {
    if (!this._families.has(root)) {
      this._families.set(root, new Map());
      try {
        this._merge(await this._client.dispatches({ root, count: MAX_CHILDREN }));
      } catch (error) {
        this._families.delete(root);
        this._problem = errorMessage(error);
        this._changed.emit();
      }
    }
  }

  /** Read the list again. */
  refresh(): Promise<void> {
    return this._poll.refresh();
  }

  /** List one more page of older dispatches. */
  async more(): Promise<void> {
    this._count += PAGE;
    await this.refresh();
  }

  async cancel(id: string): Promise<void> {
    this._merge([await this._client.cancel(id)]);
  }

  /** Read the execution of a dispatch. */
  execution(id: string): Promise<ExecutionView> {
    return this._client.execution(id);
  }

  /** Answer an interrupt; see `Client.answer`. */
  answer(id: string, interrupt: string, request: string, json: string): Promise<ExecutionView> {
    return this._client.answer(id, interrupt, request, json);
  }

  /** Pause or resume a dispatch. The answer has no summary: an event will bring it. */
  async pause(id: string, paused: boolean): Promise<void> {
    await this._client.pause(id, paused);
  }

  async start(id: string): Promise<void> {
    this._merge([await this._client.start(id)]);
  }

  /** Run a dispatch again and return the new id. */
  async redispatch(id: string, reuse: boolean, nodes: readonly number[] = []): Promise<string> {
    const summary = await this._client.redispatch(id, reuse, nodes);
    this._merge([summary]);
    return summary.id;
  }

  async delete(id: string): Promise<void> {
    await this._client.delete(id);
    this._feed.announceDeleted(id);
    this._known.delete(id);
    this._families.delete(id);
    this._sort();
  }

  private async _read(): Promise<void> {
    try {
      const found = await this._client.dispatches({ count: this._count });
      this._known.clear();
      this._hasMore = found.length >= this._count;
      this._problem = '';
      this._ready = true;
      this._merge(found);
    } catch (error) {
      this._problem = errorMessage(error);
      this._ready = true;
      this._changed.emit();
      throw error; // the poll backs off after each failure
    }
  }

  private _onEvent(_: Feed, dispatches: readonly DispatchSummary[]): void {
    this._merge(dispatches);
  }

  private _merge(dispatches: readonly DispatchSummary[]): void {
    for (const summary of dispatches) {
      // A sublattice is listed below its outermost dispatch, and only if that was unfolded.
      const known = summary.root === null || summary.root === summary.id ? this._known : this._families.get(summary.root);
      // Events and answers may overtake each other: an older version is dropped.
      if (known && summary.version >= (known.get(summary.id)?.version ?? -1)) {
        known.set(summary.id, summary);
      }
    }
    this._sort();
  }

  private _sort(): void {
    this._sorted = [...this._known.values()].sort((a, b) => b.created_at - a.created_at);
    this._changed.emit();
  }

  private readonly _client: Client;
  private readonly _feed: Feed;
  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _known = new Map<string, DispatchSummary>();
  private readonly _families = new Map<string, Map<string, DispatchSummary>>();
  private _sorted: readonly DispatchSummary[] = [];
  private _problem = '';
  private _hasMore = false;
  private _ready = false;
  private _count = PAGE;
  private _disposed = false;
}
