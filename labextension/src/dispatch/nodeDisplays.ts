/**
 * Outputs of the nodes of a dispatch, as a `Result` shows them: one without a name, more under their names, to be unfolded.
 */
import { h } from '../dom';
import type { INodeDisplays, IOutput, IOutputsView } from '../tokens';

/** Shows outputs that were saved. Those of a node are drawn when they are unfolded for the first time, since many may be large. */
export class NodeDisplaysView {
  constructor({ nodes, more }: INodeDisplays, createOutputs: () => IOutputsView) {
    this._createOutputs = createOutputs;
    const isAlone = nodes.length === 1 && more === '';
    this.node = h(
      'div',
      { class: 'cv-displays' },
      ...nodes.map(({ name, outputs, is_open }) => (isAlone ? this._part(outputs) : this._folded(name, outputs, is_open))),
      more ? h('div', { class: 'cv-quiet', text: more }) : null
    );
  }

  readonly node: HTMLElement;

  dispose(): void {
    this._observers.forEach(observer => observer.disconnect());
    this._views.forEach(view => view.dispose());
  }

  private _folded(name: string, outputs: readonly IOutput[], isOpen: boolean): HTMLElement {
    const details = h('details', { attrs: isOpen ? { open: '' } : {} }, h('summary', { text: name }));
    const draw = (): void => {
      if (details.open && details.childElementCount === 1) {
        details.append(this._part(outputs));
      }
    };
    details.addEventListener('toggle', draw);
    draw();
    return details;
  }

  private _part(outputs: readonly IOutput[]): HTMLElement {
    const view = this._createOutputs();
    this._views.push(view);
    const part = h('div', { class: 'cv-outputs' }, view.node);
    // Once it is on the page: some renderers draw only there.
    const observer = new ResizeObserver(() => {
      observer.disconnect();
      view.show(outputs);
    });
    observer.observe(part);
    this._observers.push(observer);
    return part;
  }

  private readonly _createOutputs: () => IOutputsView;
  private readonly _views: IOutputsView[] = [];
  private readonly _observers: ResizeObserver[] = [];
}
