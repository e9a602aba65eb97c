/**
 * Decision which dispatches a notebook has lost. Pure.
 */
import { isTerminal } from '../text';
import type { DispatchSummary } from '../wire';

/** A code cell, with the ids of the dispatches that it shows. */
export interface IShowingCell {
  readonly id: string;
  readonly shown: readonly string[];
}

/** Seconds by which the clocks of a file system and of a dispatcher may differ, and a save may come after its request. */
const SLACK = 2;

/**
 * Return the dispatches that the notebook lost: of each cell that shows none, the newest, if the file was not saved after
 * it. What was removed on purpose was saved without it.
 *
 * @param rows - Dispatches, the newest first.
 * @param cells - The code cells of the notebook.
 * @param path - Path of the notebook, below the folder of the server.
 * @param saved - When the file was saved; not a number: that is not known.
 */
export function lostDispatches(rows: readonly DispatchSummary[], cells: readonly IShowingCell[], path: string, saved: number): DispatchSummary[] {
  const everything = new Set(cells.flatMap(({ shown }) => shown));
  return cells.flatMap(({ id, shown }) => {
    const newest = shown.length === 0 ? rows.find(({ cell, notebook, root }) => cell === id && root === null && isPath(notebook, path)) : undefined;
    const isLost = newest && !everything.has(newest.id) && (!isTerminal(newest.status) || newest.created_at > saved + SLACK);
    return isLost ? [newest] : [];
  });
}

/** Return whether the path of a notebook, as its kernel knows it, ends with that of the server. */
function isPath(notebook: string, path: string): boolean {
  return notebook === path || notebook.replaceAll('\\', '/').endsWith(`/${path}`);
}
