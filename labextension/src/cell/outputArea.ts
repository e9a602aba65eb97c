/**
 * Outputs of a node in JupyterLab's own output area, with the application's renderers and its rule of trust.
 */
import type { IOutput as INotebookOutput } from '@jupyterlab/nbformat';
import { OutputAreaModel, SimplifiedOutputArea } from '@jupyterlab/outputarea';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { JSONExt, type PartialJSONValue } from '@lumino/coreutils';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import type { IOutput, IOutputsView } from '../tokens';
import { folded } from './folding';

/** The most outputs that are drawn at once; a link shows the others. As in a notebook. */
const MAX_OUTPUTS = 50;

const WIDGET_VIEW = 'application/vnd.jupyter.widget-view+json';

/** Shows outputs, and replaces only those that changed. */
export class OutputsArea implements IOutputsView {
  constructor(rendermime: IRenderMimeRegistry, trusted: boolean) {
    this._model = new OutputAreaModel({ trusted });
    this.widget = new SimplifiedOutputArea({ model: this._model, rendermime, maxNumberOutputs: MAX_OUTPUTS });
    this.widget.addClass('jp-covalab-Outputs');
  }

  readonly widget: Widget;

  get node(): HTMLElement {
    return this.widget.node;
  }

  get isDisposed(): boolean {
    return this.widget.isDisposed;
  }

  dispose(): void {
    if (!this.isDisposed) {
      this.widget.dispose();
      this._model.dispose();
    }
  }

  set trusted(trusted: boolean) {
    this._model.trusted = trusted;
  }

  show(outputs: readonly IOutput[]): void {
    const shown = outputs.map(prepared);
    for (let at = this._shown.length - 1; at >= shown.length; at--) {
      this._model.remove(at);
    }
    shown.forEach((output, at) => {
      if (at >= this._shown.length) {
        this._append(output, at);
      } else if (!JSONExt.deepEqual(output as PartialJSONValue, this._shown[at] as PartialJSONValue)) {
        this._model.set(at, output);
      }
    });
    this._shown = shown;
  }

  /** Add an output as an item of its own: the model would join a stream to the one before. */
  private _append(output: INotebookOutput, at: number): void {
    this._model.add({ output_type: 'display_data', data: {}, metadata: {} });
    this._model.set(at, output);
  }

  private readonly _model: OutputAreaModel;
  private _shown: readonly INotebookOutput[] = [];
}

/** Outputs in a part of the page that is no Lumino widget. */
export class AttachedOutputsArea extends OutputsArea {
  /** Tell the renderers that they are on the page, once they are: some draw only then. */
  override show(outputs: readonly IOutput[]): void {
    if (!this.widget.isAttached && this.node.isConnected) {
      MessageLoop.sendMessage(this.widget, Widget.Msg.BeforeAttach);
      MessageLoop.sendMessage(this.widget, Widget.Msg.AfterAttach);
    }
    super.show(outputs);
  }

  override dispose(): void {
    if (this.widget.isAttached) {
      MessageLoop.sendMessage(this.widget, Widget.Msg.BeforeDetach);
      this.node.remove();
      MessageLoop.sendMessage(this.widget, Widget.Msg.AfterDetach);
    }
    super.dispose();
  }
}

/** Return an output as the model takes it: text as on a terminal, and no widget, since there is no kernel behind it. */
function prepared(output: IOutput): INotebookOutput {
  if (output.output_type === 'stream') {
    const { text } = output;
    return { ...output, text: folded(Array.isArray(text) ? text.join('') : String(text ?? '')) } as INotebookOutput;
  }
  if (output.output_type === 'error') {
    return { ename: '', evalue: '', traceback: [], ...output } as unknown as INotebookOutput;
  }
  const data = Object.fromEntries(Object.entries(output['data'] ?? {}).filter(([kind]) => kind !== WIDGET_VIEW));
  return { metadata: {}, ...output, data } as unknown as INotebookOutput;
}
