/**
 * Line about the state of a cell that runs in the background, with a stop button while it runs.
 */
import { h, iconButton, keepShortcutsOut, statusMark } from '../dom';
import { errorMessage } from '../text';
import type { CellState } from '../tokens';
import type { Status } from '../wire';
import type { ICellLine } from './state';

export interface ICellLineOptions {
  readonly stop: () => Promise<void>;
  readonly open: (() => void) | null;
}

const MARKS: Readonly<Record<CellState, Status>> = { waiting: 'pending', running: 'running', done: 'completed', failed: 'failed', cancelled: 'cancelled' };

/** Shows one line. */
export class CellLine {
  constructor(options: ICellLineOptions) {
    this._stop = h('button', { class: 'cv-button cv-mod-cancel', text: 'Stop', title: 'Stop this cell', attrs: { type: 'button' }, onClick: () => this._onStop(options.stop) });
    this.node = h(
      'div',
      { class: 'jp-covalab-CellLine' },
      this._mark,
      this._text,
      this._stop,
      options.open && iconButton('open', 'Open the dispatch of this cell', options.open)
    );
    keepShortcutsOut(this.node);
  }

  readonly node: HTMLElement;

  /** Show a line; what is the same stays, so that nothing flickers and a selected text stays selected. */
  show({ state, text, canStop }: ICellLine): void {
    if (this._state !== state) {
      this._state = state;
      this._mark.replaceChildren(statusMark(MARKS[state]));
      this.node.dataset['state'] = state;
    }
    const shown = this._refusal || text;
    if (this._shown !== shown) {
      this._shown = shown;
      this._text.replaceChildren(...shown.split('`').map((part, at) => h(at % 2 === 1 ? 'code' : 'span', { text: part })));
      this._text.title = shown.replaceAll('`', '');
    }
    this._stop.hidden = !canStop;
  }

  private _onStop(stop: () => Promise<void>): void {
    this._stop.disabled = true;
    this._stop.textContent = 'Stopping…';
    this._refusal = '';
    stop().catch((error: unknown) => {
      this._stop.disabled = false;
      this._stop.textContent = 'Stop';
      this._refusal = `it could not be stopped: ${errorMessage(error)}`;
    });
  }

  private readonly _mark = h('span', { class: 'cv-cellMark' });
  private readonly _text = h('span', { class: 'cv-cellText', attrs: { role: 'status' } });
  private readonly _stop: HTMLButtonElement;
  private _state: CellState | null = null;
  private _shown: string | null = null;
  private _refusal = '';
}
