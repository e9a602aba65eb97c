/**
 * Form for one interrupt: the payload, two buttons, and a field for any other answer.
 */
import { UUID } from '@lumino/coreutils';
import { drawIcon, h } from '../dom';
import { errorMessage, parseAnswer } from '../text';
import type { Interrupt } from '../wire';

export interface IInterruptFormOptions {
  readonly interrupt: Interrupt;
  /** Send an answer, a JSON text. Resolves when it is recorded. */
  readonly answer: (request: string, json: string) => Promise<void>;
  /** Show the waiting node in the graph; without this the node is only named. */
  readonly select?: ((node: number) => void) | null;
}

let forms = 0;

/** Unsent texts by interrupt. They outlive the form, which is removed when an output scrolls away or a tab is closed. */
const drafts = new Map<string, string>();

/** Shows one interrupt and sends the answer. */
export class InterruptForm {
  constructor(options: IInterruptFormOptions) {
    const { interrupt, select } = options;
    this._options = options;
    const id = `cv-interrupt-${forms++}`;
    const draft = drafts.get(interrupt.id) ?? '';
    const title = h('strong', { text: interrupt.type, attrs: { id: `${id}-title` } });
    const node = `node ${interrupt.node}`;
    const where = select
      ? h('button', { class: 'cv-link', text: node, title: 'Show it in the graph', attrs: { type: 'button' }, onClick: () => select(interrupt.node) })
      : h('span', { class: 'cv-quiet', text: node });
    this._input = h('input', {
      attrs: { type: 'text', id: `${id}-value`, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': `${id}-preview` }
    });
    this._preview = h('div', { class: 'cv-interruptPreview', attrs: { id: `${id}-preview`, 'aria-live': 'polite' } });
    this._entry = h(
      'div',
      { class: 'cv-interruptEntry', attrs: { id: `${id}-entry` } },
      h('label', { text: 'Value', attrs: { for: `${id}-value` } }),
      this._input,
      h('button', { class: 'cv-button', text: 'Send', attrs: { type: 'submit' } }),
      this._preview
    );
    this._entryButton = h('button', {
      class: 'cv-button cv-mod-quiet',
      text: 'Enter a value…',
      attrs: { type: 'button', 'aria-controls': `${id}-entry` },
      onClick: () => this._showEntry(this._entry.hidden)
    });
    this._error = h('div', { class: 'cv-interruptError', attrs: { role: 'alert', hidden: '' } });
    this.node = h(
      'form',
      { class: 'cv-interrupt', attrs: { 'aria-labelledby': `${id}-title`, novalidate: '', 'data-interrupt': interrupt.id } },
      h('div', { class: 'cv-interruptHead' }, drawIcon('person'), title, where),
      interrupt.text === '' ? null : h('pre', { text: interrupt.text, attrs: { tabindex: '0', 'aria-label': 'Payload of the question' } }),
      h(
        'div',
        { class: 'cv-interruptButtons' },
        h('button', { class: 'cv-button cv-mod-approve', text: 'Approve', title: 'Answers: true', attrs: { type: 'button' }, onClick: () => void this._send('true') }),
        h('button', { class: 'cv-button cv-mod-reject', text: 'Reject', title: 'Answers: false', attrs: { type: 'button' }, onClick: () => void this._send('false') }),
        this._entryButton
      ),
      this._entry,
      this._error
    );
    this._input.value = draft;
    this._showEntry(draft !== '', false);
    this._updatePreview();
    this._input.addEventListener('input', this._onInput);
    this.node.addEventListener('submit', this._onSubmit);
    // The notebook or list around the form must not take these keys for its own shortcuts.
    this.node.addEventListener('keydown', this._onKeyDown);
  }

  readonly node: HTMLFormElement;

  /** Whether the keyboard focus is in this form. */
  get hasFocus(): boolean {
    return this.node.contains(document.activeElement);
  }

  /** Move the keyboard focus to this form. */
  focus(): void {
    this.node.querySelector('button')?.focus();
  }

  /** Remove the form; the unsent text is kept unless the interrupt was `answered`. */
  dispose(answered: boolean): void {
    if (answered) {
      drafts.delete(this._options.interrupt.id);
    }
    this._input.removeEventListener('input', this._onInput);
    this.node.removeEventListener('submit', this._onSubmit);
    this.node.removeEventListener('keydown', this._onKeyDown);
    this.node.remove();
  }

  private _showEntry(open: boolean, focus = true): void {
    this._entry.hidden = !open;
    this._entryButton.setAttribute('aria-expanded', String(open));
    if (open && focus) {
      this._input.focus();
    }
  }

  private _updatePreview(): void {
    this._preview.textContent = `Will be sent as ${parseAnswer(this._input.value).description}`;
  }

  private _onInput = (): void => {
    drafts.set(this._options.interrupt.id, this._input.value);
    this._updatePreview();
  };

  private _onSubmit = (event: Event): void => {
    event.preventDefault();
    void this._send(parseAnswer(this._input.value).json);
  };

  private _onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && !this._entry.hidden) {
      this._showEntry(false);
      this._entryButton.focus();
    }
    event.stopPropagation();
  };

  private async _send(json: string): Promise<void> {
    if (this._sending) {
      return;
    }
    this._setBusy(true);
    this._error.hidden = true;
    try {
      await this._options.answer(this._request, json);
    } catch (error) {
      this._error.textContent = errorMessage(error);
      this._error.hidden = false;
    }
    this._setBusy(false);
  }

  private _setBusy(busy: boolean): void {
    this._sending = busy;
    this.node.setAttribute('aria-busy', String(busy));
    // Not `disabled`: a disabled button loses the focus.
    this.node.querySelectorAll('.cv-button').forEach(button => button.setAttribute('aria-disabled', String(busy)));
  }

  private readonly _options: IInterruptFormOptions;
  /** The same id for every attempt, so that repeating an answer whose response was lost has no effect. */
  private readonly _request = UUID.uuid4();
  private readonly _input: HTMLInputElement;
  private readonly _preview: HTMLElement;
  private readonly _entry: HTMLElement;
  private readonly _entryButton: HTMLElement;
  private readonly _error: HTMLElement;
  private _sending = false;
}
