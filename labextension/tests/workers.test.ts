import assert from 'node:assert/strict';
import { test } from 'node:test';
import { poolName, poolProblem, poolState, workersTitle } from '../src/sidebar/workersText';
import type { DispatcherStatus, PoolStatus } from '../src/wire';

function pool(parts: Partial<PoolStatus> = {}): PoolStatus {
  return { python: '/home/ada/project/.venv/bin/python', state: 'up', workers: 2, pid: 1, message: '', kind: 'pool', where: '', unfit: {}, waits_since: null, carried: 0, news: { queued: 0, dead: '', idle: '', grows: false }, store_trouble: '', waiting_cores: 0, ...parts };
}

test('the heading counts the workers of all pools', () => {
  const title = (pools: PoolStatus[]): string => workersTitle({ pools } as unknown as DispatcherStatus);
  assert.equal(title([]), 'Workers: none yet');
  assert.equal(title([pool({ state: 'starting', workers: 0 })]), 'Workers: starting');
  assert.equal(title([pool({ state: 'failed', workers: 0 })]), 'Workers: none');
  assert.equal(title([pool(), pool({ workers: 3 }), pool({ kind: 'host', workers: 8 })]), 'Workers: 5');
});

test('a pool is named by its environment and by where it is', () => {
  assert.equal(poolName(pool()), '.venv');
  assert.equal(poolName(pool({ where: 'tcp://10.0.0.7:8786' })), '.venv · tcp://10.0.0.7:8786');
  assert.equal(poolName(pool({ python: 'C:\\conda\\envs\\ml\\python.exe', kind: 'host' })), 'ml · other executors');
  assert.equal(poolName(pool({ python: '' })), '');
});

test('a pool says its state and what is wrong with it', () => {
  assert.deepEqual([pool(), pool({ workers: 1 }), pool({ state: 'starting' }), pool({ kind: 'host', workers: 4 })].map(poolState), ['2 workers', '1 worker', 'starting', '4 slots']);
  assert.equal(poolProblem(pool(), 100), '');
  assert.equal(poolProblem(pool({ workers: 0, waits_since: 98 }), 100), '');
  assert.equal(poolProblem(pool({ workers: 0, waits_since: 20 }), 100), 'no worker for 1 min 20 s');
  assert.equal(poolProblem(pool({ state: 'failed', workers: 0, message: 'no covalab there', waits_since: 20 }), 100), 'no covalab there');
  assert.equal(poolProblem(pool({ unfit: { 'tcp://a:1': 'Python 3.9' } }), 100), 'tcp://a:1 gets no work: Python 3.9');
});
