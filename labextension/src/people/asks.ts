/**
 * What a dispatch waits for people to say: a form for each, for as long as it waits.
 */
import { h } from '../dom';
import { counted, outcomeOf } from '../text';
import type { Interrupt } from '../wire';
import { AskForm } from './form';

const NOTED = 12_000; // milliseconds

export interface IAsksOptions {
  readonly answer: (interrupt: string, request: string, json: string) => Promise<void>;
  readonly select?: ((node: number) => void) | null;
  /** So many forms at once; the others come when these are answered. */
  readonly most: number;
}

/** Shows the forms of one dispatch. */
export class Asks {
  constructor(options: IAsksOptions) {
    this._options = options;
    this._list = h('div', { class: 'cv-askList' });
    this._more = h('div', { class: 'cv-quiet', attrs: { hidden: '' } });
    this._note = h('div', { class: 'cv-askNote', attrs: { role: 'status' } });
    this.node = h('section', { class: 'cv-asks', attrs: { 'aria-label': 'Waits for an answer', tabindex: '-1' } }, this._list, this._more, this._note);
    this.node.hidden = true;
  }

  readonly node: HTMLElement;

  dispose(): void {
    window.clearTimeout(this._timer);
    this._forms.forEach(form => form.dispose(false));
    this._forms.clear();
  }

  /** Show forms for those of a dispatch's interrupts that wait; `waiting` is how many do, known here or not. */
  update(interrupts: readonly Interrupt[], waiting: number): void {
    const shown = interrupts.filter(({ status }) => status === 'waiting').slice(0, this._options.most);
    let lost = false;
    for (const [id, form] of this._forms) {
      if (!shown.some(interrupt => interrupt.id === id)) {
        lost ||= form.hasFocus;
        form.dispose(true);
        this._forms.delete(id);
        this._tell(interrupts.find(interrupt => interrupt.id === id));
      }
    }
    for (const interrupt of shown) {
      if (!this._forms.has(interrupt.id)) {
        const { answer, select } = this._options;
        const form = new AskForm({ interrupt, answer: (request, json) => answer(interrupt.id, request, json), select: select ?? null });
        this._forms.set(interrupt.id, form);
        this._list.append(form.node);
      }
    }
    const more = waiting - shown.length;
    this._more.hidden = more <= 0 || shown.length === 0;
    this._more.textContent = `and ${counted(more, 'more question')}, which will be shown when these are answered`;
    this._hide();
    if (lost) {
      // Whoever was there goes on with the next question, and otherwise hears what became of this one.
      const [next] = this._forms.values();
      next ? next.focus() : this.node.focus();
    }
  }

  private _tell(interrupt: Interrupt | undefined): void {
    if (interrupt) {
      this._note.textContent = outcomeOf(interrupt);
      window.clearTimeout(this._timer);
      this._timer = window.setTimeout(() => {
        this._note.textContent = '';
        this._hide();
      }, NOTED);
    }
  }

  private _hide(): void {
    this.node.hidden = this._forms.size === 0 && this._note.textContent === '';
  }

  private readonly _options: IAsksOptions;
  private readonly _list: HTMLElement;
  private readonly _more: HTMLElement;
  private readonly _note: HTMLElement;
  private readonly _forms = new Map<string, AskForm>();
  private _timer = 0;
}
