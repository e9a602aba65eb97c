/** Tests of deletions that can be taken back for some seconds. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { PendingDeletes, UNDO } from '../src/model/deletes';

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) {
    await Promise.resolve();
  }
}

test('nothing is deleted before its time, and what was taken back never is', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const gone: string[] = [];
  let changes = 0;
  const pending = new PendingDeletes(id => Promise.resolve(void gone.push(id)), () => changes++);
  pending.add(['a', 'b']);
  mock.timers.tick(UNDO - 1);
  assert.deepEqual([gone, pending.has('a'), pending.count], [[], true, 2]);
  pending.undo();
  mock.timers.tick(UNDO);
  await settle();
  assert.deepEqual([gone, pending.has('a'), changes], [[], false, 2]);
  pending.add(['c']);
  mock.timers.tick(UNDO / 2);
  pending.add(['d']);
  mock.timers.tick(UNDO / 2);
  assert.deepEqual(gone, []);
  mock.timers.tick(UNDO);
  await settle();
  assert.deepEqual([gone, pending.has('c'), pending.count], [['c', 'd'], false, 0]);
  mock.timers.reset();
});

test('one that cannot be deleted does not keep the others, and comes back', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const gone: string[] = [];
  const pending = new PendingDeletes(id => (id === 'a' ? Promise.reject(new Error('no')) : Promise.resolve(void gone.push(id))), () => undefined);
  pending.add(['a', 'b']);
  mock.timers.tick(UNDO);
  await settle();
  assert.deepEqual([gone, pending.has('a')], [['b'], false]);
  mock.timers.reset();
});
