/** How often what is beside the graph is read, and which of two answers counts. */
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

// The page's timers are Node's here.
(globalThis as unknown as { window: unknown }).window = globalThis;

const soon = (ms = 20): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

test('many questions at once are one, and one that comes while it is read is asked again later', async () => {
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
  assert.equal(reads, 1, 'not before its time');
  await soon(300);
  assert.equal(reads, 2);
  reader.dispose();
});

test('an answer that is older than what is known is left out', () => {
  const reader = new ExecutionReader(() => Promise.reject(new Error('never asked')));
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

test('what cannot be read is tried a few times more, less often', async () => {
  let reads = 0;
  const reader = new ExecutionReader(() => (++reads < 3 ? Promise.reject(new Error('no')) : Promise.resolve(execution(1))), 40);
  reader.refresh();
  await soon();
  assert.deepEqual([reads, reader.hasFailed, reader.execution], [1, true, null]);
  reader.refresh();
  await soon(100);
  assert.equal(reads, 1, 'not before its time');
  await soon(600);
  assert.deepEqual([reads, reader.hasFailed, reader.execution?.version], [3, false, 1]);
  reader.dispose();
});

test('what can never be read is left alone in the end', async () => {
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
