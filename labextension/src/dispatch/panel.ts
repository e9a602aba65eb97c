/**
 * Everything about one node: when it ran, where, how it ended, what it printed, and its value.
 */
import { h, iconButton, statusMark } from '../dom';
import {
  describeValue,
  errorLabel,
  failureLine,
  formatDuration,
  formatElapsed,
  formatTime,
  isTerminal,
  prettyName,
  retriesLeft,
  statusLabel,
  waitLabel
} from '../text';
import { type Attempt, type NodeDetail, NodeKind, type NodeState } from '../wire';

export interface INodePanelOptions {
  /** Called when another node is asked for, or none. */
  readonly select: (node: number | null) => void;
  /** Called when the dispatch that a sublattice stands for is asked for; without this it is only named. */
  readonly open?: ((id: string) => void) | null;
}

const KIND_WORDS: Readonly<Record<NodeKind, string>> = {
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

/** So many of the runs before the current one are shown; a task may be run again a thousand times. */
const ATTEMPTS = 20;

/** Shows one node. */
export class NodePanel {
  constructor(options: INodePanelOptions) {
    this._options = options;
    this._title = h('span', { class: 'cv-title' });
    this._body = h('div', { class: 'cv-body' });
    this._mark = h('span', { class: 'cv-panelMark' });
    this.node = h(
      'aside',
      { class: 'cv-panel', attrs: { 'aria-label': 'The chosen node', hidden: '' } },
      h('div', { class: 'cv-panelHead' }, this._mark, this._title, iconButton('close', 'Close', () => options.select(null))),
      this._body
    );
  }

  readonly node: HTMLElement;

  dispose(): void {
    window.clearTimeout(this._tick);
  }

  /** Show nothing. */
  clear(): void {
    window.clearTimeout(this._tick);
    this._detail = null;
    this._node = null;
    this.node.hidden = true;
  }

  /** Show the name while the rest is on its way; keep what is there when it is the same node. */
  expect(node: number, name: string): void {
    this.node.hidden = false;
    if (this._node !== node) {
      this._node = node;
      this._detail = null;
      this._unfolded.clear();
      this._title.textContent = name;
      this._title.title = name;
      this._mark.replaceChildren();
      this._body.replaceChildren(h('div', { class: 'cv-quiet', text: 'Loading…' }));
      this._body.scrollTop = 0;
    }
  }

  /** Tell whether the node has moved on since it was shown. */
  isOld(state: NodeState | undefined, child: string | undefined): boolean {
    const shown = this._detail;
    return (
      shown !== null &&
      state !== undefined &&
      (state[1] !== shown.status || state[4] !== shown.attempt || (state[5] ?? null) !== shown.next_at || (child ?? shown.child) !== shown.child)
    );
  }

  /** Say why there is nothing to show. */
  fail(message: string): void {
    if (this._detail === null) {
      this._body.replaceChildren(h('div', { class: 'cv-quiet', text: message }));
    }
  }

  /** Show this. */
  show(detail: NodeDetail, nameOf: (node: number) => string): void {
    window.clearTimeout(this._tick);
    this._detail = detail;
    this._title.textContent = prettyName(detail.name, detail.kind);
    this._title.title = detail.name;
    this._mark.replaceChildren(statusMark(detail.status));
    const { failure, value } = detail;
    const inputs = detail.inputs.map(([source, , name]) =>
      h(
        'li',
        {},
        name ? h('span', { class: 'cv-argument', text: name }) : null,
        h('button', { class: 'cv-link', text: nameOf(source), attrs: { type: 'button' }, onClick: () => this._options.select(source) })
      )
    );
    this._body.replaceChildren(
      ...[
        this._table(detail),
        this._child(detail),
        failure
          ? h(
              'section',
              { class: 'cv-failure' },
              h('div', { class: 'cv-errorType', text: errorLabel(failure.type) }),
              h('div', { class: 'cv-message' }, failure.exception ? h('strong', { text: `${failure.exception}: ` }) : null, h('span', { text: failure.message })),
              failure.traceback ? h('pre', { text: failure.traceback, attrs: { tabindex: '0', 'aria-label': 'Traceback' } }) : null
            )
          : null,
        this._attempts(detail.attempts),
        value ? block('Value', value[2], describeValue(value)) : null,
        block('Printed', detail.stdout),
        block('Errors and warnings', failure && detail.stderr.includes(failure.traceback.trim()) ? '' : detail.stderr),
        inputs.length > 0 ? h('section', {}, h('h4', { text: 'Inputs' }), h('ul', { class: 'cv-inputs' }, ...inputs)) : null,
        block('Source', detail.source)
      ].filter(part => part !== null)
    );
  }

  /** The dispatch that a sublattice's node stands for. */
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

  /** The runs before the current one, the latest first. */
  private _attempts(attempts: readonly Attempt[]): HTMLElement | null {
    if (attempts.length === 0) {
      return null;
    }
    const shown = attempts.slice(-ATTEMPTS).reverse();
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

  private _table(detail: NodeDetail): HTMLElement {
    const standing = h('dd', { text: statusLabel(detail.status) });
    const rows: [string, string][] = [['Node', `${detail.node} · ${KIND_WORDS[detail.kind]}`]];
    if (detail.started_at !== null) {
      rows.push(['Started', formatTime(detail.started_at)]);
    }
    const took = h('dd');
    const table = h('dl', { class: 'cv-table' }, h('dt', { text: 'Status' }), standing, ...rows.flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text })]));
    if (detail.started_at !== null) {
      table.append(h('dt', { text: 'Took' }), took);
      this._clock(detail, took);
    }
    if (detail.next_at !== null) {
      this._countDown(detail, standing);
    }
    const ended = isTerminal(detail.status);
    const more: [string, string][] = [
      ['Attempt', detail.attempt > 0 ? String(detail.attempt) : ''],
      ['Retries left', detail.retries > 0 && !ended ? `${retriesLeft(detail.retries, detail.attempts)} of ${detail.retries}` : ''],
      ['Executor', detail.executor],
      ['Time limit', detail.time_limit === null ? '' : formatDuration(detail.time_limit)],
      ['Worker', detail.worker]
    ];
    more.filter(([, text]) => text !== '').forEach(([name, text]) => table.append(h('dt', { text: name }), h('dd', { text, title: text })));
    return table;
  }

  private _clock(detail: NodeDetail, target: HTMLElement): void {
    const start = detail.started_at!;
    if (detail.ended_at !== null || isTerminal(detail.status)) {
      target.textContent = formatDuration((detail.ended_at ?? start) - start);
    } else {
      target.textContent = formatElapsed(Date.now() / 1000 - start);
      this._tick = window.setTimeout(() => this._clock(detail, target), 1000);
    }
  }

  /** Say how long the node still waits for its next run. */
  private _countDown(detail: NodeDetail, target: HTMLElement): void {
    const { attempt, next_at, node, status } = detail;
    const wait = waitLabel([node, status, null, null, attempt, next_at], Date.now() / 1000);
    target.textContent = [statusLabel(status), wait.toLowerCase()].filter(Boolean).join(' · ');
    target.title = formatTime(next_at!);
    this._tick = window.setTimeout(() => this._countDown(detail, target), 1000);
  }

  private readonly _options: INodePanelOptions;
  private readonly _unfolded = new Set<number>();
  private readonly _title: HTMLElement;
  private readonly _body: HTMLElement;
  private readonly _mark: HTMLElement;
  private _detail: NodeDetail | null = null;
  private _node: number | null = null;
  private _tick = 0;
}

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
