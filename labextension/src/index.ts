/**
 * Entry point of the extension: covalab's plugins for JupyterLab and Notebook 7.
 */
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { mainPlugin } from './plugins/main';
import { mimePlugin } from './plugins/mime';
import { notebookPlugin } from './plugins/notebook';
import { placesPlugin } from './plugins/places';
import { runningPlugin } from './plugins/running';
import { servicesPlugin } from './plugins/services';

const plugins: JupyterFrontEndPlugin<unknown>[] = [servicesPlugin, mainPlugin, mimePlugin, notebookPlugin, runningPlugin, placesPlugin];

export default plugins;
