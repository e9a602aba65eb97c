/**
 * Texts about runs of notebooks: the line about a run, the path of an executed notebook. Pure.
 */
import { counted, formatDuration, summaryLabel } from '../text';
import type { ISnapshot } from '../tokens';

/** Return the line about a run: `Running in the background: 3 of 12 cells done`. */
export function runLine({ summary }: Pick<ISnapshot, 'summary'>, nCells: number, nReused: number, failure: string): string {
  const { status, counts, started_at, ended_at } = summary;
  const took = started_at !== null && ended_at !== null ? ` in ${formatDuration(ended_at - started_at)}` : '';
  const reused = nReused > 0 ? `, ${nReused} reused` : '';
  const done = `${counts.completed} of ${counted(nCells, 'cell')} done${reused}`;
  switch (status) {
    case 'completed':
      return `Ran in the background: ${counted(nCells, 'cell')}${took}${reused}`;
    case 'failed':
      return `Failed in the background: ${[done, failure].filter(Boolean).join(', ')}`;
    case 'cancelled':
      return `Cancelled in the background: ${done}`;
    default:
      return `${summaryLabel(summary)} in the background: ${done}`;
  }
}

/** Return the path of an executed notebook: beside the notebook, or at the top if that is outside of the server's folder. */
export function executedPath(path: string, number: number): string {
  const isOutside = path.startsWith('/') || /^[A-Za-z]:[\\/]/.test(path);
  const inside = isOutside ? path.replace(/^.*[\\/]/, '') : path;
  return `${inside.replace(/\.ipynb$/, '')}-executed${number > 1 ? `-${number}` : ''}.ipynb`;
}
