/**
 * Notebook plugin: runs the open notebook in the background and shows the outputs in it.
 */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry, Notification } from '@jupyterlab/apputils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ToolbarButton } from '@jupyterlab/ui-components';
import type { Widget } from '@lumino/widgets';
import { CommandIDs } from '../commands';
import { covalabIcon } from '../icons';
import { bringValues } from '../notebook/bringing';
import { makeElectron, runCell } from '../notebook/cellActions';
import { NotebookRuns, showRefusal } from '../notebook/controller';
import { writeExecuted } from '../notebook/executed';
import type { INotebookPanel } from '../notebook/panel';
import { RunSettings } from '../notebook/runSettings';
import { ShownOutputs } from '../notebook/shownOutputs';
import { errorMessage, isNotebookRun } from '../text';
import { mainPlugin } from './main';
import { ICovalab } from './services';

/** Name of notebooks in the registry of documents and in that of toolbars. */
const NOTEBOOK = 'Notebook';

/** Name of the button in schema/plugin.json. */
const BUTTON = 'covalab-run';

const RUN = 'Run Notebook in Background';

export const notebookPlugin: JupyterFrontEndPlugin<void> = {
  id: 'covalab:notebook',
  description: 'Runs the open notebook in the background and shows the outputs in it.',
  autoStart: true,
  requires: [ICovalab],
  optional: [ICommandPalette, IToolbarWidgetRegistry, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    covalab: ICovalab,
    palette: ICommandPalette | null,
    toolbars: IToolbarWidgetRegistry | null,
    registry: ISettingRegistry | null
  ): void => {
    const settings = new RunSettings(registry, mainPlugin.id, () => app.commands.notifyCommandChanged(CommandIDs.sideBySide));
    const open = new OpenNotebooks(app, covalab, settings);
    app.docRegistry.addWidgetExtension(NOTEBOOK, open);
    toolbars?.addFactory(
      NOTEBOOK,
      BUTTON,
      // The button's own panel, which need not be the current one.
      widget => new ToolbarButton({ icon: covalabIcon, tooltip: RUN, onClick: () => void open.runs(widget as INotebookPanel)?.start(null) })
    );
    addRunCommands(app, open);
    addSettingCommand(app, settings);
    addCellCommands(app, open);
    addBringCommand(app, covalab, open);
    addExecutedCommand(app, covalab);
    for (const command of [CommandIDs.runNotebook, CommandIDs.runAfresh, CommandIDs.sideBySide, CommandIDs.runFollowing, CommandIDs.runCell, CommandIDs.makeElectron, CommandIDs.bring, CommandIDs.openExecuted]) {
      palette?.addItem({ command, category: 'Dispatches' });
    }
  }
};

/** Add what can be done with the current cell. */
function addCellCommands(app: JupyterFrontEnd, open: OpenNotebooks): void {
  const add = (id: string, label: string, caption: string, act: (panel: INotebookPanel) => Promise<void>): void =>
    void app.commands.addCommand(id, {
      label,
      caption,
      icon: covalabIcon,
      isEnabled: () => open.current?.content.activeCell?.model.type === 'code',
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => act(open.current!).catch((error: unknown) => void Notification.error(errorMessage(error)))
    });
  add(CommandIDs.runCell, 'Run Cell in Background', 'Put %%electron --run on top of the cell, and run it: the kernel is free at once', panel => runCell(app, panel));
  add(CommandIDs.makeElectron, 'Make Cell an Electron…', 'Write the line that makes the cell a task of a lattice, after showing its inputs and outputs', panel => makeElectron(panel));
}

/** The open notebooks, each with its runs. */
class OpenNotebooks implements DocumentRegistry.WidgetExtension {
  constructor(app: JupyterFrontEnd, covalab: ICovalab, settings: RunSettings) {
    this._app = app;
    this._covalab = covalab;
    this._settings = settings;
  }

  createNew(widget: Widget): NotebookRuns {
    const panel = widget as unknown as INotebookPanel;
    const runs = new NotebookRuns(this._app, this._covalab, panel, this._settings);
    this._runs.set(panel, runs);
    const shown = new ShownOutputs(panel, this._covalab.client, this._app.serviceManager.contents.localPath(panel.context.path));
    panel.disposed.connect(() => shown.dispose());
    return runs;
  }

  /** Return the runs of a notebook. */
  runs(panel: INotebookPanel): NotebookRuns | undefined {
    return this._runs.get(panel);
  }

  /** The notebook in which the reader is; null if it is no notebook. */
  get current(): INotebookPanel | null {
    const panel = this._app.shell.currentWidget as unknown as INotebookPanel | null;
    return panel && this._runs.has(panel) ? panel : null;
  }

  private readonly _app: JupyterFrontEnd;
  private readonly _covalab: ICovalab;
  private readonly _settings: RunSettings;
  private readonly _runs = new WeakMap<INotebookPanel, NotebookRuns>();
}

function addRunCommands({ commands }: JupyterFrontEnd, open: OpenNotebooks): void {
  const isEnabled = (): boolean => open.current !== null;
  commands.addCommand(CommandIDs.runNotebook, {
    label: RUN,
    caption: 'Run the notebook as it is in the editor, without its kernel; cells that did not change since an earlier run are taken from there',
    icon: covalabIcon,
    describedBy: { args: Private.NO_ARGS },
    isEnabled,
    execute: () => open.current && open.runs(open.current)?.start(null)
  });
  commands.addCommand(CommandIDs.runAfresh, {
    label: 'Run Notebook Afresh in Background',
    caption: 'Run all cells of the notebook, also those that did not change since an earlier run',
    describedBy: { args: Private.NO_ARGS },
    isEnabled,
    execute: () => open.current && open.runs(open.current)?.start(null, '', true)
  });
  commands.addCommand(CommandIDs.runFollowing, {
    label: 'Run Selected and Following Cells in Background',
    caption: 'Run the cells from the first selected one on, in a new namespace, without the kernel',
    describedBy: { args: Private.NO_ARGS },
    isEnabled,
    execute: () => {
      const panel = open.current;
      const first = panel?.content.widgets.find(cell => panel.content.isSelectedOrActive(cell));
      return panel && first && open.runs(panel)?.start(first.model.id);
    }
  });
}

function addSettingCommand({ commands }: JupyterFrontEnd, settings: RunSettings): void {
  commands.addCommand(CommandIDs.sideBySide, {
    label: 'Background Runs: Independent Cells Side by Side',
    caption: 'Cells that do not need each other run at the same time; off: one after the other, as in a kernel',
    describedBy: { args: Private.NO_ARGS },
    isToggleable: true,
    isToggled: () => settings.sideBySide,
    execute: async () => {
      await settings.setSideBySide(!settings.sideBySide);
      commands.notifyCommandChanged(CommandIDs.sideBySide);
    }
  });
}

function addBringCommand(app: JupyterFrontEnd, { dispatches }: ICovalab, open: OpenNotebooks): void {
  app.commands.addCommand(CommandIDs.bring, {
    label: 'Bring Values Here',
    caption: 'Make the names of a notebook run known in the kernel of the current notebook',
    describedBy: { args: Private.ID_ARGS },
    isEnabled: () => open.current !== null,
    execute: async args => {
      const panel = open.current;
      const clicked = app.contextMenuHitTest(node => node.dataset['dispatch'] !== undefined)?.dataset['dispatch'];
      const id = String(args['id'] ?? clicked ?? (panel && open.runs(panel)?.run) ?? '');
      if (!panel) {
        return;
      }
      if (!/^[\w-]+$/.test(id)) {
        await showRefusal('No values were brought', new Error('This notebook has not run in the background. Run it, or choose a run in the list of dispatches.'));
        return;
      }
      try {
        const { sessionContext } = panel;
        if (!sessionContext.session?.kernel && (await sessionContext.startKernel())) {
          await app.commands.execute('notebook:change-kernel');
        }
        const kernel = sessionContext.session?.kernel;
        if (kernel) {
          const name = dispatches.dispatches.find(summary => summary.id === id)?.name;
          Notification.success((await bringValues(kernel, id)).replaceAll(id, name ?? 'the run'), { autoClose: 10_000 });
        }
      } catch (error) {
        await showRefusal('No values were brought', error);
      }
    }
  });
}

function addExecutedCommand(app: JupyterFrontEnd, { client, dispatches }: ICovalab): void {
  app.commands.addCommand(CommandIDs.openExecuted, {
    label: 'Open Executed Notebook',
    caption: 'Write the notebook of a run with its outputs beside the notebook, and open it',
    describedBy: { args: Private.ID_ARGS },
    execute: async args => {
      const clicked = app.contextMenuHitTest(node => node.dataset['dispatch'] !== undefined)?.dataset['dispatch'];
      const id = String(args['id'] ?? clicked ?? dispatches.dispatches.find(isNotebookRun)?.id ?? '');
      const { contents } = app.serviceManager;
      const isOpen = (path: string): boolean =>
        [...(app.shell.widgets('main') as Iterable<unknown>)].some(widget => (widget as Partial<INotebookPanel>).context?.path === path);
      try {
        const path = await writeExecuted(id, client, contents, isOpen);
        // It is there to be read: a kernel starts when a cell is run.
        await app.commands.execute('docmanager:open', { path, kernelPreference: { shouldStart: false, autoStartDefault: false } });
      } catch (error) {
        await showRefusal('There is no executed notebook to open', error);
      }
    }
  });
}

namespace Private {
  export const NO_ARGS = { type: 'object', properties: {} } as const;

  export const ID_ARGS = {
    type: 'object',
    properties: { id: { type: 'string', description: 'The id of the run; without it, that of the current notebook or the newest' } }
  } as const;
}
