import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lostDispatches } from '../src/notebook/lost';
import { sourceOf, withSourceOf } from '../src/tokens';
import type { DispatchSummary } from '../src/wire';

function row(id: string, cell: string, created_at: number, other: Partial<DispatchSummary> = {}): DispatchSummary {
  return { id, cell, created_at, status: 'completed', root: null, notebook: '/home/ada/work/sub/n.ipynb', ...other } as DispatchSummary;
}

function lost(rows: readonly DispatchSummary[], shown: readonly string[] = [], saved = 100): string[] {
  return lostDispatches(rows, [{ id: 'c', shown }, { id: 'd', shown: [] }], 'sub/n.ipynb', saved).map(({ id }) => id);
}

test('of each cell the newest is lost, if the file was not saved after it', () => {
  assert.deepEqual(lost([row('3', 'd', 300), row('2', 'c', 200), row('1', 'c', 150)]), ['2', '3']);
  assert.deepEqual(lost([row('2', 'c', 200)], [], 250), []);
  assert.deepEqual(lost([row('2', 'c', 101)]), []); // the clocks may differ
  assert.deepEqual(lost([row('2', 'c', 50, { status: 'running' })]), ['2']); // it goes on, and nobody sees it
});

test('what is shown somewhere, another notebook has, or is below another dispatch is not lost', () => {
  assert.deepEqual(lost([row('2', 'c', 200)], ['1']), []);
  assert.deepEqual(lost([row('1', 'd', 200)], ['1']), []);
  assert.deepEqual(lost([row('2', 'c', 200, { notebook: '/home/ada/work/n.ipynb' })]), []);
  assert.deepEqual(lost([row('2', 'c', 200, { notebook: '/home/ada/work/xsub/n.ipynb' })]), []);
  assert.deepEqual(lost([row('2', 'c', 200, { root: 'r' })]), []);
  assert.deepEqual(lost([row('2', '', 200)]), []);
  assert.deepEqual(lost([row('2', 'c', 200, { notebook: 'C:\\work\\sub\\n.ipynb' })]), ['2']);
  assert.deepEqual(lost([row('2', 'c', 200)], [], NaN), []);
});

test('a newer output keeps the digest of the text that showed it', () => {
  assert.deepEqual(withSourceOf({ source_digest: 'a1' }, { id: 'x' }), { id: 'x', source_digest: 'a1' });
  assert.deepEqual(withSourceOf({}, { id: 'x' }), { id: 'x' });
  assert.deepEqual([null, 3, { source_digest: 4 }, { source_digest: '' }, { source_digest: 'b' }].map(sourceOf), [null, null, null, null, 'b']);
});
