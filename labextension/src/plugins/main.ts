/**
 * The side bar, tabs of dispatches, and the commands for both.
 */
import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, InputDialog, Notification, showDialog, WidgetTracker } from '@jupyterlab/apputils';
import { CommandIDs } from '../commands';
import { covalabIcon } from '../icons';
import { Sidebar } from '../sidebar';
import { ServerSource } from '../source';
import { DispatchTab } from '../tab';
import { canCancel, isTerminal, summaryLabel } from '../text';
import type { DispatchSummary } from '../wire';
import { ICovalab } from './services';

/** Third-party panels are between 501 and 899. */
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
    const { client, feed, dispatches, overview } = covalab;
    const tracker = new WidgetTracker<DispatchTab>({ namespace: 'covalab-dispatch' });

    /** The dispatch that a command is about: named, or under the pointer, or chosen from a list. */
    const find = async (id: unknown, fits: (summary: DispatchSummary) => boolean): Promise<string | null> => {
      if (typeof id === 'string' && id !== '') {
        return id;
      }
      const clicked = app.contextMenuHitTest(node => node.dataset['dispatch'] !== undefined);
      if (clicked) {
        return clicked.dataset['dispatch']!;
      }
      const found = dispatches.dispatches.filter(fits);
      const labels = found.map(summary => `${summary.name} · ${summaryLabel(summary)} · ${summary.id}`);
      const chosen = await InputDialog.getItem({ title: 'Which dispatch?', items: labels });
      return found[labels.indexOf(chosen.value ?? '')]?.id ?? null;
    };
    const attempt = async (act: () => Promise<void>): Promise<void> => {
      try {
        await act();
      } catch (error) {
        Notification.error(error instanceof Error ? error.message : String(error));
      }
    };

    app.commands.addCommand(CommandIDs.open, {
      label: 'Open Dispatch…',
      caption: 'Show a dispatch in a tab',
      icon: covalabIcon,
      describedBy: { args: Private.ARGS },
      execute: async args => {
        const id = await find(args['id'], () => true);
        if (id === null) {
          return;
        }
        let tab = tracker.find(candidate => candidate.dispatch === id);
        if (!tab) {
          tab = new DispatchTab(new ServerSource(id, client, feed, null), {
            openOther: other => void app.commands.execute(CommandIDs.open, { id: other }),
            start: () => void app.commands.execute(CommandIDs.start, { id }),
            again: reuse => void app.commands.execute(CommandIDs.redispatch, { id, reuse })
          });
          await tracker.add(tab);
          app.shell.add(tab, 'main');
        }
        app.shell.activateById(tab.id);
      }
    });
    app.commands.addCommand(CommandIDs.cancel, {
      label: 'Cancel Dispatch…',
      caption: 'Stop what runs and start nothing more',
      describedBy: { args: Private.ARGS },
      execute: async args => {
        const id = await find(args['id'], canCancel);
        if (id !== null) {
          await attempt(() => dispatches.cancel(id));
        }
      }
    });
    app.commands.addCommand(CommandIDs.start, {
      label: 'Start Dispatch…',
      caption: 'Start a dispatch that was recorded and not started',
      describedBy: { args: Private.ARGS },
      execute: async args => {
        const id = await find(args['id'], ({ held }) => held);
        if (id !== null) {
          await attempt(() => dispatches.start(id));
        }
      }
    });
    app.commands.addCommand(CommandIDs.pause, {
      label: 'Pause Dispatch…',
      caption: 'Start nothing new of a dispatch; what runs goes on',
      describedBy: { args: Private.ARGS },
      execute: async args => {
        const id = await find(args['id'], ({ status, held, paused }) => !isTerminal(status) && !held && !paused);
        if (id !== null) {
          await attempt(() => dispatches.pause(id, true));
        }
      }
    });
    app.commands.addCommand(CommandIDs.unpause, {
      label: 'Continue Paused Dispatch…',
      caption: 'Let a dispatch that is paused go on',
      describedBy: { args: Private.ARGS },
      execute: async args => {
        const id = await find(args['id'], ({ status, paused }) => !isTerminal(status) && paused);
        if (id !== null) {
          await attempt(() => dispatches.pause(id, false));
        }
      }
    });
    app.commands.addCommand(CommandIDs.redispatch, {
      label: args => (args['reuse'] ? 'Resume Dispatch…' : 'Run Dispatch Again…'),
      caption: args => (args['reuse'] ? 'Run it again under a new id, and take over what is done' : 'Run all of it again under a new id'),
      describedBy: { args: Private.REDISPATCH },
      execute: async args => {
        const id = await find(args['id'], ({ status }) => isTerminal(status));
        if (id !== null) {
          await attempt(async () => {
            const made = await dispatches.redispatch(id, args['reuse'] === true);
            await app.commands.execute(CommandIDs.open, { id: made });
          });
        }
      }
    });
    app.commands.addCommand(CommandIDs.delete, {
      label: 'Delete Dispatch…',
      caption: 'Forget a dispatch that has ended, and its results',
      describedBy: { args: Private.ARGS },
      execute: async args => {
        const id = await find(args['id'], ({ status, held }) => isTerminal(status) || held);
        const name = dispatches.dispatches.find(summary => summary.id === id)?.name ?? id;
        if (id === null) {
          return;
        }
        const answer = await showDialog({
          title: `Delete “${name}”?`,
          body: 'Its results are deleted as well. This cannot be undone.',
          buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Delete' })]
        });
        if (answer.button.accept) {
          await attempt(async () => {
            await dispatches.delete(id);
            tracker.find(tab => tab.dispatch === id)?.dispose();
          });
        }
      }
    });
    app.commands.addCommand(CommandIDs.refresh, {
      label: 'Refresh the List of Dispatches',
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => dispatches.refresh()
    });

    const run = (command: string) => (id: string) => void app.commands.execute(command, { id });
    const sidebar = new Sidebar({
      model: dispatches,
      overview,
      open: run(CommandIDs.open),
      cancel: run(CommandIDs.cancel),
      start: run(CommandIDs.start),
      pause: (id, wanted) => void app.commands.execute(wanted ? CommandIDs.pause : CommandIDs.unpause, { id }),
      again: (id, reuse) => void app.commands.execute(CommandIDs.redispatch, { id, reuse }),
      delete: run(CommandIDs.delete)
    });
    app.shell.add(sidebar, 'left', { rank: RANK, type: 'Dispatches' });
    restorer?.add(sidebar, sidebar.id);
    if (labShell && restorer) {
      void restorer.restore(tracker, {
        command: CommandIDs.open,
        args: tab => ({ id: tab.dispatch }),
        name: tab => tab.dispatch
      });
    }

    app.commands.addCommand(CommandIDs.show, {
      label: 'Show Dispatches',
      caption: 'Show the list of dispatches in the side bar',
      icon: covalabIcon,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(sidebar.id)
    });
    const { show, open, start, pause, unpause, cancel, redispatch, delete: forget, refresh } = CommandIDs;
    for (const command of [show, open, start, pause, unpause, cancel, redispatch, forget, refresh]) {
      palette?.addItem({ command, category: 'Dispatches' });
    }
  }
};

namespace Private {
  export const REDISPATCH = {
    type: 'object',
    properties: {
      id: { type: 'string', description: 'The id of the dispatch; without it, a list to choose from is shown' },
      reuse: { type: 'boolean', description: 'Whether what has completed is taken over' }
    }
  } as const;

  export const ARGS = {
    type: 'object',
    properties: { id: { type: 'string', description: 'The id of the dispatch; without it, a list to choose from is shown' } }
  } as const;
}
