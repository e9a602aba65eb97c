/**
 * Texts and decisions of the comparison of two dispatches. Pure.
 */
import { counted } from '../text';
import type { DifferenceView, NodePair } from '../wire';

/** Return whether both outputs of a pair are the same, byte by byte; null where there are not two. */
export function isSame({ left, right }: NodePair): boolean | null {
  return left?.digest && right?.digest ? left.digest === right.digest : null;
}

/** Return in one line in which respects two dispatches differ. */
export function verdict({ arguments: given, code, versions, nodes, more_nodes, more_arguments }: DifferenceView): string {
  const outputs = nodes.filter(pair => isSame(pair) === false).length;
  const unpaired = nodes.filter(pair => isSame(pair) === null).length;
  const all = nodes.length + more_nodes;
  const parts = [
    some(Object.keys(given).length + more_arguments, 'input'),
    some(Object.keys(code).length, 'piece of code', 'pieces of code'),
    some(Object.keys(versions).length, 'version'),
    outputs > 0 ? `${outputs.toLocaleString('en')} of ${counted(all, 'output')}` : ''
  ].filter(Boolean);
  const missing = unpaired > 0 ? `${counted(unpaired, 'node')} ${unpaired === 1 ? 'has' : 'have'} no output on one side or both.` : '';
  const first = parts.length > 0 ? `Different: ${parts.join(', ')}.` : missing ? '' : 'Inputs, code, versions and outputs are the same.';
  return [first, missing].filter(Boolean).join(' ');
}

function some(count: number, noun: string, plural?: string): string {
  return count > 0 ? counted(count, noun, plural) : '';
}

/** Return which kind of line of a unified difference a line is. */
export function lineKind(line: string): 'added' | 'removed' | 'place' | 'same' {
  return line.startsWith('@@') ? 'place' : line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : 'same';
}

/** Return the lines of a unified difference without its two heads, which name the same function twice. */
export function diffLines(text: string): string[] {
  const lines = text.split('\n');
  return lines[0]?.startsWith('---') ? lines.slice(2) : lines;
}

/** Return how much longer or shorter the right one took: `2.0 × as long`; empty if about the same, or not known. */
export function ratioLabel(left: number | null, right: number | null): string {
  if (left === null || right === null || Math.max(left, right) < 0.05 || left <= 0) {
    return '';
  }
  const ratio = right / left;
  return ratio > 0.8 && ratio < 1.25 ? '' : `${ratio >= 10 ? Math.round(ratio) : ratio.toFixed(ratio < 0.1 ? 2 : 1)} × as long`;
}
