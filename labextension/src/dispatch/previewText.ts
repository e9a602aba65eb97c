/**
 * Texts and decisions of previews of values. Pure.
 */
import { formatSize } from '../text';
import type { IPreviewQuery } from '../tokens';
import type { Preview, PreviewTable, PreviewText, Value } from '../wire';

/** Types whose short text says all, unless it was cut. */
const PLAIN = new Set(['int', 'float', 'bool', 'NoneType', 'complex']);

/** Characters from which on a text is worth more than its first line. */
const LONG_TEXT = 200;

/** Return whether a preview says more than the short text of a value. */
export function isWorthPreview(value: Value | null): boolean {
  return !value || isWorthText(value[1], value[2]); // a collection has no text of its own
}

/** Return whether a preview says more than a short text of a value of this type. */
export function isWorthText(type: string, text: string): boolean {
  return !PLAIN.has(type) && !(type === 'str' && text.length < LONG_TEXT && !text.includes('\n'));
}

/** Return the query for the next click on the head of a column: up, down, then as the rows are. */
export function nextSort({ sort = -1, descending = false, ...rest }: IPreviewQuery, column: number): IPreviewQuery {
  if (sort !== column) {
    return { ...rest, offset: 0, sort: column, descending: false };
  }
  return descending ? { ...rest, offset: 0, sort: -1, descending: false } : { ...rest, offset: 0, sort: column, descending: true };
}

/** Return which rows of how many are shown: `1–20 of 1,000 rows`. */
export function rowsLabel({ offset, rows, n_rows, columns, n_columns }: PreviewTable): string {
  const format = (count: number): string => count.toLocaleString('en');
  const some = rows.length === 0 ? `no rows of ${format(n_rows)}` : `${format(offset + 1)}–${format(offset + rows.length)} of ${format(n_rows)} ${n_rows === 1 ? 'row' : 'rows'}`;
  return n_columns > columns.length ? `${some}, ${format(columns.length)} of ${format(n_columns)} columns` : some;
}

/** Return the offset of another page; null when there is none in that direction. */
export function turned({ offset, n_rows }: PreviewTable, count: number, pages: number): number | null {
  const next = offset + pages * count;
  return pages < 0 ? (offset > 0 ? Math.max(0, next) : null) : next < n_rows ? next : null;
}

/** Return the place of the next match after a place, or before it; around at the ends. -1: there is none. */
export function nextMatch(matches: readonly number[], place: number, isBackward: boolean): number {
  if (matches.length === 0) {
    return -1;
  }
  const found = isBackward ? matches.filter(match => match < place).at(-1) : matches.find(match => match > place);
  return found ?? (isBackward ? matches[matches.length - 1] : matches[0]);
}

/** Return where in a long text one is: `characters 1–20,000 of 120,000`; empty when all of it is shown. */
export function textLabel({ text, offset, length }: PreviewText): string {
  const format = (count: number): string => count.toLocaleString('en');
  return text.length >= length ? '' : `characters ${format(offset + 1)}–${format(Math.min(length, offset + text.length))} of ${format(length)}`;
}

/** Return the code that fetches a value, with names that are only letters of an id and a number. */
export function codeFor(dispatch: string, node: number | null): string {
  const result = `ct.get_result(${JSON.stringify(dispatch)}, wait=True)`;
  return node === null ? `${result}.result` : `${result}.get_node_result(${node})["output"].get_deserialized()`;
}

/** Return type and size of a value in one line. */
export function describePreview({ type, size }: Preview): string {
  return [type, size >= 0 ? formatSize(size) : ''].filter(Boolean).join(' · ');
}
