/**
 * Text of a stream as a terminal shows it. Pure; `covalab.view.outputs.folded` is the same in Python.
 */

/** Return a text after its carriage returns and backspaces: a progress bar is one line. */
export function folded(text: string): string {
  if (!text.includes('\r') && !text.includes('\b')) {
    return text;
  }
  return text.replaceAll('\r\n', '\n').split('\n').map(foldedLine).join('\n');
}

function foldedLine(line: string): string {
  let shown = '';
  for (const part of line.split('\r')) {
    const text = withoutBackspaces(part);
    // What a shorter text does not overwrite stays; with escape sequences the lengths are not those on the screen.
    shown = (shown + text).includes('\x1b') ? text || shown : text + shown.slice(text.length);
  }
  return shown;
}

function withoutBackspaces(text: string): string {
  if (!text.includes('\b')) {
    return text;
  }
  const kept: string[] = [];
  for (const character of text) {
    character === '\b' ? kept.pop() : kept.push(character);
  }
  return kept.join('');
}
