/**
 * Filling of an open notebook with the outputs of its run: each in its own cell, live. No DOM.
 *
 * A cell belongs to the reader of the page before it belongs to the run: one whose text was changed, or that was run or
 * cleared here meanwhile, is left as it is until the reader asks for the run's output.
 */
import type { IOutputAreaModel } from '@jupyterlab/outputarea';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import { errorLine } from '../cell/state';
import { OutputsReader } from '../model/outputs';
import { isTerminal } from '../text';
import type { IDispatchSource, IOutput } from '../tokens';
import type { NodeState, NotebookCell } from '../wire';
import { executionCounts, matchCells, notebookOutputs, sourceDigest } from './matching';
import { codeCells, type ICodeCellModel, type INotebookModel } from './panel';
import { writeOutputs } from './writing';

/** The most cells that have ended whose outputs are read at once. */
const MAX_READERS = 4;

/** Milliseconds within which several changes are one. */
const PAUSE = 40;

/** Remark about a cell: its text is another one; the shown output is of an older text; it was run here meanwhile. */
export type Remark = 'none' | 'stale' | 'shown' | 'kept';

/** A cell of the open notebook that the run has. */
export interface IFilledCell {
  readonly phase: 'pending' | 'running' | 'over';
  readonly remark: Remark;
  /** Whether there is an output of the run that is not shown. */
  readonly canShow: boolean;
}

export interface IFillingOptions {
  readonly model: INotebookModel;
  readonly source: IDispatchSource;
  readonly cells: readonly NotebookCell[];
  /** Ids of the cells whose outputs are newer than those of the run. */
  readonly kept: readonly string[];
}

/** Writes the outputs of one run into one open notebook. */
export class Filling implements IDisposable {
  constructor(options: IFillingOptions) {
    this._model = options.model;
    this._source = options.source;
    this._run = options.cells.filter(({ node }) => node >= 0);
    this._kept = new Set(options.kept);
    this._source.changed.connect(this._schedule, this);
    this._model.contentChanged.connect(this._schedule, this);
    this._schedule();
  }

  /** Emitted after cells were looked at: their phases and remarks may have changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The cells of the open notebook that the run has, by their ids. */
  get cells(): ReadonlyMap<string, IFilledCell> {
    return this._cells;
  }

  /** The number of cells that run, also of those that the open notebook has no more. */
  get total(): number {
    return this._run.length;
  }

  /** The number of cells for which an earlier run stands. */
  get reused(): number {
    return this._nReused;
  }

  /** The first cell that failed and its error, as `[4] IndexError: list index out of range`; empty while there is none. */
  get failure(): string {
    return this._failure;
  }

  /** Ids of the cells whose outputs are newer than those of the run. */
  get kept(): readonly string[] {
    return [...this._kept];
  }

  /** Whether the run is over and nothing is left to write or to ask. */
  get isFilled(): boolean {
    return this._isFilled;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearTimeout(this._timer);
      this._source.dispose();
      this._readers.forEach(reader => reader.dispose());
      Signal.disconnectReceiver(this);
      Signal.clearData(this);
    }
  }

  /** Clear the cells that will run, as a kernel does. */
  clear(): void {
    for (const [, model] of this._matched()) {
      this._write(() => {
        model.outputs.clear();
        model.executionCount = null;
      });
    }
  }

  /** Show the run's output of a cell, although its text was changed or it was run here. */
  show(id: string): void {
    this._shown.add(id);
    this._kept.delete(id);
    this._settled.delete(id);
    this._schedule();
  }

  private _schedule(): void {
    if (this._timer === 0 && !this._isDisposed) {
      this._timer = window.setTimeout(() => {
        this._timer = 0;
        this._update();
      }, PAUSE);
    }
  }

  private _update(): void {
    const snapshot = this._source.snapshot;
    if (this._isDisposed || !snapshot) {
      return;
    }
    const isOver = isTerminal(snapshot.summary.status);
    const counts = executionCounts(this._run, snapshot.states);
    const found = new Map<string, IFilledCell>();
    let nReading = 0;
    for (const [{ node, source_digest }, model] of this._matched()) {
      const state = snapshot.states.get(node);
      const isRunning = state?.[1] === 'running';
      const reader = hasRun(state) && (isRunning || nReading < MAX_READERS) ? this._reader(node, !isRunning) : null;
      nReading += Number(reader !== null && !isRunning && !reader.isOver);
      const isStale = this._digest(model) !== source_digest;
      const remark = this._remark(model, isStale);
      if (remark === 'none' || remark === 'shown') {
        this._fill(model, state, reader, counts.get(node) ?? null, isOver);
      }
      const phase = isRunning ? 'running' : isOver || (state && isTerminal(state[1])) ? 'over' : 'pending';
      found.set(model.id, { phase, remark, canShow: reader !== null && (remark === 'stale' || remark === 'kept') });
    }
    this._cells = found;
    this._nReused = this._run.filter(({ node }) => isReused(snapshot.states.get(node))).length;
    this._failure = this._describeFailure(snapshot.states, counts);
    this._isFilled = isOver && [...found].every(([id]) => this._settled.has(id) || this._kept.has(id));
    this._changed.emit();
  }

  private _fill(model: ICodeCellModel, state: NodeState | undefined, reader: OutputsReader | null, count: number | null, isOver: boolean): void {
    if (this._settled.has(model.id)) {
      return;
    }
    const isRunning = state?.[1] === 'running';
    const ended = isOver || (state !== undefined && isTerminal(state[1]));
    this._write(() => {
      if (state !== undefined && model.executionState !== (isRunning ? 'running' : 'idle')) {
        model.executionState = isRunning ? 'running' : 'idle';
      }
      if (reader?.wasRead || reader?.isOver) {
        this._fillOutputs(model, reader.known.outputs, count);
      }
      if (hasRun(state)) {
        model.executionCount = isRunning ? null : count;
      }
    });
    if (ended && (!hasRun(state) || reader?.isOver)) {
      this._settled.add(model.id);
    }
  }

  private _fillOutputs(model: ICodeCellModel, outputs: readonly IOutput[], count: number | null): void {
    const written = this._written.get(model);
    if (written?.outputs === outputs && written.count === count) {
      return;
    }
    this._written.set(model, { outputs, count });
    // What the reader's own tasks have shown is as trusted as the output of a cell that was run here.
    model.trusted = true;
    writeOutputs(model.outputs, notebookOutputs(outputs, count));
  }

  private _describeFailure(states: ReadonlyMap<number, NodeState>, counts: ReadonlyMap<number, number>): string {
    const failed = this._run.find(({ node }) => states.get(node)?.[1] === 'failed' && counts.has(node));
    const line = failed ? errorLine(this._readers.get(failed.node)?.known.outputs ?? []) : '';
    return failed ? `[${counts.get(failed.node)}] ${line}`.trim() : '';
  }

  /** Return the reader of a node's outputs. */
  private _reader(node: number, hasEnded: boolean): OutputsReader {
    let reader = this._readers.get(node);
    if (!reader) {
      reader = new OutputsReader(since => this._source.outputs!(node, since));
      reader.changed.connect(this._schedule, this);
      this._readers.set(node, reader);
      reader.follow(hasEnded);
    } else if (hasEnded && !this._ended.has(node)) {
      reader.follow(true);
    }
    hasEnded && this._ended.add(node);
    return reader;
  }

  private _remark({ id, outputs }: ICodeCellModel, isStale: boolean): Remark {
    if (this._kept.has(id)) {
      return this._settled.has(id) ? 'none' : 'kept';
    }
    if (!isStale) {
      return 'none';
    }
    return this._shown.has(id) || (this._settled.has(id) && outputs.length > 0) ? 'shown' : this._settled.has(id) ? 'none' : 'stale';
  }

  /** Return the cells of the run that the open notebook has. */
  private _matched(): [NotebookCell, ICodeCellModel][] {
    const models = codeCells(this._model);
    const found = [...matchCells(this._run, models)].map(([cell, at]): [NotebookCell, ICodeCellModel] => [cell, models[at]]);
    for (const [, model] of found) {
      if (!this._areas.has(model.outputs)) {
        this._areas.set(model.outputs, model.id);
        model.outputs.changed.connect(this._onOutputsChanged, this);
      }
    }
    return found;
  }

  /** Leave a cell alone from now on, since it was run or cleared here. */
  private _onOutputsChanged(area: IOutputAreaModel, { type }: IOutputAreaModel.ChangedArgs): void {
    // An output that changes itself is `set`; a kernel begins with `remove` or `add`.
    if (this._isWriting || type === 'set') {
      return;
    }
    this._kept.add(this._areas.get(area)!);
    this._schedule();
  }

  private _write(write: () => void): void {
    this._isWriting = true;
    try {
      write();
    } finally {
      this._isWriting = false;
    }
  }

  private _digest(model: ICodeCellModel): string {
    const text = model.sharedModel.getSource();
    const known = this._digests.get(model);
    if (known?.text === text) {
      return known.digest;
    }
    const digest = sourceDigest(text);
    this._digests.set(model, { text, digest });
    return digest;
  }

  private readonly _model: INotebookModel;
  private readonly _source: IDispatchSource;
  private readonly _run: readonly NotebookCell[];
  private readonly _changed = new Signal<this, void>(this);
  private readonly _readers = new Map<number, OutputsReader>();
  private readonly _ended = new Set<number>();
  private readonly _kept: Set<string>;
  private readonly _shown = new Set<string>();
  /** Ids of the cells that have all that the run has of them. */
  private readonly _settled = new Set<string>();
  private readonly _areas = new Map<IOutputAreaModel, string>();
  private readonly _written = new WeakMap<ICodeCellModel, { readonly outputs: readonly IOutput[]; readonly count: number | null }>();
  private readonly _digests = new WeakMap<ICodeCellModel, { readonly text: string; readonly digest: string }>();
  private _cells: ReadonlyMap<string, IFilledCell> = new Map();
  private _timer = 0;
  private _failure = '';
  private _nReused = 0;
  private _isWriting = false;
  private _isFilled = false;
  private _isDisposed = false;
}

/** Return whether a node began to run, so that it may have outputs. */
function hasRun(state: NodeState | undefined): boolean {
  return state !== undefined && state[1] !== 'pending' && state[2] !== null;
}

/** Return whether a node is completed and did not run. */
function isReused(state: NodeState | undefined): boolean {
  return state !== undefined && state[1] === 'completed' && state[4] === 0;
}
