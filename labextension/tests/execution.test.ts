/** Tests of the execution reader: how often it reads, and which of two answers it keeps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExecutionReader } from '../src/model/execution';
import type { ExecutionView } from '../src/wire';

function execution(version: number): ExecutionView {
  return {
    id: 'd1',
    version,
    lifecycle: 'open',
    paused: false,
    mode: '',
    state: { value: null, below: [], more: [], left_out: 0 },
    final: null,
    interventions: [],
    interrupts: [],
    streamed: 0,
    left_out: 0
  };
}

// The reader uses the timers of `window`, which Node does not have.
(globalThis as unknown as { window: unknown }).window = globalThis;

const soon = (ms = 20): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

test('several requests are one read, and a request during a read causes another one later', async () => {
  let reads = 0;
  let answer: (read: ExecutionView) => void = () => undefined;
  const reader = new ExecutionReader(() => {
    reads++;
    return new Promise(resolve => (answer = resolve));
  }, 200);
  reader.refresh();
  reader.refresh();
  await soon();
  assert.equal(reads, 1);
  reader.refresh();
  answer(execution(1));
  await soon();
  assert.equal(reader.execution?.version, 1);
  assert.equal(reads, 1, 'not before the interval is over');
  await soon(300);
  assert.equal(reads, 2);
  reader.dispose();
});

test('an answer that is older than the known execution is dropped', () => {
  const reader = new ExecutionReader(() => Promise.reject(new Error('never read')));
  let changes = 0;
  reader.changed.connect(() => changes++);
  reader.accept(execution(5));
  reader.accept(execution(4));
  assert.equal(reader.execution?.version, 5);
  assert.equal(changes, 1);
  reader.dispose();
  reader.accept(execution(6));
  assert.equal(changes, 1);
});

test('a failed read is repeated a few times, less often', async () => {
  let reads = 0;
  const reader = new ExecutionReader(() => (++reads < 3 ? Promise.reject(new Error('no')) : Promise.resolve(execution(1))), 40);
  reader.refresh();
  await soon();
  assert.deepEqual([reads, reader.hasFailed, reader.execution], [1, true, null]);
  reader.refresh();
  await soon(100);
  assert.equal(reads, 1, 'not before the interval is over');
  await soon(600);
  assert.deepEqual([reads, reader.hasFailed, reader.execution?.version], [3, false, 1]);
  reader.dispose();
});

test('an execution that can never be read is not read forever', async () => {
  let reads = 0;
  const reader = new ExecutionReader(() => {
    reads++;
    return Promise.reject(new Error('no'));
  }, 1);
  reader.refresh();
  await soon(300);
  assert.equal(reads, 4);
  reader.dispose();
});
