/**
 * Names of the arguments of a sublattice, which its node has only by position. Pure.
 */
import type { Edge } from '../wire';

/** Inputs that Covalent passes to each sublattice before its arguments. */
const OWN = ['sub', 'json_parent_metadata'];

/** Return the names of the positional parameters of the first function of a source text; what cannot be read is left out. */
export function parameterNames(source: string): string[] {
  const head = /\bdef\s+\w+\s*(?:\[[^\]]*\])?\s*\(/.exec(source);
  if (!head) {
    return [];
  }
  const names: string[] = [];
  let depth = 0;
  let part = '';
  for (let at = head.index + head[0].length; at < source.length; at++) {
    const letter = source[at];
    if (letter === '"' || letter === "'") {
      const end = source.indexOf(letter, at + 1); // a default may be a text with a comma
      at = end < 0 ? source.length : end;
      continue;
    }
    if (letter === '#') {
      const end = source.indexOf('\n', at);
      at = end < 0 ? source.length : end;
      continue;
    }
    if (depth === 0 && (letter === ',' || letter === ')')) {
      const name = /^\s*(\*{0,2}\w*)/.exec(part)![1];
      if (name.startsWith('*')) {
        return names;
      }
      if (/^[A-Za-z_]\w*$/.test(name)) {
        names.push(name);
      }
      if (letter === ')') {
        return names;
      }
      part = '';
      continue;
    }
    depth += '([{'.includes(letter) ? 1 : ')]}'.includes(letter) ? -1 : 0;
    part += letter;
  }
  return names;
}

/** Return the inputs of a sublattice's node that a reader gave to it, under the names of its parameters. */
export function sublatticeInputs(inputs: readonly Edge[], source: string): Edge[] {
  const names = parameterNames(source);
  return inputs
    .filter(([, , name, , index]) => !(OWN[index] === name))
    .map(([from, to, name, kind, index]) => {
      const known = index >= OWN.length && /^arg\[\d+\]$/.test(name) ? names[index - OWN.length] : undefined;
      return [from, to, known ?? (index >= OWN.length && /^arg\[/.test(name) ? `argument ${index - OWN.length + 1}` : name), kind, index] as Edge;
    });
}
