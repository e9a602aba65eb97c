/**
 * Cells of a notebook run and cells of an open notebook: which is which, and how the outputs are written. Pure.
 */
import type { IOutput as INotebookOutput } from '@jupyterlab/nbformat';
import { digest } from 'lib0/hash/sha256';
import { folded } from '../cell/folding';
import type { IOutput } from '../tokens';
import type { NodeState, NotebookCell, Status } from '../wire';

/** A cell of an open notebook, as far as it is needed to find it. */
export interface ICellText {
  readonly id: string;
  readonly sharedModel: { getSource(): string };
}

/** Return the digest of a cell's text, as `covalab.core.notebook_run.source_digest` does in Python. */
export function sourceDigest(text: string): string {
  // Not crypto.subtle: a page that came over plain HTTP from another machine does not have it.
  return [...digest(new TextEncoder().encode(text))]
    .slice(0, 8)
    .map(byte => byte.toString(16).padStart(2, '0'))
    .join('');
}

/**
 * Return the positions of the open cells by the cells of a run.
 *
 * By id; a notebook before nbformat 4.5 stores none, so each opening of it makes new ones: there by text, in order.
 */
export function matchCells(run: readonly NotebookCell[], open: readonly ICellText[]): Map<NotebookCell, number> {
  const positions = new Map(open.map(({ id }, at) => [id, at]));
  const found = new Map<NotebookCell, number>();
  const rest: NotebookCell[] = [];
  for (const cell of run) {
    const at = positions.get(cell.id);
    at === undefined ? rest.push(cell) : found.set(cell, at);
  }
  const taken = new Set(found.values());
  const free = rest.length === 0 ? [] : open.map(({ sharedModel }, at) => ({ at, digest: sourceDigest(sharedModel.getSource()) })).filter(({ at }) => !taken.has(at));
  for (const cell of rest) {
    const next = free.findIndex(({ digest }) => digest === cell.source_digest);
    if (next >= 0) {
      found.set(cell, free[next].at);
      free.splice(0, next + 1);
    }
  }
  return found;
}

const RAN: ReadonlySet<Status> = new Set<Status>(['completed', 'failed', 'running']);

/** Return the execution counts by node: the number of a cell among those that ran, as in the executed notebook. */
export function executionCounts(run: readonly NotebookCell[], states: ReadonlyMap<number, NodeState>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { node } of run) {
    const state = states.get(node);
    if (state && RAN.has(state[1])) {
      counts.set(node, counts.size + 1);
    }
  }
  return counts;
}

/** The fields that nbformat knows, by the type of an output; it refuses others. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  stream: ['name', 'text'],
  display_data: ['data', 'metadata'],
  execute_result: ['data', 'metadata', 'execution_count'],
  error: ['ename', 'evalue', 'traceback']
};

const WIDGET_VIEW = 'application/vnd.jupyter.widget-view+json';

/** Return outputs as a notebook holds them: text as on a terminal, and no widget, since there is no kernel behind it. */
export function notebookOutputs(outputs: readonly IOutput[], count: number | null): INotebookOutput[] {
  return outputs.filter(({ output_type }) => output_type in FIELDS).map(output => notebookOutput(output, count));
}

function notebookOutput(output: IOutput, count: number | null): INotebookOutput {
  const kind = output.output_type;
  const fields = Object.fromEntries(FIELDS[kind].filter(name => name in output).map(name => [name, output[name]]));
  if (kind === 'stream') {
    const text = fields['text'];
    fields['text'] = folded(Array.isArray(text) ? text.join('') : String(text ?? ''));
  } else if (kind === 'error') {
    return { output_type: kind, ename: '', evalue: '', traceback: [], ...fields };
  } else {
    fields['data'] = Object.fromEntries(Object.entries(fields['data'] ?? {}).filter(([type]) => type !== WIDGET_VIEW));
    fields['metadata'] ??= {};
    if (kind === 'execute_result') {
      fields['execution_count'] = count;
    }
  }
  return { output_type: kind, ...fields } as unknown as INotebookOutput;
}
