/**
 * Log of a dispatch: what all nodes printed and how their states changed, in the order of time. It follows while it runs.
 */
import { findField, h } from '../dom';
import { LogWindow, placeOf } from '../model/log';
import { errorMessage, isTerminal } from '../text';
import type { IDispatchSource, ISnapshot } from '../tokens';
import type { LogLine } from '../wire';

/** Lines of a page, milliseconds between two reads, and after the last key before the server is asked. */
const PAGE = 300;
const READ = 1000;
const TYPING = 250;

/** Pixels from an end of the lines at which more are read. */
const NEAR = 60;

/** The most characters of a line that are shown. */
const LONGEST = 4000;

/** Lines of a page of the file that is downloaded. */
const FILE_PAGE = 1000;

export const LOG_HEIGHT = 340;

const KINDS: readonly (readonly [string, string, string])[] = [
  ['', 'All', 'All lines'],
  ['failure', 'Failures', 'Only what failed'],
  ['stdout,stderr', 'Output', 'Only what was printed'],
  ['stderr', 'Stderr', 'Only what was printed to standard error: errors, warnings, logging'],
  ['state,failure', 'States', 'Only starts and ends']
];

let logs = 0;

export interface ILogOptions {
  readonly source: IDispatchSource;
  readonly select: (node: number) => void;
}

/** Shows the log of one dispatch. */
export class LogView {
  constructor(options: ILogOptions) {
    this._options = options;
    this._find = findField('Find in the log', 'Only lines with these words, in them or in the name of the node');
    this._find.addEventListener('input', this._onFind);
    this._kinds = h(
      'span',
      { class: 'cv-chips', attrs: { role: 'group', 'aria-label': 'Lines' } },
      ...KINDS.map(([kinds, text, title]) => h('button', { class: 'cv-chip', text, title, attrs: { type: 'button', 'data-kinds': kinds, 'aria-pressed': String(kinds === '') }, onClick: () => this._choose(kinds) }))
    );
    this._note = h('span', { class: 'cv-quiet', attrs: { role: 'status' } });
    this._latest = h('button', { class: 'cv-button', text: 'Latest', title: 'Go to the end, and follow it', attrs: { type: 'button', hidden: '' }, onClick: () => void this._restart() });
    this._save = h('button', { class: 'cv-button', text: 'Download', title: 'All these lines as a text file', attrs: { type: 'button' }, onClick: () => void this._download() });
    this._list = h('div', { class: 'cv-logLines', attrs: { role: 'listbox', tabindex: '0', 'aria-label': 'Log. Arrow keys move, Enter opens the node.' } });
    this._list.addEventListener('scroll', this._onScroll);
    this._list.addEventListener('keydown', this._onKeyDown);
    this._list.addEventListener('click', this._onClick);
    this.node = h('div', { class: 'cv-log', attrs: { hidden: '' } }, h('div', { class: 'cv-tableBar' }, this._find, this._kinds, this._note, h('span', { class: 'cv-tableTools' }, this._latest, this._save)), this._list);
  }

  readonly node: HTMLElement;

  dispose(): void {
    this._disposed = true;
    window.clearTimeout(this._timer);
    window.clearTimeout(this._typing);
  }

  /** Whether it is shown. While it is not, nothing is read. */
  set isShown(shown: boolean) {
    if (this.node.hidden === shown) {
      this.node.hidden = !shown;
      window.clearTimeout(this._timer);
      this._timer = 0;
      if (shown) {
        void this._read();
      }
    }
  }

  update(snapshot: ISnapshot): void {
    const { version, status } = snapshot.summary;
    this._isLive = !isTerminal(status) && snapshot.stale === '';
    if (version !== this._version) {
      this._version = version;
      this._later();
    }
  }

  private _later(): void {
    if (this._timer === 0 && !this.node.hidden && !this._disposed) {
      this._timer = window.setTimeout(() => {
        this._timer = 0;
        void this._read();
      }, READ);
    }
  }

  /** Read the end of the log, unless the reader has scrolled away from it. */
  private async _read(): Promise<void> {
    if (this._isAtEnd) {
      await this._ask({}, page => this._window.showLast(page), true);
    }
    if (this._isLive) {
      this._later(); // what is printed changes no version
    }
  }

  private async _restart(): Promise<void> {
    this._window.clear();
    this._isAtEnd = true;
    await this._read();
  }

  /** Ask for a page and show it. Answers to an earlier filter are dropped. */
  private async _ask(place: { after?: string; before?: string }, add: (page: Awaited<ReturnType<IDispatchSource['log']>>) => void, toEnd = false): Promise<void> {
    if (this._isAsking && !toEnd) {
      return;
    }
    const number = ++this._asked;
    this._isAsking = true;
    try {
      const page = await this._options.source.log({ ...place, ...this._filter, count: PAGE });
      if (number !== this._asked || this._disposed) {
        return;
      }
      add(page);
      this._isByStart ||= page.is_by_start;
      this._show(toEnd);
    } catch (error) {
      if (number === this._asked && !this._disposed) {
        this._note.textContent = errorMessage(error);
      }
    } finally {
      this._isAsking = number === this._asked ? false : this._isAsking;
    }
  }

  private get _filter(): { kinds: string; text: string } {
    return { kinds: this._chosen, text: this._find.value.trim() };
  }

  private _show(toEnd: boolean): void {
    const { lines } = this._window;
    const anchor = this._list.firstElementChild as HTMLElement | null;
    const before = anchor ? anchor.offsetTop - this._list.scrollTop : 0;
    const known = this._shown;
    this._shown = new Map();
    const elements = lines.map(line => {
      const key = placeOf(line);
      const element = known.get(key) ?? this._line(line);
      this._shown.set(key, element);
      return element;
    });
    const isSame = elements.length === this._list.childElementCount && elements.every((element, at) => this._list.children[at] === element);
    if (!isSame) {
      this._list.replaceChildren(...elements);
    }
    if (toEnd) {
      this._list.scrollTop = this._list.scrollHeight;
    } else if (anchor?.isConnected) {
      this._list.scrollTop = anchor.offsetTop - before;
    }
    this._list.setAttribute('role', lines.length > 0 ? 'listbox' : 'group'); // a list box without options is none
    const isFiltered = this._chosen !== '' || this._find.value.trim() !== '';
    this._note.textContent =
      lines.length === 0 ? (isFiltered && this._window.earlier === null ? 'No such line.' : this._window.earlier === null ? 'Nothing has happened yet.' : 'None found so far.') : this._isByStart ? 'Where a task’s times are not known, its output is at its start.' : '';
    this._setCurrent(this._current && this._current.isConnected ? this._current : null);
    this._latest.hidden = this._isAtEnd;
    // A search that found little goes on by itself: the server ends each part of it after a while.
    if (this._window.earlier !== null && this._list.scrollHeight <= this._list.clientHeight && !this.node.hidden) {
      window.setTimeout(() => void this._more());
    }
  }

  private async _more(): Promise<void> {
    const { earlier } = this._window;
    if (earlier !== null) {
      await this._ask({ before: earlier }, page => this._window.addEarlier(page), this._isAtEnd && this._window.lines.length === 0);
    }
  }

  private _line(line: LogLine): HTMLElement {
    const [at, node, attempt, , kind, name, text, status] = line;
    const moment = new Date(at * 1000);
    const time = `${moment.toLocaleTimeString('en-GB')}.${String(moment.getMilliseconds()).padStart(3, '0')}`;
    const element = h(
      'div',
      { class: `cv-logLine cv-log-${kind}`, attrs: { role: 'option', 'aria-selected': 'false', id: `cv-log-${logs}-${this._ids++}` } },
      h('span', { class: 'cv-logTime', text: time, title: moment.toLocaleString() }),
      h('span', { class: `cv-logName${node >= 0 ? ' cv-mod-node' : ''}`, text: name, title: attempt > 1 ? `${name}, attempt ${attempt}` : name }),
      h('span', { class: `cv-logText${status ? ` cv-mod-${status}` : ''}`, text: text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text })
    );
    element.dataset['node'] = String(node);
    return element;
  }

  private _choose(kinds: string): void {
    this._chosen = kinds;
    this._kinds.querySelectorAll<HTMLElement>('button').forEach(one => one.setAttribute('aria-pressed', String(one.dataset['kinds'] === kinds)));
    void this._restart();
  }

  private _onFind = (): void => {
    window.clearTimeout(this._typing);
    this._typing = window.setTimeout(() => void this._restart(), TYPING);
  };

  private _onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = this._list;
    const fromEnd = scrollHeight - clientHeight - scrollTop;
    this._isAtEnd = fromEnd < NEAR && this._window.later === null;
    this._latest.hidden = this._isAtEnd;
    if (scrollTop < NEAR && this._window.earlier !== null && scrollHeight > clientHeight) {
      void this._more();
    } else if (fromEnd < NEAR && this._window.later !== null) {
      void this._ask({ after: this._window.later }, page => this._window.addLater(page));
    }
  };

  private _onClick = (event: MouseEvent): void => {
    const line = (event.target as Element).closest<HTMLElement>('.cv-logLine');
    if (line) {
      this._setCurrent(line);
      if ((event.target as Element).classList.contains('cv-mod-node')) {
        this._open(line);
      }
    }
  };

  private _onKeyDown = (event: KeyboardEvent): void => {
    const current = this._current ?? (this._list.lastElementChild as HTMLElement | null);
    const moves: Readonly<Record<string, Element | null | undefined>> = {
      ArrowUp: this._current ? current?.previousElementSibling : current,
      ArrowDown: current?.nextElementSibling,
      Home: this._list.firstElementChild,
      End: this._list.lastElementChild
    };
    if (event.key in moves) {
      const next = (moves[event.key] ?? current) as HTMLElement | null;
      this._setCurrent(next);
      next?.scrollIntoView({ block: 'nearest' });
    } else if (event.key === 'Enter' && this._current) {
      this._open(this._current);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  private _setCurrent(line: HTMLElement | null): void {
    this._current?.setAttribute('aria-selected', 'false');
    this._current = line;
    line?.setAttribute('aria-selected', 'true');
    line ? this._list.setAttribute('aria-activedescendant', line.id) : this._list.removeAttribute('aria-activedescendant');
  }

  private _open(line: HTMLElement): void {
    const node = Number(line.dataset['node']);
    if (node >= 0) {
      this._options.select(node);
    }
  }

  /** Save all lines that match as a text file. */
  private async _download(): Promise<void> {
    const { source } = this._options;
    this._save.disabled = true;
    const parts: string[] = [];
    try {
      for (let after = 'start', more = true; more && !this._disposed; ) {
        const page = await source.log({ after, ...this._filter, count: FILE_PAGE });
        parts.push(...page.lines.map(([at, , , , , name, text]) => `${new Date(at * 1000).toISOString()}  ${name}  ${text}\n`));
        after = page.reached;
        more = page.more;
      }
      const url = URL.createObjectURL(new Blob(parts, { type: 'text/plain' }));
      h('a', { attrs: { href: url, download: `${(source.snapshot?.summary.name ?? 'dispatch').replace(/[^\w-]+/g, '_').slice(0, 60)}-${source.id.slice(0, 8)}.log` } }).click();
      window.setTimeout(() => URL.revokeObjectURL(url), READ);
    } catch (error) {
      this._note.textContent = errorMessage(error);
    }
    this._save.disabled = false;
  }

  private readonly _options: ILogOptions;
  private readonly _find: HTMLInputElement;
  private readonly _kinds: HTMLElement;
  private readonly _note: HTMLElement;
  private readonly _latest: HTMLButtonElement;
  private readonly _save: HTMLButtonElement;
  private readonly _list: HTMLElement;
  private readonly _window = new LogWindow();
  private _shown = new Map<string, HTMLElement>();
  private _current: HTMLElement | null = null;
  private _chosen = '';
  private _isAtEnd = true;
  private _isLive = false;
  private _isByStart = false;
  private _isAsking = false;
  private _asked = 0;
  private _ids = logs++ * 1_000_000;
  private _version = -1;
  private _timer = 0;
  private _typing = 0;
  private _disposed = false;
}
