/**
 * Line above an open notebook about its run: how far it has come, with buttons to cancel it, see it and use its values.
 */
import { h, iconButton, statusMark, summaryMark } from '../dom';
import { canCancel, counted, errorMessage, isTerminal } from '../text';
import type { ISnapshot } from '../tokens';
import { NotebookLine } from './line';
import { runLine } from './texts';

export interface IRunBarOptions {
  readonly cancel: () => Promise<void>;
  /** Show the dispatch in a tab. */
  readonly open: () => void;
  readonly bring: () => void;
  /** Run what is left of a run that failed or was cancelled. */
  readonly resume: () => void;
  readonly close: () => void;
}

/** Shows one line. */
export class RunBar extends NotebookLine {
  constructor(options: IRunBarOptions) {
    super();
    this._cancel = h('button', { class: 'cv-button cv-mod-cancel', text: 'Cancel', title: 'Stop the running cell and start no others', attrs: { type: 'button' }, onClick: () => this._onCancel(options.cancel) });
    this._resume = h('button', { class: 'cv-button', text: 'Resume', title: 'Run what is left, with the notebook as it is now: completed cells at its beginning whose text is the same are kept', attrs: { type: 'button' }, onClick: options.resume });
    this._bring = h('button', { class: 'cv-button', text: 'Bring Values Here', title: 'Make the names of the run known in the kernel of this notebook', attrs: { type: 'button' }, onClick: options.bring });
    this._open = h('button', { class: 'cv-button', text: 'Show Dispatch', title: 'Show the graph of the run in a tab', attrs: { type: 'button' }, onClick: options.open });
    this._close = iconButton('close', 'Hide this line', options.close);
    this.node.append(this._mark, this._text, this._bar, this._cancel, this._resume, this._bring, this._open, this._close);
    this._bar.append(this._done);
    this.starting();
  }

  /** Show that the run is about to start. */
  starting(): void {
    this._mark.replaceChildren(statusMark('pending'));
    this._text.textContent = 'Starting in the background…';
    for (const part of [this._bar, this._cancel, this._resume, this._bring, this._open, this._close]) {
      part.hidden = true;
    }
  }

  /**
   * Show how far a run has come.
   *
   * @param snapshot - The dispatch.
   * @param nCells - The number of cells that run.
   * @param nReused - The number of those for which an earlier run stands.
   * @param nStale - The number of cells that were changed since.
   * @param failure - The first cell that failed, and its error.
   */
  showRun(snapshot: ISnapshot, nCells: number, nReused: number, nStale: number, failure: string): void {
    const { summary, stale } = snapshot;
    const key = `${summary.status}|${summary.paused}`;
    if (this._key !== key) {
      this._key = key;
      this._mark.replaceChildren(summaryMark(summary));
      this.node.dataset['status'] = summary.status;
    }
    const ended = isTerminal(summary.status);
    this._text.textContent = [this._refusal || runLine(snapshot, nCells, nReused, failure), nStale > 0 ? `${counted(nStale, 'cell')} changed since` : '', stale].filter(Boolean).join(' · ');
    this._text.title = summary.error;
    const share = nCells === 0 ? 1 : Math.min(1, summary.counts.completed / nCells);
    this._done.style.width = `${100 * share}%`;
    this._bar.hidden = ended;
    this._cancel.hidden = !canCancel(summary);
    this._resume.hidden = !ended || summary.status === 'completed';
    this._bring.hidden = !ended || summary.counts.completed === 0;
    this._open.hidden = false;
    this._close.hidden = !ended;
    this.fitContent();
  }

  private _onCancel(cancel: () => Promise<void>): void {
    this._cancel.disabled = true;
    this._cancel.textContent = 'Cancelling…';
    this._refusal = '';
    cancel().catch((error: unknown) => {
      this._cancel.disabled = false;
      this._cancel.textContent = 'Cancel';
      this._refusal = `It could not be cancelled: ${errorMessage(error)}`;
    });
  }

  private readonly _mark = h('span', { class: 'cv-runMark' });
  private readonly _text = h('span', { class: 'cv-runText', attrs: { role: 'status' } });
  private readonly _bar = h('span', { class: 'cv-runBar', attrs: { 'aria-hidden': 'true' } });
  private readonly _done = h('span');
  private readonly _cancel: HTMLButtonElement;
  private readonly _resume: HTMLButtonElement;
  private readonly _bring: HTMLButtonElement;
  private readonly _open: HTMLButtonElement;
  private readonly _close: HTMLButtonElement;
  private _key = '';
  private _refusal = '';
}
