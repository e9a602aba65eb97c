/**
 * Model of the searchable list: what is asked for, and the pages that the server gave. No DOM.
 */
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Client } from '../client';
import { errorMessage } from '../text';
import type { DispatchGroup, DispatchRow, DispatchSummary } from '../wire';
import type { Feed } from './feed';

/** Groups per page, and runs of one group. */
const PAGE = 50;

/** Milliseconds from a change to the next read: changes come in bursts. */
const DELAY = 400;

/** What is listed. */
export interface IWanted {
  readonly text: string;
  readonly only: '' | 'active' | 'completed' | 'failed' | 'failed_tasks' | 'cancelled_tasks';
  readonly sort: 'newest' | 'oldest' | 'longest' | 'name';
  /** Only dispatches with this tag; empty: all. */
  readonly tag: string;
}

/** Holds the groups that match, kept up to date while it is shown. */
export class SearchList implements IDisposable {
  constructor(client: Client, feed: Feed) {
    this._client = client;
    this._feed = feed;
    feed.changed.connect(this._onEvent, this);
    feed.deleted.connect(this._later, this);
  }

  /** Emitted after the list, or a dispatch in it, has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get groups(): readonly DispatchGroup[] {
    return this._groups;
  }

  get wanted(): IWanted {
    return this._wanted;
  }

  /** Number of groups and of dispatches that match, and of all dispatches. */
  readonly counts = { groups: 0, matching: 0, total: 0 };

  /** All tags that there are. */
  tags: readonly string[] = [];

  /** The reason why the list may be out of date; empty while it is not. */
  problem = '';

  /** Whether the list was read at least once. */
  isReady = false;

  get hasMore(): boolean {
    return this._groups.length < this.counts.groups;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    window.clearTimeout(this._timer);
    this._feed.changed.disconnect(this._onEvent, this);
    this._feed.deleted.disconnect(this._later, this);
    Signal.clearData(this);
  }

  /** Whether somebody looks at it; a hidden list is not read. */
  set isShown(shown: boolean) {
    this._isShown = shown;
    if (shown && this._isOutdated) {
      void this.read();
    }
  }

  /** List other dispatches. */
  want(change: Partial<IWanted>): void {
    this._wanted = { ...this._wanted, ...change };
    this._count = PAGE;
    this._isOutdated = true;
    if (this._isShown) {
      void this.read();
    }
  }

  more(): Promise<void> {
    this._count += PAGE;
    return this.read();
  }

  /** Read the runs of a group, the newest first. */
  async runs(name: string, notebook: string, offset: number): Promise<readonly DispatchRow[]> {
    return (await this._client.list({ ...this._wanted, name, notebook, offset, count: PAGE })).rows;
  }

  async read(): Promise<void> {
    window.clearTimeout(this._timer);
    this._timer = 0;
    const number = ++this._reads;
    this._isOutdated = false;
    try {
      const pages = [];
      for (let offset = 0; offset < this._count; offset += PAGE) {
        pages.push(this._client.groups({ ...this._wanted, offset, count: PAGE }));
      }
      const found = await Promise.all(pages);
      if (number !== this._reads || this._disposed) {
        return; // something else was asked for meanwhile
      }
      this._groups = found.flatMap(({ groups }) => groups);
      Object.assign(this.counts, { groups: found[0].n_groups, matching: found[0].matching, total: found[0].total });
      this.tags = found[0].tags;
      this.problem = '';
      this.isReady = true;
    } catch (error) {
      if (number !== this._reads || this._disposed) {
        return;
      }
      this.problem = errorMessage(error);
      this._isOutdated = true;
      this._timer = window.setTimeout(() => void this.read(), 20_000);
    }
    this._changed.emit();
  }

  private _onEvent(_: Feed, summaries: readonly DispatchSummary[]): void {
    const byId = new Map(summaries.filter(({ root }) => root === null).map(summary => [summary.id, summary]));
    if (byId.size === 0) {
      return;
    }
    let isStructural = false;
    this._groups = this._groups.map(group => {
      const before = group.newest.summary;
      const summary = byId.get(before.id);
      if (!summary || summary.version < before.version) {
        return group;
      }
      byId.delete(before.id);
      isStructural ||= summary.status !== before.status || summary.tags.join() !== before.tags.join();
      return { ...group, newest: { ...group.newest, summary } };
    });
    // What is new, has ended (which has a result now) or has other tags is read; counts of what runs came with the event.
    if (isStructural || byId.size > 0) {
      this._later();
    }
    this._changed.emit();
  }

  private _later(): void {
    this._isOutdated = true;
    if (this._isShown && this._timer === 0) {
      this._timer = window.setTimeout(() => void this.read(), DELAY);
    }
  }

  private readonly _client: Client;
  private readonly _feed: Feed;
  private readonly _changed = new Signal<this, void>(this);
  private _groups: readonly DispatchGroup[] = [];
  private _wanted: IWanted = { text: '', only: '', sort: 'newest', tag: '' };
  private _count = PAGE;
  private _reads = 0;
  private _timer = 0;
  private _isOutdated = true;
  private _isShown = false;
  private _disposed = false;
}
