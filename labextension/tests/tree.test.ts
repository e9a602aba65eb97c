/** Tests of the state tree: names and sizes of its entries. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childrenOf, sizeOf } from '../src/dispatch/tree';
import type { StateNodeView } from '../src/wire';

function part(more: Partial<StateNodeView> = {}): StateNodeView {
  return { value: null, below: null, more: [], left_out: 0, ...more };
}

const names = (shown: StateNodeView): string[] => childrenOf(shown).map(([name]) => name);

test('keys come in the order in which they were written', () => {
  const shown = part({ below: [['10', part()], ['9', part()], ['b', part()]], left_out: 2 });
  assert.deepEqual(names(shown), ['10', '9', 'b']);
  assert.equal(sizeOf(shown), '5 keys');
});

test('items of a list that was cut keep their numbers', () => {
  const shown = part({ more: [part(), part()], left_out: 1000 });
  assert.deepEqual(names(shown), ['1000', '1001']);
  assert.equal(sizeOf(shown), '1,002 items');
});

test('items appended to a value are counted from +1', () => {
  assert.deepEqual(names(part({ value: [1, 'list', '[1]', null, null, [], -1], more: [part(), part()] })), ['+1', '+2']);
});
