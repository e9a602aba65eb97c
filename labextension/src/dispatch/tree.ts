/**
 * Tree view of the state of a dispatch. An update keeps the elements, and with them what is unfolded and the focus.
 */
import { h } from '../dom';
import { counted } from '../text';
import type { StateNodeView, Value } from '../wire';

/** Characters from which on a value scrolls. */
const LONG = 120;

/** Return the direct children of a node of the state, with the names that the tree shows. */
export function childrenOf({ below, more, value, left_out }: StateNodeView): (readonly [string, StateNodeView])[] {
  // The oldest items of a list are left out. The length of a value that was appended to is unknown, hence `+1`.
  const first = below === null ? left_out : 0;
  return [...(below ?? []), ...more.map((part, at) => [value === null ? String(first + at) : `+${first + at + 1}`, part] as const)];
}

/** Return how many children a node of the state has. */
export function sizeOf(part: StateNodeView): string {
  const count = childrenOf(part).length + part.left_out;
  return part.below === null ? counted(count, 'item') : counted(count, 'key');
}

/** Shows a node of the state and everything below it. */
export class StateTree {
  constructor() {
    this.node = h('ul', { class: 'cv-tree' });
  }

  readonly node: HTMLElement;

  /** Show a node of the state. */
  update(part: StateNodeView): void {
    const children = childrenOf(part);
    const names = new Set(children.map(([name]) => name));
    for (const [name, branch] of this._branches) {
      if (!names.has(name)) {
        branch.node.remove();
        this._branches.delete(name);
      }
    }
    children.forEach(([name, child], at) => {
      let branch = this._branches.get(name);
      if (!branch?.fits(child)) {
        branch?.node.remove();
        branch = new Branch(name, child);
        this._branches.set(name, branch);
      }
      branch.update(child);
      if (this.node.children[at] !== branch.node) {
        this.node.insertBefore(branch.node, this.node.children[at] ?? null);
      }
    });
    this._omitted.textContent = `and ${part.left_out.toLocaleString('en')} more, not shown here; ct.get_result(id).get_state() has all`;
    part.left_out > 0 ? this.node.append(this._omitted) : this._omitted.remove();
  }

  private readonly _branches = new Map<string, Branch>();
  private readonly _omitted = h('li', { class: 'cv-quiet' });
}

/** One named entry of the tree. */
class Branch {
  constructor(name: string, part: StateNodeView) {
    this._hasParts = hasParts(part);
    const key = h('span', { class: 'cv-treeKey', text: name });
    if (this._hasParts) {
      this._size = h('span', { class: 'cv-treeType' });
      this._details = h('details', {}, h('summary', {}, key, this._size));
      this._details.addEventListener('toggle', () => this._fill());
      this.node = h('li', {}, this._details);
    } else {
      this.node = h('li', { class: 'cv-leaf' }, key, this._value);
    }
  }

  readonly node: HTMLElement;

  /** Return whether this entry has the elements that a node of the state needs. */
  fits(part: StateNodeView): boolean {
    return hasParts(part) === this._hasParts;
  }

  update(part: StateNodeView): void {
    this._part = part;
    if (this._size) {
      this._size.textContent = [part.value ? part.value[1] : '', sizeOf(part)].filter(Boolean).join(' + ');
      this._fill();
    } else {
      showValue(this._value, part.value);
    }
  }

  private _fill(): void {
    // Children are made when the entry is unfolded, so a large state costs only what is seen.
    if (this._details?.open && this._part) {
      if (!this._below) {
        this._below = new StateTree();
        this._details.append(this._below.node);
      }
      this._below.update(this._part);
    }
  }

  private readonly _hasParts: boolean;
  private readonly _value = h('span', { class: 'cv-treeValue' });
  private readonly _size: HTMLElement | null = null;
  private readonly _details: HTMLDetailsElement | null = null;
  private _part: StateNodeView | null = null;
  private _below: StateTree | null = null;
}

function hasParts({ below, more, left_out }: StateNodeView): boolean {
  return below !== null ? below.length + left_out > 0 || more.length > 0 : more.length + left_out > 0;
}

/** Show a value's text and type in an element; a long text can get the focus, so that the keyboard scrolls it. */
export function showValue(target: HTMLElement, value: Value | null): void {
  const text = value ? value[2] || '' : '{}';
  const key = `${value?.[1] ?? ''}|${text}`;
  if (target.dataset['shown'] !== key) {
    target.dataset['shown'] = key;
    const code = h('code', { text });
    if (text.length > LONG) {
      code.tabIndex = 0;
    }
    target.replaceChildren(code, h('span', { class: 'cv-treeType', text: value?.[1] ?? '' }));
  }
}
