/**
 * Execution panel: state, interventions and stream of a dispatch, and the forms for its interrupts.
 */
import { h } from '../dom';
import { ExecutionReader } from '../model/execution';
import { counted, formatTime, personName } from '../text';
import type { IDispatchSource, ISnapshot } from '../tokens';
import type { EntryKind, ExecutionView, InterventionView, StreamItem } from '../wire';
import { InterruptForms } from './interruptForms';
import { showValue, StateTree } from './tree';

const MAX_FORMS = 10;
const MAX_STREAM_ITEMS = 50;

/** Labels of the stream's entries; an entry of another kind shows its value only. */
const ENTRY_LABELS: Readonly<Partial<Record<EntryKind, string>>> = {
  refused: 'Not written to the state',
  intervene: 'Intervention',
  insert: 'Looked for interventions',
  consume: 'Intervention consumed',
  expire: 'Intervention expired',
  wait: 'Waits for an answer',
  answer: 'Answered',
  withdraw: 'No longer waits'
};

export interface IExecutionPanelOptions {
  readonly source: IDispatchSource;
  /** Show a node in the graph. */
  readonly select: (node: number) => void;
  readonly nameOf: (node: number) => string;
}

/** Follows the execution of a source. The owner places its two elements, `forms` and `panel`. */
export class ExecutionPanel {
  constructor(options: IExecutionPanelOptions) {
    this._options = options;
    const { source } = options;
    this._reader = new ExecutionReader(() => source.execution());
    this._forms = new InterruptForms({
      answer: async (interrupt, request, json) => {
        try {
          this._reader.accept(await source.answer(interrupt, request, json));
        } finally {
          this._reader.refresh(); // also after a failure: another person may have answered first
        }
      },
      select: options.select,
      limit: MAX_FORMS
    });
    this.forms = this._forms.node;
    this._title = h('span');
    this._final = section('Final result', h('div', { class: 'cv-treeValue' }));
    this._state = section('State', this._tree.node);
    this._ledger = section('Interventions', h('ol', { class: 'cv-ledger' }));
    this._stream = section('Stream', h('ol', { class: 'cv-stream', attrs: { tabindex: '0', 'aria-label': 'The last items of the stream' } }));
    this.panel = h(
      'details',
      { class: 'cv-execution', attrs: { hidden: '' } },
      h('summary', {}, this._title),
      h('div', { class: 'cv-executionBody' }, this._final, this._state, this._ledger, this._stream)
    );
    this.panel.addEventListener('toggle', this._onToggle);
    this._reader.changed.connect(this._render, this);
    source.executionChanged.connect(this._onExecutionChanged, this);
  }

  readonly forms: HTMLElement;
  readonly panel: HTMLDetailsElement;

  dispose(): void {
    this._options.source.executionChanged.disconnect(this._onExecutionChanged, this);
    this.panel.removeEventListener('toggle', this._onToggle);
    this._reader.dispose();
    this._forms.dispose();
  }

  /** Read the execution again if the dispatch has changed since the last call. */
  update({ summary, stale }: ISnapshot): void {
    const version = `${summary.version}|${summary.status}|${stale}`;
    if (version !== this._version && stale === '') {
      this._reader.refresh();
    }
    this._version = version;
  }

  /** Accept an execution that a command returned. */
  accept(execution: ExecutionView): void {
    this._reader.accept(execution);
  }

  private _onExecutionChanged(): void {
    // A closed execution is immutable.
    if (this._reader.execution?.lifecycle !== 'closed') {
      this._reader.refresh();
    }
  }

  private _onToggle = (): void => this._render();

  private _render(): void {
    const { execution } = this._reader;
    if (!execution) {
      return;
    }
    const waiting = this._options.source.snapshot?.summary.waiting ?? 0;
    this._forms.update(execution.interrupts, waiting);
    const { final, interventions, state, streamed } = execution;
    const parts = [
      final ? 'Final result' : '',
      state.below?.length ? `State of ${counted(state.below.length + state.left_out, 'key')}` : '',
      interventions.length > 0 ? counted(interventions.length, 'intervention') : '',
      streamed > 0 ? `${counted(streamed, 'item')} in the stream` : ''
    ].filter(Boolean);
    this.panel.hidden = parts.length === 0;
    this._title.textContent = parts.join(' · ');
    // A folded panel is not filled: a state may be large and most readers never unfold it.
    if (!this.panel.open || parts.length === 0) {
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

  /** Read the stream from the last known item on. A call during a read is made up for after it. */
  private async _readStream({ streamed, version }: ExecutionView): Promise<void> {
    if (this._readingStream || streamed === 0 || version <= this._streamVersion) {
      return;
    }
    this._readingStream = true;
    try {
      const { items } = await this._options.source.stream(this._lastNumber, MAX_STREAM_ITEMS);
      this._streamVersion = version;
      this._append(items);
    } catch {
      // The next change reads it again.
    }
    this._readingStream = false;
    const latest = this._reader.execution;
    if (latest && latest.version > this._streamVersion && this.panel.open && !this._reader.isDisposed) {
      void this._readStream(latest);
    }
  }

  private _append(items: readonly StreamItem[]): void {
    const list = this._stream.lastElementChild as HTMLElement;
    // Follow the end only if the reader is there; otherwise the place they read would move.
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
    for (const item of items) {
      this._lastNumber = Math.max(this._lastNumber, item.number);
      list.append(this._item(item));
    }
    while (list.childElementCount > MAX_STREAM_ITEMS) {
      list.firstElementChild!.remove();
    }
    if (atEnd) {
      list.scrollTop = list.scrollHeight;
    }
  }

  private _item({ at, kind, node, text, value }: StreamItem): HTMLElement {
    const label = ENTRY_LABELS[kind];
    const shown = h('span', { class: 'cv-treeValue' });
    if (value) {
      showValue(shown, value);
    }
    return h(
      'li',
      {},
      h('span', { class: 'cv-streamFrom', title: formatTime(at), text: node >= 0 ? this._options.nameOf(node) : '' }),
      h(
        'span',
        { class: 'cv-streamText' },
        label ? h('em', { text: label }) : null,
        text ? h('span', { text: kind === 'answer' ? `by ${personName(text)}` : text, title: text }) : null,
        value ? shown : null
      )
    );
  }

  private readonly _options: IExecutionPanelOptions;
  private readonly _reader: ExecutionReader;
  private readonly _forms: InterruptForms;
  private readonly _title: HTMLElement;
  private readonly _final: HTMLElement;
  private readonly _state: HTMLElement;
  private readonly _ledger: HTMLElement;
  private readonly _stream: HTMLElement;
  private readonly _tree = new StateTree();
  private _version = '';
  private _ledgerKey = '';
  private _lastNumber = 0;
  private _streamVersion = -1;
  private _readingStream = false;
}

function section(title: string, content: HTMLElement): HTMLElement {
  return h('section', {}, h('h3', { text: title }), content);
}

/** Make the list item of an intervention: payload, author, target, status and consumers. */
function recordItem(record: InterventionView): HTMLElement {
  const { author, consumers, created_at, note, status, target, text, where } = record;
  const result = status === 'inserted' ? `inserted${where ? ` before ${where}` : ''}` : status;
  const facts = [author ?? '', target === null ? '' : `for ${target}`, result, consumers.length > 0 ? `consumed by ${consumers.join(', ')}` : '', note ?? ''];
  return h(
    'li',
    { title: formatTime(created_at) },
    h('code', { text }),
    h('span', { class: 'cv-treeType', text: facts.filter(Boolean).join(' · ') })
  );
}
