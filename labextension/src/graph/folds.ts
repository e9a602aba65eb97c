/**
 * Open groups: which of the siblings are shown, page by page, those first that need a reader. Pure.
 */
import type { NodeState, Status } from '../wire';

/** Siblings on one page. */
export const PAGE = 24;

/** The statuses in the order in which siblings are shown. */
export const URGENCY: readonly Status[] = ['failed', 'running', 'cancelled', 'skipped', 'pending', 'completed'];

/** What of a group is shown. */
export interface IFold {
  /** First node of the group, by which it is known. */
  readonly group: number;
  /** Only siblings of this status; null: all. */
  readonly only: Status | null;
  readonly page: number;
}

/** One page of siblings. */
export interface IFoldPage {
  readonly shown: readonly number[];
  readonly page: number;
  readonly pages: number;
  /** Number of siblings on all pages. */
  readonly matching: number;
}

function sorted(members: readonly number[], states: ReadonlyMap<number, NodeState>, only: Status | null): readonly number[] {
  const by = new Map<Status, number[]>(URGENCY.map(status => [status, []]));
  members.forEach(node => by.get(states.get(node)?.[1] ?? 'pending')!.push(node));
  return only ? by.get(only)! : URGENCY.flatMap(status => by.get(status)!);
}

/** Return a page of the members of a group; a page that is not there becomes the nearest. */
export function foldPage(members: readonly number[], states: ReadonlyMap<number, NodeState>, { only, page }: Pick<IFold, 'only' | 'page'>): IFoldPage {
  const all = sorted(members, states, only);
  const pages = Math.max(1, Math.ceil(all.length / PAGE));
  const shown = Math.min(Math.max(0, page), pages - 1);
  return { shown: all.slice(shown * PAGE, (shown + 1) * PAGE), page: shown, pages, matching: all.length };
}

/** Return the page on which a member is; the last, if it is on none. */
export function pageWith(members: readonly number[], states: ReadonlyMap<number, NodeState>, node: number, only: Status | null): number {
  const all = sorted(members, states, only);
  const at = all.indexOf(node);
  return Math.floor(Math.max(0, at < 0 ? all.length - 1 : at) / PAGE);
}

/** Return the next of the nodes in a cycle, after `current`. */
export function nextOf(nodes: readonly number[], current: number | null): number | null {
  return nodes.find(node => current !== null && node > current) ?? nodes[0] ?? null;
}

/** Return the nodes whose name contains a text, or whose number it is. */
export function matches(count: number, nameOf: (node: number) => string, isShown: (node: number) => boolean, text: string): number[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') {
    return [];
  }
  const found: number[] = [];
  for (let node = 0; node < count; node++) {
    if (isShown(node) && (String(node) === wanted || nameOf(node).toLowerCase().includes(wanted))) {
      found.push(node);
    }
  }
  return found;
}
