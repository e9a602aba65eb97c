/**
 * Bar above the graph: search, the next failed node, and the pages of the group that is open.
 */
import { findField, h, iconButton, statusMark } from '../dom';
import { statusLabel } from '../text';
import type { Status } from '../wire';
import { URGENCY } from './folds';

/** Height of the bar with its margin. */
const HEIGHT = 30;

export interface IGraphBarOptions {
  /** Go to the next node that a text is found in; returns the position and the number of those, from 1. */
  readonly search: (text: string) => readonly [position: number, count: number];
  readonly nextFailed: () => void;
  /** Show only siblings of a status; null: all. */
  readonly filter: (only: Status | null) => void;
  readonly turn: (by: number) => void;
  readonly close: () => void;
}

/** The open group as the bar shows it. */
export interface IOpenFold {
  readonly name: string;
  readonly counts: Readonly<Record<Status, number>>;
  readonly only: Status | null;
  readonly first: number;
  readonly shown: number;
  readonly matching: number;
}

/** Shows the controls of one graph. It is hidden while it has none that are of use. */
export class GraphBar {
  constructor(options: IGraphBarOptions) {
    this._options = options;
    this._input = findField('Find a node', 'Find a node by name or number. Enter goes to the next.');
    this._input.addEventListener('keydown', this._onKeyDown);
    this._found = h('span', { class: 'cv-quiet', attrs: { role: 'status' } });
    this._failed = h('button', { class: 'cv-button cv-nextFailed', attrs: { type: 'button' }, onClick: () => options.nextFailed() });
    this._fold = h('span', { class: 'cv-foldBar', attrs: { role: 'group', 'aria-label': 'Open group' } });
    this.node = h('div', { class: 'cv-graphBar', attrs: { hidden: '' } }, this._input, this._found, this._failed, this._fold);
  }

  readonly node: HTMLElement;

  /** The height that it takes from the graph. */
  get height(): number {
    return this.node.hidden ? 0 : HEIGHT;
  }

  /** Update the bar: whether there is enough to search in, the number of failed nodes, and the open group. */
  update(canSearch: boolean, failed: number, fold: IOpenFold | null): void {
    this._input.hidden = !canSearch;
    this._found.hidden = !canSearch;
    this._failed.hidden = failed === 0 || !canSearch;
    this._failed.textContent = failed === 1 ? 'Show the failed one' : `Next of ${failed.toLocaleString('en')} failed`;
    this.node.hidden = !canSearch && !fold;
    const key = JSON.stringify(fold);
    if (key !== this._key) {
      this._key = key;
      this._fold.hidden = !fold;
      this._fold.replaceChildren(...(fold ? this._controls(fold) : []));
    }
  }

  private _controls({ name, counts, only, first, shown, matching }: IOpenFold): HTMLElement[] {
    const { filter, turn, close } = this._options;
    const chip = (status: Status | null, count: number): HTMLElement =>
      h(
        'button',
        { class: 'cv-chip', title: status ? `Only ${statusLabel(status).toLowerCase()}` : 'All', attrs: { type: 'button', 'aria-pressed': String(only === status), 'aria-label': `${status ? statusLabel(status) : 'All'}: ${count}` }, onClick: () => filter(only === status ? null : status) },
        status ? statusMark(status) : null,
        h('span', { text: status ? count.toLocaleString('en') : 'All' })
      );
    const present = URGENCY.filter(status => counts[status] > 0);
    const all = URGENCY.reduce((sum, status) => sum + counts[status], 0);
    return [
      h('strong', { text: `${name} ×${all.toLocaleString('en')}` }),
      ...(present.length > 1 ? [chip(null, all), ...present.map(status => chip(status, counts[status]))] : []),
      iconButton('left', 'Previous page', () => turn(-1)),
      h('span', { class: 'cv-quiet', text: matching === 0 ? 'none' : `${first + 1} to ${first + shown} of ${matching.toLocaleString('en')}` }),
      iconButton('right', 'Next page', () => turn(1)),
      iconButton('close', 'Fold', close)
    ];
  }

  private _onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Enter') {
      const [position, count] = this._options.search(this._input.value);
      this._found.textContent = this._input.value.trim() === '' ? '' : count === 0 ? 'none' : `${position} of ${count.toLocaleString('en')}`;
      event.preventDefault();
    }
  };

  private readonly _options: IGraphBarOptions;
  private readonly _input: HTMLInputElement;
  private readonly _found: HTMLElement;
  private readonly _failed: HTMLButtonElement;
  private readonly _fold: HTMLElement;
  private _key = '';
}
