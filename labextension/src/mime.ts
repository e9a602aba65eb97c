/**
 * Shows a dispatch in the output of a cell, live from the server: no kernel is needed, and the notebook need not be trusted.
 */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Widget } from '@lumino/widgets';
import { DispatchView } from './dispatch/view';
import { type IBundle, type IDispatchSource, MIME_TYPE, readBundle } from './tokens';

/** Below the rank of the widget renderer (-10): where this page knows our MIME type, it is used. */
export const RANK = -20;

export interface IRendererOptions {
  /** Follow the dispatch that a notebook shows. */
  readonly follow: (bundle: IBundle) => IDispatchSource;
  /** Show a dispatch in a tab of its own, where there can be one. */
  readonly open: ((id: string) => void) | null;
}

/** Make the renderer known to a registry with this. It is safe: all it shows becomes text. */
export function rendererFactory(options: IRendererOptions): IRenderMime.IRendererFactory {
  return {
    safe: true,
    mimeTypes: [MIME_TYPE],
    defaultRank: RANK,
    createRenderer: () => new DispatchRenderer(options)
  };
}

class DispatchRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(options: IRendererOptions) {
    super();
    this._options = options;
    this.addClass('jp-covalab-Output');
  }

  override dispose(): void {
    this._end();
    super.dispose();
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const bundle = readBundle(model.data[MIME_TYPE]);
    if (bundle && bundle.id === this._source?.id) {
      return Promise.resolve(); // the same dispatch, of which the server knows more
    }
    this._end();
    if (!bundle) {
      this.node.textContent = 'This output should be a dispatch, but the notebook does not say which.';
      return Promise.resolve();
    }
    this._source = this._options.follow(bundle);
    const { open } = this._options;
    this._view = new DispatchView({ source: this._source, place: 'output', open: open && (() => open(bundle.id)), openOther: open });
    this.node.replaceChildren(this._view.node);
    return Promise.resolve();
  }

  private _end(): void {
    this._view?.dispose();
    this._source?.dispose();
    this._view = null;
    this._source = null;
  }

  private readonly _options: IRendererOptions;
  private _source: IDispatchSource | null = null;
  private _view: DispatchView | null = null;
}
