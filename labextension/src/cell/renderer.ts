/**
 * MIME renderer: shows a cell that runs in the background as if it ran here, and one line about its state.
 *
 * Live from the server, so that a busy kernel, no kernel at all, or a notebook that was saved meanwhile make no
 * difference; what the kernel brings under the same display id is taken over if it is newer.
 */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { ReadonlyJSONValue } from '@lumino/coreutils';
import { PanelLayout, Widget } from '@lumino/widgets';
import { OutputsReader } from '../model/outputs';
import { CELL_MIME_TYPE, type ICellBundle, type IDispatchSource, readCellBundle, withSourceOf } from '../tokens';
import { CellLine } from './line';
import { OutputsArea } from './outputArea';
import { cellLine, hasEnded, type ICellLine } from './state';

/** Milliseconds that the kernel has to bring the last update, before the page does. */
const GRACE = 5000;

export interface ICellRendererOptions {
  readonly rendermime: IRenderMimeRegistry;
  /** Make the source of a dispatch, to which the cell belongs. */
  readonly createSource: (id: string) => IDispatchSource;
  /** Read the output of a cell as the notebook saves it. */
  readonly readCell: (id: string, node: number) => Promise<Record<string, ReadonlyJSONValue>>;
  /** Open a dispatch in a tab; null where there are no tabs. */
  readonly open: ((id: string) => void) | null;
}

/** Return the factory to register. It is `safe`, since the renderers of the outputs in it keep to the rule of trust. */
export function cellRendererFactory(options: ICellRendererOptions): IRenderMime.IRendererFactory {
  return {
    safe: true,
    mimeTypes: [CELL_MIME_TYPE],
    createRenderer: itsOptions => new CellRenderer(options, itsOptions)
  };
}

class CellRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(options: ICellRendererOptions, { resolver, linkHandler }: IRenderMime.IRendererOptions) {
    super();
    this._options = options;
    // With the notebook's own resolver, relative links and pictures are found beside the notebook.
    this._rendermime = options.rendermime.clone({ ...(resolver && { resolver }), ...(linkHandler && { linkHandler }) });
    this.addClass('jp-covalab-Cell');
    this.layout = this._parts;
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._clear();
      super.dispose();
    }
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const bundle = readCellBundle(model.data[CELL_MIME_TYPE]);
    if (!bundle) {
      this._clear();
      this.node.textContent = 'This output should be a cell that runs in the background, but the notebook does not contain its dispatch.';
      return Promise.resolve();
    }
    if (this._bundle?.id !== bundle.id || this._bundle.node !== bundle.node) {
      this._begin(bundle, model.trusted);
    }
    this._model = model;
    this._bundle = bundle;
    this._area!.trusted = model.trusted;
    if (bundle.n_cut === 0) {
      this._reader!.accept({ outputs: bundle.outputs, number: bundle.number, isFinal: bundle.is_final });
    }
    isFinal(bundle) && this._reader!.known.isFinal ? this._endReading() : this._read(bundle);
    this._update();
    return Promise.resolve();
  }

  /** Show another cell. */
  private _begin(bundle: ICellBundle, trusted: boolean): void {
    this._clear();
    this.node.textContent = '';
    const { open } = this._options;
    const reader = (this._reader = new OutputsReader(since => this._source!.outputs!(bundle.node, since)));
    const area = (this._area = new OutputsArea(this._rendermime, trusted));
    this._line = new CellLine({ stop: () => this._source!.cancel(), open: open && (() => open(bundle.id)) });
    area.show(bundle.outputs);
    reader.changed.connect(() => {
      area.show(reader.known.outputs);
      this._update();
    });
    this._parts.addWidget(area.widget);
    this._parts.addWidget(new Widget({ node: this._line.node }));
  }


  /** Follow the dispatch, and the outputs as soon as the cell has begun. */
  private _read(bundle: ICellBundle): void {
    if (!this._source) {
      this._source = this._options.createSource(bundle.id);
      this._source.changed.connect(() => this._onChange());
    }
    this._follow();
  }

  private _onChange(): void {
    this._follow();
    this._update();
  }

  private _follow(): void {
    const { node, n_cut, state } = this._bundle!;
    const its = this._source!.snapshot?.states.get(node);
    const isPending = its === undefined || its[1] === 'pending';
    if (!isPending || (n_cut > 0 && hasEnded(state))) {
      this._reader!.follow(its !== undefined && its[3] !== null);
    }
  }

  /** Put the final output into the notebook, so that it is saved and exported, when no kernel has done so. */
  private async _complete(): Promise<void> {
    const { id, node } = this._bundle!;
    const data = await this._options.readCell(id, node);
    // The kernel, or another cell in this place, may have come first.
    if (this._bundle?.id === id && !isFinal(this._bundle) && readCellBundle(data[CELL_MIME_TYPE])?.is_final) {
      const known = this._model!.data;
      this._model!.setData({ data: { ...known, ...data, [CELL_MIME_TYPE]: withSourceOf(known[CELL_MIME_TYPE], data[CELL_MIME_TYPE]) } as typeof known });
    }
  }

  private _scheduleCompletion({ state }: ICellLine): void {
    if (this._grace === 0 && !isFinal(this._bundle!) && hasEnded(state) && this._reader!.known.isFinal) {
      this._grace = window.setTimeout(() => void this._complete().catch(() => undefined), GRACE); // an older server shows it all the same
    }
  }

  /** Read no more: a notebook of many cells that have ended makes no request. */
  private _endReading(): void {
    window.clearTimeout(this._grace);
    this._source?.dispose();
    this._source = null;
  }

  private _update(): void {
    window.clearTimeout(this._timer);
    const line = cellLine(this._bundle!, this._source?.snapshot ?? null, this._reader!.known.outputs, Date.now() / 1000);
    this._line!.show(line);
    this._scheduleCompletion(line);
    if (line.isTicking) {
      this._timer = window.setTimeout(() => this._update(), 1000);
    }
  }

  private _clear(): void {
    window.clearTimeout(this._timer);
    this._endReading();
    this._reader?.dispose();
    [...this._parts.widgets].forEach(widget => widget.dispose());
    this._area?.dispose();
    this._bundle = this._reader = this._area = this._line = this._model = null;
    this._grace = 0;
  }

  private readonly _options: ICellRendererOptions;
  private readonly _rendermime: IRenderMimeRegistry;
  private readonly _parts = new PanelLayout();
  private _bundle: ICellBundle | null = null;
  private _source: IDispatchSource | null = null;
  private _reader: OutputsReader | null = null;
  private _area: OutputsArea | null = null;
  private _line: CellLine | null = null;
  private _model: IRenderMime.IMimeModel | null = null;
  private _timer = 0;
  private _grace = 0;
}

/** Return whether a notebook has the last state and the last outputs, although maybe not whole. */
function isFinal({ state, is_final }: ICellBundle): boolean {
  return hasEnded(state) && is_final;
}
