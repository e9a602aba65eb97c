/**
 * What a reader can do with a cell: run it in the background, or make it an electron.
 */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { INotebookPanel } from './panel';

const MAGIC = '%%electron';
const LOAD = "get_ipython().extension_manager.load_extension('covalab')";

/** Put `%%electron --run` on top of the current cell, and run it. */
export async function runCell(app: JupyterFrontEnd, panel: INotebookPanel): Promise<void> {
  const kernel = panel.sessionContext.session?.kernel;
  if (!kernel) {
    throw new Error('The notebook has no kernel; start one, and try again.');
  }
  await ask(kernel, LOAD);
  setText(panel, withRun(textOf(panel)));
  await app.commands.execute('notebook:run-cell');
}

/** Ask for the signature of the current cell, with the one that its code has, and write the line on top of it. */
export async function makeElectron(panel: INotebookPanel): Promise<void> {
  const kernel = panel.sessionContext.session?.kernel;
  const text = textOf(panel);
  if (!kernel || text.trimStart().startsWith('%%')) {
    throw new Error(kernel ? 'The cell begins with a magic already; only a cell of Python can be made an electron.' : 'The notebook has no kernel; start one, and try again.');
  }
  await ask(kernel, LOAD);
  const session = "get_ipython().find_cell_magic('electron').__self__.session";
  const suggested = await ask(kernel, '', `${session}.suggested(${JSON.stringify(text)})`);
  const answer = await InputDialog.getText({ title: 'Make the cell an electron', label: 'Name, inputs and outputs, as its code has them:', text: suggested, okLabel: 'Write the line' });
  if (answer.button.accept && answer.value?.trim()) {
    setText(panel, `${MAGIC} ${answer.value.trim()}\n${text}`);
  }
}

/** Return the text of a cell with the line that runs it in the background. */
export function withRun(text: string): string {
  const [first, ...rest] = text.split('\n');
  if (!first.startsWith(MAGIC)) {
    return `${MAGIC} --run\n${text}`;
  }
  return first.includes('--run') ? text : [`${first.trimEnd()} --run`, ...rest].join('\n');
}

function textOf(panel: INotebookPanel): string {
  const cell = panel.content.activeCell?.model;
  if (cell?.type !== 'code') {
    throw new Error('Choose a cell of code first.');
  }
  return cell.sharedModel.getSource();
}

function setText(panel: INotebookPanel, text: string): void {
  panel.content.activeCell?.model.sharedModel.setSource(text);
}

/** Run code in the kernel without a trace, and return the text that an expression has; an error of it is thrown. */
async function ask(kernel: Kernel.IKernelConnection, code: string, expression = ''): Promise<string> {
  const user_expressions = expression ? { found: expression } : {};
  const { content } = await kernel.requestExecute({ code, silent: true, store_history: false, allow_stdin: false, user_expressions }).done;
  if (content.status === 'error') {
    throw new Error(`${content.ename}: ${content.evalue}`);
  }
  const found = (content as KernelMessage.IExecuteReply).user_expressions?.['found'] as { status?: string; evalue?: string; data?: Record<string, string> } | undefined;
  if (expression && found?.status !== 'ok') {
    throw new Error(found?.evalue ?? 'The kernel did not answer.');
  }
  // The text of a string is its `repr`.
  return (found?.data?.['text/plain'] ?? '').replace(/^['"]|['"]$/g, '');
}
