/**
 * Place of the tabs that a page opens beside its documents.
 */
import type { ILabShell, JupyterFrontEnd } from '@jupyterlab/application';
import { SplitPanel, TabPanel, type Widget } from '@lumino/widgets';

/** Least share of the height for what is below a document when a tab is shown there, and the share that it then gets. */
const LEAST = 0.3;
const SHARE = 0.5;

/**
 * Show a widget in a tab.
 *
 * Without `ILabShell` (Notebook 7) the main area has room for one document, and takes nothing else without a word: tabs
 * are then below it.
 */
export function showTab({ shell }: JupyterFrontEnd, labShell: ILabShell | null, widget: Widget): void {
  if (!widget.isAttached) {
    shell.add(widget, labShell ? 'main' : 'down');
  }
  shell.activateById(widget.id);
  const panel = widget.parent?.parent;
  if (labShell || !(panel instanceof TabPanel)) {
    return;
  }
  panel.currentWidget = widget; // the shell shows the panel with the tab that it had
  const around = panel.parent;
  if (around instanceof SplitPanel) {
    const sizes = around.relativeSizes();
    const at = around.widgets.indexOf(panel);
    if (sizes[at] < LEAST) {
      const others = 1 - sizes[at]; // at first it is as high as its tabs
      around.setRelativeSizes(sizes.map((size, one) => (one === at ? SHARE : ((1 - SHARE) * size) / others)));
    }
  }
}
