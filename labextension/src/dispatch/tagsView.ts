/**
 * Tags of a dispatch, in its head: shown, and edited where there is a server.
 */
import { h } from '../dom';
import { errorMessage } from '../text';

type Change = (add: readonly string[], remove: readonly string[]) => Promise<void>;

/** Shows the tags of one dispatch. */
export class TagsView {
  constructor(change: Change | null) {
    this._change = change;
    this._list = h('span', { class: 'cv-tagList' });
    this._edit = h('button', { class: 'cv-tagEdit', text: '+ tag', title: 'Add or remove tags', attrs: { type: 'button', 'aria-expanded': 'false' }, onClick: () => this._toggle() });
    this._edit.hidden = change === null;
    this._input = h('input', { class: 'cv-find cv-tagInput', attrs: { type: 'text', placeholder: 'New tag', maxlength: '64', 'aria-label': 'New tag. Enter adds it, Escape closes.' } });
    this._input.hidden = true;
    this._input.addEventListener('keydown', this._onKeyDown);
    this._problem = h('span', { class: 'cv-tagProblem', attrs: { role: 'alert' } });
    this.node = h('span', { class: 'cv-tags', attrs: { role: 'group', 'aria-label': 'Tags' } }, this._list, this._input, this._edit, this._problem);
  }

  readonly node: HTMLElement;

  update(tags: readonly string[]): void {
    const key = `${tags.join()}|${this._isOpen}`;
    if (key === this._key) {
      return;
    }
    this._key = key;
    this._tags = tags;
    this._list.replaceChildren(
      ...tags.map(tag =>
        this._isOpen
          ? h('button', { class: 'cv-tag', text: `#${tag} ×`, title: `Remove ${tag}`, attrs: { type: 'button', 'aria-label': `Remove the tag ${tag}` }, onClick: () => void this._send([], [tag]) })
          : h('span', { class: 'cv-tag', text: `#${tag}` })
      )
    );
  }

  private get _isOpen(): boolean {
    return !this._input.hidden;
  }

  private _toggle(): void {
    this._input.hidden = !this._input.hidden;
    this._edit.setAttribute('aria-expanded', String(this._isOpen));
    this._edit.textContent = this._isOpen ? 'Done' : '+ tag';
    this._problem.textContent = '';
    this.update(this._tags);
    this._isOpen ? this._input.focus() : this._edit.focus();
  }

  private async _send(add: readonly string[], remove: readonly string[]): Promise<void> {
    try {
      await this._change!(add, remove);
      this._problem.textContent = '';
      this._input.value = '';
    } catch (error) {
      this._problem.textContent = errorMessage(error);
    }
    this._input.focus();
  }

  private _onKeyDown = (event: KeyboardEvent): void => {
    const words = this._input.value.split(/[\s,]+/).map(word => word.replace(/^#/, '')).filter(Boolean);
    if (event.key === 'Enter' && words.length > 0) {
      void this._send(words, []);
      event.preventDefault();
    } else if (event.key === 'Escape') {
      this._toggle();
      event.preventDefault();
    }
    event.stopPropagation(); // the notebook has shortcuts on letters
  };

  private readonly _change: Change | null;
  private readonly _list: HTMLElement;
  private readonly _edit: HTMLButtonElement;
  private readonly _input: HTMLInputElement;
  private readonly _problem: HTMLElement;
  private _tags: readonly string[] = [];
  private _key = '';
}
