/**
 * Line above a notebook that becomes higher where its text and buttons do not fit into one line.
 */
import { type Message, MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

/** Margin below the last line, as above the first. */
const PAD = 3;

/** Lays out its parts in as many lines as they need. Lumino gives a widget the height that its style asks for. */
export class NotebookLine extends Widget {
  constructor() {
    super();
    this.addClass('jp-covalab-RunBar');
    this.node.setAttribute('data-lm-suppress-shortcuts', 'true');
  }

  /** Ask for the height of the content; called when that has changed. */
  protected fitContent(): void {
    const parts = [...this.node.children].filter((part): part is HTMLElement => part instanceof HTMLElement && part.offsetHeight > 0);
    const wanted = `${Math.max(...parts.map(part => part.offsetTop + part.offsetHeight), 0) + PAD}px`;
    if (this.parent && parts.length > 0 && this.node.style.minHeight !== wanted) {
      this.node.style.minHeight = wanted;
      MessageLoop.postMessage(this.parent, Widget.Msg.FitRequest);
    }
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    super.onResize(message);
    this.fitContent();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.fitContent();
  }
}
