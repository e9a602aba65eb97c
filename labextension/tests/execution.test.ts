/** How often what is beside the graph is read, and which of two answers counts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExecutionReader } from '../src/execution';
import type { Execution } from '../src/wire';

function execution(version: number): Execution {
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
  let answer: (read: Execution) => void = () => undefined;
  const reader = new ExecutionReader(() => {
    reads++;
    return new Promise(resolve => (answer = resolve));
  });
  reader.ask();
  reader.ask();
  await soon();
  assert.equal(reads, 1);
  reader.ask();
  answer(execution(1));
  await soon();
  assert.equal(reader.execution?.version, 1);
  assert.equal(reads, 1, 'not before its time');
  await soon(1100);
  assert.equal(reads, 2);
  reader.dispose();
});

test('an answer that is older than what is known is left out', () => {
  const reader = new ExecutionReader(() => Promise.reject(new Error('never asked')));
  let changes = 0;
  reader.changed.connect(() => changes++);
  reader.take(execution(5));
  reader.take(execution(4));
  assert.equal(reader.execution?.version, 5);
  assert.equal(changes, 1);
  reader.dispose();
  reader.take(execution(6));
  assert.equal(changes, 1);
});

test('a failure is no news, and is known', async () => {
  let fail = true;
  const reader = new ExecutionReader(() => (fail ? Promise.reject(new Error('no')) : Promise.resolve(execution(1))));
  reader.ask();
  await soon();
  assert.deepEqual([reader.hasFailed, reader.execution], [true, null]);
  fail = false;
  reader.ask();
  await soon(1200);
  assert.deepEqual([reader.hasFailed, reader.execution], [true, null], 'what fails is asked less often');
  reader.dispose();
});
