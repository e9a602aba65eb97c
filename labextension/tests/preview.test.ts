/** Tests of previews: which values have one, the order of rows, pages, search, code, and the names of arguments. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parameterNames, sublatticeInputs } from '../src/dispatch/arguments';
import { codeFor, isWorthPreview, nextMatch, nextSort, rowsLabel, textLabel, turned } from '../src/dispatch/previewText';
import { allowedWidth, readWidth } from '../src/dispatch/resizer';
import { EdgeKind, type PreviewTable, type Value } from '../src/wire';

const value = (type: string, text: string): Value => [10, type, text, null, null, [], -1];
const table = (more: Partial<PreviewTable> = {}): PreviewTable => ({ columns: [['a', 'int', true]], index: ['0'], rows: [['1']], offset: 0, n_rows: 1, n_columns: 1, is_sortable: true, ...more });

test('a number or a short text needs no preview', () => {
  assert.deepEqual(['int', 'float', 'bool', 'NoneType'].map(type => isWorthPreview(value(type, '1'))), [false, false, false, false]);
  assert.equal(isWorthPreview(value('str', 'short')), false);
  assert.equal(isWorthPreview(value('str', 'two\nlines')), true);
  assert.equal(isWorthPreview(value('list', '[1]')), true);
  assert.equal(isWorthPreview(null), true);
});

test('clicks on the head of a column sort up, down, and not at all', () => {
  const up = nextSort({ count: 20, offset: 40 }, 2);
  assert.deepEqual(up, { count: 20, offset: 0, sort: 2, descending: false });
  const down = nextSort(up, 2);
  assert.deepEqual(down, { count: 20, offset: 0, sort: 2, descending: true });
  assert.equal(nextSort(down, 2).sort, -1);
  assert.deepEqual(nextSort(down, 0), { count: 20, offset: 0, sort: 0, descending: false });
});

test('pages end at both ends', () => {
  const middle = table({ offset: 10, n_rows: 50 });
  assert.deepEqual([turned(middle, 20, -1), turned(middle, 20, 1)], [0, 30]);
  assert.deepEqual([turned(table({ n_rows: 20 }), 20, -1), turned(table({ n_rows: 20 }), 20, 1)], [null, null]);
  assert.equal(rowsLabel(table({ offset: 20, n_rows: 1000, n_columns: 300 })), '21–21 of 1,000 rows, 1 of 300 columns');
  assert.equal(rowsLabel(table({ rows: [], n_rows: 0 })), 'no rows of 0');
});

test('search goes around', () => {
  assert.deepEqual([nextMatch([3, 7], -1, false), nextMatch([3, 7], 3, false), nextMatch([3, 7], 7, false)], [3, 7, 3]);
  assert.deepEqual([nextMatch([3, 7], 3, true), nextMatch([], 0, false)], [7, -1]);
  assert.equal(textLabel({ text: 'abc', offset: 0, length: 3, matches: [], n_matches: 0 }), '');
  assert.equal(textLabel({ text: 'abc', offset: 3, length: 9, matches: [], n_matches: 0 }), 'characters 4–6 of 9');
});

test('an id becomes a text of Python, whatever is in it', () => {
  assert.equal(codeFor('a-1', null), 'ct.get_result("a-1", wait=True).result');
  assert.ok(codeFor('"); evil(', 3).includes('"\\"); evil("'));
});

test('parameters are read from the source of a lattice', () => {
  const source = '@ct.electron\n@ct.lattice\ndef l1(x, y: dict[str, int] = {"a": (1, 2)}, text="a, b)", *rest, z=3):\n  return x';
  assert.deepEqual(parameterNames(source), ['x', 'y', 'text']);
  assert.deepEqual(parameterNames('def f[T](\n    a,  # the first, of two\n    b: T,\n) -> T: ...'), ['a', 'b']);
  assert.deepEqual([parameterNames(''), parameterNames('lambda x: x'), parameterNames('def f('), parameterNames('def f():')], [[], [], [], []]);
});

test('a sublattice has the inputs that were given to it', () => {
  const edges = ['sub', 'json_parent_metadata', 'arg[2]', 'arg[3]', 'z'].map((name, at) => [at, 9, name, at < 4 ? EdgeKind.ARG : EdgeKind.KWARG, at < 4 ? at : -1] as const);
  assert.deepEqual(sublatticeInputs(edges, 'def l(x): ...').map(([, , name]) => name), ['x', 'argument 2', 'z']);
  assert.deepEqual(sublatticeInputs([[0, 9, 'sub', EdgeKind.KWARG, -1]], '').map(([, , name]) => name), ['sub']);
});

test('a width is what the browser kept, within the page', () => {
  assert.deepEqual([readWidth('400'), readWidth(null), readWidth('x'), readWidth('3')], [400, null, null, null]);
  assert.deepEqual([allowedWidth(900, 1000), allowedWidth(10, 1000)], [760, 240]);
});
