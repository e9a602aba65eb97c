/**
 * MIME plugin: registers the renderer of dispatches in the output of cells.
 */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { cellRendererFactory } from '../cell/renderer';
import { CommandIDs } from '../commands';
import { RANK, rendererFactory } from '../dispatch/renderer';
import { ServerSource } from '../model/serverSource';
import { insertCode } from '../notebook/inserting';
import { errorMessage } from '../text';
import { ICovalab } from './services';

export const mimePlugin: JupyterFrontEndPlugin<void> = {
  id: 'covalab:mime',
  description: 'Shows dispatches live in the output of cells.',
  autoStart: true,
  requires: [ICovalab, IRenderMimeRegistry],
  activate: (app: JupyterFrontEnd, { client, feed, dispatches, createOutputs }: ICovalab, rendermime: IRenderMimeRegistry): void => {
    const open = (id: string): void => void app.commands.execute(CommandIDs.open, { id });
    rendermime.addFactory(
      cellRendererFactory({ rendermime, createSource: id => new ServerSource(id, client, feed, null), readCell: (id, node) => client.cell(id, node), open }),
      RANK
    );
    rendermime.addFactory(
      rendererFactory({
        createSource: bundle => new ServerSource(bundle.id, client, feed, bundle),
        open,
        redispatch: (id, reuse, nodes) => void dispatches.redispatch(id, reuse, nodes).catch((error: unknown) => Notification.error(errorMessage(error))),
        createOutputs,
        readBundle: id => client.bundle(id),
        insert: (code, output) => insertCode(app, code, output)
      }),
      RANK
    );
  }
};
