/**
 * Forms for the open interrupts of a dispatch: one for each, for as long as it waits for an answer.
 */
import { h } from '../dom';
import { counted, outcomeOf } from '../text';
import type { Interrupt } from '../wire';
import { InterruptForm } from './form';

/** Milliseconds for which the outcome of a removed form stays visible. */
const OUTCOME_SHOWN = 12_000;

export interface IInterruptFormsOptions {
  readonly answer: (interrupt: string, request: string, json: string) => Promise<void>;
  readonly select?: ((node: number) => void) | null;
  /** The most forms shown at once; the others follow when these are answered. */
  readonly limit: number;
}

/** Shows the forms of one dispatch. */
export class InterruptForms {
  constructor(options: IInterruptFormsOptions) {
    this._options = options;
    this._list = h('div', { class: 'cv-interruptList' });
    this._more = h('div', { class: 'cv-quiet', attrs: { hidden: '' } });
    this._outcome = h('div', { class: 'cv-interruptOutcome', attrs: { role: 'status' } });
    this.node = h(
      'section',
      { class: 'cv-interrupts', attrs: { 'aria-label': 'Waits for an answer', tabindex: '-1' } },
      this._list,
      this._more,
      this._outcome
    );
    this.node.hidden = true;
  }

  readonly node: HTMLElement;

  dispose(): void {
    window.clearTimeout(this._timer);
    this._forms.forEach(form => form.dispose(false));
    this._forms.clear();
  }

  /** Show forms for the waiting interrupts; `waiting` counts all of them, also those that were not read yet. */
  update(interrupts: readonly Interrupt[], waiting: number): void {
    const shown = interrupts.filter(({ status }) => status === 'waiting').slice(0, this._options.limit);
    const hadFocus = this._removeAnswered(shown, interrupts);
    for (const interrupt of shown) {
      if (!this._forms.has(interrupt.id)) {
        const { answer, select } = this._options;
        const form = new InterruptForm({ interrupt, answer: (request, json) => answer(interrupt.id, request, json), select: select ?? null });
        this._forms.set(interrupt.id, form);
        this._list.append(form.node);
      }
    }
    const more = waiting - shown.length;
    this._more.hidden = more <= 0 || shown.length === 0;
    this._more.textContent = `and ${counted(more, 'more question')}, which will be shown when these are answered`;
    this._updateVisibility();
    if (hadFocus) {
      // The focus must not fall back to the page: it moves to the next form, or to the outcome of the removed one.
      const [next] = this._forms.values();
      next ? next.focus() : this.node.focus();
    }
  }

  /** Remove the forms that are not shown any more; returns whether one of them had the focus. */
  private _removeAnswered(shown: readonly Interrupt[], interrupts: readonly Interrupt[]): boolean {
    let hadFocus = false;
    for (const [id, form] of this._forms) {
      if (!shown.some(interrupt => interrupt.id === id)) {
        hadFocus ||= form.hasFocus;
        form.dispose(true);
        this._forms.delete(id);
        this._showOutcome(interrupts.find(interrupt => interrupt.id === id));
      }
    }
    return hadFocus;
  }

  private _showOutcome(interrupt: Interrupt | undefined): void {
    if (interrupt) {
      this._outcome.textContent = outcomeOf(interrupt);
      window.clearTimeout(this._timer);
      this._timer = window.setTimeout(() => {
        this._outcome.textContent = '';
        this._updateVisibility();
      }, OUTCOME_SHOWN);
    }
  }

  private _updateVisibility(): void {
    this.node.hidden = this._forms.size === 0 && this._outcome.textContent === '';
  }

  private readonly _options: IInterruptFormsOptions;
  private readonly _list: HTMLElement;
  private readonly _more: HTMLElement;
  private readonly _outcome: HTMLElement;
  private readonly _forms = new Map<string, InterruptForm>();
  private _timer = 0;
}
