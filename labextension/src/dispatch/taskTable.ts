/**
 * Table of all tasks: sorted by a column, filtered by status and text. A row opens the node panel.
 *
 * Only the rows that are seen exist as elements, so ten thousand cost as little as thirty.
 */
import { findField, h, statusMark } from '../dom';
import { URGENCY } from '../graph/folds';
import { formatDuration, formatElapsed, formatTime, isNotebookRun, isTerminal, statusLabel } from '../text';
import type { IDispatchSource, ISnapshot } from '../tokens';
import type { Status, Timeline } from '../wire';
import { chosenRows, type Column, type ITaskRow, secondsOf, taskRows } from './taskRows';

/** Height of a row, rows beyond the visible ones that exist, and height of what is above them. */
const ROW = 26;
const AROUND = 8;
const HEAD = 72;
const MAX_HEIGHT = 440;

/** Milliseconds between two updates while it runs. */
const UPDATE = 1000;

const COLUMNS: readonly (readonly [Column, string])[] = [
  ['name', 'Task'],
  ['state', 'State'],
  ['attempt', 'Attempt'],
  ['started', 'Started'],
  ['took', 'Took'],
  ['worker', 'Worker'],
  ['error', 'Error']
];

let tables = 0;

export interface ITableOptions {
  readonly source: IDispatchSource;
  readonly select: (node: number) => void;
  /** Called when `wantedHeight` may have changed. */
  readonly onHeight: () => void;
}

/** Shows the tasks of one dispatch. */
export class TaskTable {
  constructor(options: ITableOptions) {
    this._options = options;
    this._find = findField('Find tasks', 'Only tasks with these words in name, state, worker or error');
    this._find.addEventListener('input', () => this._choose());
    this._chips = h('span', { class: 'cv-chips', attrs: { role: 'group', 'aria-label': 'Only tasks of a state' } });
    this._note = h('span', { class: 'cv-quiet', attrs: { role: 'status' } });
    this._heads = COLUMNS.map(([column, text]) =>
      h('span', { class: `cv-cell cv-col-${column}`, attrs: { role: 'columnheader', 'aria-sort': 'none' } }, h('button', { class: 'cv-sortButton', text, attrs: { type: 'button' }, onClick: () => this._sortBy(column) }))
    );
    this._body = h('div', { class: 'cv-tableBody', attrs: { role: 'rowgroup' } });
    this._scroll = h(
      'div',
      { class: 'cv-tableScroll', attrs: { role: 'grid', tabindex: '0', 'aria-label': 'Tasks. Arrow keys move, Enter opens.' } },
      h('div', { class: 'cv-tableHead', attrs: { role: 'rowgroup' } }, h('div', { class: 'cv-tableRow', attrs: { role: 'row' } }, ...this._heads)),
      this._body
    );
    this._scroll.addEventListener('scroll', () => this._render());
    this._scroll.addEventListener('keydown', this._onKeyDown);
    this._body.addEventListener('click', this._onClick);
    this._resizes = new ResizeObserver(() => this._render());
    this._resizes.observe(this._scroll);
    this.node = h('div', { class: 'cv-tasks', attrs: { hidden: '' } }, h('div', { class: 'cv-tableBar' }, this._find, this._chips, this._note), this._scroll);
  }

  readonly node: HTMLElement;

  dispose(): void {
    this._disposed = true;
    this._resizes.disconnect();
    window.clearTimeout(this._timer);
  }

  /** Whether it is shown. While it is not, nothing is read and nothing is computed. */
  set isShown(shown: boolean) {
    if (this.node.hidden === shown) {
      this.node.hidden = !shown;
      window.clearTimeout(this._timer);
      this._timer = 0;
      if (shown) {
        void this._update();
      }
    }
  }

  /** The height at which all rows are seen, within limits. */
  get wantedHeight(): number {
    return Math.min(MAX_HEIGHT, HEAD + ROW * Math.max(3, this._all.length));
  }

  update(snapshot: ISnapshot): void {
    this._snapshot = snapshot;
    if (!this.node.hidden && this._timer === 0) {
      // Of a large dispatch, states change many times a second.
      this._timer = window.setTimeout(() => void this._update(), this._timeline ? UPDATE : 0);
    }
  }

  /** Mark a node as selected. */
  select(node: number | null): void {
    this._selected = node;
    this._render();
  }

  private async _update(): Promise<void> {
    const { version } = this._snapshot?.summary ?? {};
    if (version !== undefined && version !== this._readVersion && this._snapshot?.stale === '') {
      try {
        this._timeline = await this._options.source.timeline();
        const { reasons } = this._options.source;
        if (reasons && this._snapshot && isNotebookRun(this._snapshot.summary)) {
          this._why = await reasons();
        }
        this._readVersion = version;
      } catch {
        // The view itself shows that the other side is away; workers, errors and reasons are missing then.
      }
    }
    this._timer = 0;
    if (this._disposed || this.node.hidden || !this._snapshot?.graph) {
      return;
    }
    const { graph, states, summary, stale } = this._snapshot;
    const before = this.wantedHeight;
    this._all = taskRows(graph, states, this._timeline, this._why);
    if (this.wantedHeight !== before) {
      this._options.onHeight();
    }
    this._choose();
    if (!isTerminal(summary.status) && stale === '') {
      this._timer = window.setTimeout(() => void this._update(), UPDATE); // durations grow
    }
  }

  private _choose(): void {
    const query = { text: this._find.value, only: this._only, sort: this._sort, descending: this._descending };
    const current = this._rows[this._current]?.node;
    this._rows = chosenRows(this._all, query, Date.now() / 1000);
    this._current = Math.max(0, this._rows.findIndex(({ node }) => node === current));
    this._note.textContent = this._rows.length === this._all.length ? '' : `${this._rows.length.toLocaleString('en')} of ${this._all.length.toLocaleString('en')}`;
    this._scroll.setAttribute('aria-rowcount', String(this._rows.length + 1));
    this.node.classList.toggle('cv-mod-noErrors', !this._all.some(({ error }) => error !== ''));
    this._body.hidden = this._rows.length === 0; // a group without rows is none
    this._body.style.height = `${this._rows.length * ROW}px`;
    const last = this._heads[this._heads.length - 1].querySelector('button');
    last!.textContent = this._why.size > 0 ? 'Why' : 'Error';
    this._updateChips();
    this._render();
  }

  private _updateChips(): void {
    const counts = new Map<Status, number>();
    this._all.forEach(({ status }) => counts.set(status, (counts.get(status) ?? 0) + 1));
    const present = URGENCY.filter(status => counts.has(status));
    const key = JSON.stringify([[...counts], this._only]);
    if (key === this._chipsKey) {
      return;
    }
    this._chipsKey = key;
    const chip = (status: Status | null, count: number): HTMLElement =>
      h(
        'button',
        {
          class: 'cv-chip',
          title: status ? `Only ${statusLabel(status).toLowerCase()}` : 'All',
          attrs: { type: 'button', 'aria-pressed': String(this._only === status), 'aria-label': `${status ? statusLabel(status) : 'All'}: ${count}`, 'data-status': status ?? '' },
          onClick: () => {
            this._only = this._only === status ? null : status;
            this._choose();
            this._chips.querySelector<HTMLElement>(`[data-status="${status ?? ''}"]`)?.focus();
          }
        },
        status ? statusMark(status) : null,
        h('span', { text: status ? count.toLocaleString('en') : 'All' })
      );
    this._chips.replaceChildren(...(present.length > 1 ? [chip(null, this._all.length), ...present.map(status => chip(status, counts.get(status)!))] : []));
  }

  private _sortBy(column: Column): void {
    // A third click gives the order of the graph again.
    if (this._sort === column && this._descending) {
      this._sort = null;
    } else {
      this._descending = this._sort === column;
      this._sort = column;
    }
    this._heads.forEach((head, at) => head.setAttribute('aria-sort', COLUMNS[at][0] !== this._sort ? 'none' : this._descending ? 'descending' : 'ascending'));
    this._choose();
  }

  /** Make the rows that are seen. */
  private _render(): void {
    if (this.node.hidden) {
      return;
    }
    const top = Math.max(0, Math.floor(this._scroll.scrollTop / ROW) - AROUND);
    const count = Math.ceil(this._scroll.clientHeight / ROW) + 2 * AROUND;
    const shown = this._rows.slice(top, top + count);
    const now = Date.now() / 1000;
    while (this._body.childElementCount > shown.length) {
      this._body.lastElementChild!.remove();
    }
    shown.forEach((row, at) => {
      const element = (this._body.children[at] as HTMLElement | undefined) ?? this._body.appendChild(this._emptyRow());
      this._fill(element, row, top + at, now);
    });
    const current = this._rows[this._current];
    const isThere = current !== undefined && this._current >= top && this._current < top + count;
    isThere ? this._scroll.setAttribute('aria-activedescendant', `${this._id}-${current.node}`) : this._scroll.removeAttribute('aria-activedescendant');
  }

  private _emptyRow(): HTMLElement {
    return h('div', { class: 'cv-tableRow', attrs: { role: 'row' } }, ...COLUMNS.map(([column]) => h('span', { class: `cv-cell cv-col-${column}`, attrs: { role: 'gridcell' } })));
  }

  private _fill(element: HTMLElement, row: ITaskRow, position: number, now: number): void {
    const seconds = secondsOf(row, now);
    const texts: Readonly<Record<Column, string>> = {
      name: row.name,
      state: row.state,
      attempt: row.attempt > 0 ? String(row.attempt) : '',
      started: row.started === null ? '' : formatTime(row.started),
      took: seconds === null ? '' : row.ended === null ? formatElapsed(seconds) : formatDuration(seconds),
      worker: row.workerLabel,
      error: row.error
    };
    element.id = `${this._id}-${row.node}`;
    element.style.top = `${position * ROW}px`;
    element.dataset['node'] = String(row.node);
    element.setAttribute('aria-rowindex', String(position + 2));
    element.setAttribute('aria-selected', String(row.node === this._selected));
    element.classList.toggle('cv-mod-current', position === this._current);
    COLUMNS.forEach(([column], at) => {
      const cell = element.children[at] as HTMLElement;
      const key = `${column === 'state' ? row.status : ''}|${texts[column]}`;
      if (cell.dataset['key'] !== key) {
        cell.dataset['key'] = key;
        cell.replaceChildren(...(column === 'state' ? [statusMark(row.status), h('span', { text: texts.state })] : [texts[column]]));
        cell.title = column === 'worker' ? [row.workerLabel, row.worker].filter(Boolean).join(': ') : texts[column];
      }
    });
  }

  private _onClick = (event: MouseEvent): void => {
    const row = (event.target as Element).closest<HTMLElement>('.cv-tableRow');
    if (row) {
      const node = Number(row.dataset['node']);
      this._current = this._rows.findIndex(one => one.node === node);
      this._options.select(node);
    }
  };

  private _onKeyDown = (event: KeyboardEvent): void => {
    if (event.target !== this._scroll) {
      return; // a button of the head
    }
    const last = this._rows.length - 1;
    const page = Math.max(1, Math.floor(this._scroll.clientHeight / ROW) - 2);
    const moves: Readonly<Record<string, number>> = {
      ArrowDown: this._current + 1,
      ArrowUp: this._current - 1,
      PageDown: this._current + page,
      PageUp: this._current - page,
      Home: 0,
      End: last
    };
    if (event.key in moves) {
      this._current = Math.max(0, Math.min(last, moves[event.key]));
      this._scrollToCurrent();
      this._render();
    } else if ((event.key === 'Enter' || event.key === ' ') && this._rows[this._current]) {
      this._options.select(this._rows[this._current].node);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  private _scrollToCurrent(): void {
    const top = this._current * ROW;
    const room = this._scroll.clientHeight - 2 * ROW; // the head stays in sight
    this._scroll.scrollTop = Math.min(top, Math.max(this._scroll.scrollTop, top - room));
  }

  private readonly _options: ITableOptions;
  private readonly _id = `cv-task-${tables++}`;
  private readonly _find: HTMLInputElement;
  private readonly _chips: HTMLElement;
  private readonly _note: HTMLElement;
  private readonly _heads: readonly HTMLElement[];
  private readonly _body: HTMLElement;
  private readonly _scroll: HTMLElement;
  private readonly _resizes: ResizeObserver;
  private _snapshot: ISnapshot | null = null;
  private _timeline: Timeline | null = null;
  private _why: ReadonlyMap<number, string> = new Map();
  private _all: readonly ITaskRow[] = [];
  private _rows: readonly ITaskRow[] = [];
  private _only: Status | null = null;
  private _sort: Column | null = null;
  private _descending = false;
  private _current = 0;
  private _selected: number | null = null;
  private _chipsKey = '';
  private _readVersion = -1;
  private _timer = 0;
  private _disposed = false;
}
