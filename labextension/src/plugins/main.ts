/**
 * Main plugin: the side bar, the tabs of dispatches, and the commands for both.
 */
import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, showDialog, WidgetTracker } from '@jupyterlab/apputils';
import { CommandIDs } from '../commands';
import type { DispatchTab } from '../dispatch/tab';
import { covalabIcon } from '../icons';
import { Sidebar } from '../sidebar/sidebar';
import { counted } from '../text';
import { addCompareCommand } from './compareCommand';
import { addDispatchCommands, insertCells, notifyOfError } from './dispatchCommands';
import { ICovalab } from './services';

/** Cell that the empty list offers, after the one that loads its magic. */
const EXAMPLE = '%%electron --run\nimport time\ntime.sleep(5)\nprint("in the background")';

/** Rank of the side bar; JupyterLab reserves 501 to 899 for panels of extensions. */
const RANK = 600;

export const mainPlugin: JupyterFrontEndPlugin<void> = {
  id: 'covalab:plugin',
  description: 'Lists dispatches in the side bar and shows them in tabs.',
  autoStart: true,
  requires: [ICovalab],
  optional: [ILabShell, ILayoutRestorer, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    covalab: ICovalab,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null
  ): void => {
    const tracker = new WidgetTracker<DispatchTab>({ namespace: 'covalab-dispatch' });
    addDispatchCommands(app, covalab, labShell, tracker);
    const sidebar = addSidebar(app, covalab);
    restorer?.add(sidebar, sidebar.id);
    // Without ILabShell (Notebook 7) each document has a page of its own, which begins without tabs.
    if (labShell && restorer) {
      void restorer.restore(tracker, {
        command: CommandIDs.open,
        args: tab => ({ id: tab.dispatch }),
        name: tab => tab.dispatch
      });
    }
    addListCommands(app, covalab, sidebar);
    addCompareCommand(app, covalab, labShell, restorer);
    const { show, open, start, pause, unpause, cancel, redispatch, compare, delete: remove, refresh } = CommandIDs;
    for (const command of [show, open, start, pause, unpause, cancel, redispatch, compare, remove, refresh]) {
      palette?.addItem({ command, category: 'Dispatches' });
    }
  }
};

/** Ask before tasks that run begin anew. */
async function mayRestart(running: number): Promise<boolean> {
  if (running === 0) {
    return true;
  }
  const { button } = await showDialog({
    title: 'Restart all workers?',
    body: `${counted(running, 'dispatch goes', 'dispatches go')} on afterwards: completed tasks are kept, tasks that run now begin anew.`,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Restart' })]
  });
  return button.accept;
}

function addSidebar(app: JupyterFrontEnd, { client, dispatches, overview, list }: ICovalab): Sidebar {
  const run = (command: string) => (id: string) => void app.commands.execute(command, { id });
  const sidebar = new Sidebar({
    model: dispatches,
    overview,
    list,
    remove: id => notifyOfError(() => dispatches.delete(id)),
    insertExample: () => void insertCells(app, '%load_ext covalab', EXAMPLE),
    open: run(CommandIDs.open),
    cancel: run(CommandIDs.cancel),
    start: run(CommandIDs.start),
    pause: (id, paused) => void app.commands.execute(paused ? CommandIDs.pause : CommandIDs.unpause, { id }),
    redispatch: (id, reuse) => void app.commands.execute(CommandIDs.redispatch, { id, reuse }),
    delete: run(CommandIDs.delete),
    readStatus: () => client.status(),
    restart: async workers => (await mayRestart(dispatches.active.length)) && (await client.restart(workers), true),
    compare: (left, right) => void app.commands.execute(CommandIDs.compare, { left, right })
  });
  app.shell.add(sidebar, 'left', { rank: RANK, type: 'Dispatches' });
  return sidebar;
}

function addListCommands(app: JupyterFrontEnd, { dispatches }: ICovalab, sidebar: Sidebar): void {
  app.commands.addCommand(CommandIDs.refresh, {
    label: 'Refresh the List of Dispatches',
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => dispatches.refresh()
  });
  app.commands.addCommand(CommandIDs.show, {
    label: 'Show Dispatches',
    caption: 'Show the list of dispatches in the side bar',
    icon: covalabIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => app.shell.activateById(sidebar.id)
  });
}
