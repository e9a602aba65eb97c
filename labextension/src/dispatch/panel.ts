/**
 * Everything about one node: when it ran, where, how it ended, what it printed, and its value.
 */
import { h, iconButton, statusMark } from '../dom';
import { describeValue, formatDuration, formatElapsed, formatTime, isTerminal, prettyName, statusLabel } from '../text';
import { type NodeDetail, NodeKind, type NodeState } from '../wire';

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
  [NodeKind.SUBLATTICE]: 'Sublattice'
};

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
    return shown !== null && state !== undefined && (state[1] !== shown.status || state[4] !== shown.attempt || (child ?? shown.child) !== shown.child);
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
              h('div', { class: 'cv-message' }, failure.exception ? h('strong', { text: `${failure.exception}: ` }) : null, h('span', { text: failure.message })),
              failure.traceback ? h('pre', { text: failure.traceback, attrs: { tabindex: '0', 'aria-label': 'Traceback' } }) : null
            )
          : null,
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

  private _table(detail: NodeDetail): HTMLElement {
    const rows: [string, string][] = [
      ['Status', statusLabel(detail.status)],
      ['Node', `${detail.node} · ${KIND_WORDS[detail.kind]}`]
    ];
    if (detail.started_at !== null) {
      rows.push(['Started', formatTime(detail.started_at)]);
    }
    const took = h('dd');
    const table = h('dl', { class: 'cv-table' }, ...rows.flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text })]));
    if (detail.started_at !== null) {
      table.append(h('dt', { text: 'Took' }), took);
      this._clock(detail, took);
    }
    if (detail.attempt > 0) {
      table.append(
        h('dt', { text: 'Attempt' }),
        h('dd', { text: detail.retries > 0 ? `${detail.attempt} of ${detail.retries + 1}` : String(detail.attempt) })
      );
    }
    const more: [string, string][] = [
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

  private readonly _options: INodePanelOptions;
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
