/**
 * Entry point of the extension: covalab's plugins for JupyterLab and Notebook 7.
 */
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { mainPlugin } from './plugins/main';
import { mimePlugin } from './plugins/mime';
import { runningPlugin } from './plugins/running';
import { servicesPlugin } from './plugins/services';

const plugins: JupyterFrontEndPlugin<unknown>[] = [servicesPlugin, mainPlugin, mimePlugin, runningPlugin];

export default plugins;
