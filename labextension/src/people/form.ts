/**
 * A small form that asks a person: what is asked, two buttons, and a field for any other answer.
 */
import { UUID } from '@lumino/coreutils';
import { drawIcon, h } from '../dom';
import { takeAnswer } from '../text';
import type { Interrupt } from '../wire';

export interface IAskOptions {
  readonly interrupt: Interrupt;
  /** Send an answer: a JSON text. Settled when it is recorded. */
  readonly answer: (request: string, json: string) => Promise<void>;
  /** Show the node that waits; without this it is only named. */
  readonly select?: ((node: number) => void) | null;
}

let forms = 0;

/** What was typed and not sent: it outlives the form, which goes when an output scrolls away or a tab is closed. */
const drafts = new Map<string, string>();

/** Asks one person one thing. */
export class AskForm {
  constructor(options: IAskOptions) {
    const { interrupt, select } = options;
    this._options = options;
    const id = `cv-ask-${forms++}`;
    const draft = drafts.get(interrupt.id) ?? '';
    const title = h('strong', { text: interrupt.type, attrs: { id: `${id}-title` } });
    const node = `node ${interrupt.node}`;
    const where = select
      ? h('button', { class: 'cv-link', text: node, title: 'Show it in the graph', attrs: { type: 'button' }, onClick: () => select(interrupt.node) })
      : h('span', { class: 'cv-quiet', text: node });
    this._input = h('input', {
      attrs: { type: 'text', id: `${id}-value`, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': `${id}-taken` }
    });
    this._taken = h('div', { class: 'cv-askTaken', attrs: { id: `${id}-taken`, 'aria-live': 'polite' } });
    this._entry = h(
      'div',
      { class: 'cv-askEntry', attrs: { id: `${id}-entry` } },
      h('label', { text: 'Value', attrs: { for: `${id}-value` } }),
      this._input,
      h('button', { class: 'cv-button', text: 'Send', attrs: { type: 'submit' } }),
      this._taken
    );
    this._other = h('button', {
      class: 'cv-button cv-mod-quiet',
      text: 'Enter a value…',
      attrs: { type: 'button', 'aria-controls': `${id}-entry` },
      onClick: () => this._unfold(this._entry.hidden)
    });
    this._error = h('div', { class: 'cv-askError', attrs: { role: 'alert', hidden: '' } });
    this.node = h(
      'form',
      { class: 'cv-ask', attrs: { 'aria-labelledby': `${id}-title`, novalidate: '', 'data-interrupt': interrupt.id } },
      h('div', { class: 'cv-askHead' }, drawIcon('person'), title, where),
      interrupt.text === '' ? null : h('pre', { text: interrupt.text, attrs: { tabindex: '0', 'aria-label': 'What there is to decide about' } }),
      h(
        'div',
        { class: 'cv-askButtons' },
        h('button', { class: 'cv-button cv-mod-approve', text: 'Approve', title: 'Answers: true', attrs: { type: 'button' }, onClick: () => void this._send('true') }),
        h('button', { class: 'cv-button cv-mod-reject', text: 'Reject', title: 'Answers: false', attrs: { type: 'button' }, onClick: () => void this._send('false') }),
        this._other
      ),
      this._entry,
      this._error
    );
    this._input.value = draft;
    this._unfold(draft !== '', false);
    this._say();
    this._input.addEventListener('input', this._onInput);
    this.node.addEventListener('submit', this._onSubmit);
    // Whoever is around (a notebook, a list) has keys of its own.
    this.node.addEventListener('keydown', this._onKey);
  }

  readonly node: HTMLFormElement;

  /** Whether the reader is at this form. */
  get hasFocus(): boolean {
    return this.node.contains(document.activeElement);
  }

  /** Put the reader at this form. */
  focus(): void {
    this.node.querySelector('button')?.focus();
  }

  /** Take the form away; what was typed is kept unless it was `answered`. */
  dispose(answered: boolean): void {
    if (answered) {
      drafts.delete(this._options.interrupt.id);
    }
    this._input.removeEventListener('input', this._onInput);
    this.node.removeEventListener('submit', this._onSubmit);
    this.node.removeEventListener('keydown', this._onKey);
    this.node.remove();
  }

  private _unfold(open: boolean, focus = true): void {
    this._entry.hidden = !open;
    this._other.setAttribute('aria-expanded', String(open));
    if (open && focus) {
      this._input.focus();
    }
  }

  private _say(): void {
    this._taken.textContent = `Will be sent as ${takeAnswer(this._input.value).words}`;
  }

  private _onInput = (): void => {
    drafts.set(this._options.interrupt.id, this._input.value);
    this._say();
  };

  private _onSubmit = (event: Event): void => {
    event.preventDefault();
    void this._send(takeAnswer(this._input.value).json);
  };

  private _onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && !this._entry.hidden) {
      this._unfold(false);
      this._other.focus();
    }
    event.stopPropagation();
  };

  private async _send(json: string): Promise<void> {
    if (this._sending) {
      return;
    }
    this._busy(true);
    this._error.hidden = true;
    try {
      await this._options.answer(this._request, json);
    } catch (error) {
      this._error.textContent = error instanceof Error ? error.message : String(error);
      this._error.hidden = false;
    }
    this._busy(false);
  }

  private _busy(busy: boolean): void {
    this._sending = busy;
    this.node.setAttribute('aria-busy', String(busy));
    // Not `disabled`: that would take the focus away.
    this.node.querySelectorAll('.cv-button').forEach(button => button.setAttribute('aria-disabled', String(busy)));
  }

  private readonly _options: IAskOptions;
  /** One for all that is sent from here, so that an answer whose answer got lost is harmless to repeat. */
  private readonly _request = UUID.uuid4();
  private readonly _input: HTMLInputElement;
  private readonly _taken: HTMLElement;
  private readonly _entry: HTMLElement;
  private readonly _other: HTMLElement;
  private readonly _error: HTMLElement;
  private _sending = false;
}
