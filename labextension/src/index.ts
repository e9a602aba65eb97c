/**
 * The plugins of covalab in JupyterLab and Notebook 7.
 */
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { mainPlugin } from './plugins/main';
import { mimePlugin } from './plugins/mime';
import { runningPlugin } from './plugins/running';
import { servicesPlugin } from './plugins/services';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- plugins provide different things
const plugins: JupyterFrontEndPlugin<any>[] = [servicesPlugin, mainPlugin, mimePlugin, runningPlugin];

export default plugins;
