/**
 * Notebook panel of JupyterLab and Notebook 7, as far as this extension uses it.
 *
 * The interfaces are written down here and not imported from @jupyterlab/notebook, so that the page needs one package
 * less that must be of the same version; panels come from the registry of documents.
 */
import type { ISessionContext, MainAreaWidget } from '@jupyterlab/apputils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { IOutputAreaModel } from '@jupyterlab/outputarea';
import type { PartialJSONObject } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

/** Model of a cell; only those of code have outputs. */
export interface ICellModel {
  readonly id: string;
  readonly type: string;
  readonly sharedModel: { getSource(): string; setSource(text: string): void };
  readonly isDisposed: boolean;
  trusted: boolean;
}

export interface ICodeCellModel extends ICellModel {
  readonly outputs: IOutputAreaModel;
  executionCount: number | null;
  executionState: 'idle' | 'running';
}

/** A cell on the page. */
export interface ICell extends Widget {
  readonly model: ICellModel;
}

export interface INotebookModel extends DocumentRegistry.IModel {
  readonly cells: Iterable<ICellModel> & { readonly changed: ISignal<unknown, unknown> };
  readonly sharedModel: DocumentRegistry.IModel['sharedModel'] & {
    transact(change: () => void, undoable?: boolean): void;
  };
  readonly metadataChanged: ISignal<unknown, unknown>;
  getMetadata(key: string): unknown;
  setMetadata(key: string, value: unknown): void;
  deleteMetadata(key: string): void;
  toJSON(): PartialJSONObject;
}

export interface INotebook extends Widget {
  readonly model: INotebookModel | null;
  readonly widgets: readonly ICell[];
  readonly activeCell: ICell | null;
  isSelectedOrActive(cell: ICell): boolean;
}

export type INotebookPanel = MainAreaWidget<INotebook> & {
  readonly context: DocumentRegistry.IContext<INotebookModel>;
  readonly sessionContext: ISessionContext;
};

/** Return the code cells of a notebook. */
export function codeCells(model: INotebookModel): ICodeCellModel[] {
  return [...model.cells].filter((cell): cell is ICodeCellModel => cell.type === 'code');
}

/** What a notebook remembers about its run, in its metadata. */
export interface IRemembered {
  /** Id of the dispatch. */
  readonly run: string;
  /** Whether the notebook has all outputs of the run, so that they are not written again. */
  readonly filled: boolean;
  /** Ids of the cells whose outputs are newer than those of the run. */
  readonly kept: readonly string[];
}

const KEY = 'covalab';

/** Read what a notebook remembers; null if there is nothing, or no sense in it. */
export function remembered(metadata: unknown): IRemembered | null {
  const { run, filled, kept } = Private.asObject(metadata) as Partial<Record<keyof IRemembered, unknown>>;
  // Any program may have written the notebook, and the id becomes part of a line that a kernel runs.
  if (typeof run !== 'string' || !/^[\w-]{1,64}$/.test(run)) {
    return null;
  }
  return { run, filled: filled === true, kept: Array.isArray(kept) ? kept.filter(id => typeof id === 'string') : [] };
}

/** Return the metadata of a notebook with what it remembers, or without. */
export function withRemembered(metadata: unknown, value: IRemembered | null): PartialJSONObject {
  const rest = { ...Private.asObject(metadata) };
  delete rest['run'];
  delete rest['filled'];
  delete rest['kept'];
  if (!value) {
    return rest;
  }
  const { run, filled, kept } = value;
  return { ...rest, run, ...(filled && { filled }), ...(kept.length > 0 && { kept: [...kept] }) };
}

/** Read what an open notebook remembers. */
export function recall(model: INotebookModel): IRemembered | null {
  return remembered(model.getMetadata(KEY));
}

/** Let an open notebook remember its run; undoing an edit does not undo this. */
export function remember(model: INotebookModel, value: IRemembered): void {
  const metadata = withRemembered(model.getMetadata(KEY), value);
  model.sharedModel.transact(() => model.setMetadata(KEY, metadata), false);
}

/** Return the document of an open notebook as it is sent: with ids of its cells, and without an earlier run. */
export function documentOf(model: INotebookModel): PartialJSONObject {
  const document = model.toJSON();
  const ids = [...model.cells].map(({ id }) => id);
  const cells = (document['cells'] as PartialJSONObject[]).map((cell, at) => {
    const metadata = { ...(cell['metadata'] as PartialJSONObject) };
    delete metadata['trusted']; // never stored
    return { ...cell, metadata, id: ids[at] };
  });
  const { [KEY]: own, ...others } = document['metadata'] as PartialJSONObject;
  const rest = withRemembered(own, null);
  const metadata = Object.keys(rest).length > 0 ? { ...others, [KEY]: rest } : others;
  // Ids are allowed from nbformat 4.5 on.
  return { ...document, metadata, cells, nbformat_minor: Math.max(5, Number(document['nbformat_minor'] ?? 0)) };
}

namespace Private {
  export function asObject(value: unknown): PartialJSONObject {
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as PartialJSONObject) : {};
  }
}
