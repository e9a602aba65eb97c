/**
 * Texts about pools of workers. Pure.
 */
import { counted, formatElapsed } from '../text';
import type { DispatcherStatus, PoolStatus } from '../wire';

/** Seconds without a worker, of a pool that is up, after which that is a remark. */
const PATIENCE = 5;

/** Return the heading: `Workers: 4`, `Workers: starting`. */
export function workersTitle({ pools }: DispatcherStatus): string {
  const count = pools.filter(({ kind }) => kind === 'pool').reduce((sum, { workers }) => sum + workers, 0);
  const none = pools.some(({ state }) => state === 'starting') ? 'Workers: starting' : 'Workers: none';
  return pools.length === 0 ? 'Workers: none yet' : count > 0 ? `Workers: ${count}` : none;
}

/** Return the state of a pool: `2 workers`, `starting`, `failed`. */
export function poolState({ state, workers, kind }: PoolStatus): string {
  return state === 'up' ? counted(workers, kind === 'pool' ? 'worker' : 'slot') : state;
}

/** Return what a pool is called: its environment's folder, and the cluster or machine if it is another. */
export function poolName({ python, where, kind }: PoolStatus): string {
  const parts = python.replaceAll('\\', '/').split('/');
  const at = Math.max(parts.lastIndexOf('bin'), parts.lastIndexOf('Scripts'));
  const environment = (at > 0 ? parts[at - 1] : parts.at(-2)) || python;
  return [environment, kind === 'host' ? 'other executors' : '', where].filter(Boolean).join(' · ');
}

/** Return what is wrong with a pool, or might be; empty: nothing. */
export function poolProblem({ state, workers, message, unfit, waits_since }: PoolStatus, now: number): string {
  const waits = state === 'up' && workers === 0 && waits_since !== null && now - waits_since > PATIENCE ? `no worker for ${formatElapsed(now - waits_since)}` : '';
  const unused = Object.entries(unfit).map(([worker, why]) => `${worker} gets no work: ${why}`);
  return [message, waits, ...unused].filter(Boolean).join('\n');
}
