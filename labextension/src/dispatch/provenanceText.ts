/**
 * Texts about how a dispatch came about. Pure.
 */
import type { Git } from '../wire';

/** Return a commit in one line: `4f1d2c90ab · main · with uncommitted changes`. */
export function commitLabel({ commit, branch, dirty }: Git): string {
  const state = dirty === null ? '' : dirty ? 'with uncommitted changes' : 'unchanged';
  return [commit.slice(0, 10) || 'no commit yet', branch, state].filter(Boolean).join(' · ');
}
