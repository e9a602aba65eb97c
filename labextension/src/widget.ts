/**
 * Entry point of the anywidget: the dispatch view for notebooks whose server lacks our extension, fed by the kernel.
 */
import { DispatchView } from './dispatch/view';
import { type IWidgetModel, KernelSource } from './model/kernelSource';

/** Show the dispatch of a model in an element; the returned function removes it. */
function render({ model, el }: { model: IWidgetModel; el: HTMLElement }): () => void {
  const source = new KernelSource(model);
  const view = new DispatchView({ source, place: 'output' });
  el.append(view.node);
  return () => {
    view.dispose();
    source.dispose();
  };
}

export default { render };
