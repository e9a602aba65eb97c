/**
 * Side bar panel: the searchable list of dispatches, grouped by name and notebook, and the dashboard above it.
 */
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { h, iconButton } from '../dom';
import { covalabIcon } from '../icons';
import type { Overview } from '../model/overview';
import { PendingDeletes } from '../model/deletes';
import type { IWanted, SearchList } from '../model/list';
import { counted, isTerminal } from '../text';
import type { DispatchGroup, DispatcherStatus, TaskStatusName } from '../wire';
import { Dashboard } from './dashboard';
import { DispatchRow, type IRowOptions } from './row';
import { GroupRuns } from './runs';
import { Workers } from './workers';

export interface ISidebarOptions extends Omit<IRowOptions, 'choose' | 'isChosen'> {
  readonly overview: Overview;
  readonly list: SearchList;
  /** Delete a dispatch at once; its errors are shown by it. */
  readonly remove: (id: string) => Promise<void>;
  readonly readStatus: () => Promise<DispatcherStatus>;
  /** Restart all workers, with another number of them if one is given; false: the reader does not want to. */
  readonly restart: (workers: number | null) => Promise<boolean>;
  /** Show what differs between two dispatches. */
  readonly compare: (left: string, right: string) => void;
  /** Insert the line with which a cell runs in the background; null where there is no notebook. */
  readonly insertExample: () => void;
}

const FILTERS: readonly (readonly [IWanted['only'], string])[] = [
  ['', 'All'],
  ['active', 'Active'],
  ['completed', 'Completed'],
  ['failed', 'Failed']
];

const SORTS: readonly (readonly [IWanted['sort'], string])[] = [
  ['newest', 'Newest first'],
  ['oldest', 'Oldest first'],
  ['longest', 'Longest first'],
  ['name', 'By name']
];

/** Milliseconds after the last key before the server is asked. */
const TYPING = 180;

/** Shows the list in the left area. */
export class Sidebar extends Widget {
  constructor(options: ISidebarOptions) {
    super();
    this.id = 'covalab-dispatches';
    this.addClass('jp-covalab-Sidebar');
    Object.assign(this.title, { icon: covalabIcon, caption: 'Dispatches' });
    this.node.setAttribute('aria-label', 'Dispatches');
    this._options = options;
    this._rowOptions = {
      ...options,
      delete: id => this._deletes.add([id]),
      choose: (id, chosen) => this._choose(id, chosen),
      isChosen: id => this._chosen.has(id)
    };
    this._deletes = new PendingDeletes(options.remove, () => this._update());
    this._search = h('input', {
      class: 'cv-search',
      attrs: { type: 'search', placeholder: 'Search all dispatches', 'aria-label': 'Search by name, notebook, inputs, tag or id' }
    });
    this._filters = h(
      'div',
      { class: 'cv-filters', attrs: { role: 'group', 'aria-label': 'Filter by status' } },
      ...FILTERS.map(([filter, label]) =>
        h('button', { class: 'cv-chip', text: label, title: filter === 'failed' ? 'Failed or cancelled' : '', attrs: { type: 'button', 'data-filter': filter }, onClick: () => this._setFilter(filter) })
      )
    );
    this._sort = h('select', { class: 'cv-sort', attrs: { 'aria-label': 'Order' } }, ...SORTS.map(([value, text]) => h('option', { text, attrs: { value } })));
    this._sort.addEventListener('change', () => options.list.want({ sort: this._sort.value as IWanted['sort'] }));
    this._tags = h('select', { class: 'cv-sort cv-tagFilter', attrs: { 'aria-label': 'Tag', hidden: '' } });
    this._tags.addEventListener('change', () => options.list.want({ tag: this._tags.value }));
    this._found = h('span', { class: 'cv-foundCount', attrs: { role: 'status' } });
    this._bar = h('div', { class: 'cv-choiceBar', attrs: { role: 'status', hidden: '' } });
    this._example = h('button', { class: 'cv-button cv-example', text: 'Insert %%electron --run', attrs: { type: 'button', hidden: '' }, onClick: () => options.insertExample() });
    this._dashboard = new Dashboard({
      overview: options.overview,
      open: options.open,
      choose: status => this._chooseTasks(status)
    });
    this._workers = new Workers({ read: options.readStatus, restart: options.restart });
    this._list = h('ul', { class: 'cv-rows', attrs: { 'data-lm-suppress-shortcuts': 'true' } });
    this._message = h('div', { class: 'cv-noteBar', attrs: { role: 'status' } });
    this._more = h('button', { class: 'cv-button cv-more', text: 'Show older ones', attrs: { type: 'button' }, onClick: () => void options.list.more() });
    this._place();
    this._search.addEventListener('input', this._onSearch);
    options.model.changed.connect(this._update, this);
    options.list.changed.connect(this._update, this);
    this._setFilter('');
  }

  private _place(): void {
    this.node.append(
      h(
        'div',
        { class: 'cv-sideHead' },
        h('h2', { text: 'Dispatches' }),
        iconButton('refresh', 'Read the list again', () => void this._options.list.read())
      ),
      this._dashboard.node,
      this._search,
      this._filters,
      h('div', { class: 'cv-listHead' }, this._found, this._tags, this._sort),
      this._bar,
      this._message,
      this._example,
      this._list,
      this._more,
      this._workers.node
    );
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._search.removeEventListener('input', this._onSearch);
      this._options.model.changed.disconnect(this._update, this);
      this._options.list.changed.disconnect(this._update, this);
      this._deletes.dispose();
      window.clearTimeout(this._typing);
      window.clearTimeout(this._timer);
      this._dashboard.dispose();
      this._workers.dispose();
      this._rows.forEach(({ row, runs }) => (row.dispose(), runs.dispose()));
      super.dispose();
    }
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._options.overview.isShown = this.isVisible;
    this._workers.isShown = this.isVisible;
    this._options.list.isShown = this.isVisible;
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._options.overview.isShown = true;
    this._workers.isShown = true;
    this._options.list.isShown = true;
    this._update();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this._options.overview.isShown = false;
    this._workers.isShown = false;
    this._options.list.isShown = false;
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    this._search.focus();
  }

  private _onSearch = (): void => {
    window.clearTimeout(this._typing);
    this._typing = window.setTimeout(() => this._options.list.want({ text: this._search.value.trim() }), TYPING);
  };

  private _setFilter(only: IWanted['only'], tasks: TaskStatusName | null = null): void {
    for (const chip of this._filters.querySelectorAll<HTMLElement>('.cv-chip')) {
      chip.setAttribute('aria-pressed', String(chip.dataset['filter'] === only));
    }
    this._tasks = tasks;
    this._dashboard.setPressed(tasks);
    this._options.list.want({ only });
  }

  /** List the dispatches that have tasks of this status, or all again. */
  private _chooseTasks(status: TaskStatusName): void {
    const filters = { running: 'active', pending: 'active', completed: 'completed', failed: 'failed_tasks', cancelled: 'cancelled_tasks' } as const;
    this._tasks === status ? this._setFilter('') : this._setFilter(filters[status], status);
  }

  private _choose(id: string, chosen: boolean): void {
    chosen ? this._chosen.add(id) : this._chosen.delete(id);
    this._update();
  }

  /** Show how many are chosen and what can be done with them, or what is about to be deleted. */
  private _updateBar(): void {
    const { count } = this._deletes;
    const key = `${count}|${this._chosen.size}`;
    if (key === this._barKey) {
      return;
    }
    this._barKey = key;
    const button = (text: string, act: () => void): HTMLElement => h('button', { class: 'cv-button', text, attrs: { type: 'button' }, onClick: act });
    this._bar.hidden = count === 0 && this._chosen.size === 0;
    this.node.classList.toggle('cv-mod-choosing', this._chosen.size > 0);
    this._bar.replaceChildren(
      ...(count > 0
        ? [h('span', { text: `${counted(count, 'dispatch', 'dispatches')} deleted` }), button('Undo', () => this._deletes.undo())]
        : [
            h('span', { text: `${this._chosen.size} selected` }),
            this._compareButton(),
            button('Delete', () => {
              this._deletes.add(this._chosen);
              this._chosen.clear();
              this._update();
            }),
            button('Clear', () => {
              this._chosen.clear();
              this._update();
            })
          ])
    );
  }

  private _compareButton(): HTMLElement {
    const [left, right] = this._chosen;
    const isPair = this._chosen.size === 2;
    const button = h('button', { class: 'cv-button', text: 'Compare', title: isPair ? 'Show what differs' : 'Select two to see what differs', attrs: { type: 'button' }, onClick: () => this._options.compare(left, right) });
    button.disabled = !isPair;
    return button;
  }

  private _update(): void {
    window.clearTimeout(this._timer);
    // A hidden list is not updated; onAfterShow makes up for that.
    if (!this.isVisible && this._rows.size > 0) {
      return;
    }
    const { list } = this._options;
    const shown = list.groups.filter(({ newest, count }) => count > 1 || !this._deletes.has(newest.summary.id));
    // Who waits for a person comes first.
    const sorted = [...shown].sort((a, b) => Number(b.newest.summary.waiting > 0) - Number(a.newest.summary.waiting > 0));
    this._updateRows(sorted);
    this._updateBar();
    this._updateTags();
    const { matching, total } = list.counts;
    this._found.textContent = !list.isReady || total === 0 ? '' : matching === total ? counted(total, 'dispatch', 'dispatches') : `${matching.toLocaleString('en')} of ${total.toLocaleString('en')}`;
    this._message.textContent = this._messageText(shown.length);
    this._message.hidden = this._message.textContent === '';
    this._message.classList.toggle('cv-mod-failed', list.problem !== '');
    this._example.hidden = !list.isReady || total > 0 || list.problem !== '';
    this._more.hidden = !list.hasMore;
    // Durations grow while nothing changes: each second for running dispatches, else the ages each minute.
    this._timer = window.setTimeout(() => this._update(), shown.some(({ newest: { summary } }) => !isTerminal(summary.status) && !summary.held) ? 1000 : 60_000);
  }

  private _updateTags(): void {
    const { tags, wanted } = this._options.list;
    const all = wanted.tag && !tags.includes(wanted.tag) ? [wanted.tag, ...tags] : tags;
    const key = all.join();
    this._tags.hidden = all.length === 0;
    if (key !== this._tagsKey) {
      this._tagsKey = key;
      this._tags.replaceChildren(h('option', { text: 'All tags', attrs: { value: '' } }), ...all.map(tag => h('option', { text: `#${tag}`, attrs: { value: tag } })));
      this._tags.value = wanted.tag;
    }
  }

  /** Update, add and remove rows. Rows are reused, so that focus and pointer stay on the row they were on. */
  private _updateRows(groups: readonly DispatchGroup[]): void {
    const { model, list } = this._options;
    const now = Date.now() / 1000;
    const wanted = new Set(groups.map(({ newest }) => newest.summary.id));
    for (const [id, { row, runs }] of this._rows) {
      if (!wanted.has(id)) {
        row.dispose();
        runs.dispose();
        this._rows.delete(id);
      }
    }
    groups.forEach((group, at) => {
      const { summary } = group.newest;
      let parts = this._rows.get(summary.id);
      if (!parts) {
        const row = new DispatchRow(summary.id, this._rowOptions, summary.id);
        parts = { row, runs: new GroupRuns(this._rowOptions, (name, notebook, offset) => list.runs(name, notebook, offset)) };
        row.node.append(parts.runs.node);
        this._rows.set(summary.id, parts);
      }
      const { row, runs } = parts;
      row.update(summary, now, model.below(summary.id), group.newest);
      row.node.classList.toggle('cv-mod-deleted', this._deletes.has(summary.id));
      runs.update(group);
      if (this._list.children[at] !== row.node) {
        this._list.insertBefore(row.node, this._list.children[at] ?? null);
      }
    });
  }

  private _messageText(shown: number): string {
    const { list } = this._options;
    if (list.problem || !list.isReady) {
      return list.problem || 'Reading the list…';
    }
    if (shown > 0) {
      return '';
    }
    return list.counts.total === 0
      ? 'No dispatches yet. Put %%electron --run on top of a cell: it runs in the background, and is listed here.'
      : `None of ${counted(list.counts.total, 'dispatch', 'dispatches')} matches.`;
  }

  private readonly _options: ISidebarOptions;
  private readonly _dashboard: Dashboard;
  private readonly _workers: Workers;
  private readonly _search: HTMLInputElement;
  private readonly _filters: HTMLElement;
  private readonly _list: HTMLElement;
  private readonly _message: HTMLElement;
  private readonly _more: HTMLElement;
  private readonly _rowOptions: IRowOptions;
  private readonly _deletes: PendingDeletes;
  private readonly _sort: HTMLSelectElement;
  private readonly _tags: HTMLSelectElement;
  private _tagsKey = '';
  private readonly _found: HTMLElement;
  private readonly _bar: HTMLElement;
  private readonly _example: HTMLElement;
  private readonly _chosen = new Set<string>();
  private readonly _rows = new Map<string, { readonly row: DispatchRow; readonly runs: GroupRuns }>();
  private _tasks: TaskStatusName | null = null;
  private _barKey = '';
  private _typing = 0;
  private _timer = 0;
}
