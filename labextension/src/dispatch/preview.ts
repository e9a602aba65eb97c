/**
 * Preview of a value: a table with pages, a tree, a histogram, a picture, or a long text with search.
 */
import { h } from '../dom';
import { counted, errorMessage, isRecord } from '../text';
import type { IOutputsView, IPreviewQuery } from '../tokens';
import type { Preview, PreviewBars, PreviewItem, PreviewTable, PreviewText } from '../wire';
import { describePreview, nextMatch, nextSort, rowsLabel, textLabel, turned } from './previewText';

const ROWS = 20;

/** Levels of a tree that are unfolded at first. */
const OPEN_LEVELS = 2;

/** Entries up to which a container inside of a value is unfolded at first. */
const MOST_OPEN = 30;

export interface IPreviewOptions {
  /** Read a part of the value. */
  readonly read: (query: IPreviewQuery) => Promise<Preview>;
  /** Make a view of outputs, for pictures and HTML; without this they are not shown. */
  readonly createOutputs: (() => IOutputsView) | null;
  /** The code that fetches the value. */
  readonly code: string;
  /** Put code into the notebook; without this there is no such button. */
  readonly insert: ((code: string) => void) | null;
  /** Name of the file that is downloaded, without its ending. */
  readonly name: string;
}

/** Shows the value of one node. It reads when it is shown for the first time. */
export class PreviewView {
  constructor(options: IPreviewOptions) {
    this._options = options;
    this.node = h('div', { class: 'cv-preview', attrs: { 'aria-busy': 'true' } }, this._facts, this._content, this._status, this._actions());
    this._status.textContent = 'Opening the value…';
    // Opening a value costs a process: not for what nobody looks at.
    this._observer = new IntersectionObserver(entries => {
      if (entries.some(({ isIntersecting }) => isIntersecting)) {
        this._observer.disconnect();
        void this._read({ count: ROWS });
      }
    });
    this._observer.observe(this.node);
  }

  readonly node: HTMLElement;

  dispose(): void {
    this._disposed = true;
    this._observer.disconnect();
    this._view?.dispose();
  }

  /** Read a part of the value and show it. An answer that a later question has overtaken is dropped. */
  private async _read(query: IPreviewQuery): Promise<void> {
    const number = ++this._number;
    this.node.setAttribute('aria-busy', 'true');
    try {
      const preview = await this._options.read(query);
      if (number === this._number && !this._disposed) {
        this._query = query;
        this._status.textContent = '';
        this._show(preview);
      }
    } catch (error) {
      if (number === this._number && !this._disposed) {
        this._status.textContent = errorMessage(error);
      }
    }
    if (number === this._number) {
      this.node.setAttribute('aria-busy', 'false');
    }
  }

  private _show(preview: Preview): void {
    const { why, facts, table, tree, text, bars, data } = preview;
    const isNames = isRecord(preview.type); // a type of ours, which tells nobody anything
    const all: (readonly [string, string])[] = [['Type', isNames ? '' : describePreview(preview)], ...facts];
    this._facts.replaceChildren(...all.filter(([, fact]) => fact).map(([name, fact]) => h('span', { class: 'cv-fact' }, h('span', { class: 'cv-factName', text: name }), h('span', { text: fact }))));
    this._matches = text?.matches ?? [];
    if (why) {
      this._status.textContent = `No preview: ${why}`;
    }
    const focused = this._focused();
    const parts = [
      bars && this._bars(bars),
      Object.keys(data).length > 0 ? this._display(data) : null,
      table && table.columns.length > 0 ? this._table(table) : null,
      tree && h('ul', { class: 'cv-tree cv-mod-value' }, treeItem(isNames ? { ...tree, type: '', text: counted(tree.items.length + tree.left_out, 'name') } : tree, 0)),
      text && this._text(text)
    ].filter(part => part !== null);
    this._content.replaceChildren(...parts);
    if (focused) {
      this._content.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus();
    }
  }

  /** Return the key of the control that has the focus, which is made anew. */
  private _focused(): string | undefined {
    const active = this.node.ownerDocument.activeElement;
    return active instanceof HTMLElement && this._content.contains(active) ? active.dataset['key'] : undefined;
  }

  private _table(table: PreviewTable): HTMLElement {
    const { sort = -1, descending = false } = this._query;
    const heads = table.columns.map(([name, type, isNumber], at) => {
      const order = sort === at ? (descending ? 'descending' : 'ascending') : 'none';
      const button = h('button', {
        class: 'cv-columnHead',
        title: `${name} (${type}): sort`,
        attrs: { type: 'button', 'data-key': `column-${at}` },
        onClick: () => void this._read(nextSort(this._query, at))
      });
      button.append(h('span', { text: name || ' ' }), h('span', { class: 'cv-sortMark', text: order === 'none' ? '' : descending ? '▾' : '▴', attrs: { 'aria-hidden': 'true' } }));
      return h('th', { class: isNumber ? 'cv-mod-number' : '', attrs: { scope: 'col', 'aria-sort': order } }, button, h('div', { class: 'cv-columnType', text: type }));
    });
    const rows = table.rows.map((row, at) =>
      h(
        'tr',
        {},
        h('th', { text: table.index[at] ?? '', attrs: { scope: 'row' } }),
        ...row.map((text, column) => h('td', { class: table.columns[column]?.[2] ? 'cv-mod-number' : '', text, title: text.length > 40 ? text : '' }))
      )
    );
    const grid = h('table', {}, h('thead', {}, h('tr', {}, h('td'), ...heads)), h('tbody', {}, ...rows));
    return h('div', {}, h('div', { class: 'cv-grid', attrs: { tabindex: '0', role: 'region', 'aria-label': `Rows of ${this._options.name}` } }, grid), this._pages(table));
  }

  private _pages(table: PreviewTable): HTMLElement {
    const label = h('span', { class: 'cv-quiet', text: rowsLabel(table) });
    if (table.n_rows <= ROWS && table.offset === 0) {
      return h('div', { class: 'cv-pages' }, label);
    }
    const last = Math.max(0, Math.ceil(table.n_rows / ROWS) - 1) * ROWS;
    const button = (key: string, text: string, name: string, offset: number | null): HTMLElement => {
      const made = h('button', { class: 'cv-button', text, attrs: { type: 'button', 'data-key': key, 'aria-label': name }, title: name, onClick: () => void this._read({ ...this._query, offset: offset! }) });
      made.disabled = offset === null;
      return made;
    };
    const [before, after] = [turned(table, ROWS, -1), turned(table, ROWS, 1)];
    return h(
      'div',
      { class: 'cv-pages' },
      button('first', '«', 'First rows', before === null ? null : 0),
      button('before', '‹', 'Rows before', before),
      label,
      button('after', '›', 'Rows after', after),
      button('last', '»', 'Last rows', after === null ? null : last)
    );
  }

  private _text(text: PreviewText): HTMLElement {
    const pre = h('pre', { class: 'cv-longText', attrs: { tabindex: '0', 'aria-label': 'Text of the value' } });
    const { find = '' } = this._query;
    pre.append(...marked(text, find, this._at));
    const label = textLabel(text);
    const isSearched = label !== '' || text.length > 500;
    const found = find ? (text.n_matches === 0 ? 'not found' : `${text.n_matches.toLocaleString('en')} found`) : '';
    const box = h('input', { class: 'cv-search', attrs: { type: 'search', placeholder: 'Search in the text', 'aria-label': 'Search in the text', 'data-key': 'search', maxlength: '200' } });
    box.value = find;
    box.addEventListener('keydown', event => {
      if (event.key === 'Enter') {
        event.stopPropagation();
        this._search(box.value, text, event.shiftKey);
      }
    });
    const move = (offset: number): void => void this._read({ ...this._query, offset: Math.max(0, offset) });
    const step = text.text.length;
    const pages = label
      ? [
          h('button', { class: 'cv-button', text: '‹', title: 'Text before', attrs: { type: 'button', 'data-key': 'before', ...(text.offset === 0 ? { disabled: '' } : {}) }, onClick: () => move(text.offset - step) }),
          h('span', { class: 'cv-quiet', text: label }),
          h('button', { class: 'cv-button', text: '›', title: 'Text after', attrs: { type: 'button', 'data-key': 'after', ...(text.offset + step >= text.length ? { disabled: '' } : {}) }, onClick: () => move(text.offset + step) })
        ]
      : [];
    window.requestAnimationFrame(() => pre.querySelector('.cv-mod-current')?.scrollIntoView({ block: 'nearest' }));
    return h('div', {}, isSearched ? h('div', { class: 'cv-searchRow' }, box, h('span', { class: 'cv-quiet', text: found, attrs: { role: 'status' } })) : null, pre, h('div', { class: 'cv-pages' }, ...pages));
  }

  private _search(find: string, shown: PreviewText, isBackward: boolean): void {
    if (find !== (this._query.find ?? '')) {
      this._at = -1;
      void this._read({ count: ROWS, find }).then(() => this._jump(isBackward));
    } else {
      this._jump(isBackward, shown);
    }
  }

  private _jump(isBackward: boolean, shown: PreviewText | null = null): void {
    const matches = shown?.matches ?? this._matches;
    const at = nextMatch(matches, this._at, isBackward);
    if (at >= 0) {
      this._at = at;
      void this._read({ ...this._query, offset: Math.max(1, at - 500) });
    }
  }

  private _bars({ counts, low, high }: PreviewBars): HTMLElement {
    const most = Math.max(...counts, 1);
    const bars = counts.map(count => {
      const bar = h('span', { title: count.toLocaleString('en') });
      bar.style.height = `${count === 0 ? 0 : Math.max(4, (100 * count) / most)}%`;
      return bar;
    });
    return h('figure', { class: 'cv-bars', attrs: { role: 'img', 'aria-label': `Histogram from ${low} to ${high}` } }, h('div', {}, ...bars), h('figcaption', {}, h('span', { text: low }), h('span', { text: high })));
  }

  /** Show a MIME bundle with the application's renderers, which clean it as they clean the output of a cell. */
  private _display(data: Record<string, unknown>): HTMLElement | null {
    const { createOutputs } = this._options;
    if (!createOutputs) {
      return null;
    }
    this._view?.dispose();
    const view = (this._view = createOutputs());
    const part = h('div', { class: 'cv-outputs cv-displayed' }, view.node);
    // Once it is on the page: some renderers draw only there.
    window.requestAnimationFrame(() => !view.isDisposed && view.show([{ output_type: 'display_data', data, metadata: {} }]));
    return part;
  }

  private _actions(): HTMLElement {
    const { code, insert } = this._options;
    const copy = h('button', { class: 'cv-button', text: 'Copy code', title: code, attrs: { type: 'button' }, onClick: () => void this._copy(copy) });
    return h(
      'div',
      { class: 'cv-previewActions' },
      h('button', { class: 'cv-button', text: 'Download', title: 'The whole value as a file', attrs: { type: 'button' }, onClick: () => void this._download() }),
      copy,
      insert ? h('button', { class: 'cv-button', text: 'Insert as cell', title: code, attrs: { type: 'button' }, onClick: () => insert(code) }) : null
    );
  }

  private async _copy(button: HTMLElement): Promise<void> {
    try {
      await navigator.clipboard.writeText(this._options.code);
      button.textContent = 'Copied';
      window.setTimeout(() => (button.textContent = 'Copy code'), 1500);
    } catch {
      this._status.textContent = this._options.code; // the browser does not allow it: to be copied by hand
    }
  }

  private async _download(): Promise<void> {
    this._status.textContent = 'Making the file…';
    try {
      const { file, why } = await this._options.read({ whole: true });
      this._status.textContent = file ? '' : `No file: ${why}`;
      if (file) {
        const bytes = Uint8Array.from(atob(file.content), letter => letter.charCodeAt(0));
        const url = URL.createObjectURL(new Blob([bytes], { type: file.type }));
        h('a', { attrs: { href: url, download: `${this._options.name}.${file.ending}` } }).click();
        window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
      }
    } catch (error) {
      this._status.textContent = errorMessage(error);
    }
  }

  private readonly _options: IPreviewOptions;
  private readonly _observer: IntersectionObserver;
  private readonly _facts = h('div', { class: 'cv-previewFacts' });
  private readonly _content = h('div', { class: 'cv-previewContent' });
  private readonly _status = h('div', { class: 'cv-quiet', attrs: { role: 'status' } });
  private _query: IPreviewQuery = {};
  private _matches: readonly number[] = [];
  private _at = -1;
  private _number = 0;
  private _view: IOutputsView | null = null;
  private _disposed = false;
}

/** Return a text with its matches marked; `at`: the place of the current one. */
function marked({ text, offset, matches }: PreviewText, find: string, at: number): (Node | string)[] {
  const parts: (Node | string)[] = [];
  let end = 0;
  for (const match of find ? matches : []) {
    const start = match - offset;
    if (start >= end && start < text.length) {
      parts.push(text.slice(end, start), h('mark', { class: match === at ? 'cv-mod-current' : '', text: text.slice(start, start + find.length) }));
      end = start + find.length;
    }
  }
  return [...parts, text.slice(end)];
}

function treeItem({ key, type, text, items, left_out }: PreviewItem, depth: number): HTMLElement {
  const name = key ? h('span', { class: 'cv-treeKey', text: key }) : null;
  if (items.length === 0) {
    return h('li', { class: 'cv-leaf' }, name, h('span', { class: 'cv-treeValue' }, h('code', { text }), h('span', { class: 'cv-treeType', text: type })));
  }
  const details = h('details', {}, h('summary', {}, name, h('span', { class: 'cv-treeType', text: [type, text].filter(Boolean).join(' · ') })));
  const fill = (): void => {
    // Entries are made when they are unfolded, so that a large tree costs only what is seen.
    if (details.open && details.childElementCount === 1) {
      const more = left_out > 0 ? h('li', { class: 'cv-quiet', text: `and ${left_out.toLocaleString('en')} more` }) : null;
      details.append(h('ul', { class: 'cv-tree' }, ...items.map(item => treeItem(item, depth + 1)), more));
    }
  };
  details.addEventListener('toggle', fill);
  details.open = depth === 0 || (depth < OPEN_LEVELS && items.length <= MOST_OPEN);
  fill();
  return h('li', {}, details);
}
