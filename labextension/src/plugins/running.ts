/**
 * Running plugin: lists active dispatches in JupyterLab's panel of running sessions.
 */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRunningSessionManagers } from '@jupyterlab/running';
import { CommandIDs } from '../commands';
import { covalabIcon } from '../icons';
import { describeCounts } from '../text';
import { ICovalab } from './services';

export const runningPlugin: JupyterFrontEndPlugin<void> = {
  id: 'covalab:running',
  description: 'Lists active dispatches in the panel of running sessions.',
  autoStart: true,
  requires: [ICovalab],
  optional: [IRunningSessionManagers], // the pages of Notebook 7 have none
  activate: ({ commands }: JupyterFrontEnd, { dispatches }: ICovalab, running: IRunningSessionManagers | null): void => {
    const cancel = (id: string): void => void commands.execute(CommandIDs.cancel, { id });
    running?.add({
      name: 'Dispatches',
      running: () =>
        dispatches.active.map(({ id, name, counts }) => ({
          icon: () => covalabIcon,
          label: () => name,
          labelTitle: () => `${name}\n${id}`,
          detail: () => describeCounts(counts)[0] ?? '',
          open: () => void commands.execute(CommandIDs.open, { id }),
          shutdown: () => cancel(id)
        })),
      refreshRunning: () => void dispatches.refresh(),
      runningChanged: dispatches.changed,
      shutdownAll: () => dispatches.active.forEach(({ id }) => cancel(id)),
      shutdownLabel: 'Cancel',
      shutdownAllLabel: 'Cancel All',
      shutdownAllConfirmationText: 'Cancel all active dispatches? Results that are already recorded are kept.'
    });
  }
};
