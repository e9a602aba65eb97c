/**
 * Marks on the cells of an open notebook: which wait, which runs, which were reused, and which have an output of an
 * older text.
 */
import { PanelLayout, Widget } from '@lumino/widgets';
import { h, keepShortcutsOut, statusMark } from '../dom';
import type { Status } from '../wire';
import type { IFilledCell, Remark } from './filling';
import type { ICell } from './panel';

const PENDING = 'jp-covalab-mod-pending';
const RUNNING = 'jp-covalab-mod-running';
const WHY = 'jp-covalab-Why';

const TEXTS: Readonly<Record<Exclude<Remark, 'none'>, string>> = {
  stale: 'The run has an older text of this cell.',
  shown: 'This output is of an older text of the cell.',
  kept: 'This cell was run or cleared here; the run in the background has another output.'
};

/** Beginning of the reason of a cell that was not run. */
const NOT_RUN = 'not run';
const REUSED = 'reused';

const STALE_OUTPUT = "The run's output is of an older text of this cell.";

/** Shows the marks of one notebook. */
export class CellMarks {
  /** `show` shows the run's output of the cell with an id. */
  constructor(show: (id: string) => void) {
    this._show = show;
  }

  /**
   * Let the cells on the page have the marks of these, and no others.
   *
   * @param cells - The cells on the page.
   * @param filled - Those that the run has, by their ids.
   * @param why - Why cells ran, were reused or were not run, by their ids.
   */
  update(cells: readonly ICell[], filled: ReadonlyMap<string, IFilledCell>, why: ReadonlyMap<string, string>): void {
    const seen = new Set<ICell>();
    // Where all cells ran, as ever, a mark at each would say nothing.
    const hasReused = [...why.values()].some(reason => reason.startsWith(REUSED));
    for (const cell of cells) {
      const its = filled.get(cell.model?.id);
      cell.toggleClass(PENDING, its?.phase === 'pending' && its.remark === 'none');
      cell.toggleClass(RUNNING, its?.phase === 'running' && its.remark === 'none');
      const reason = (its?.remark !== 'stale' && why.get(cell.model?.id)) || '';
      const isLeftOut = reason.startsWith(NOT_RUN);
      showWhy(cell, isLeftOut || !hasReused ? '' : reason);
      if (its && its.remark !== 'none') {
        seen.add(cell);
        this._note(cell).set(its.remark === 'stale' && its.canShow ? STALE_OUTPUT : TEXTS[its.remark], its.canShow);
      } else if (isLeftOut) {
        // Where its output would be, in words: what is missing there is what a reader looks for.
        seen.add(cell);
        this._note(cell).set(`N${reason.slice(1)}`, false, 'skipped');
      }
    }
    for (const [cell, note] of this._notes) {
      if (!seen.has(cell)) {
        note.dispose();
        this._notes.delete(cell);
      }
    }
  }

  private _note(cell: ICell): Note {
    let note = this._notes.get(cell);
    if (!note || note.isDisposed) {
      note = new Note(() => this._show(cell.model.id));
      this._notes.set(cell, note);
    }
    placeNote(cell, note);
    return note;
  }

  private readonly _show: (id: string) => void;
  private readonly _notes = new Map<ICell, Note>();
}

/** Put a note between the code of a cell and its output. */
export function placeNote(cell: ICell, note: Widget): void {
  if (!note.parent && cell.layout instanceof PanelLayout) {
    const at = cell.layout.widgets.findIndex(widget => widget.hasClass('jp-Cell-outputWrapper'));
    cell.layout.insertWidget(at < 0 ? cell.layout.widgets.length : at, note);
  }
}

/** Show in the corner of a cell whether it ran or was reused, with the reason as its tooltip; no text: nothing. */
function showWhy(cell: ICell, text: string): void {
  const known = cell.node.querySelector<HTMLElement>(`.${WHY}`);
  if (!text) {
    known?.remove();
    return;
  }
  if (known?.title === text) {
    return;
  }
  known?.remove();
  const kind = text.startsWith(REUSED) ? 'reused' : 'ran';
  const mark = h('span', { class: WHY, text: kind, title: text, attrs: { role: 'note', tabindex: '0', 'aria-label': text } });
  mark.classList.toggle('cv-mod-reused', kind === 'reused');
  cell.node.querySelector('.jp-Cell-inputWrapper')?.append(mark);
}

/** A remark about the output of a cell, and a button that shows another. */
export class Note extends Widget {
  constructor(show: () => void) {
    super();
    this.addClass('jp-covalab-Note');
    this._button = h('button', { class: 'cv-button', text: 'Show It', title: 'Show the output of the run in this cell', attrs: { type: 'button' }, onClick: show });
    keepShortcutsOut(this.node);
    this.node.append(this._mark, this._text, this._button);
  }

  /** Set the remark; it has the mark of a status, or else one of attention. */
  set(text: string, canShow: boolean, status: Status | null = null): void {
    if (this._text.textContent !== text) {
      this._text.textContent = text;
      this._mark.replaceChildren(...(status ? [statusMark(status)] : ['▲']));
    }
    this._button.hidden = !canShow;
  }

  private readonly _mark = h('span', { class: 'cv-noteMark', attrs: { 'aria-hidden': 'true' } });
  private readonly _text = h('span', { attrs: { role: 'status' } });
  private readonly _button: HTMLButtonElement;
}
