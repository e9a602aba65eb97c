/**
 * Side bar panel: the list of dispatches with a filter, and the dashboard above it.
 */
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { h, iconButton } from '../dom';
import { covalabIcon } from '../icons';
import type { Overview } from '../model/overview';
import { isTerminal } from '../text';
import type { Counts, DispatchSummary, TaskStatusName } from '../wire';
import { Dashboard } from './dashboard';
import { DispatchRow, type IRowOptions } from './row';

export interface ISidebarOptions extends IRowOptions {
  readonly overview: Overview;
}

/** Filter of the list. `with:…`: the dispatches that have tasks of this status. */
type Filter = 'all' | 'active' | 'completed' | 'failed' | `with:${TaskStatusName}`;

const FILTERS: readonly (readonly [Filter, string])[] = [
  ['all', 'All'],
  ['active', 'Active'],
  ['completed', 'Done'],
  ['failed', 'Failed']
];

/** Shows the list in the left area. */
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
        h('button', { class: 'cv-chip', text: label, attrs: { type: 'button', 'data-filter': filter }, onClick: () => this._setFilter(filter) })
      )
    );
    this._dashboard = new Dashboard({
      overview: options.overview,
      open: options.open,
      choose: status => this._setFilter(this._filter === `with:${status}` ? 'all' : `with:${status}`)
    });
    this._list = h('ul', { class: 'cv-rows', attrs: { 'data-lm-suppress-shortcuts': 'true' } });
    this._message = h('div', { class: 'cv-noteBar', attrs: { role: 'status' } });
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
      this._message,
      this._list,
      this._more
    );
    this._search.addEventListener('input', this._onSearch);
    options.model.changed.connect(this._update, this);
    this._setFilter('all');
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._search.removeEventListener('input', this._onSearch);
      this._options.model.changed.disconnect(this._update, this);
      window.clearTimeout(this._timer);
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

  private _setFilter(filter: Filter): void {
    this._filter = filter;
    for (const chip of this._filters.querySelectorAll<HTMLElement>('.cv-chip')) {
      chip.setAttribute('aria-pressed', String(chip.dataset['filter'] === filter));
    }
    this._dashboard.setPressed(filter.startsWith('with:') ? (filter.slice(5) as TaskStatusName) : null);
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
    window.clearTimeout(this._timer);
    // A hidden list is not updated; onAfterShow makes up for that.
    if (!this.isVisible && this._rows.size > 0) {
      return;
    }
    const { model } = this._options;
    const shown = model.dispatches.filter(summary => this._matches(summary));
    this._updateRows(shown);
    this._message.textContent = this._messageText(shown.length);
    this._message.hidden = this._message.textContent === '';
    this._message.classList.toggle('cv-mod-failed', model.problem !== '');
    this._more.hidden = !model.hasMore || this._filter === 'active';
    // Durations grow while nothing changes: each second for running dispatches, else the ages each minute.
    this._timer = window.setTimeout(() => this._update(), shown.some(({ status, held }) => !isTerminal(status) && !held) ? 1000 : 60_000);
  }

  /** Update, add and remove rows. Rows are reused, so that focus and pointer stay on the row they were on. */
  private _updateRows(shown: readonly DispatchSummary[]): void {
    const { model } = this._options;
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
        row = new DispatchRow(summary.id, this._options, summary.id);
        this._rows.set(summary.id, row);
      }
      row.update(summary, now, model.below(summary.id));
      if (this._list.children[at] !== row.node) {
        this._list.insertBefore(row.node, this._list.children[at] ?? null);
      }
    });
  }

  private _messageText(shown: number): string {
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
  private readonly _message: HTMLElement;
  private readonly _more: HTMLElement;
  private readonly _rows = new Map<string, DispatchRow>();
  private _filter: Filter = 'all';
  private _timer = 0;
}

/** Return the number of tasks of a status. As in the dashboard, skipped tasks count as their cause: failed or cancelled. */
function tasksIn(counts: Counts, status: TaskStatusName): number {
  const cause = counts.failed > 0 ? 'failed' : 'cancelled';
  return counts[status] + (status === cause ? counts.skipped : 0);
}
