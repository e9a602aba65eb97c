/**
 * Tab of the main area that compares two dispatches.
 */
import { MainAreaWidget } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';
import type { Client } from '../client';
import { covalabIcon } from '../icons';
import { errorMessage } from '../text';
import type { IOutputsView } from '../tokens';
import type { DifferenceView } from '../wire';
import { ComparisonView } from './view';

export interface IComparisonTabOptions {
  readonly client: Client;
  readonly left: string;
  readonly right: string;
  readonly openDispatch: (id: string) => void;
  readonly createOutputs: () => IOutputsView;
}

class Content extends Widget {
  constructor({ client, left, right, openDispatch, createOutputs }: IComparisonTabOptions) {
    super();
    this._view = new ComparisonView({
      openDispatch,
      createOutputs,
      refresh: () => void this._read(client, left, right),
      readOutputs: (id, node) => client.outputs(id, node, 0),
      readPreview: (id, node, query) => client.preview(id, node, query)
    });
    this.node.append(this._view.node);
    this.addClass('jp-covalab-Tab');
    void this._read(client, left, right);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._view.dispose();
      super.dispose();
    }
  }

  private async _read(client: Client, left: string, right: string): Promise<void> {
    try {
      const found = await client.comparison(left, right);
      if (!this.isDisposed) {
        this.title.label = titleOf(found);
        this._view.show(found);
      }
    } catch (error) {
      this.isDisposed || this._view.showError(errorMessage(error));
    }
  }

  private readonly _view: ComparisonView;
}

function titleOf({ left, right }: DifferenceView): string {
  return left.name === right.name ? `${left.name}: comparison` : `${left.name} and ${right.name}`;
}

/** Shows in the main area what differs between two dispatches. */
export class ComparisonTab extends MainAreaWidget<Widget> {
  constructor(options: IComparisonTabOptions) {
    const content = new Content(options);
    super({ content });
    this.left = options.left;
    this.right = options.right;
    this.toolbar.hide();
    this.id = `covalab-comparison-${options.left}-${options.right}`;
    content.title.label = 'Comparison';
    content.title.icon = covalabIcon;
    content.title.closable = true;
  }

  /** The ids of the two dispatches. */
  readonly left: string;
  readonly right: string;
}
