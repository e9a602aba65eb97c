/**
 * Commands on one dispatch: open, start, pause, resume, cancel, run again, delete.
 */
import type { ILabShell, JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, Dialog, InputDialog, Notification, showDialog, type WidgetTracker } from '@jupyterlab/apputils';
import { CommandIDs } from '../commands';
import { DispatchTab } from '../dispatch/tab';
import { covalabIcon } from '../icons';
import { ServerSource } from '../model/serverSource';
import { insertCode } from '../notebook/inserting';
import { canCancel, errorMessage, isTerminal, summaryLabel } from '../text';
import type { INotebookPanel } from '../notebook/panel';
import type { DispatchSummary } from '../wire';
import type { ICovalab } from './services';
import { showTab } from './tabs';

type Command = Parameters<JupyterFrontEnd['commands']['addCommand']>[1];
type Condition = (summary: DispatchSummary) => boolean;

/** Add the commands to an application; `tracker` gets the tabs that they open. */
export function addDispatchCommands(app: JupyterFrontEnd, covalab: ICovalab, labShell: ILabShell | null, tracker: WidgetTracker<DispatchTab>): void {
  const { commands } = app;
  commands.addCommand(CommandIDs.open, openCommand(app, covalab, labShell, tracker));
  commands.addCommand(CommandIDs.redispatch, redispatchCommand(app, covalab));
  commands.addCommand(CommandIDs.delete, deleteCommand(app, covalab, tracker));
  addIdCommands(app, covalab);
  const { dispatches } = covalab;
  const simple = (id: string, label: string, caption: string, condition: Condition, act: (dispatch: string) => Promise<void>): void => {
    commands.addCommand(id, {
      label,
      caption,
      describedBy: { args: Private.ARGS },
      execute: async args => {
        const dispatch = await findDispatch(app, covalab, args['id'], condition);
        if (dispatch !== null) {
          await notifyOfError(() => act(dispatch));
        }
      }
    });
  };
  simple(CommandIDs.cancel, 'Cancel Dispatch…', 'Stop running tasks and start no new ones', canCancel, id => dispatches.cancel(id));
  simple(
    CommandIDs.start,
    'Start Dispatch…',
    'Start a dispatch that was recorded and not started',
    ({ held }) => held,
    id => dispatches.start(id)
  );
  simple(
    CommandIDs.pause,
    'Pause Dispatch…',
    'Start no new tasks of a dispatch; running tasks continue',
    ({ status, held, paused }) => !isTerminal(status) && !held && !paused,
    id => dispatches.pause(id, true)
  );
  simple(
    CommandIDs.unpause,
    'Continue Paused Dispatch…',
    'Start new tasks of a paused dispatch again',
    ({ status, paused }) => !isTerminal(status) && paused,
    id => dispatches.pause(id, false)
  );
}

/** Add what can be done with the id of a dispatch. */
function addIdCommands(app: JupyterFrontEnd, covalab: ICovalab): void {
  const { commands } = app;
  commands.addCommand(CommandIDs.copyId, {
    label: 'Copy Dispatch Id',
    describedBy: { args: Private.ARGS },
    execute: async args => {
      const id = await findDispatch(app, covalab, args['id'], () => true);
      if (id !== null) {
        Clipboard.copyToSystem(id);
      }
    }
  });
  commands.addCommand(CommandIDs.insertResult, {
    label: 'Insert ct.get_result(…) into Notebook',
    describedBy: { args: Private.ARGS },
    execute: async args => {
      const id = await findDispatch(app, covalab, args['id'], () => true);
      if (id !== null) {
        await insertCells(app, `import covalab as ct\nct.get_result("${id}")`);
      }
    }
  });
}

function openCommand(app: JupyterFrontEnd, covalab: ICovalab, labShell: ILabShell | null, tracker: WidgetTracker<DispatchTab>): Command {
  const { client, feed, createOutputs } = covalab;
  return {
    label: args => (args['menu'] ? 'Open Dispatch' : 'Open Dispatch…'),
    caption: 'Show a dispatch in a tab',
    icon: covalabIcon,
    describedBy: { args: Private.ARGS },
    execute: async args => {
      const id = await findDispatch(app, covalab, args['id'], () => true);
      if (id === null) {
        return;
      }
      let tab = tracker.find(candidate => candidate.dispatch === id);
      if (!tab) {
        tab = new DispatchTab(new ServerSource(id, client, feed, null), {
          openDispatch: other => void app.commands.execute(CommandIDs.open, { id: other }),
          start: () => void app.commands.execute(CommandIDs.start, { id }),
          redispatch: (reuse, nodes) => void app.commands.execute(CommandIDs.redispatch, { id, reuse, ...(nodes && { nodes: [...nodes] }) }),
          // What the reader's own tasks have shown is as trusted as the output of a cell that was run here.
          createOutputs: () => createOutputs(true),
          insert: code => insertCode(app, code, null),
          readProvenance: () => client.provenance(id)
        });
        await tracker.add(tab);
      }
      showTab(app, labShell, tab);
    }
  };
}

function redispatchCommand(app: JupyterFrontEnd, covalab: ICovalab): Command {
  return {
    label: args => (args['reuse'] ? 'Resume Dispatch…' : 'Run Dispatch Again…'),
    caption: args => (args['reuse'] ? 'Run it again under a new id, and reuse completed tasks' : 'Run all of it again under a new id'),
    describedBy: { args: Private.REDISPATCH_ARGS },
    execute: async args => {
      const id = await findDispatch(app, covalab, args['id'], ({ status }) => isTerminal(status));
      if (id !== null) {
        await notifyOfError(async () => {
          const created = await covalab.dispatches.redispatch(id, args['reuse'] === true, (args['nodes'] as number[] | undefined) ?? []);
          await app.commands.execute(CommandIDs.open, { id: created });
        });
      }
    }
  };
}

function deleteCommand(app: JupyterFrontEnd, covalab: ICovalab, tracker: WidgetTracker<DispatchTab>): Command {
  const { dispatches } = covalab;
  return {
    label: 'Delete Dispatch…',
    caption: 'Delete a dispatch that has ended, and its results',
    describedBy: { args: Private.ARGS },
    execute: async args => {
      const id = await findDispatch(app, covalab, args['id'], ({ status, held }) => isTerminal(status) || held);
      if (id === null) {
        return;
      }
      const name = dispatches.dispatches.find(summary => summary.id === id)?.name ?? id;
      const answer = await showDialog({
        title: `Delete “${name}”?`,
        body: 'Its results are deleted as well. This cannot be undone.',
        buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Delete' })]
      });
      if (answer.button.accept) {
        await notifyOfError(async () => {
          await dispatches.delete(id);
          tracker.find(tab => tab.dispatch === id)?.dispose();
        });
      }
    }
  };
}

/** Insert cells with these texts into the current notebook. */
export async function insertCells(app: JupyterFrontEnd, ...texts: readonly string[]): Promise<void> {
  const insert = 'notebook:insert-cell-below';
  if (!app.commands.hasCommand(insert) || !app.commands.isEnabled(insert)) {
    Notification.info('Open a notebook first: the cell is inserted into the current one.');
    return;
  }
  for (const text of texts) {
    await app.commands.execute(insert);
    const panel = app.shell.currentWidget as unknown as Partial<INotebookPanel> | null;
    panel?.content?.activeCell?.model.sharedModel.setSource(text);
  }
}

/** Return the dispatch of a command: its argument, else the row under the context menu, else one chosen from a list. */
export async function findDispatch(app: JupyterFrontEnd, { dispatches }: ICovalab, id: unknown, condition: Condition): Promise<string | null> {
  if (typeof id === 'string' && id !== '') {
    return id;
  }
  const clicked = app.contextMenuHitTest(node => node.dataset['dispatch'] !== undefined);
  if (clicked) {
    return clicked.dataset['dispatch']!;
  }
  const found = dispatches.dispatches.filter(condition);
  const labels = found.map(summary => `${summary.name} · ${summaryLabel(summary)} · ${summary.id}`);
  const chosen = await InputDialog.getItem({ title: 'Which dispatch?', items: labels });
  return found[labels.indexOf(chosen.value ?? '')]?.id ?? null;
}

/** Run an action and show its error as a notification, since a command has no place of its own for it. */
export async function notifyOfError(act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    Notification.error(errorMessage(error));
  }
}

namespace Private {
  const ID = { type: 'string', description: 'The id of the dispatch; without it, a list to choose from is shown' } as const;

  export const ARGS = { type: 'object', properties: { id: ID } } as const;

  export const REDISPATCH_ARGS = {
    type: 'object',
    properties: { id: ID, reuse: { type: 'boolean', description: 'Whether completed tasks are reused' }, nodes: { type: 'array', items: { type: 'integer' }, description: 'Nodes that run nevertheless, with all that follow from them' } }
  } as const;
}
