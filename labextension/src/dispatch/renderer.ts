/**
 * MIME renderer: shows a dispatch in the output of a cell, live from the server, without a kernel and without trust.
 */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { Message } from '@lumino/messaging';
import type { PartialJSONObject, ReadonlyJSONValue } from '@lumino/coreutils';
import { Widget } from '@lumino/widgets';
import { NodeDisplaysView } from './nodeDisplays';
import { DispatchView } from './view';
import { isTerminal } from '../text';
import { type IBundle, type IDispatchSource, type IOutputsView, MIME_TYPE, readBundle, withSourceOf } from '../tokens';

/** Below the rank of the widget renderer (-10), so that this one is preferred wherever the extension is installed. */
export const RANK = -20;

/** Milliseconds that the kernel, or another view of the same output, has to bring the end before this one does. */
const GRACE = 3000;

const WIDGET_VIEW = 'application/vnd.jupyter.widget-view+json';

export interface IRendererOptions {
  /** Make the source of a saved dispatch. */
  readonly createSource: (bundle: IBundle) => IDispatchSource;
  /** Open a dispatch in a tab; null where there are no tabs. */
  readonly open: ((id: string) => void) | null;
  /** Run a dispatch again; with `reuse`, completed nodes are not run again, but for `nodes` and what follows from them. */
  readonly redispatch: (id: string, reuse: boolean, nodes?: readonly number[]) => void;
  /** Read the output of a dispatch that has ended, as the notebook saves it. */
  readonly readBundle?: ((id: string) => Promise<Record<string, ReadonlyJSONValue>>) | null;
  /** Put code into a cell below that of the output; null where there is no notebook. */
  readonly insert?: ((code: string, output: HTMLElement) => void) | null;
  /** Make a view of the outputs of a node; scripts in them run only if they are trusted. */
  readonly createOutputs: (trusted: boolean) => IOutputsView;
}

/** Return the factory to register. It is `safe`: everything but outputs is shown as text, and outputs keep to the rule of trust. */
export function rendererFactory(options: IRendererOptions): IRenderMime.IRendererFactory {
  return {
    safe: true,
    mimeTypes: [MIME_TYPE],
    defaultRank: RANK,
    createRenderer: () => new DispatchRenderer(options)
  };
}

/** The renderers on the page: a dispatch that is shown twice in one notebook is drawn once. */
const shown = new Set<DispatchRenderer>();

/** Draw each dispatch of a document at its first place, and fold it at the others. */
function foldRepeated(id: string): void {
  const seen = new Set<Element | null>();
  const inOrder = [...shown]
    .filter(({ dispatch }) => dispatch === id)
    .sort(({ node: a }, { node: b }) => (a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
  for (const renderer of inOrder) {
    const place = renderer.node.closest('.jp-Notebook, .jp-LinkedOutputView, .jp-MainAreaWidget');
    renderer.setRepeated(seen.has(place));
    seen.add(place);
  }
}

class DispatchRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(options: IRendererOptions) {
    super();
    this._options = options;
    this.addClass('jp-covalab-Output');
  }

  /** The id of the dispatch that it shows. */
  get dispatch(): string | undefined {
    return this._source?.id;
  }

  /** Show one line only, or all, depending on whether the dispatch is shown above in the same notebook. */
  setRepeated(repeated: boolean): void {
    this._view?.setFolded(repeated);
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    shown.add(this);
    this._refold();
  }

  protected override onBeforeDetach(msg: Message): void {
    super.onBeforeDetach(msg);
    shown.delete(this);
    this._refold();
  }

  private _refold(): void {
    const { dispatch } = this;
    if (dispatch !== undefined) {
      foldRepeated(dispatch);
    }
  }

  override dispose(): void {
    this._clear();
    super.dispose();
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const bundle = readBundle(model.data[MIME_TYPE]);
    if (bundle && bundle.id === this._source?.id) {
      this._model = model;
      return Promise.resolve(); // the source is newer than what was saved
    }
    this._clear();
    this._model = model;
    if (!bundle) {
      this.node.textContent = 'This output should be a dispatch, but the notebook does not contain its id.';
      return Promise.resolve();
    }
    this._source = this._options.createSource(bundle);
    if (!isTerminal(bundle.summary.status)) {
      this._source.changed.connect(this._scheduleCompletion, this);
    }
    const { open, createOutputs, insert, redispatch } = this._options;
    this._view = new DispatchView({
      source: this._source,
      place: 'output',
      open: open && (() => open(bundle.id)),
      openDispatch: open,
      redispatch: (reuse, nodes) => redispatch(bundle.id, reuse, nodes),
      createOutputs: () => createOutputs(model.trusted),
      insert: insert ? code => insert(code, this.node) : null,
      hasDisplays: (bundle.outputs?.nodes.length ?? 0) > 0
    });
    this.node.replaceChildren(this._view.node);
    if (bundle.outputs) {
      this._displays = new NodeDisplaysView(bundle.outputs, () => createOutputs(model.trusted));
      this._view.node.append(this._displays.node);
    }
    if (this.isAttached) {
      this._refold();
    }
    return Promise.resolve();
  }

  /** Put the state at the end into the notebook, so that what is saved and exported is no state on the way. */
  private _scheduleCompletion(): void {
    const snapshot = this._source?.snapshot;
    if (this._grace === 0 && snapshot && snapshot.stale === '' && isTerminal(snapshot.summary.status)) {
      this._grace = window.setTimeout(() => void this._complete().catch(() => undefined), GRACE); // an older server has no such answer
    }
  }

  private async _complete(): Promise<void> {
    const model = this._model;
    const known = readBundle(model?.data[MIME_TYPE]);
    const { readBundle: read } = this._options;
    if (!model || !known || !read || isTerminal(known.summary.status)) {
      return;
    }
    const data = await read(known.id);
    // The cell may have been run again meanwhile.
    if (this._model === model && readBundle(model.data[MIME_TYPE])?.id === known.id) {
      const own = withSourceOf(model.data[MIME_TYPE], data[MIME_TYPE]) as PartialJSONObject;
      if (!known.outputs) {
        delete own['outputs']; // they are for the HTML, where nothing can be asked for
      }
      // Without the widget: pages that can draw it would show the state that it began with.
      const kept = Object.entries(model.data).filter(([kind]) => kind !== WIDGET_VIEW);
      model.setData({ data: { ...Object.fromEntries(kept), ...data, [MIME_TYPE]: own } as PartialJSONObject });
    }
  }

  private _clear(): void {
    window.clearTimeout(this._grace);
    this._grace = 0;
    this._model = null;
    this._displays?.dispose();
    this._view?.dispose();
    this._source?.dispose();
    this._view = null;
    this._source = null;
  }

  private readonly _options: IRendererOptions;
  private _source: IDispatchSource | null = null;
  private _model: IRenderMime.IMimeModel | null = null;
  private _grace = 0;
  private _view: DispatchView | null = null;
  private _displays: NodeDisplaysView | null = null;
}
