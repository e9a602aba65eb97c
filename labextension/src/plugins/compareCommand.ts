/**
 * Command that compares two dispatches in a tab.
 */
import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { Notification, WidgetTracker } from '@jupyterlab/apputils';
import { CommandIDs } from '../commands';
import { ComparisonTab } from '../comparison/tab';
import { covalabIcon } from '../icons';
import { findDispatch, notifyOfError } from './dispatchCommands';
import type { ICovalab } from './services';

/** The most runs of a name among which the one before is looked for. */
const MAX_RUNS = 1000;

/** Add the command; comparisons that are open when the page is left are there again afterwards. */
export function addCompareCommand(app: JupyterFrontEnd, covalab: ICovalab, restorer: ILayoutRestorer | null): void {
  const tracker = new WidgetTracker<ComparisonTab>({ namespace: 'covalab-comparison' });
  app.commands.addCommand(CommandIDs.compare, {
    label: args => (args['menu'] ? 'Compare with Run Before' : 'Compare Dispatch with Run Before…'),
    caption: 'Show what differs: inputs, code, versions, durations and outputs',
    icon: covalabIcon,
    describedBy: { args: ARGS },
    execute: args =>
      notifyOfError(async () => {
        const both = await pairOf(app, covalab, args);
        if (both) {
          await openComparison(app, covalab, tracker, both);
        }
      })
  });
  if (restorer) {
    void restorer.restore(tracker, {
      command: CommandIDs.compare,
      args: ({ left, right }) => ({ left, right }),
      name: ({ left, right }) => `${left}-${right}`
    });
  }
}

type Pair = readonly [string, string];

/** Return the two dispatches, the older first: those that were named, or one and the run of the same name before it. */
async function pairOf(app: JupyterFrontEnd, covalab: ICovalab, args: Readonly<Record<string, unknown>>): Promise<Pair | null> {
  const { client } = covalab;
  if (typeof args['left'] === 'string' && typeof args['right'] === 'string') {
    const [one, other] = await Promise.all([client.summary(args['left']), client.summary(args['right'])]);
    return one.created_at <= other.created_at ? [one.id, other.id] : [other.id, one.id];
  }
  const id = await findDispatch(app, covalab, args['id'], () => true);
  if (id === null) {
    return null;
  }
  const { name, notebook, created_at } = await client.summary(id);
  const { rows } = await client.list({ text: '', only: '', sort: 'newest', offset: 0, count: MAX_RUNS, name, notebook });
  const before = rows.find(({ summary }) => summary.id !== id && summary.created_at < created_at);
  if (!before) {
    Notification.info(`“${name}” has not run before. To compare any two dispatches, select both in the list.`, { autoClose: 8000 });
    return null;
  }
  return [before.summary.id, id];
}

async function openComparison(app: JupyterFrontEnd, { client, createOutputs }: ICovalab, tracker: WidgetTracker<ComparisonTab>, [left, right]: Pair): Promise<void> {
  let tab = tracker.find(candidate => candidate.left === left && candidate.right === right);
  if (!tab) {
    tab = new ComparisonTab({
      client,
      left,
      right,
      openDispatch: id => void app.commands.execute(CommandIDs.open, { id }),
      // What the reader's own tasks have shown is as trusted as the output of a cell that was run here.
      createOutputs: () => createOutputs(true)
    });
    await tracker.add(tab);
    app.shell.add(tab, 'main');
  }
  app.shell.activateById(tab.id);
}

const ID = { type: 'string', description: 'The id of a dispatch' } as const;

const ARGS = { type: 'object', properties: { left: ID, right: ID, id: { type: 'string', description: 'The id of a dispatch that is compared with the run of its name before it' } } } as const;
