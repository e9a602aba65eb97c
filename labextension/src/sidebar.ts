/**
 * The list of dispatches in the side bar: what runs, what ran, and what can be done about it.
 */
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import type { DispatchesModel } from './dispatches';
import { Dashboard } from './dashboard';
import { h, iconButton, summaryMark } from './dom';
import { ExecutionReader } from './execution';
import { covalabIcon } from './icons';
import type { Overview } from './overview';
import { Asks } from './people/asks';
import { canCancel, counted, describeCounts, formatAge, formatDuration, formatElapsed, isTerminal, STATUSES, summaryLabel, total } from './text';
import type { Counts, DispatchSummary, TaskStatusName } from './wire';

export interface ISidebarOptions {
  readonly model: DispatchesModel;
  readonly overview: Overview;
  readonly open: (id: string) => void;
  readonly cancel: (id: string) => void;
  readonly start: (id: string) => void;
  /** Let it start nothing new, or go on. */
  readonly pause: (id: string, wanted: boolean) => void;
  /** Run it once more; with `reuse`, only what has not completed. */
  readonly again: (id: string, reuse: boolean) => void;
  readonly delete: (id: string) => void;
}

/** `with:…`: dispatches that have tasks which stand so. */
type Filter = 'all' | 'active' | 'completed' | 'failed' | `with:${TaskStatusName}`;

const FORMS = 3;

const FILTERS: readonly (readonly [Filter, string])[] = [
  ['all', 'All'],
  ['active', 'Active'],
  ['completed', 'Done'],
  ['failed', 'Failed']
];

/** The panel in the left area. */
export class Sidebar extends Widget {
  constructor(options: ISidebarOptions) {
    super();
    this.id = 'covalab-dispatches';
    this.addClass('jp-covalab-Sidebar');
    this.title.icon = covalabIcon;
    this.title.caption = 'Dispatches';
    this.node.setAttribute('aria-label', 'Dispatches');
    this._options = options;
    this._search = h('input', {
      class: 'cv-search',
      attrs: { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter by name, notebook or id' }
    });
    this._filters = h(
      'div',
      { class: 'cv-filters', attrs: { role: 'group', 'aria-label': 'Filter by status' } },
      ...FILTERS.map(([filter, label]) =>
        h('button', { class: 'cv-chip', text: label, attrs: { type: 'button', 'data-filter': filter }, onClick: () => this._choose(filter) })
      )
    );
    this._dashboard = new Dashboard({
      overview: options.overview,
      open: options.open,
      choose: word => this._choose(this._filter === `with:${word}` ? 'all' : `with:${word}`)
    });
    this._list = h('ul', { class: 'cv-rows', attrs: { 'data-lm-suppress-shortcuts': 'true' } });
    this._note = h('div', { class: 'cv-noteBar', attrs: { role: 'status' } });
    this._more = h('button', { class: 'cv-button cv-more', text: 'Show older ones', attrs: { type: 'button' }, onClick: () => void this._options.model.more() });
    this.node.append(
      h(
        'div',
        { class: 'cv-sideHead' },
        h('h2', { text: 'Dispatches' }),
        iconButton('refresh', 'Read the list again', () => void options.model.refresh())
      ),
      this._dashboard.node,
      this._search,
      this._filters,
      this._note,
      this._list,
      this._more
    );
    this._search.addEventListener('input', this._onSearch);
    options.model.changed.connect(this._update, this);
    this._choose('all');
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._search.removeEventListener('input', this._onSearch);
      this._options.model.changed.disconnect(this._update, this);
      window.clearTimeout(this._tick);
      this._dashboard.dispose();
      this._rows.forEach(row => row.dispose());
      super.dispose();
    }
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._options.overview.isShown = this.isVisible;
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._options.overview.isShown = true;
    this._update();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this._options.overview.isShown = false;
  }

  private _onSearch = (): void => this._update();

  private _choose(filter: Filter): void {
    this._filter = filter;
    for (const chip of this._filters.querySelectorAll<HTMLElement>('.cv-chip')) {
      chip.setAttribute('aria-pressed', String(chip.dataset['filter'] === filter));
    }
    this._dashboard.mark(filter.startsWith('with:') ? (filter.slice(5) as TaskStatusName) : null);
    this._update();
  }

  private _matches({ counts, status, held, name, notebook, id }: DispatchSummary): boolean {
    const text = this._search.value.trim().toLowerCase();
    const shown =
      this._filter === 'all' ||
      (this._filter === 'active' && !isTerminal(status) && !held) ||
      (this._filter === 'completed' && status === 'completed') ||
      (this._filter === 'failed' && (status === 'failed' || status === 'cancelled')) ||
      (this._filter.startsWith('with:') && tasksIn(counts, this._filter.slice(5) as TaskStatusName) > 0);
    return shown && (text === '' || [name, notebook, id].some(field => field.toLowerCase().includes(text)));
  }

  private _update(): void {
    window.clearTimeout(this._tick);
    if (!this.isVisible && this._rows.size > 0) {
      return;
    }
    const { model } = this._options;
    const shown = model.dispatches.filter(summary => this._matches(summary));
    const now = Date.now() / 1000;
    for (const [id, row] of this._rows) {
      if (!shown.some(summary => summary.id === id)) {
        row.dispose();
        this._rows.delete(id);
      }
    }
    shown.forEach((summary, at) => {
      let row = this._rows.get(summary.id);
      if (!row) {
        row = new Row(summary.id, this._options, summary.id);
        this._rows.set(summary.id, row);
      }
      row.update(summary, now, model.below(summary.id));
      if (this._list.children[at] !== row.node) {
        this._list.insertBefore(row.node, this._list.children[at] ?? null);
      }
    });
    this._note.textContent = this._say(shown.length);
    this._note.hidden = this._note.textContent === '';
    this._note.classList.toggle('cv-mod-failed', model.problem !== '');
    this._more.hidden = !model.hasMore || this._filter === 'active';
    // Lengths of time go on while nothing changes: each second for what runs, else the ages each minute.
    this._tick = window.setTimeout(() => this._update(), shown.some(({ status, held }) => !isTerminal(status) && !held) ? 1000 : 60_000);
  }

  private _say(shown: number): string {
    const { model } = this._options;
    if (model.problem) {
      return model.problem;
    }
    if (!model.isReady) {
      return 'Reading the list…';
    }
    if (shown > 0) {
      return '';
    }
    return model.dispatches.length === 0
      ? 'No dispatches yet. Run ct.dispatch(lattice)(…) or %dispatch in a notebook, and it appears here.'
      : model.hasMore
        ? `None of the newest ${model.dispatches.length} dispatches matches the filter.`
        : 'No dispatch matches the filter.';
  }

  private readonly _options: ISidebarOptions;
  private readonly _dashboard: Dashboard;
  private readonly _search: HTMLInputElement;
  private readonly _filters: HTMLElement;
  private readonly _list: HTMLElement;
  private readonly _note: HTMLElement;
  private readonly _more: HTMLElement;
  private readonly _rows = new Map<string, Row>();
  private _filter: Filter = 'all';
  private _tick = 0;
}

/** One dispatch in the list. Kept while it is listed, so that the pointer and the focus stay where they are. */
class Row {
  constructor(id: string, options: ISidebarOptions, root: string) {
    this._id = id;
    this._root = root;
    this._options = options;
    this._unfold = h('button', { class: 'cv-link cv-unfold', attrs: { type: 'button', 'aria-expanded': 'false', hidden: '' }, onClick: () => this._onUnfold() });
    this._below = h('ul', { class: 'cv-below', attrs: { hidden: '', 'aria-label': 'Sublattices' } });
    this._mark = h('span', { class: 'cv-rowMark' });
    this._name = h('span', { class: 'cv-rowName' });
    this._time = h('span', { class: 'cv-rowTime' });
    this._where = h('span', { class: 'cv-rowWhere' });
    this._bar = h('span', { class: 'cv-bar', attrs: { 'aria-hidden': 'true' } }, ...STATUSES.map(status => h('span', { class: `cv-mod-${status}` })));
    this._cancel = iconButton('stop', 'Cancel', () => options.cancel(id));
    this._start = iconButton('start', 'Start', () => options.start(id));
    this._pause = iconButton('pause', 'Pause: start nothing new', () => options.pause(id, true));
    this._unpause = iconButton('start', 'Resume: let it go on', () => options.pause(id, false));
    this._again = iconButton('again', 'Run again', () => options.again(id, false));
    this._resume = iconButton('start', 'Resume: run again, and take over what is done', () => options.again(id, true));
    this._delete = iconButton('trash', 'Delete', () => options.delete(id));
    this._main = h(
      'button',
      { class: 'cv-row', attrs: { type: 'button' }, onClick: () => options.open(id) },
      this._mark,
      h('span', { class: 'cv-rowText' }, h('span', { class: 'cv-rowTop' }, this._name, this._time), this._where, this._bar)
    );
    this.node = h(
      'li',
      { class: 'jp-covalab-Row', attrs: { 'data-dispatch': id } },
      this._main,
      h('span', { class: 'cv-rowActions' }, this._start, this._resume, this._again, this._unpause, this._pause, this._cancel, this._delete),
      this._unfold,
      this._below
    );
  }

  readonly node: HTMLElement;

  dispose(): void {
    this.node.remove();
    this._reader?.dispose();
    this._asks?.dispose();
    this._rows.forEach(row => row.dispose());
  }

  /** Show this; `family` is all that is known to be below the outermost dispatch. */
  update(summary: DispatchSummary, now: number, family: readonly DispatchSummary[]): void {
    const { status, counts, held, paused } = summary;
    const over = isTerminal(status);
    const start = summary.started_at ?? summary.created_at;
    const stands = `${status}|${held}|${paused}`;
    if (this._stands !== stands) {
      this._stands = stands;
      this._mark.replaceChildren(summaryMark(summary));
      this.node.dataset['status'] = status;
      this.node.dataset['over'] = String(over); // what the context menu offers depends on these
      this.node.dataset['held'] = String(held);
      this.node.dataset['cancel'] = String(canCancel(summary));
      this.node.dataset['paused'] = String(paused && !over);
    }
    this._name.textContent = summary.name;
    this._time.textContent = over ? formatDuration((summary.ended_at ?? start) - start) : held ? '' : formatElapsed(now - start);
    const age = formatAge(summary.created_at, now);
    const label = summaryLabel(summary);
    const says = held || label === 'Paused' || label === 'Waiting';
    this._where.textContent = [says ? label : '', summary.notebook.split('/').pop() ?? '', age].filter(Boolean).join(' · ');
    STATUSES.forEach((part, at) => {
      const element = this._bar.children[at] as HTMLElement;
      element.style.flexGrow = String(counts[part]);
      element.hidden = counts[part] === 0;
    });
    this._bar.hidden = status === 'completed' || total(counts) === 0;
    this._cancel.hidden = !canCancel(summary);
    this._start.hidden = !held;
    this._pause.hidden = over || held || paused;
    this._unpause.hidden = over || held || !paused;
    this._again.hidden = !over;
    this._resume.hidden = !over || status === 'completed';
    this._delete.hidden = (!over && !held) || this._id !== this._root;
    this._ask(summary);
    this._updateBelow(summary, now, family);
    const words = [summary.name, summaryLabel(summary), ...describeCounts(counts), summary.notebook, age];
    this._main.setAttribute('aria-label', words.filter(Boolean).join(', '));
    this._main.title = [`${summary.name} · ${summaryLabel(summary)}`, describeCounts(counts).join(', '), summary.notebook, summary.id, summary.error]
      .filter(Boolean)
      .join('\n');
  }

  /** Forms for what it waits for; the last ones stay until they have said what became of them. */
  private _ask({ version, waiting }: DispatchSummary): void {
    if ((waiting === 0 && !this._reader) || (version === this._asked && !this._reader?.hasFailed)) {
      return;
    }
    this._asked = version;
    const { model } = this._options;
    if (!this._reader) {
      const reader = new ExecutionReader(() => model.execution(this._id));
      const asks = new Asks({
        answer: async (interrupt, request, json) => {
          try {
            reader.take(await model.answer(this._id, interrupt, request, json));
          } finally {
            reader.ask(); // also when it fails: somebody else may have answered
          }
        },
        most: FORMS
      });
      reader.changed.connect(() => asks.update(reader.execution?.interrupts ?? [], this._waiting));
      this.node.insertBefore(asks.node, this._unfold);
      this._reader = reader;
      this._asks = asks;
    }
    this._waiting = waiting;
    this._reader.ask();
  }

  private _onUnfold(open = !this._isOpen): void {
    this._isOpen = open;
    this._unfold.setAttribute('aria-expanded', String(this._isOpen));
    this._below.hidden = !this._isOpen;
    if (this._isOpen) {
      void this._options.model.unfold(this._root);
    }
  }

  private _updateBelow(summary: DispatchSummary, now: number, family: readonly DispatchSummary[]): void {
    const children = family.filter(({ parent }) => parent === this._id);
    const count = Math.max(summary.inner, children.length);
    this._unfold.hidden = count === 0;
    const asks = asksBelow(this._id, family);
    this._unfold.textContent = `${counted(count, 'sublattice')}${asks ? ' · an answer is awaited' : ''}`;
    if (asks && !this._asksBelow) {
      this._onUnfold(true);
    }
    this._asksBelow = asks;
    if (this._id === this._root && !isTerminal(summary.status) && summary.inner > this._inner) {
      // What is below may wait for a person, and nobody would see it.
      this._inner = summary.inner;
      void this._options.model.unfold(this._root);
    }
    children.forEach((child, at) => {
      let row = this._rows.get(child.id);
      if (!row) {
        row = new Row(child.id, this._options, this._root);
        this._rows.set(child.id, row);
      }
      row.update(child, now, family);
      if (this._below.children[at] !== row.node) {
        this._below.insertBefore(row.node, this._below.children[at] ?? null);
      }
    });
  }

  private readonly _id: string;
  private readonly _root: string;
  private readonly _options: ISidebarOptions;
  private readonly _unfold: HTMLElement;
  private readonly _below: HTMLElement;
  private readonly _rows = new Map<string, Row>();
  private _isOpen = false;
  private _asksBelow = false;
  private _inner = 0;
  private readonly _main: HTMLElement;
  private readonly _mark: HTMLElement;
  private readonly _name: HTMLElement;
  private readonly _time: HTMLElement;
  private readonly _where: HTMLElement;
  private readonly _bar: HTMLElement;
  private readonly _cancel: HTMLElement;
  private readonly _delete: HTMLElement;
  private readonly _start: HTMLElement;
  private readonly _again: HTMLElement;
  private readonly _resume: HTMLElement;
  private readonly _pause: HTMLElement;
  private readonly _unpause: HTMLElement;
  private _stands = '';
  private _reader: ExecutionReader | null = null;
  private _asks: Asks | null = null;
  private _asked = -1;
  private _waiting = 0;
}

/** Whether something below a dispatch waits for a person. */
function asksBelow(id: string, family: readonly DispatchSummary[]): boolean {
  return (
    family.some(({ waiting }) => waiting > 0) &&
    family.some(child => child.parent === id && (child.waiting > 0 || asksBelow(child.id, family)))
  );
}

/** How many tasks of a dispatch stand so, as the dashboard counts them: what a failure kept from starting has failed. */
function tasksIn(counts: Counts, word: TaskStatusName): number {
  const kept = counts.failed > 0 ? 'failed' : 'cancelled';
  return counts[word] + (word === kept ? counts.skipped : 0);
}
