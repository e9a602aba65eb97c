/**
 * Code that is put into an open notebook as a new cell.
 */
import { type JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { INotebookPanel } from './panel';

/** The part of a shared notebook that takes a new cell. */
interface ISharedNotebook {
  insertCell(at: number, cell: { cell_type: 'code'; source: string }): unknown;
}

/** Put code below the cell with this output, or below the current cell of the notebook that was looked at last. */
export function insertCode(app: JupyterFrontEnd, code: string, output: HTMLElement | null): void {
  const panels = [...(app.shell.widgets('main') as Iterable<unknown>)].map(widget => widget as INotebookPanel).filter(isNotebook);
  const panel = output ? panels.find(({ node }) => node.contains(output)) : (panels.find(({ isVisible }) => isVisible) ?? panels[0]);
  if (!panel) {
    Notification.info('No notebook is open to insert the cell into.', { autoClose: 5000 });
    return;
  }
  const cells = panel.content.widgets;
  const at = cells.findIndex(cell => (output ? cell.node.contains(output) : cell === panel.content.activeCell));
  const shared = panel.content.model!.sharedModel as unknown as ISharedNotebook;
  shared.insertCell(at < 0 ? cells.length : at + 1, { cell_type: 'code', source: code });
  app.shell.activateById(panel.id);
}

function isNotebook(panel: Partial<INotebookPanel>): boolean {
  const shared = panel.content?.model?.sharedModel as Partial<ISharedNotebook> | undefined;
  return Array.isArray(panel.content?.widgets) && typeof shared?.insertCell === 'function';
}
