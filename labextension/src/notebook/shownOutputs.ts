/**
 * Dispatches that the cells of an open notebook show: a mark where the cell was changed since, and an offer to show those
 * again that the notebook lost.
 */
import type { Client } from '../client';
import { h, iconButton } from '../dom';
import { counted } from '../text';
import { CELL_MIME_TYPE, MIME_TYPE, sourceOf } from '../tokens';
import type { DispatchSummary } from '../wire';
import { NotebookLine } from './line';
import { Note, placeNote } from './marks';
import { sourceDigest } from './matching';
import { type ICodeCellModel, codeCells, type INotebookPanel } from './panel';
import { lostDispatches } from './lost';
import { writeOutputs } from './writing';

const CHANGED = 'This output is of an older text of the cell.';

/** Milliseconds after the last change before the texts are compared: nobody reads a mark while typing. */
const PAUSE = 400;

/** The most dispatches of a notebook that are looked through. */
const MAX_ROWS = 200;

/** Follows the outputs of one notebook. */
export class ShownOutputs {
  constructor(panel: INotebookPanel, client: Client, path: string) {
    this._panel = panel;
    this._client = client;
    void panel.context.ready.then(() => {
      if (!this._isDisposed) {
        panel.context.model.contentChanged.connect(this._schedule, this);
        this._schedule();
        void this._findLost(path).catch(() => undefined); // without a server there is nothing to offer
      }
    });
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearTimeout(this._timer);
      if (!this._panel.isDisposed) {
        this._panel.context.model.contentChanged.disconnect(this._schedule, this);
      }
    }
  }

  private _schedule(): void {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => this._mark(), PAUSE);
  }

  private _mark(): void {
    if (this._isDisposed || this._panel.isDisposed) {
      return;
    }
    const changed = new Set(codeCells(this._panel.context.model).filter(isChanged).map(({ id }) => id));
    for (const cell of this._panel.content.widgets) {
      const id = cell.model?.id;
      let note = this._notes.get(id);
      if (!changed.has(id)) {
        note?.dispose();
        this._notes.delete(id);
      } else if (!note || note.isDisposed || note.parent !== cell) {
        note?.dispose();
        note = new Note(() => undefined);
        note.set(CHANGED, false);
        this._notes.set(id, note);
        placeNote(cell, note);
      }
    }
  }

  /** Offer to show the dispatches that cells of this notebook started, and that no cell shows: it was not saved after them. */
  private async _findLost(path: string): Promise<void> {
    const { context } = this._panel;
    const saved = Date.parse(context.contentsModel?.last_modified ?? '') / 1000;
    const { rows } = await this._client.list({ text: path.split('/').pop() ?? path, only: '', sort: 'newest', offset: 0, count: MAX_ROWS });
    if (this._isDisposed || this._panel.isDisposed) {
      return;
    }
    const cells = codeCells(context.model).map(cell => ({ id: cell.id, shown: shownIn(cell).map(({ id }) => id) }));
    const lost = lostDispatches(rows.map(({ summary }) => summary), cells, path, saved);
    if (lost.length > 0) {
      const bar = new LostBar(lost, () => this._restore(lost));
      this._panel.contentHeader.addWidget(bar);
    }
  }

  private async _restore(lost: readonly DispatchSummary[]): Promise<void> {
    for (const { id, cell } of lost) {
      const model = codeCells(this._panel.context.model).find(one => one.id === cell);
      if (model) {
        const isCell = /^%%electron\b.*--run\b/.test(model.sharedModel.getSource().trimStart());
        const data = await (isCell ? this._client.cell(id, 0) : this._client.bundle(id));
        model.trusted = true; // what the reader's own tasks have shown
        writeOutputs(model.outputs, [{ output_type: 'display_data', data: data as never, metadata: {} }]);
      }
    }
  }

  private readonly _panel: INotebookPanel;
  private readonly _client: Client;
  private readonly _notes = new Map<string, Note>();
  private _timer = 0;
  private _isDisposed = false;
}

interface IShown {
  readonly id: string;
  readonly digest: string | null;
}

/** Return the dispatches that the outputs of a cell show. */
function shownIn({ outputs }: ICodeCellModel): IShown[] {
  const found: IShown[] = [];
  for (let at = 0; at < outputs.length; at++) {
    const data = outputs.get(at).data;
    const own = (data[MIME_TYPE] ?? data[CELL_MIME_TYPE]) as { id?: unknown } | undefined;
    if (typeof own?.id === 'string') {
      found.push({ id: own.id, digest: sourceOf(own) });
    }
  }
  return found;
}

/** Return whether a cell shows a dispatch of an older text of it. */
function isChanged(cell: ICodeCellModel): boolean {
  const digests = shownIn(cell).flatMap(({ digest }) => digest ?? []);
  if (digests.length === 0) {
    return false; // most cells: no digest is made of their text
  }
  const now = sourceDigest(cell.sharedModel.getSource().trim());
  return digests.some(digest => digest !== now);
}

/** Line above a notebook: how many dispatches it has lost, and a button that shows them. */
class LostBar extends NotebookLine {
  constructor(lost: readonly DispatchSummary[], restore: () => Promise<void>) {
    super();
    const count = counted(lost.length, 'dispatch', 'dispatches');
    const text = h('span', { class: 'cv-runText', text: `${count} of this notebook ${lost.length === 1 ? 'is' : 'are'} not shown: it was not saved after ${lost.length === 1 ? 'it' : 'them'}.`, title: lost.map(({ name, inputs }) => `${name} ${inputs}`.trim()).join('\n'), attrs: { role: 'status' } });
    const button = h('button', {
      class: 'cv-button',
      text: 'Restore',
      title: 'Show each below its cell',
      attrs: { type: 'button' },
      onClick: () => {
        button.disabled = true;
        restore().then(
          () => this.dispose(),
          (error: unknown) => {
            button.disabled = false;
            text.textContent = `Not restored: ${error instanceof Error ? error.message : String(error)}`;
          }
        );
      }
    });
    this.node.append(text, button, iconButton('close', 'Hide this line', () => this.dispose()));
  }
}
