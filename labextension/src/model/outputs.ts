/**
 * Outputs of one node: pages of the server, and a reader that follows them until they are complete. No user interface.
 */
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';
import { RefusedError } from '../refusal';
import type { IOutput, IOutputsPage } from '../tokens';

/** Milliseconds between two reads: the least, and the most while nothing changes. */
const FAST = 400;
const SLOW = 3000;

/** Share of the time that reading and drawing may take: a large output is read less often. */
const LOAD = 0.2;

/** The most reads in a row without a change after the node has ended: the server may lack the rest. */
const MAX_VAIN_READS = 8;

/** Outputs as far as they are known. */
export interface IKnownOutputs {
  readonly outputs: readonly IOutput[];
  /** Number of the last change; 0 when nothing was read. */
  readonly number: number;
  readonly isFinal: boolean;
}

export const NOTHING_READ: IKnownOutputs = { outputs: [], number: 0, isFinal: false };

/** Return the outputs after a page; null if the page does not continue them, so that all have to be read again. */
export function withPage(known: IKnownOutputs, page: IOutputsPage): IKnownOutputs | null {
  if (page.first > known.outputs.length) {
    return null;
  }
  return {
    outputs: page.number === known.number && page.outputs.length === 0 ? known.outputs : [...known.outputs.slice(0, page.first), ...page.outputs],
    number: page.number,
    isFinal: page.is_final
  };
}

/** Follows the outputs of one node. */
export class OutputsReader implements IDisposable {
  /**
   * @param read - Read the outputs that changed after a number.
   * @param known - The outputs that a notebook saved.
   */
  constructor(read: (since: number) => Promise<IOutputsPage>, known: IKnownOutputs = NOTHING_READ) {
    this._read = read;
    this._known = known;
    this._poll = new Poll({
      name: 'covalab:outputs',
      auto: false,
      factory: () => this._tick(),
      frequency: { interval: FAST, backoff: true, max: 10 * SLOW },
      standby: 'when-hidden'
    });
  }

  get known(): IKnownOutputs {
    return this._known;
  }

  /** Whether the server has answered at least once. */
  get wasRead(): boolean {
    return this._wasRead;
  }

  /** Whether nothing more is read: all is known, or the server does not have it. */
  get isOver(): boolean {
    return this._isOver || this._known.isFinal;
  }

  /** Emitted after the outputs changed or became final, and when nothing more is read. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  dispose(): void {
    this._poll.dispose();
    Signal.clearData(this);
  }

  /** Take over newer outputs from elsewhere: the kernel updates its output as well. */
  accept(known: IKnownOutputs): void {
    const isNewer = known.number > this._known.number || (known.isFinal && !this._known.isFinal);
    if (isNewer && !this._known.isFinal) {
      this._set(known);
    }
  }

  /** Read now, and go on while there is more to come; `hasEnded`: the node has. */
  follow(hasEnded: boolean): void {
    if (this._known.isFinal || this._isRefused || this.isDisposed) {
      return;
    }
    this._hasEnded = hasEnded;
    this._isOver = false;
    this._vainReads = 0;
    this._interval = FAST;
    void this._poll.refresh();
  }

  private async _tick(): Promise<void> {
    if (this._isReading) {
      return; // two answers could cross; the next tick reads what this one would have
    }
    this._isReading = true;
    const start = Date.now();
    try {
      await this._fetch();
    } catch (error) {
      this._isRefused = error instanceof RefusedError && error.status === 404; // an older server, or an unknown dispatch
      if (!this._isRefused) {
        throw error; // the poll backs off after each failure
      }
    } finally {
      this._isReading = false;
    }
    const isVain = this._hasEnded && this._vainReads >= MAX_VAIN_READS;
    if (this._known.isFinal || this._isRefused || isVain) {
      void this._poll.stop();
      if (!this.isOver && !this.isDisposed) {
        this._isOver = true;
        this._changed.emit();
      }
      return;
    }
    const interval = Math.max(this._interval, (Date.now() - start) / LOAD);
    this._poll.frequency = { interval, backoff: true, max: Math.max(interval, 10 * SLOW) };
  }

  private async _fetch(): Promise<void> {
    const before = this._known;
    const page = await this._read(before.number);
    const found = withPage(before, page) ?? withPage(NOTHING_READ, await this._read(0));
    if (this.isDisposed) {
      return;
    }
    const isSame = !found || (found.number === before.number && found.isFinal === before.isFinal);
    const isFirst = !this._wasRead;
    this._wasRead = true;
    this._vainReads = isSame ? this._vainReads + 1 : 0;
    this._interval = isSame ? Math.min(SLOW, this._interval * 1.5) : FAST;
    // The kernel may have brought newer ones while this was read.
    if (found && this._known === before && (isFirst || !isSame)) {
      this._set(found);
    }
  }

  private _set(known: IKnownOutputs): void {
    this._known = known;
    this._changed.emit();
  }

  private readonly _read: (since: number) => Promise<IOutputsPage>;
  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private _known: IKnownOutputs;
  private _interval = FAST;
  private _vainReads = 0;
  private _isReading = false;
  private _hasEnded = false;
  private _isRefused = false;
  private _wasRead = false;
  private _isOver = false;
}
