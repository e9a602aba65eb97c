/**
 * Node panel: failure, output, value, inputs and source of the selected node; times, worker and attempts at the end.
 */
import { h, iconButton, statusMark } from '../dom';
import { isPlumbing } from '../graph/shape';
import {
  errorLabel,
  failureLine,
  formatDuration,
  formatElapsed,
  formatTime,
  isRecord,
  isTerminal,
  progressLabel,
  retriesLeft,
  reuseLine,
  shareOf,
  statusLabel,
  waitLabel
} from '../text';
import { OutputsReader } from '../model/outputs';
import type { IOutputsPage, IOutputsView, IPreviewQuery } from '../tokens';
import { type Attempt, type Failure, type NodeDetail, NodeKind, type NodeProgress, type NodeState, type Preview } from '../wire';
import { sublatticeInputs } from './arguments';
import { PreviewView } from './preview';
import { codeFor, isWorthPreview } from './previewText';
import { createResizer } from './resizer';

export interface INodePanelOptions {
  /** Select another node, or none. */
  readonly select: (node: number | null) => void;
  /** Open the child dispatch of a sublattice; without this its id is only shown. */
  readonly open?: ((id: string) => void) | null;
  /** Run a node, and what follows from it, again. */
  readonly runFrom?: ((node: number) => void) | null;
  /** Read the outputs of a node that changed after a number, and show outputs; without these, printed text is shown as text. */
  readonly readOutputs?: ((node: number, since: number) => Promise<IOutputsPage>) | null;
  readonly createOutputs?: (() => IOutputsView) | null;
  /** Read a part of the value of a node as it is shown; without this only its short text is shown. */
  readonly readPreview?: ((node: number, query: IPreviewQuery) => Promise<Preview>) | null;
  /** Put code into the notebook. */
  readonly insert?: ((code: string) => void) | null;
}

const KIND_LABELS: Readonly<Record<NodeKind, string>> = {
  [NodeKind.ELECTRON]: 'Electron',
  [NodeKind.PARAMETER]: 'Parameter',
  [NodeKind.LIST]: 'Collection',
  [NodeKind.DICT]: 'Collection',
  [NodeKind.ITEM]: 'Item',
  [NodeKind.ATTRIBUTE]: 'Attribute',
  [NodeKind.OPERATOR]: 'Operator',
  [NodeKind.OUTPUT]: 'Output',
  [NodeKind.SUBLATTICE]: 'Sublattice',
  [NodeKind.PAUSE]: 'Question to a person',
  [NodeKind.POINT]: 'Intervention point'
};

/** The most earlier attempts that are shown; a task may be run again a thousand times. */
const MAX_ATTEMPTS = 20;

/** Kinds of nodes that no task computes; their values are assembled of others, or given. */
const ASSEMBLED: ReadonlySet<NodeKind> = new Set([NodeKind.LIST, NodeKind.DICT, NodeKind.OUTPUT]);

/** Shows one node. */
export class NodePanel {
  constructor(options: INodePanelOptions) {
    this._options = options;
    this._title = h('h3', { class: 'cv-title' });
    this._body = h('div', { class: 'cv-body', attrs: { tabindex: '-1' } }, this._above, this._outputs, this._value, this._below);
    this._mark = h('span', { class: 'cv-panelMark' });
    this.node = h(
      'aside',
      { class: 'cv-panel', attrs: { 'aria-label': 'The selected node', hidden: '' } },
      h('div', { class: 'cv-panelHead' }, this._mark, this._title, iconButton('close', 'Close', () => options.select(null))),
      this._body
    );
    this.node.prepend(createResizer(this.node));
  }

  readonly node: HTMLElement;

  dispose(): void {
    window.clearTimeout(this._timer);
    this._endOutputs();
    this._endValue();
  }

  /** Move the focus into the panel. */
  focus(): void {
    this._body.focus({ preventScroll: true });
  }

  /** Whether the focus is in the panel. */
  get hasFocus(): boolean {
    return this.node.contains(document.activeElement);
  }

  /** Close the panel. */
  clear(): void {
    window.clearTimeout(this._timer);
    this._endOutputs();
    this._endValue();
    this._detail = null;
    this._node = null;
    this.node.hidden = true;
  }

  /** Show the name while the detail is read. The detail of the same node stays, so that an update does not flicker. */
  showLoading(node: number, name: string): void {
    this.node.hidden = false;
    if (this._node !== node) {
      this._node = node;
      this._detail = null;
      this._unfolded.clear();
      this._title.textContent = name;
      this._title.title = name;
      this._mark.replaceChildren();
      this._endOutputs();
      this._endValue();
      this._below.replaceChildren();
      this._above.replaceChildren(h('div', { class: 'cv-quiet', text: 'Loading…' }));
      this._body.scrollTop = 0;
    }
  }

  /** Return whether the node has changed since its detail was read. */
  isOutdated(state: NodeState | undefined, child: string | undefined): boolean {
    const shown = this._detail;
    return (
      shown !== null &&
      state !== undefined &&
      (state[1] !== shown.status || state[4] !== shown.attempt || (state[5] ?? null) !== shown.next_at || (child ?? shown.child) !== shown.child)
    );
  }

  /** Whether its dispatch has ended, so that it can be run again from here. */
  setCanRunFrom(can: boolean): void {
    if (this._canRunFrom !== can) {
      this._canRunFrom = can;
      this._detail && this._update(this._detail);
    }
  }

  /** Show how far the node is; undefined: it does not say so, or runs no more. */
  showProgress(progress: NodeProgress | undefined): void {
    const share = shareOf(progress);
    this._progress.hidden = !progress;
    this._progressText.textContent = progress ? progressLabel(progress) : '';
    this._bar.hidden = share === null;
    this._bar.value = share ?? 0;
  }

  /** Show why the detail could not be read, unless an earlier one is shown. */
  showError(message: string): void {
    if (this._detail === null) {
      this._above.replaceChildren(h('div', { class: 'cv-quiet', text: message }));
    }
  }

  /** Show the detail of a node. */
  show(detail: NodeDetail, nameOf: (node: number) => string): void {
    window.clearTimeout(this._timer);
    this._detail = detail;
    this._title.textContent = nameOf(detail.node);
    this._title.title = detail.name;
    this._mark.replaceChildren(statusMark(detail.status));
    this._nameOf = nameOf;
    this._update(detail);
    this._followOutputs(detail);
    this._showValue(detail);
  }

  /** Show all but the outputs, which stay in place, so that nothing in them is drawn again. */
  private _update(detail: NodeDetail): void {
    const { failure } = detail;
    const outputs = this._reader?.known.outputs ?? [];
    const hasTraceback = outputs.some(({ output_type }) => output_type === 'error');
    const parts = (...given: (HTMLElement | null)[]): HTMLElement[] => given.filter(part => part !== null);
    this._above.replaceChildren(...parts(this._state(detail), this._progress, failure ? failureSection(failure, hasTraceback) : null));
    // Python prints the traceback to stderr as well, where it would be shown twice.
    const hasErrors = !failure || !detail.stderr.includes(failure.traceback.trim());
    const printed = outputs.length > 0 ? [] : [block('Printed', detail.stdout), hasErrors ? block('Errors and warnings', detail.stderr) : null];
    this._below.replaceChildren(
      ...parts(...printed, this._child(detail), this._inputs(detail, this._nameOf), block('Source', detail.source), this._attempts(detail.attempts), this._machinery(detail))
    );
    this._outputs.hidden = outputs.length === 0;
  }

  /** Show the value of a node that has one, once: a value does not change. */
  private _showValue({ node, dispatch, kind, name, status, value }: NodeDetail): void {
    if (this._value.childElementCount > 0 || (!value && !(ASSEMBLED.has(kind) && status === 'completed'))) {
      return;
    }
    const { readPreview, createOutputs, insert } = this._options;
    const isNames = value !== null && isRecord(value[1]);
    if (readPreview && isWorthPreview(value)) {
      const isTask = !ASSEMBLED.has(kind) && kind !== NodeKind.PARAMETER;
      this._preview = new PreviewView({
        read: query => readPreview(node, query),
        createOutputs: createOutputs ?? null,
        code: codeFor(dispatch, isTask ? node : null),
        insert: insert ?? null,
        name: `${name.replace(/[^\w-]+/g, '_').slice(0, 60)}-${node}`
      });
      this._value.append(h('h4', { text: isNames ? 'Names after this cell' : 'Value' }), this._preview.node);
    } else if (value) {
      // The number of bytes that are known without opening it are those of its serialized form, which say nothing.
      this._value.append(block('Value', value[2], value[1])!);
    }
    this._value.hidden = this._value.childElementCount === 0;
  }

  private _endValue(): void {
    this._preview?.dispose();
    this._preview = null;
    this._value.replaceChildren();
    this._value.hidden = true;
  }

  /** Show the outputs of a node that has begun, and follow them until they are complete. */
  private _followOutputs({ node, status, started_at, kind }: NodeDetail): void {
    const { readOutputs, createOutputs } = this._options;
    if (!readOutputs || !createOutputs || started_at === null || isPlumbing(kind)) {
      return;
    }
    if (!this._reader) {
      const reader = (this._reader = new OutputsReader(since => readOutputs(node, since)));
      const view = (this._view = createOutputs());
      this._outputs.append(view.node);
      reader.changed.connect(() => {
        window.clearTimeout(this._timer);
        this._update(this._detail!);
        view.show(reader.known.outputs);
      });
    }
    this._reader.follow(isTerminal(status));
  }

  private _endOutputs(): void {
    this._reader?.dispose();
    this._view?.dispose();
    this._reader = this._view = null;
    this._outputs.hidden = true;
  }

  private _inputs({ inputs: all, kind, source: text }: NodeDetail, nameOf: (node: number) => string): HTMLElement | null {
    const inputs = kind === NodeKind.SUBLATTICE ? sublatticeInputs(all, text) : all;
    if (inputs.length === 0) {
      return null;
    }
    const items = inputs.map(([source, , name]) =>
      h(
        'li',
        {},
        name ? h('span', { class: 'cv-argument', text: name }) : null,
        h('button', { class: 'cv-link', text: nameOf(source), attrs: { type: 'button' }, onClick: () => this._options.select(source) })
      )
    );
    return h('section', {}, h('h4', { text: 'Inputs' }), h('ul', { class: 'cv-inputs' }, ...items));
  }

  /** Make the section with the child dispatch of a sublattice's node. */
  private _child({ child }: NodeDetail): HTMLElement | null {
    if (child === null) {
      return null;
    }
    const { open } = this._options;
    return h(
      'section',
      {},
      h('h4', { text: 'Dispatch' }),
      open ? h('button', { class: 'cv-link', text: 'Open its graph', attrs: { type: 'button', title: child }, onClick: () => open(child) }) : h('code', { text: child })
    );
  }

  /** Make the list of the attempts before the current one, the latest first. */
  private _attempts(attempts: readonly Attempt[]): HTMLElement | null {
    if (attempts.length === 0) {
      return null;
    }
    const shown = attempts.slice(-MAX_ATTEMPTS).reverse();
    const more = attempts.length - shown.length;
    return h(
      'section',
      { class: 'cv-attempts' },
      h('h4', {}, h('span', { text: 'Earlier attempts' }), h('span', { class: 'cv-note', text: String(attempts.length) })),
      h('ol', {}, ...shown.map(attempt => this._attempt(attempt))),
      more > 0 ? h('div', { class: 'cv-quiet', text: `and ${more} before these` }) : null
    );
  }

  private _attempt({ number, outcome }: Attempt): HTMLElement {
    const [, status, started, ended, , failure, , stderr] = outcome;
    const text = stderr.trim() || (failure?.traceback ?? '');
    const folded = h(
      'details',
      {},
      h('summary', { text: 'Errors and warnings' }),
      h('pre', { text, attrs: { tabindex: '0', 'aria-label': `Errors and warnings of attempt ${number}` } })
    );
    folded.open = this._unfolded.has(number);
    folded.addEventListener('toggle', () => (folded.open ? this._unfolded.add(number) : this._unfolded.delete(number)));
    return h(
      'li',
      {},
      h(
        'div',
        { class: 'cv-attemptHead', title: `Started ${formatTime(started)}, ended ${formatTime(ended)}` },
        statusMark(status),
        h('strong', { text: `Attempt ${number}` }),
        h('span', { class: 'cv-note', text: `${statusLabel(status)} · ${formatTime(started)} · ${formatDuration(ended - started)}` })
      ),
      failure ? h('div', { class: 'cv-errorType', text: errorLabel(failure.type) }) : null,
      failure ? h('div', { class: 'cv-message', text: failureLine(failure) }) : null,
      text ? folded : null
    );
  }

  /** Make the line with the status of the node, and how long it has run or waits. */
  private _state(detail: NodeDetail): HTMLElement {
    const status = h('span', { class: 'cv-stateText', text: statusLabel(detail.status) });
    const took = h('span', { class: 'cv-quiet' });
    if (detail.started_at !== null) {
      took.title = `Started ${formatTime(detail.started_at)}`;
      this._updateDuration(detail, took);
    }
    if (detail.next_at !== null) {
      this._updateWait(detail, status);
    }
    return h('div', { class: 'cv-state' }, status, took, this._runFrom(detail));
  }

  private _runFrom({ kind, node }: NodeDetail): HTMLElement | null {
    const { runFrom } = this._options;
    if (!runFrom || !this._canRunFrom || isPlumbing(kind)) {
      return null;
    }
    return h('button', { class: 'cv-button cv-runFrom', text: 'Run again from here', title: 'Run this task, and all that follow from it, again; reuse the others', attrs: { type: 'button' }, onClick: () => runFrom(node) });
  }

  /** Make the folded table of what concerns the machinery rather than the work. */
  private _machinery(detail: NodeDetail): HTMLElement {
    const ended = isTerminal(detail.status);
    const rows: (readonly [string, string])[] = [
      ['Status', statusLabel(detail.status)],
      ['Node', `${detail.node} · ${KIND_LABELS[detail.kind]}`],
      ['Started', detail.started_at === null ? '' : formatTime(detail.started_at)],
      ['Attempt', detail.attempt > 0 ? String(detail.attempt) : ''],
      ['Retries left', detail.retries > 0 && !ended ? `${retriesLeft(detail.retries, detail.attempts)} of ${detail.retries}` : ''],
      ['Executor', detail.executor],
      ['Time limit', detail.time_limit === null ? '' : formatDuration(detail.time_limit)],
      ['Worker', detail.worker],
      reuseLine(detail.reuse) ?? ['', '']
    ];
    const shown = rows.filter(([, text]) => text !== '').flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text, title: text })]);
    const folded = h('details', { class: 'cv-machinery' }, h('summary', { text: 'Details' }), h('dl', { class: 'cv-table' }, ...shown));
    folded.open = this._isMachineryOpen;
    folded.addEventListener('toggle', () => (this._isMachineryOpen = folded.open));
    return folded;
  }

  /** Show how long the node has run, and update that every second while it runs. */
  private _updateDuration(detail: NodeDetail, target: HTMLElement): void {
    const start = detail.started_at!;
    if (detail.ended_at !== null || isTerminal(detail.status)) {
      target.textContent = formatDuration((detail.ended_at ?? start) - start);
    } else {
      target.textContent = formatElapsed(Date.now() / 1000 - start);
      this._timer = window.setTimeout(() => this._updateDuration(detail, target), 1000);
    }
  }

  /** Show how long the node waits for its next run, and update that every second. */
  private _updateWait(detail: NodeDetail, target: HTMLElement): void {
    const { attempt, next_at, node, status } = detail;
    const wait = waitLabel([node, status, null, null, attempt, next_at], Date.now() / 1000);
    target.textContent = [statusLabel(status), wait.toLowerCase()].filter(Boolean).join(' · ');
    target.title = formatTime(next_at!);
    this._timer = window.setTimeout(() => this._updateWait(detail, target), 1000);
  }

  private readonly _options: INodePanelOptions;
  private readonly _unfolded = new Set<number>();
  private readonly _title: HTMLElement;
  private readonly _body: HTMLElement;
  private readonly _mark: HTMLElement;
  private readonly _above = h('div');
  private readonly _below = h('div');
  private readonly _bar = h('progress', { attrs: { max: '1', 'aria-label': 'Done' } });
  private readonly _progressText = h('span', { class: 'cv-quiet' });
  private readonly _progress = h('div', { class: 'cv-progress', attrs: { hidden: '' } }, this._bar, this._progressText);
  private readonly _value = h('section', { class: 'cv-valueSection', attrs: { hidden: '' } });
  private _preview: PreviewView | null = null;
  private _canRunFrom = false;
  private _isMachineryOpen = false;
  private readonly _outputs = h('section', { class: 'cv-outputs', attrs: { hidden: '' } }, h('h4', { text: 'Output' }));
  private _nameOf: (node: number) => string = String;
  private _reader: OutputsReader | null = null;
  private _view: IOutputsView | null = null;
  private _detail: NodeDetail | null = null;
  private _node: number | null = null;
  private _timer = 0;
}

/** Make the section with a failure; `hasTraceback`: the outputs show its traceback. */
function failureSection(failure: Failure, hasTraceback: boolean): HTMLElement {
  return h(
    'section',
    { class: 'cv-failure' },
    h('div', { class: 'cv-errorType', text: errorLabel(failure.type) }),
    h('div', { class: 'cv-message' }, failure.exception ? h('strong', { text: `${failure.exception}: ` }) : null, h('span', { text: failure.message })),
    failure.traceback && !hasTraceback ? h('pre', { text: failure.traceback, attrs: { tabindex: '0', 'aria-label': 'Traceback' } }) : null
  );
}

/** Make a section with a preformatted text; null when there is nothing to show. */
function block(title: string, text: string, note = ''): HTMLElement | null {
  if (text.trim() === '' && note === '') {
    return null;
  }
  return h(
    'section',
    {},
    h('h4', {}, h('span', { text: title }), note ? h('span', { class: 'cv-note', text: note }) : null),
    text.trim() === '' ? null : h('pre', { text, attrs: { tabindex: '0', 'aria-label': title } })
  );
}
