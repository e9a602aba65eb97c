/**
 * View of one dispatch: name, status, progress, errors, result, graph, node panel and execution panel.
 *
 * It shows an `IDispatchSource` and does not depend on the source's kind: the extension and the widget both use it.
 */
import { h, keepShortcutsOut } from '../dom';
import { nameCells, nodeName } from '../graph/labels';
import { drawnCounts, isPlumbing } from '../graph/shape';
import { GraphView } from '../graph/view';
import { describeCounts, errorMessage, isNotebookRun, isRecord, isTerminal, namesIn, summaryLabel } from '../text';
import { TimelineView } from '../timeline/view';
import type { IDispatchSource, IGraph, IOutputsView, ISnapshot } from '../tokens';
import { EdgeKind, type NodeDetail, NodeKind } from '../wire';
import { ExecutionPanel } from './executionPanel';
import { DispatchHead, type Shown } from './head';
import { NodePanel } from './nodePanel';
import { PreviewView } from './preview';
import { codeFor, isWorthPreview } from './previewText';
import { LOG_HEIGHT, LogView } from './logView';
import { TaskTable } from './taskTable';

/** The most inputs, and parts of a result, that are shown. */
const MAX_VALUES = 8;

const MAX_FAILURES = 4;

/** Width of a tab from which on graph and timeline are side by side, and what the node panel takes of it. */
const BOTH_FROM = 1000;
const PANEL = 340;

export interface IDispatchViewOptions {
  readonly source: IDispatchSource;
  /** `output`: in a cell's output, as high as its graph needs. `main`: in a tab, which it fills. */
  readonly place: 'output' | 'main';
  /** Open the dispatch in a tab; without this there is no such button. */
  readonly open?: (() => void) | null;
  /** Open another dispatch: the child dispatch of a sublattice's node. */
  readonly openDispatch?: ((id: string) => void) | null;
  /** Make a view of outputs; without this, printed text is shown as text. */
  readonly createOutputs?: (() => IOutputsView) | null;
  /** Put code into the notebook; without this there is no such button. */
  readonly insert?: ((code: string) => void) | null;
  /** Whether the outputs of its nodes are shown below, where its result is among them. */
  readonly hasDisplays?: boolean;
  /** What is shown below all else; its maker disposes of it. */
  readonly below?: HTMLElement | null;
  /** Start a dispatch that was recorded and not started. */
  readonly start?: (() => void) | null;
  /** Run the dispatch again under a new id; with `reuse`, completed nodes are not run again, but for `nodes` and what follows from them. */
  readonly redispatch?: ((reuse: boolean, nodes?: readonly number[]) => void) | null;
}

/** Shows one dispatch. */
export class DispatchView {
  constructor(options: IDispatchViewOptions) {
    this._options = options;
    this._source = options.source;
    this._head = new DispatchHead({
      cancel: () => this._onCancel(),
      pause: () => this._onPause(),
      show: shown => this._show(shown),
      fold: () => this._setOpen(this.node.classList.contains('cv-mod-folded')),
      open: options.open ?? null,
      start: options.start ?? null,
      redispatch: options.redispatch ?? null,
      tag: this._source.tag
    });
    this._stale = h('div', { class: 'cv-stale', attrs: { role: 'status', hidden: '' } });
    this._next = h('div', { class: 'cv-next', attrs: { role: 'status', hidden: '' } });
    this._problem = h('div', { class: 'cv-problem', attrs: { role: 'alert', hidden: '' } });
    this._facts = h('div', { class: 'cv-facts', attrs: { hidden: '' } });
    this._graph = new GraphView({
      onSelect: node => this.select(node),
      onHeight: () => this._updateHeight(),
      wheelZooms: options.place === 'main'
    });
    const { _source: source } = this;
    const select = (node: number | null): void => this.select(node);
    this._timeline = new TimelineView({ source, onSelect: select, onHeight: () => this._updateHeight(), wheelZooms: options.place === 'main' });
    this._tasks = new TaskTable({ source, select, onHeight: () => this._updateHeight() });
    this._log = new LogView({ source, select });
    this._panel = this._createPanel();
    this._execution = new ExecutionPanel({ source, select, nameOf: node => this._nameOf(node) });
    this._stage = h('div', { class: 'cv-stage' }, this._graph.node, this._panel.node);
    this._empty = h('div', { class: 'cv-empty', text: 'Waiting for the dispatch…' });
    this.node = h(
      'div',
      { class: `jp-covalab-Dispatch cv-mod-${options.place}` },
      this._head.node,
      this._head.bar,
      this._stale,
      this._next,
      this._problem,
      this._execution.forms,
      this._facts,
      this._result,
      this._empty,
      this._stage,
      this._execution.panel,
      options.below ?? null
    );
    keepShortcutsOut(this.node);
    this.node.addEventListener('keydown', this._onKeyDown);
    this.node.addEventListener('keydown', this._onAnyKey, true);
    this._source.changed.connect(this._update, this);
    this._resizes = new ResizeObserver(() => this._arrange());
    this._resizes.observe(this.node);
    this._show('graph');
    this._update();
  }

  private _createPanel(): NodePanel {
    const { openDispatch, createOutputs, insert, redispatch } = this._options;
    return new NodePanel({
      runFrom: redispatch ? node => redispatch(true, [node]) : null,
      select: node => this.select(node),
      open: openDispatch ?? null,
      readOutputs: this._source.outputs,
      createOutputs: createOutputs ?? null,
      readPreview: this._source.preview,
      insert: insert ?? null
    });
  }

  readonly node: HTMLElement;

  /** Remove all listeners and timers. The source is not disposed: its creator owns it. */
  dispose(): void {
    this._source.changed.disconnect(this._update, this);
    this.node.removeEventListener('keydown', this._onKeyDown);
    this._resizes.disconnect();
    this._head.dispose();
    this.node.removeEventListener('keydown', this._onAnyKey, true);
    this._preview?.dispose();
    this._graph.dispose();
    this._timeline.dispose();
    this._tasks.dispose();
    this._log.dispose();
    this._panel.dispose();
    this._execution.dispose();
    this._disposed = true;
  }

  /** Show one line only, which opens the rest: the dispatch is drawn elsewhere. */
  setFolded(folded: boolean): void {
    this._head.fold.hidden = !folded;
    this._setOpen(!folded);
  }

  private _setOpen(open: boolean): void {
    this._head.fold.textContent = open ? 'Hide' : 'Show';
    this._head.fold.setAttribute('aria-expanded', String(open));
    this.node.classList.toggle('cv-mod-folded', !open);
    this._arrange();
  }

  /** Select a node and show its panel; null closes the panel. */
  select(node: number | null): void {
    this._selected = node;
    this._graph.select(node);
    this._timeline.select(node);
    this._tasks.select(node);
    this.node.classList.toggle('cv-mod-panel', node !== null);
    if (node === null) {
      const hadFocus = this._panel.hasFocus;
      this._panel.clear();
      // The reader goes on where the panel was opened.
      hadFocus && this._stage.querySelector<HTMLElement>(':scope > :not([hidden]) :is([role="listbox"], [role="grid"])')?.focus();
    } else {
      void this._load(node);
      this._isChosenByKey && this._panel.focus();
    }
    this._arrange();
  }

  /** Show the graph, the timeline, the tasks or the log; where there is room, graph and timeline are shown together. */
  private _show(shown: Shown): void {
    this._view = shown;
    this._arrange();
  }

  private _arrange(): void {
    const isMain = this.node.classList.contains('cv-mod-main');
    const both = isMain && this.node.clientWidth >= (this._selected === null ? BOTH_FROM : BOTH_FROM + PANEL);
    // One box is no picture of anything: the list of the graph shows it as a line.
    const isSingle = this._boxes < 2;
    this.node.classList.toggle('cv-mod-single', isSingle);
    const offered: readonly Shown[] = isSingle ? ['graph', 'log'] : both ? ['graph', 'tasks', 'log'] : ['graph', 'timeline', 'tasks', 'log'];
    const view = offered.includes(this._view) ? this._view : 'graph';
    this.node.classList.toggle('cv-mod-both', both && !isSingle && view === 'graph');
    this._head.setShown(view, offered);
    this._graph.node.hidden = view !== 'graph';
    for (const [part, isShown] of [
      [this._timeline, view === 'timeline' || (view === 'graph' && both && !isSingle)],
      [this._tasks, view === 'tasks'],
      [this._log, view === 'log']
    ] as const) {
      if (isShown && !part.node.parentNode) {
        this._stage.insertBefore(part.node, this._panel.node); // most views never show it
      }
      part.isShown = isShown;
    }
    const isFolded = this.node.classList.contains('cv-mod-folded');
    this._head.views.hidden = isFolded;
    this.node.classList.toggle('cv-mod-table', view === 'tasks' || view === 'log');
    this._stage.hidden = this._shown === null || isFolded;
    this._updateHeight();
  }

  private _updateHeight(): void {
    const shown = [this._graph, this._timeline, this._tasks].find(({ node }) => !node.hidden);
    const height = this._log.node.hidden ? (shown?.wantedHeight ?? 0) : LOG_HEIGHT;
    this._stage.style.setProperty('--cv-height', `${height}px`);
  }

  private async _load(node: number): Promise<void> {
    this._panel.showLoading(node, this._nameOf(node));
    try {
      const detail = await this._source.node(node);
      if (this._selected === node && !this._disposed) {
        this._panel.show(detail, index => this._nameOf(index));
      }
    } catch (error) {
      if (this._selected === node && !this._disposed) {
        this._panel.showError(errorMessage(error));
      }
    }
  }

  private _nameOf(node: number): string {
    const graph = this._source.snapshot?.graph;
    return graph && node < graph.nodes.length ? nodeName(graph, node) : `node ${node}`;
  }

  private _update(): void {
    const { snapshot } = this._source;
    this._empty.hidden = snapshot !== null && (snapshot.graph !== null || isTerminal(snapshot.summary.status) || snapshot.stale !== '');
    this.node.classList.toggle('cv-mod-blank', snapshot === null);
    if (!snapshot) {
      return;
    }
    const { summary, graph, states } = snapshot;
    if (graph?.settings && graph !== this._shown && isNotebookRun(summary)) {
      nameCells({ nodes: graph.nodes, settings: graph.settings });
    }
    this.node.classList.toggle('cv-mod-stale', snapshot.stale !== '');
    this._head.update(snapshot, graph ? drawnCounts(summary.counts, graph.nodes, states) : summary.counts, this._cancelling);
    this._execution.update(snapshot);
    const remark = snapshot.stale || (summary.notice ? `It ${summary.notice}` : '');
    this._stale.hidden = remark === '';
    this._stale.textContent = remark;
    this._updateNext(snapshot);
    this._updateErrors(snapshot);
    this._updateFacts(snapshot);
    if (graph && graph !== this._shown && graph.nodes.length > 0) {
      this._shown = graph;
      this._boxes = graph.nodes.filter(([, kind]) => !isPlumbing(kind)).length;
      this._graph.setGraph(graph.nodes, graph.edges);
      this._arrange();
    }
    if (graph) {
      this._graph.setStates(states, snapshot.stale === '');
      this._timeline.update(snapshot);
      this._tasks.update(snapshot);
      this._graph.setProgress(snapshot.progress);
    }
    this._log.update(snapshot);
    this._panel.setCanRunFrom(isTerminal(summary.status) && snapshot.stale === '');
    this._panel.showProgress(this._selected === null ? undefined : snapshot.progress.get(this._selected));
    if (this._selected !== null && this._panel.isOutdated(states.get(this._selected), snapshot.children.get(this._selected))) {
      void this._load(this._selected);
    }
  }

  /** Show what became of it: the dispatch that runs it again. */
  private _updateNext({ successor = null }: ISnapshot): void {
    const text = successor ? `${successor.name} · ${summaryLabel(successor)} · ${describeCounts(successor.counts)[0] ?? ''}` : '';
    this._next.hidden = text === '';
    if (!successor || text === this._nextText) {
      return;
    }
    this._nextText = text;
    const { openDispatch } = this._options;
    this._next.replaceChildren(
      h('span', { text: 'Runs again as ' }),
      openDispatch
        ? h('button', { class: 'cv-link', text, title: successor.id, attrs: { type: 'button' }, onClick: () => openDispatch(successor.id) })
        : h('span', { text: `${text} · ${successor.id}` })
    );
  }

  /** Show the refused command or the dispatch's error, and the first failed nodes with their messages. */
  private _updateErrors({ summary, states }: ISnapshot): void {
    const failed = [...states.values()].filter(([, status]) => status === 'failed').map(([node]) => node);
    // The dispatch's error only repeats the names of the failed nodes, which are shown as links below.
    const message = this._refusal || (failed.length > 0 ? '' : summary.error);
    const key = `${message}|${failed.join()}`;
    if (key === this._errorsKey) {
      return;
    }
    this._errorsKey = key;
    this._problem.hidden = message === '' && failed.length === 0;
    this._problem.replaceChildren(
      ...[
        message ? h('div', { class: 'cv-message', text: message }) : null,
        ...failed.slice(0, MAX_FAILURES).map(node => this._failure(node)),
        failed.length > MAX_FAILURES ? h('div', { class: 'cv-quiet', text: `and ${failed.length - MAX_FAILURES} more nodes that failed` }) : null
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
      () => undefined // the text `failed` stays
    );
    return h(
      'div',
      { class: 'cv-message' },
      h('button', { class: 'cv-link', text: this._nameOf(node), title: `Node ${node}`, attrs: { type: 'button' }, onClick: () => this.select(node) }),
      text
    );
  }

  /** Show the result, once there is one, and the inputs. */
  private _updateFacts({ summary, graph, stale }: ISnapshot): void {
    const { inputs } = summary;
    const done = summary.status === 'completed';
    const key = `${done}|${graph !== null}|${stale !== ''}`;
    if (key === this._factsKey) {
      return;
    }
    this._factsKey = key;
    const label = h('dt', { text: 'Result' });
    const value = h('dd', { class: 'cv-value', text: '…' });
    const hasValue = done && graph?.output !== undefined && graph.output >= 0;
    this._facts.hidden = !inputs && !hasValue;
    this._facts.replaceChildren(
      h(
        'dl',
        {},
        ...(hasValue ? [label, value] : []),
        ...(inputs ? [h('dt', { class: 'cv-inputs', text: 'Inputs' }), h('dd', { class: 'cv-inputs' }, h('code', { text: inputs }))] : [])
      )
    );
    if (hasValue) {
      void this._fillValue(graph, label, value);
    }
  }

  private async _fillValue(graph: IGraph, label: HTMLElement, target: HTMLElement): Promise<void> {
    try {
      target.replaceChildren(...(await this._valuesOf(graph, graph.output!)));
      label.textContent = target.querySelector('.cv-names') ? 'Names' : 'Result';
    } catch (error) {
      target.textContent = errorMessage(error);
    }
  }

  /** Return the text of a node's value. A collection has no value of its own, since no worker makes it: its parts' texts. */
  private async _valuesOf(graph: IGraph, node: number): Promise<HTMLElement[]> {
    const detail = await this._source.node(node);
    const { preview: read } = this._source;
    const only = detail.value ? detail : await this._onlyPart(graph, node);
    if (read && !this._options.hasDisplays && isWorthPreview(only?.value ?? null)) {
      this._preview?.dispose();
      this._preview = new PreviewView({
        read: query => read(node, query),
        createOutputs: this._options.createOutputs ?? null,
        code: codeFor(this._source.id, null),
        insert: this._options.insert ?? null,
        name: (this._source.snapshot?.summary.name ?? 'result').replace(/[^\w-]+/g, '_').slice(0, 60)
      });
      this._result.replaceChildren(this._preview.node);
      this._result.hidden = false;
    }
    if (detail.value) {
      const [, type, text] = detail.value;
      // What the preview shows better is not shown twice.
      return [h('code', { class: isRecord(type) ? 'cv-names' : '', text: (!this._result.hidden && /\n/.test(text) ? '' : namesIn(text)) || type })];
    }
    const parts = partsOf(graph, node);
    const details = await Promise.all(parts.slice(0, MAX_VALUES).map(part => this._source.node(part)));
    const record = details.find(({ value }) => value && isRecord(value[1]));
    if (record) {
      return [h('code', { class: 'cv-names', text: namesIn(record.value![2]) })]; // the end of a session: what it is made of says nothing
    }
    const texts = details.map(({ value, node: part }: NodeDetail) =>
      h('code', { text: (!this._result.hidden && value && /\n/.test(value[2]) ? value[1] : value?.[2]) || this._nameOf(part) })
    );
    return parts.length > MAX_VALUES ? [...texts, h('span', { text: `and ${parts.length - MAX_VALUES} more` })] : texts;
  }

  /** Return the detail of the only node that a value consists of; null if it is a collection. */
  private async _onlyPart(graph: IGraph, node: number): Promise<NodeDetail | null> {
    const sources = graph.edges.filter(([, target, , kind]) => target === node && kind === EdgeKind.ARG).map(([source]) => source);
    if (graph.nodes[node][1] !== NodeKind.OUTPUT || sources.length !== 1) {
      return null;
    }
    const detail = await this._source.node(sources[0]);
    return detail.value ? detail : null;
  }

  private _onCancel(): void {
    this._cancelling = true;
    this._refusal = '';
    this._update();
    this._source.cancel().catch((error: unknown) => {
      this._cancelling = false;
      this._refusal = errorMessage(error);
      this._update();
    });
  }

  private _onPause(): void {
    const paused = !(this._source.snapshot?.summary.paused ?? false);
    this._refusal = '';
    this._source.pause(paused).then(
      execution => this._execution.accept(execution),
      (error: unknown) => {
        this._refusal = errorMessage(error);
        this._update();
      }
    );
  }

  /** Note that a node is chosen with the keyboard, whose focus then moves to what was opened. */
  private _onAnyKey = ({ key, target }: KeyboardEvent): void => {
    if ((key === 'Enter' || key === ' ') && this._stage.contains(target as Node) && !this._panel.node.contains(target as Node)) {
      this._isChosenByKey = true;
      window.setTimeout(() => (this._isChosenByKey = false));
    }
  };

  private _onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && this._selected !== null) {
      this.select(null);
      event.stopPropagation();
    }
  };

  private readonly _options: IDispatchViewOptions;
  private readonly _source: IDispatchSource;
  private readonly _next: HTMLElement;
  private _nextText = '';
  private readonly _head: DispatchHead;
  private readonly _result = h('div', { class: 'cv-result', attrs: { hidden: '' } });
  private _preview: PreviewView | null = null;
  private _isChosenByKey = false;
  private readonly _execution: ExecutionPanel;
  private readonly _stale: HTMLElement;
  private readonly _problem: HTMLElement;
  private readonly _facts: HTMLElement;
  private readonly _empty: HTMLElement;
  private readonly _stage: HTMLElement;
  private readonly _graph: GraphView;
  private readonly _timeline: TimelineView;
  private readonly _tasks: TaskTable;
  private readonly _log: LogView;
  private readonly _resizes: ResizeObserver;
  private readonly _panel: NodePanel;
  private _shown: IGraph | null = null;
  private _selected: number | null = null;
  private _errorsKey: string | null = null;
  private _factsKey = '';
  private _refusal = '';
  private _cancelling = false;
  private _disposed = false;
  private _view: Shown = 'graph';
  private _boxes = 0;
}

/** Return the leaves of a collection: the nodes whose values it consists of. */
function partsOf(graph: IGraph, node: number): number[] {
  const parts: number[] = [];
  const visit = (target: number): void => {
    // The output's value is its only argument; its other edges are nodes that it waits for.
    const kinds: readonly EdgeKind[] = graph.nodes[target][1] === NodeKind.OUTPUT ? [EdgeKind.ARG] : [EdgeKind.ARG, EdgeKind.KWARG];
    for (const [source, to, , edgeKind] of graph.edges) {
      if (to === target && kinds.includes(edgeKind)) {
        const kind = graph.nodes[source][1];
        kind === NodeKind.LIST || kind === NodeKind.DICT ? visit(source) : parts.push(source);
      }
    }
  };
  visit(node);
  return parts;
}
