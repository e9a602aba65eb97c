/**
 * Command that compares two dispatches in a tab.
 */
import type { ILabShell, ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { Notification, WidgetTracker } from '@jupyterlab/apputils';
import type { Client } from '../client';
import { CommandIDs } from '../commands';
import { ComparisonTab } from '../comparison/tab';
import { covalabIcon } from '../icons';
import type { DispatchSummary } from '../wire';
import { findDispatch, notifyOfError } from './dispatchCommands';
import type { ICovalab } from './services';
import { showTab } from './tabs';

/** Runs of a name that are read at once, as many as the server gives, and the most among which the one before is looked for. */
const PAGE = 200;
const MAX_RUNS = 5000;

/** Add the command; comparisons that are open when the page is left are there again afterwards. */
export function addCompareCommand(app: JupyterFrontEnd, covalab: ICovalab, labShell: ILabShell | null, restorer: ILayoutRestorer | null): void {
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
          const tab = await openComparison(app, covalab, tracker, both);
          showTab(app, labShell, tab);
        }
      })
  });
  if (labShell && restorer) {
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
  const run = await client.summary(id);
  const before = await runBefore(client, run);
  if (before === null) {
    Notification.info(`“${run.name}” has not run before. To compare any two dispatches, select both in the list.`, { autoClose: 8000 });
    return null;
  }
  return [before, id];
}

/** Return the newest run of the same name and notebook that is older; null if there is none. */
async function runBefore(client: Client, { id, name, notebook, created_at }: DispatchSummary): Promise<string | null> {
  for (let offset = 0; offset < MAX_RUNS; offset += PAGE) {
    const { rows } = await client.list({ text: '', only: '', sort: 'newest', offset, count: PAGE, name, notebook });
    const before = rows.find(({ summary }) => summary.id !== id && summary.created_at < created_at);
    if (before || rows.length < PAGE) {
      return before?.summary.id ?? null;
    }
  }
  return null;
}

async function openComparison(app: JupyterFrontEnd, { client, createOutputs }: ICovalab, tracker: WidgetTracker<ComparisonTab>, [left, right]: Pair): Promise<ComparisonTab> {
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
  }
  return tab;
}

const ID = { type: 'string', description: 'The id of a dispatch' } as const;

const ARGS = { type: 'object', properties: { left: ID, right: ID, id: { type: 'string', description: 'The id of a dispatch that is compared with the run of its name before it' } } } as const;
