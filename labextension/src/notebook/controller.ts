/**
 * Runs of open notebooks: starts them, and follows the run that a notebook remembers.
 */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { IDisposable } from '@lumino/disposable';
import { CommandIDs } from '../commands';
import { ServerSource } from '../model/serverSource';
import type { ICovalab } from '../plugins/services';
import { RefusedError } from '../refusal';
import { errorMessage, isTerminal } from '../text';
import type { NotebookCell } from '../wire';
import { RunBar } from './bar';
import { Filling } from './filling';
import { CellMarks } from './marks';
import { documentOf, type INotebookPanel, recall, remember } from './panel';
import type { RunSettings } from './runSettings';

/** Milliseconds before a server that does not answer is asked again: the first time, and at most. */
const RETRY = 2000;
const MAX_RETRY = 60_000;

/** Runs of one open notebook. */
export class NotebookRuns implements IDisposable {
  constructor(app: JupyterFrontEnd, covalab: ICovalab, panel: INotebookPanel, settings: RunSettings) {
    this._app = app;
    this._settings = settings;
    this._covalab = covalab;
    this._panel = panel;
    panel.disposed.connect(() => this.dispose());
    void panel.context.ready.then(() => {
      if (!this._isDisposed) {
        // The metadata also change when the file is read again, because another page has started a run.
        this._panel.context.model.metadataChanged.connect(this._recall, this);
        this._recall();
      }
    });
  }

  /** Id of the run that the notebook remembers; empty: none. */
  get run(): string {
    return recall(this._panel.context.model)?.run ?? '';
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      if (!this._panel.isDisposed) {
        this._panel.context.model.metadataChanged.disconnect(this._recall, this);
      }
      this._leave();
    }
  }

  /** Run the notebook as the editor has it, from the cell with the id `first` on, or what is left of the run `resume`; `afresh`, all its cells. */
  async start(first: string | null, resume = '', afresh = false): Promise<void> {
    if (this._isStarting || !(await this._mayStart())) {
      return;
    }
    this._isStarting = true;
    const { context } = this._panel;
    const path = this._app.serviceManager.contents.localPath(context.path);
    this._showBar('').starting();
    try {
      const options = { ...(afresh && { reuse: false }), ...(!this._settings.sideBySide && { parallel: false }) };
      const { dispatch_id: id, cells } = await this._covalab.client.runNotebook({ path, document: documentOf(context.model), first, resume, options });
      this._follow(id, cells, []);
      this._filling?.clear();
      remember(context.model, { run: id, filled: false, kept: [] });
      await this._save();
    } catch (error) {
      if (this._source) {
        this._showBar(this._id); // that of the run before
        this._update();
      } else {
        this._leave();
      }
      await showRefusal('The notebook was not run', error);
    } finally {
      this._isStarting = false;
    }
  }

  /** Ask what to do with a run that is not over; return whether another one may start. */
  private async _mayStart(): Promise<boolean> {
    const summary = this._source?.snapshot?.summary;
    if (!this._source || !summary || isTerminal(summary.status)) {
      return true;
    }
    const answer = await showDialog({
      title: 'This notebook runs in the background already',
      body: `${summary.counts.completed} of its cells are done. What they have shown stays in the list of dispatches.`,
      buttons: [Dialog.cancelButton({ label: 'Go On' }), Dialog.warnButton({ label: 'Cancel It and Run Again' })]
    });
    if (answer.button.accept) {
      await this._source.cancel().catch(() => undefined); // the new run does not depend on it
    }
    return answer.button.accept;
  }

  /** Save the notebook, so that it remembers its run when the page is closed. */
  private async _save(): Promise<void> {
    const { context } = this._panel;
    if (context.contentsModel?.writable === false) {
      Notification.warning(`${context.path} is read-only: what the run shows is lost here when this page is closed. “Open Executed Notebook” in the list of dispatches has it.`);
      return;
    }
    await context.save(); // it shows its own errors
  }

  /** Follow the run that the notebook remembers, unless it has all of it. */
  private _recall(): void {
    const found = recall(this._panel.context.model);
    if (found && !found.filled && found.run !== this._id && !this._isStarting) {
      this._leave();
      this._id = found.run;
      void this._find(found.run, found.kept, RETRY);
    }
  }

  private async _find(id: string, kept: readonly string[], pause: number): Promise<void> {
    try {
      const { cells } = await this._covalab.client.notebook(id);
      if (this._id === id && !this._isDisposed) {
        this._follow(id, cells, kept);
      }
    } catch (error) {
      // 404: the run was deleted, or belongs to another machine; the notebook shows what it has.
      if (!(error instanceof RefusedError && error.status === 404) && this._id === id) {
        this._timer = window.setTimeout(() => void this._find(id, kept, Math.min(MAX_RETRY, 2 * pause)), pause);
      }
    }
  }

  private _follow(id: string, cells: readonly NotebookCell[], kept: readonly string[]): void {
    this._leave();
    const { client, feed } = this._covalab;
    this._id = id;
    this._source = new ServerSource(id, client, feed, null);
    this._filling = new Filling({ model: this._panel.context.model, source: this._source, cells, kept });
    this._filling.changed.connect(this._update, this);
    this._marks = new CellMarks(cell => this._filling?.show(cell));
    this._showBar(id);
  }

  private _update(): void {
    const snapshot = this._source?.snapshot;
    if (!this._filling || !snapshot) {
      return;
    }
    const { summary } = snapshot;
    const { cells, total, reused, kept, isFilled, failure } = this._filling;
    const { model } = this._panel.context;
    const nStale = [...cells.values()].filter(({ remark }) => remark === 'stale' || remark === 'shown').length;
    this._marks?.update(this._panel.content.widgets, cells, this._why);
    if (isTerminal(summary.status) && !this._isExplained) {
      this._isExplained = true;
      void this._explain(this._id);
    }
    this._bar?.showRun(snapshot, total, reused, nStale, failure);
    const found = recall(model);
    if (found?.run === this._id && (found.filled !== isFilled || found.kept.join() !== kept.join())) {
      remember(model, { run: this._id, filled: isFilled, kept: isFilled ? [] : kept });
    }
  }

  /** Read why the cells of a run that has ended ran, were reused or were not run. */
  private async _explain(id: string): Promise<void> {
    try {
      const { cells, why } = await this._covalab.client.notebook(id);
      if (this._id === id && !this._isDisposed) {
        this._why = new Map(cells.filter(({ node }) => why[node]).map(cell => [cell.id, why[cell.node]]));
        this._update();
      }
    } catch {
      // The marks of the cells are left out: nothing else depends on them.
    }
  }

  private _showBar(id: string): RunBar {
    this._bar?.dispose();
    this._bar = new RunBar({
      cancel: () => this._source?.cancel() ?? Promise.resolve(),
      open: () => void this._app.commands.execute(CommandIDs.open, { id }),
      resume: () => void this.start(null, id),
      bring: () => void this._app.commands.execute(CommandIDs.bring, { id }),
      close: () => this._bar?.hide()
    });
    this._panel.contentHeader.addWidget(this._bar);
    return this._bar;
  }

  private _leave(): void {
    window.clearTimeout(this._timer);
    this._filling?.dispose();
    this._bar?.dispose();
    if (!this._panel.isDisposed) {
      this._marks?.update(this._panel.content.widgets, new Map(), new Map());
    }
    this._why = new Map();
    this._isExplained = false;
    this._filling = this._source = this._bar = this._marks = null;
    this._id = '';
  }

  private readonly _app: JupyterFrontEnd;
  private readonly _settings: RunSettings;
  private readonly _covalab: ICovalab;
  private readonly _panel: INotebookPanel;
  private _id = '';
  private _source: ServerSource | null = null;
  private _filling: Filling | null = null;
  private _marks: CellMarks | null = null;
  private _bar: RunBar | null = null;
  private _timer = 0;
  /** Why cells ran or were reused, by their ids. */
  private _why: ReadonlyMap<string, string> = new Map();
  private _isExplained = false;
  private _isStarting = false;
  private _isDisposed = false;
}

/** Show why something was refused, in a dialog: the message may have several lines. */
export async function showRefusal(title: string, error: unknown): Promise<void> {
  await showDialog({ title, body: errorMessage(error), buttons: [Dialog.okButton()] });
}
