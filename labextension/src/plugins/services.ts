/**
 * Services plugin: provides client, event feed and models to the other plugins, and checks the server's version once.
 */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { Token } from '@lumino/coreutils';
import { AttachedOutputsArea } from '../cell/outputArea';
import { Client } from '../client';
import { DispatchesModel } from '../model/dispatches';
import { Feed } from '../model/feed';
import { SearchList } from '../model/list';
import { Overview } from '../model/overview';
import type { IOutputsView } from '../tokens';
import { VERSION } from '../wire';

/** Services that the plugins share. */
export interface ICovalab {
  readonly client: Client;
  readonly feed: Feed;
  readonly dispatches: DispatchesModel;
  readonly overview: Overview;
  /** The list of the side bar. */
  readonly list: SearchList;
  /** Make a view of outputs; scripts in them run only if they are trusted. */
  readonly createOutputs: (trusted: boolean) => IOutputsView;
}

export const ICovalab = new Token<ICovalab>('covalab:ICovalab', 'The dispatches of this Jupyter server.');

export const servicesPlugin: JupyterFrontEndPlugin<ICovalab> = {
  id: 'covalab:services',
  description: 'Reads dispatches from the Jupyter server.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  provides: ICovalab,
  activate: ({ serviceManager }: JupyterFrontEnd, rendermime: IRenderMimeRegistry): ICovalab => {
    const client = new Client(serviceManager.serverSettings);
    const feed = new Feed(serviceManager.events);
    void checkVersion(client);
    const dispatches = new DispatchesModel(client, feed);
    return { client, feed, dispatches, overview: new Overview(client, dispatches), list: new SearchList(client, feed), createOutputs: trusted => new AttachedOutputsArea(rendermime, trusted) };
  }
};

async function checkVersion(client: Client): Promise<void> {
  let version: string;
  try {
    ({ version } = await client.status());
  } catch {
    return; // no dispatcher runs yet; each view shows that for itself
  }
  if (version !== VERSION) {
    Notification.warning(
      `This page is covalab ${VERSION}, the server's part is covalab ${version}. ` +
        'Reload the page; if this message returns, run `covalab stop` and restart the Jupyter server.',
      { autoClose: false }
    );
  }
}
