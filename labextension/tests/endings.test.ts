/** Tests of what a reader is notified of. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Endings } from '../src/model/endings';
import type { DispatchSummary, Status } from '../src/wire';

function summary(id: string, status: Status, seconds: number, more: Partial<DispatchSummary> = {}): DispatchSummary {
  return { id, name: id, status, root: null, waiting: 0, started_at: 0, ended_at: status === 'running' ? null : seconds, ...more } as DispatchSummary;
}

test('a long dispatch that was seen under way is announced once, when it ends', () => {
  const endings = new Endings(() => 60);
  assert.deepEqual(endings.take([summary('a', 'running', 0), summary('b', 'running', 0)], 1), []);
  const found = endings.take([summary('a', 'completed', 90), summary('b', 'failed', 3700)], 3700);
  assert.deepEqual(found.map(({ text, isBad }) => [text, isBad]), [
    ['a completed after 1 min 30 s.', false],
    ['b failed after 1 h 1 min.', true]
  ]);
  assert.deepEqual(endings.take([summary('a', 'completed', 90)], 3700), []);
});

test('short, cancelled, inner and old ones are not announced', () => {
  const endings = new Endings(() => 60);
  const all = ['short', 'cancelled', 'inner'].map(id => summary(id, 'running', 0));
  endings.take(all, 1);
  const ended = [summary('short', 'completed', 59), summary('cancelled', 'cancelled', 90), summary('inner', 'completed', 90, { root: 'x' }), summary('old', 'completed', 90)];
  assert.deepEqual(endings.take(ended, 90), []);
  const never = new Endings(() => 0);
  never.take([summary('a', 'running', 0)], 1);
  assert.deepEqual(never.take([summary('a', 'completed', 1e6)], 1e6), []);
});

test('who begins to wait for a person is announced, once for each question', () => {
  const endings = new Endings(() => 60);
  endings.take([summary('a', 'running', 0)], 1);
  const asks = summary('a', 'running', 0, { waiting: 1 });
  assert.deepEqual(endings.take([asks], 100).map(({ text }) => text), ['a waits for an answer.']);
  assert.deepEqual(endings.take([asks], 101), []);
});
