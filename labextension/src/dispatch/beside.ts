/**
 * What happens in a dispatch beside its graph: the forms for people, and a panel with state, interventions and stream.
 */
import { h } from '../dom';
import { ExecutionReader } from '../execution';
import { Asks } from '../people/asks';
import { counted, formatTime, personName } from '../text';
import type { IDispatchSource, ISnapshot } from '../tokens';
import type { EntryKind, ExecutionView, InterventionView, StreamItem } from '../wire';
import { showValue, StateTree } from './tree';

const FORMS = 10;
const ITEMS = 50;

const ENTRIES: Readonly<Partial<Record<EntryKind, string>>> = {
  refused: 'Not written to the state',
  intervene: 'Intervention',
  insert: 'Looked for interventions',
  consume: 'Intervention consumed',
  expire: 'Intervention expired',
  wait: 'Waits for an answer',
  answer: 'Answered',
  withdraw: 'Waits no longer'
};

export interface IBesideOptions {
  readonly source: IDispatchSource;
  /** Show a node. */
  readonly select: (node: number) => void;
  readonly nameOf: (node: number) => string;
}

/** Follows the execution of a source. Whoever shows it puts `asks` and `panel` where they belong. */
export class Beside {
  constructor(options: IBesideOptions) {
    this._options = options;
    const { source } = options;
    this._reader = new ExecutionReader(() => source.execution());
    this._asks = new Asks({
      answer: async (interrupt, request, json) => {
        try {
          this._reader.take(await source.answer(interrupt, request, json));
        } finally {
          this._reader.ask(); // also when it fails: somebody else may have answered
        }
      },
      select: options.select,
      most: FORMS
    });
    this.asks = this._asks.node;
    this._title = h('span');
    this._final = section('Final result', h('div', { class: 'cv-treeValue' }));
    this._state = section('State', this._tree.node);
    this._ledger = section('Interventions', h('ol', { class: 'cv-ledger' }));
    this._stream = section('Stream', h('ol', { class: 'cv-stream', attrs: { tabindex: '0', 'aria-label': 'The last items of the stream' } }));
    this.panel = h(
      'details',
      { class: 'cv-beside', attrs: { hidden: '' } },
      h('summary', {}, this._title),
      h('div', { class: 'cv-besideBody' }, this._final, this._state, this._ledger, this._stream)
    );
    this.panel.addEventListener('toggle', this._onToggle);
    this._reader.changed.connect(this._update, this);
    source.stirred.connect(this._onStir, this);
  }

  readonly asks: HTMLElement;
  readonly panel: HTMLDetailsElement;

  dispose(): void {
    this._options.source.stirred.disconnect(this._onStir, this);
    this.panel.removeEventListener('toggle', this._onToggle);
    this._reader.dispose();
    this._asks.dispose();
  }

  /** The dispatch was looked at: look beside its graph, too, if it has moved on. */
  follow({ summary, stale }: ISnapshot): void {
    const seen = `${summary.version}|${summary.status}|${stale}`;
    if (seen !== this._seen && stale === '') {
      this._reader.ask();
    }
    this._seen = seen;
  }

  /** Take what an answer brought. */
  take(execution: ExecutionView): void {
    this._reader.take(execution);
  }

  private _onStir(): void {
    // What has been closed stays as it is.
    if (this._reader.execution?.lifecycle !== 'closed') {
      this._reader.ask();
    }
  }

  private _onToggle = (): void => this._update();

  private _update(): void {
    const { execution } = this._reader;
    if (!execution) {
      return;
    }
    const waiting = this._options.source.snapshot?.summary.waiting ?? 0;
    this._asks.update(execution.interrupts, waiting);
    const { final, interventions, state, streamed } = execution;
    const words = [
      final ? 'Final result' : '',
      state.below?.length ? `State of ${counted(state.below.length + state.left_out, 'key')}` : '',
      interventions.length > 0 ? counted(interventions.length, 'intervention') : '',
      streamed > 0 ? `${counted(streamed, 'item')} in the stream` : ''
    ].filter(Boolean);
    this.panel.hidden = words.length === 0;
    this._title.textContent = words.join(' · ');
    if (!this.panel.open || words.length === 0) {
      return;
    }
    this._final.hidden = final === null;
    showValue(this._final.lastElementChild as HTMLElement, final);
    this._state.hidden = !state.below?.length;
    this._tree.update(state);
    this._ledger.hidden = interventions.length === 0;
    this._showLedger(interventions);
    this._stream.hidden = streamed === 0;
    void this._readStream(execution);
  }

  private _showLedger(records: readonly InterventionView[]): void {
    const key = JSON.stringify(records);
    if (key !== this._ledgerKey) {
      this._ledgerKey = key;
      this._ledger.lastElementChild!.replaceChildren(...records.map(recordItem));
    }
  }

  /** Read what came since; several calls at once are one. */
  private async _readStream({ streamed, version }: ExecutionView): Promise<void> {
    if (this._reading || streamed === 0 || version <= this._streamRead) {
      return;
    }
    this._reading = true;
    try {
      const { items } = await this._options.source.stream(this._lastItem, ITEMS);
      this._streamRead = version;
      this._append(items);
    } catch {
      // It is read again with the next change.
    }
    this._reading = false;
    const now = this._reader.execution;
    if (now && now.version > this._streamRead && this.panel.open && !this._reader.isDisposed) {
      void this._readStream(now);
    }
  }

  private _append(items: readonly StreamItem[]): void {
    const list = this._stream.lastElementChild as HTMLElement;
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
    for (const item of items) {
      this._lastItem = Math.max(this._lastItem, item.number);
      list.append(this._item(item));
    }
    while (list.childElementCount > ITEMS) {
      list.firstElementChild!.remove();
    }
    if (atEnd) {
      list.scrollTop = list.scrollHeight;
    }
  }

  private _item({ at, kind, node, text, value }: StreamItem): HTMLElement {
    const words = ENTRIES[kind];
    const shown = h('span', { class: 'cv-treeValue' });
    if (value) {
      showValue(shown, value);
    }
    return h(
      'li',
      {},
      h('span', { class: 'cv-streamFrom', title: formatTime(at), text: node >= 0 ? this._options.nameOf(node) : '' }),
      h('span', { class: 'cv-streamText' }, words ? h('em', { text: words }) : null, text ? h('span', { text: kind === 'answer' ? `by ${personName(text)}` : text, title: text }) : null, value ? shown : null)
    );
  }

  private readonly _options: IBesideOptions;
  private readonly _reader: ExecutionReader;
  private readonly _asks: Asks;
  private readonly _title: HTMLElement;
  private readonly _final: HTMLElement;
  private readonly _state: HTMLElement;
  private readonly _ledger: HTMLElement;
  private readonly _stream: HTMLElement;
  private readonly _tree = new StateTree();
  private _seen = '';
  private _ledgerKey = '';
  private _lastItem = 0;
  private _streamRead = -1;
  private _reading = false;
}

function section(title: string, content: HTMLElement): HTMLElement {
  return h('section', {}, h('h4', { text: title }), content);
}

/** One record of the ledger: who said what, to whom, and what became of it. */
function recordItem(record: InterventionView): HTMLElement {
  const { author, consumers, created_at, note, status, target, text, where } = record;
  const fate = status === 'inserted' ? `inserted${where ? ` before ${where}` : ''}` : status;
  const facts = [author ?? '', target === null ? '' : `for ${target}`, fate, consumers.length > 0 ? `consumed by ${consumers.join(', ')}` : '', note ?? ''];
  return h(
    'li',
    { title: formatTime(created_at) },
    h('code', { text }),
    h('span', { class: 'cv-treeType', text: facts.filter(Boolean).join(' · ') })
  );
}
