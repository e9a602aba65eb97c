/**
 * A dispatch on the page: what it is, how far it is, its graph, and the node that was clicked.
 *
 * Shows an `IDispatchSource` and knows nothing about where that gets its data. Both hosts use it.
 */
import { h, iconButton, statusMark, summaryMark } from '../dom';
import { GraphView } from '../graph/view';
import { canCancel, describeCounts, formatDuration, formatElapsed, formatTime, isTerminal, prettyName, STATUSES, summaryLabel, total } from '../text';
import type { IDispatchSource, IGraph, ISnapshot } from '../tokens';
import { EdgeKind, type NodeDetail, NodeKind, type DispatchSummary } from '../wire';
import { Beside } from './beside';
import { NodePanel } from './panel';

const MANY = 8;
const FAILURES = 4;

export interface IDispatchViewOptions {
  readonly source: IDispatchSource;
  /** `output`: a cell's output, as high as its graph needs. `main`: fills what it is put in. */
  readonly place: 'output' | 'main';
  /** Called when the reader wants more room; without this there is no such button. */
  readonly open?: (() => void) | null;
  /** Called when the reader wants to see another dispatch: the one that a sublattice stands for. */
  readonly openOther?: ((id: string) => void) | null;
  /** Called when the reader wants it started, or run once more (`reuse`: only what has not completed). */
  readonly start?: (() => void) | null;
  readonly again?: ((reuse: boolean) => void) | null;
}

/** Shows one dispatch. */
export class DispatchView {
  constructor(options: IDispatchViewOptions) {
    this._source = options.source;
    this._mark = h('span', { class: 'cv-badge' });
    this._name = h('span', { class: 'cv-name' });
    this._time = h('span', { class: 'cv-time' });
    this._cancel = h('button', { class: 'cv-button cv-mod-cancel', text: 'Cancel', attrs: { type: 'button' }, onClick: () => this._onCancel() });
    this._pause = h('button', { class: 'cv-button', text: 'Pause', attrs: { type: 'button' }, onClick: () => this._onPause() });
    const { again, start } = options;
    this._again = again ? h('button', { class: 'cv-button', text: 'Run again', attrs: { type: 'button' }, onClick: () => again(false) }) : null;
    this._resume = again
      ? h('button', { class: 'cv-button', text: 'Resume', title: 'Run again, and take over what is done', attrs: { type: 'button' }, onClick: () => again(true) })
      : null;
    this._start = start ? h('button', { class: 'cv-button', text: 'Start', attrs: { type: 'button' }, onClick: () => start() }) : null;
    this._bar = h('div', { class: 'cv-bar', attrs: { role: 'progressbar', 'aria-label': 'Nodes that are over', 'aria-valuemin': '0' } });
    this._counts = h('div', { class: 'cv-counts' });
    this._stale = h('div', { class: 'cv-stale', attrs: { role: 'status', hidden: '' } });
    this._problem = h('div', { class: 'cv-problem', attrs: { role: 'alert', hidden: '' } });
    this._facts = h('div', { class: 'cv-facts', attrs: { hidden: '' } });
    this._graph = new GraphView({
      onSelect: node => this.select(node),
      onHeight: () => this._stage.style.setProperty('--cv-height', `${this._graph.wantedHeight}px`),
      wheelZooms: options.place === 'main'
    });
    this._panel = new NodePanel({ select: node => this.select(node), open: options.openOther ?? null });
    this._beside = new Beside({ source: this._source, select: node => this.select(node), nameOf: node => this._nameOf(node) });
    this._stage = h('div', { class: 'cv-stage' }, this._graph.node, this._panel.node);
    this._empty = h('div', { class: 'cv-empty', text: 'Waiting for the dispatch…' });
    this.node = h(
      'div',
      {
        class: `jp-covalab-Dispatch cv-mod-${options.place}`,
        // The notebook must not take the arrow keys of the list of nodes for its own.
        attrs: { 'data-lm-suppress-shortcuts': 'true' }
      },
      h(
        'div',
        { class: 'cv-head' },
        this._mark,
        this._name,
        this._time,
        h('span', { class: 'cv-actions' }, this._start, this._resume, this._again, this._pause, this._cancel, options.open ? iconButton('open', 'Open in a tab of its own', options.open) : null)
      ),
      this._bar,
      this._counts,
      this._stale,
      this._problem,
      this._beside.asks,
      this._facts,
      this._empty,
      this._stage,
      this._beside.panel
    );
    this.node.addEventListener('keydown', this._onKey);
    this._source.changed.connect(this._update, this);
    this._update();
  }

  readonly node: HTMLElement;

  /** End the view. Its source is somebody else's to end. */
  dispose(): void {
    this._source.changed.disconnect(this._update, this);
    this.node.removeEventListener('keydown', this._onKey);
    window.clearTimeout(this._tick);
    this._graph.dispose();
    this._panel.dispose();
    this._beside.dispose();
    this._disposed = true;
  }

  /** Show everything about one node, or none. */
  select(node: number | null): void {
    this._selected = node;
    this._graph.select(node);
    this.node.classList.toggle('cv-mod-panel', node !== null);
    if (node === null) {
      this._panel.clear();
    } else {
      void this._load(node);
    }
  }

  private async _load(node: number): Promise<void> {
    const [name, kind] = this._source.snapshot?.graph?.nodes[node] ?? [`node ${node}`, NodeKind.ELECTRON];
    this._panel.expect(node, prettyName(name, kind));
    try {
      const detail = await this._source.node(node);
      if (this._selected === node && !this._disposed) {
        this._panel.show(detail, index => this._nameOf(index));
      }
    } catch (error) {
      if (this._selected === node && !this._disposed) {
        this._panel.fail(messageOf(error));
      }
    }
  }

  private _nameOf(node: number): string {
    const found = this._source.snapshot?.graph?.nodes[node];
    return found ? prettyName(found[0], found[1]) : `node ${node}`;
  }

  private _update(): void {
    const { snapshot } = this._source;
    this._empty.hidden = snapshot !== null && (snapshot.graph !== null || isTerminal(snapshot.summary.status) || snapshot.stale !== '');
    this.node.classList.toggle('cv-mod-blank', snapshot === null);
    if (!snapshot) {
      return;
    }
    const { summary, graph, states } = snapshot;
    this._badge(summary);
    this._name.textContent = summary.name;
    this._name.title = summary.id;
    this._clock();
    const over = isTerminal(summary.status);
    this._cancel.hidden = !canCancel(summary) || snapshot.stale !== '';
    this._show(this._start, summary.held && snapshot.stale === '');
    this._show(this._again, over && snapshot.stale === '');
    this._show(this._resume, over && summary.status !== 'completed' && snapshot.stale === '');
    this.node.classList.toggle('cv-mod-stale', snapshot.stale !== '');
    this._cancel.disabled = this._cancelling || isTerminal(summary.status);
    this._cancel.textContent = this._cancelling ? 'Cancelling…' : 'Cancel';
    this._pause.hidden = this._cancel.hidden || summary.held;
    this._pause.textContent = summary.paused ? 'Resume' : 'Pause';
    this._pause.title = summary.paused ? 'Let it go on' : 'Start nothing new; what runs goes on';
    this._beside.follow(snapshot);
    this._progress(snapshot);
    this._stale.hidden = snapshot.stale === '';
    this._stale.textContent = snapshot.stale;
    this._explain(snapshot);
    this._conclude(snapshot);
    this._stage.hidden = graph === null || graph.nodes.length === 0;
    if (graph && graph !== this._shown) {
      this._shown = graph;
      this._graph.setGraph(graph.nodes, graph.edges);
    }
    if (graph) {
      this._graph.setStates(states, snapshot.stale === '');
    }
    if (this._selected !== null && this._panel.isOld(states.get(this._selected), snapshot.children.get(this._selected))) {
      void this._load(this._selected);
    }
  }

  private _show(button: HTMLElement | null, shown: boolean): void {
    if (button) {
      button.hidden = !shown;
    }
  }

  private _badge(summary: DispatchSummary): void {
    const text = summaryLabel(summary);
    if (this._badged !== text) {
      this._badged = text;
      this._mark.className = `cv-badge cv-mod-${text === 'Paused' ? 'paused' : summary.status}`;
      this._mark.replaceChildren(summaryMark(summary), h('span', { text }));
    }
  }

  private _clock = (): void => {
    window.clearTimeout(this._tick);
    const { snapshot } = this._source;
    if (!snapshot || this._disposed) {
      return;
    }
    const { summary, stale } = snapshot;
    const start = summary.started_at ?? summary.created_at;
    if (isTerminal(summary.status)) {
      this._time.textContent = formatDuration((summary.ended_at ?? start) - start);
    } else if (stale || summary.held) {
      this._time.textContent = '';
    } else {
      this._time.textContent = formatElapsed(Date.now() / 1000 - start);
      this._tick = window.setTimeout(this._clock, 1000);
    }
    this._time.title = `Started ${formatTime(start)}${summary.ended_at === null ? '' : `, ended ${formatTime(summary.ended_at)}`}`;
  };

  private _progress({ summary: { counts } }: ISnapshot): void {
    const all = total(counts);
    const over = all - counts.pending - counts.running;
    this._bar.hidden = all === 0;
    this._bar.setAttribute('aria-valuemax', String(all));
    this._bar.setAttribute('aria-valuenow', String(over));
    this._bar.setAttribute('aria-valuetext', describeCounts(counts).join(', '));
    for (const status of STATUSES) {
      let part = this._bar.querySelector<HTMLElement>(`.cv-mod-${status}`);
      part ??= this._bar.appendChild(h('span', { class: `cv-mod-${status}` }));
      part.style.flexGrow = String(counts[status]);
      part.hidden = counts[status] === 0;
    }
    const [done, ...others] = describeCounts(counts);
    const shown = STATUSES.filter(status => status !== 'completed' && counts[status] > 0);
    this._counts.replaceChildren(
      h('span', { text: done ?? '' }),
      ...others.map((text, at) => h('span', { class: `cv-count cv-mod-${shown[at]}` }, statusMark(shown[at]), h('span', { text })))
    );
  }

  /** What went wrong, and the nodes in which it did. */
  private _explain({ summary, states }: ISnapshot): void {
    const failed = [...states.values()].filter(([, status]) => status === 'failed').map(([node]) => node);
    // The dispatch's own error lists its failed nodes; here they are links, each with what it says.
    const message = this._refusal || (failed.length > 0 ? '' : summary.error);
    const key = `${message}|${failed.join()}`;
    if (key === this._explained) {
      return;
    }
    this._explained = key;
    this._problem.hidden = message === '' && failed.length === 0;
    this._problem.replaceChildren(
      ...[
        message ? h('div', { class: 'cv-message', text: message }) : null,
        ...failed.slice(0, FAILURES).map(node => this._failure(node)),
        failed.length > FAILURES ? h('div', { class: 'cv-quiet', text: `and ${failed.length - FAILURES} more nodes that failed` }) : null
      ].filter(part => part !== null)
    );
  }

  private _failure(node: number): HTMLElement {
    const text = h('span', { text: 'failed' });
    void this._source.node(node).then(
      ({ failure }) => {
        if (failure) {
          text.textContent = [failure.exception, failure.message].filter(Boolean).join(': ');
        }
      },
      () => undefined // what is there already is true as well
    );
    return h(
      'div',
      { class: 'cv-message' },
      h('button', { class: 'cv-link', text: this._nameOf(node), title: `Node ${node}`, attrs: { type: 'button' }, onClick: () => this.select(node) }),
      text
    );
  }

  /** The result, once there is one, and what went in. */
  private _conclude({ summary, graph, stale }: ISnapshot): void {
    const inputs = graph ? inputsOf(graph) : [];
    const done = summary.status === 'completed';
    const key = `${done}|${graph !== null}|${stale !== ''}`;
    if (key === this._concluded) {
      return;
    }
    this._concluded = key;
    const value = h('dd', { class: 'cv-value', text: '…' });
    const hasValue = done && graph?.output !== undefined && graph.output >= 0;
    this._facts.hidden = inputs.length === 0 && !hasValue;
    this._facts.replaceChildren(
      h(
        'dl',
        {},
        ...(hasValue ? [h('dt', { text: 'Result' }), value] : []),
        ...(inputs.length > 0 ? [h('dt', { text: 'Inputs' }), h('dd', {}, ...inputs.map(text => h('code', { text })))] : [])
      )
    );
    if (hasValue) {
      void this._fillValue(graph, value);
    }
  }

  private async _fillValue(graph: IGraph, target: HTMLElement): Promise<void> {
    try {
      target.replaceChildren(...(await this._valuesOf(graph, graph.output!)));
    } catch (error) {
      target.textContent = messageOf(error);
    }
  }

  /** The text of a node's value; of a collection, which no worker ever makes, the texts of what is in it. */
  private async _valuesOf(graph: IGraph, node: number): Promise<HTMLElement[]> {
    const detail = await this._source.node(node);
    if (detail.value) {
      return [h('code', { text: detail.value[2] || detail.value[1] })];
    }
    const parts = partsOf(graph, node);
    const details = await Promise.all(parts.slice(0, MANY).map(part => this._source.node(part)));
    const texts = details.map((part: NodeDetail) => h('code', { text: part.value?.[2] || this._nameOf(part.node) }));
    return parts.length > MANY ? [...texts, h('span', { text: `and ${parts.length - MANY} more` })] : texts;
  }

  private _onCancel(): void {
    this._cancelling = true;
    this._refusal = '';
    this._update();
    this._source.cancel().catch((error: unknown) => {
      this._cancelling = false;
      this._refusal = messageOf(error);
      this._update();
    });
  }

  private _onPause(): void {
    const wanted = !(this._source.snapshot?.summary.paused ?? false);
    this._refusal = '';
    this._source.pause(wanted).then(
      execution => this._beside.take(execution),
      (error: unknown) => {
        this._refusal = messageOf(error);
        this._update();
      }
    );
  }

  private _onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && this._selected !== null) {
      this.select(null);
      event.stopPropagation();
    }
  };

  private readonly _source: IDispatchSource;
  private readonly _mark: HTMLElement;
  private readonly _name: HTMLElement;
  private readonly _time: HTMLElement;
  private readonly _cancel: HTMLButtonElement;
  private readonly _pause: HTMLButtonElement;
  private readonly _beside: Beside;
  private readonly _bar: HTMLElement;
  private readonly _counts: HTMLElement;
  private readonly _stale: HTMLElement;
  private readonly _problem: HTMLElement;
  private readonly _facts: HTMLElement;
  private readonly _empty: HTMLElement;
  private readonly _stage: HTMLElement;
  private readonly _graph: GraphView;
  private readonly _panel: NodePanel;
  private _shown: IGraph | null = null;
  private _selected: number | null = null;
  private readonly _start: HTMLButtonElement | null;
  private readonly _again: HTMLButtonElement | null;
  private readonly _resume: HTMLButtonElement | null;
  private _badged: string | null = null;
  private _explained: string | null = null;
  private _concluded = '';
  private _refusal = '';
  private _cancelling = false;
  private _disposed = false;
  private _tick = 0;
}

/** The leaves of a collection: the nodes whose values it is made of. */
function partsOf(graph: IGraph, node: number): number[] {
  const parts: number[] = [];
  const look = (target: number): void => {
    // The output has its value as its one argument; its other edges say what it waits for.
    const only: readonly EdgeKind[] = graph.nodes[target][1] === NodeKind.OUTPUT ? [EdgeKind.ARG] : [EdgeKind.ARG, EdgeKind.KWARG];
    for (const [source, to, , kindOfEdge] of graph.edges) {
      if (to === target && only.includes(kindOfEdge)) {
        const kind = graph.nodes[source][1];
        kind === NodeKind.LIST || kind === NodeKind.DICT ? look(source) : parts.push(source);
      }
    }
  };
  look(node);
  return parts;
}

/** What the lattice was called with, as far as the graph shows it: `C = 0.5`, `gamma = 0.1, 1, 10, ...`. */
function inputsOf(graph: IGraph): string[] {
  const values = new Map<string, Set<string>>();
  for (const [source, target, name] of graph.edges) {
    const [text, kind] = graph.nodes[source];
    // The key of an item and the operand of an operator are parameters too, but nobody called anything with them.
    const called = graph.nodes[target][1] === NodeKind.ELECTRON || graph.nodes[target][1] === NodeKind.SUBLATTICE;
    // How a sublattice is built is nothing that anybody called it with.
    const inner = graph.nodes[target][1] === NodeKind.SUBLATTICE && (name === 'json_parent_metadata' || (name === 'sub' && text.startsWith(':parameter:<lattice ')));
    if (called && !inner && kind === NodeKind.PARAMETER && name) {
      const known = values.get(name) ?? new Set();
      values.set(name, known.add(prettyName(text, kind)));
    }
  }
  return [...values].slice(0, MANY).map(([name, texts]) => {
    const first = [...texts].slice(0, 4).map(text => (text.length > 60 ? `${text.slice(0, 59)}…` : text));
    return `${name} = ${first.join(', ')}${texts.size > 4 ? ', …' : ''}`;
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
