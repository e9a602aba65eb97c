/**
 * The open groups of one graph, and the page that each of them shows.
 */
import { prettyName } from '../text';
import type { Node, NodeState, Status } from '../wire';
import type { IOpenFold } from './bar';
import { foldPage, type IFold, PAGE, pageWith } from './folds';
import { countMembers } from './boxStates';
import type { IShape } from './shape';

type States = ReadonlyMap<number, NodeState>;

/** Holds which groups are open; `current` is the one that the bar is about. */
export class OpenFolds {
  /** Open a group or fold it. */
  toggle(group: number): void {
    this._current = group;
    if (!this._open.delete(group)) {
      this._open.set(group, { group, only: null, page: 0 });
    }
  }

  /** Fold the group that was opened last. */
  close(): void {
    if (this._current !== null) {
      this._open.delete(this._current);
    }
  }

  /** Open a group on the page of one of its members. */
  reveal(members: readonly number[], states: States, node: number, only: Status | null): void {
    const group = members[0];
    this._current = group;
    this._open.set(group, { group, only, page: pageWith(members, states, node, only) });
  }

  /** Show other siblings of the current group. */
  filter(only: Status | null): void {
    this._change({ only, page: 0 });
  }

  /** Show another page of the current group. */
  turn(by: number, shape: IShape | null, states: States): void {
    const fold = this._fold;
    if (fold) {
      this._change({ page: foldPage(membersOf(shape, fold.group), states, { ...fold, page: fold.page + by }).page });
    }
  }

  /** Return the members that each open group shows; groups that are no more are forgotten. */
  shown(shape: IShape | null, states: States): Map<number, readonly number[]> {
    const shown = new Map<number, readonly number[]>();
    for (const [group, fold] of this._open) {
      const members = membersOf(shape, group);
      members.length > 0 ? shown.set(group, foldPage(members, states, fold).shown) : this._open.delete(group);
    }
    return shown;
  }

  /** Describe the current group for the bar; null: none is open. */
  describe(shape: IShape | null, states: States, nodes: readonly Node[]): IOpenFold | null {
    const fold = this._fold;
    if (!fold) {
      return null;
    }
    const members = membersOf(shape, fold.group);
    const { page, shown, matching } = foldPage(members, states, fold);
    const [name, kind] = nodes[fold.group];
    return { name: prettyName(name, kind), counts: countMembers(members, states), only: fold.only, first: page * PAGE, shown: shown.length, matching };
  }

  private get _fold(): IFold | undefined {
    return this._current === null ? undefined : this._open.get(this._current);
  }

  private _change(change: Partial<IFold>): void {
    const fold = this._fold;
    if (fold) {
      this._open.set(fold.group, { ...fold, ...change });
    }
  }

  private readonly _open = new Map<number, IFold>();
  private _current: number | null = null;
}

function membersOf(shape: IShape | null, group: number): readonly number[] {
  const unit = shape?.units[shape.unitOf[group]];
  return unit?.kind === 'group' && unit.members[0] === group ? unit.members : [];
}
