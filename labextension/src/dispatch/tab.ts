/**
 * Tab of the main area that shows one dispatch.
 */
import { MainAreaWidget } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';
import { ProvenancePanel } from './provenancePanel';
import { DispatchView } from './view';
import { covalabIcon } from '../icons';
import { summaryLabel } from '../text';
import type { IDispatchSource, IOutputsView } from '../tokens';
import type { DispatchProvenance } from '../wire';

/** Actions of a tab, on its dispatch and on others that it shows. */
export interface IDispatchTabOptions {
  readonly openDispatch: (id: string) => void;
  readonly start: () => void;
  readonly redispatch: (reuse: boolean, nodes?: readonly number[]) => void;
  readonly createOutputs: (() => IOutputsView) | null;
  readonly insert?: ((code: string) => void) | null;
  readonly readProvenance: () => Promise<DispatchProvenance>;
}

class Content extends Widget {
  constructor(source: IDispatchSource, options: IDispatchTabOptions) {
    super();
    this.source = source;
    this._provenance = new ProvenancePanel(options.readProvenance);
    this._view = new DispatchView({ source, place: 'main', ...options, below: this._provenance.node });
    this.node.append(this._view.node);
    this.addClass('jp-covalab-Tab');
    source.changed.connect(this._update, this);
    this._update();
  }

  readonly source: IDispatchSource;

  override dispose(): void {
    if (!this.isDisposed) {
      this.source.changed.disconnect(this._update, this);
      this._view.dispose();
      this._provenance.dispose();
      this.source.dispose();
      super.dispose();
    }
  }

  private _update(): void {
    const summary = this.source.snapshot?.summary;
    this.title.label = summary?.name ?? this.source.id.slice(0, 8);
    this.title.caption = summary ? `${summary.name} · ${summaryLabel(summary)}\n${summary.id}` : this.source.id;
  }

  private readonly _view: DispatchView;
  private readonly _provenance: ProvenancePanel;
}

/** Shows one dispatch in the main area. */
export class DispatchTab extends MainAreaWidget<Widget> {
  constructor(source: IDispatchSource, options: IDispatchTabOptions) {
    const content = new Content(source, options);
    super({ content });
    this.dispatch = source.id;
    this.toolbar.hide();
    this.id = `covalab-dispatch-${source.id}`;
    content.title.icon = covalabIcon;
    content.title.closable = true;
  }

  /** The id of the dispatch. */
  readonly dispatch: string;
}
