/**
 * List of the graph's nodes: makes the canvas accessible to the keyboard and to screen readers.
 *
 * Only the entries around the current one exist as elements, so ten thousand nodes cost as little as ten.
 */
import { h } from '../dom';

/** Entries before and after the current one that exist as elements. */
const AROUND = 12;

export interface IGraphListOptions {
  /** Called with the current node while the list has the focus, with null when it loses it. */
  readonly move: (node: number | null) => void;
  /** Called when the reader selects the current node. */
  readonly choose: (node: number) => void;
}

let lists = 0;

/** Shows nodes in a list box. */
export class GraphList {
  constructor(options: IGraphListOptions, label = 'Nodes of the graph. Arrow keys move, Enter opens.') {
    this._options = options;
    this._id = `cv-list-${lists++}`;
    this.node = h('div', {
      class: 'cv-list',
      attrs: { role: 'listbox', tabindex: '0', 'aria-label': label }
    });
    this.node.addEventListener('keydown', this._onKeyDown);
    this.node.addEventListener('focus', this._onFocus);
    this.node.addEventListener('blur', this._onBlur);
    this.node.addEventListener('click', this._onClick);
  }

  readonly node: HTMLElement;

  dispose(): void {
    this.node.removeEventListener('keydown', this._onKeyDown);
    this.node.removeEventListener('focus', this._onFocus);
    this.node.removeEventListener('blur', this._onBlur);
    this.node.removeEventListener('click', this._onClick);
  }

  /** Replace the nodes. */
  update(nodes: readonly number[], describe: (node: number) => string): void {
    this._nodes = nodes;
    this._describe = describe;
    this._current = Math.max(0, Math.min(this._current, nodes.length - 1));
    this._render();
  }

  /** Update the texts, in which durations grow. */
  refresh(): void {
    this._render();
  }

  private _render(): void {
    const first = Math.max(0, this._current - AROUND);
    const shown = this._nodes.slice(first, this._current + AROUND + 1);
    while (this.node.childElementCount > shown.length) {
      this.node.lastElementChild!.remove();
    }
    shown.forEach((node, at) => {
      const entry = (this.node.children[at] as HTMLElement | undefined) ?? this.node.appendChild(h('div', { attrs: { role: 'option' } }));
      const text = this._describe(node);
      // An assignment of the same text would make some screen readers read the entry again.
      if (entry.textContent !== text) {
        entry.textContent = text;
      }
      entry.id = `${this._id}-${node}`;
      entry.setAttribute('aria-posinset', String(first + at + 1));
      entry.setAttribute('aria-setsize', String(this._nodes.length));
      entry.setAttribute('aria-selected', String(first + at === this._current));
    });
    if (this._nodes.length > 0) {
      this.node.setAttribute('aria-activedescendant', `${this._id}-${this._nodes[this._current]}`);
    }
  }

  private _onFocus = (): void => this._options.move(this._nodes[this._current] ?? null);

  private _onBlur = (): void => this._options.move(null);

  /** Only where the list is seen: over a canvas, the canvas gets the clicks. */
  private _onClick = (event: MouseEvent): void => {
    const at = [...this.node.children].indexOf(event.target as Element);
    if (at >= 0) {
      this._current = Math.max(0, this._current - AROUND) + at;
      this._render();
      this._options.choose(this._nodes[this._current]);
    }
  };

  private _onKeyDown = (event: KeyboardEvent): void => {
    const last = this._nodes.length - 1;
    const moves: Readonly<Record<string, number>> = {
      ArrowDown: this._current + 1,
      ArrowRight: this._current + 1,
      ArrowUp: this._current - 1,
      ArrowLeft: this._current - 1,
      PageDown: this._current + 10,
      PageUp: this._current - 10,
      Home: 0,
      End: last
    };
    if (event.key in moves) {
      this._current = Math.max(0, Math.min(last, moves[event.key]));
      this._render();
      this._options.move(this._nodes[this._current] ?? null);
    } else if ((event.key === 'Enter' || event.key === ' ') && last >= 0) {
      this._options.choose(this._nodes[this._current]);
    } else {
      return;
    }
    // The notebook has shortcuts on the same keys.
    event.preventDefault();
    event.stopPropagation();
  };

  private readonly _options: IGraphListOptions;
  private readonly _id: string;
  private _nodes: readonly number[] = [];
  private _describe: (node: number) => string = String;
  private _current = 0;
}
