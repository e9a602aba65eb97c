/**
 * The view as an anywidget: for notebooks whose server does not have our extension, fed by the kernel.
 *
 * The kernel's side is `covalab.view.widget`. Messages are small objects with a `type`; a request carries a number that
 * its answer repeats.
 */
import { type ISignal, Signal } from '@lumino/signaling';
import { DispatchView } from './dispatch/view';
import { fromBundle, withChanges } from './snapshot';
import { type IDispatchSource, type IGraph, type ISnapshot, readBundle } from './tokens';
import type { DispatchChanges, ExecutionView, NodeDetail, StreamPage } from './wire';

/** The part of anywidget's model that we use. */
interface IModel {
  get(name: string): unknown;
  send(content: unknown): void;
  on(event: string, callback: (content: Message) => void): void;
  off(event: string, callback: (content: Message) => void): void;
}

type Message =
  | { type: 'changes'; changes: DispatchChanges }
  | { type: 'graph'; graph: IGraph }
  | { type: 'stale'; message: string }
  | { type: 'stirred' }
  | { type: 'node'; request: string; detail: NodeDetail }
  | { type: 'execution'; request: string; execution: ExecutionView }
  | { type: 'stream'; request: string; page: StreamPage }
  | { type: 'done'; request: string }
  | { type: 'problem'; request: string; message: string };

/** Several views may share one model, and each hears the answers to all: this tells them apart. */
const page = Math.random().toString(36).slice(2);
let requests = 0;

/** A dispatch as the kernel tells about it. */
class KernelSource implements IDispatchSource {
  constructor(model: IModel) {
    this._model = model;
    const bundle = readBundle(model.get('bundle'));
    this.id = bundle?.id ?? '';
    this._snapshot = bundle && fromBundle(bundle, '');
    model.on('msg:custom', this._onMessage);
    this._ask();
  }

  readonly id: string;

  get snapshot(): ISnapshot | null {
    return this._snapshot;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get stirred(): ISignal<this, void> {
    return this._stirred;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    this._model.off('msg:custom', this._onMessage);
    this._waiting.forEach(({ reject }) => reject(new Error('The output was closed.')));
    this._waiting.clear();
    Signal.clearData(this);
  }

  async node(node: number): Promise<NodeDetail> {
    return (await this._request({ type: 'node', node })) as NodeDetail;
  }

  async cancel(): Promise<void> {
    await this._request({ type: 'cancel' });
  }

  async execution(): Promise<ExecutionView> {
    return (await this._request({ type: 'execution' })) as ExecutionView;
  }

  async stream(since: number, last: number): Promise<StreamPage> {
    return (await this._request({ type: 'stream', since, last })) as StreamPage;
  }

  async answer(interrupt: string, request: string, json: string): Promise<ExecutionView> {
    return (await this._request({ type: 'wish', wish: { action: 'answer', id: interrupt, request_id: request }, json })) as ExecutionView;
  }

  async pause(wanted: boolean): Promise<ExecutionView> {
    return (await this._request({ type: 'wish', wish: { action: wanted ? 'pause' : 'resume' } })) as ExecutionView;
  }

  /** Say that somebody is looking, and from where on changes are missing. */
  private _ask(): void {
    this._model.send({ type: 'shown', since: this._version, graph: this._snapshot?.graph !== null });
  }

  private get _version(): number {
    return this._known ? (this._snapshot?.summary.version ?? 0) : 0;
  }

  private _request(content: object): Promise<unknown> {
    const request = `${page}-${requests++}`;
    return new Promise((resolve, reject) => {
      this._waiting.set(request, { resolve, reject });
      this._model.send({ ...content, request });
    });
  }

  private _onMessage = (message: Message): void => {
    switch (message.type) {
      case 'changes': {
        const { changes } = message;
        if (changes.since > this._version) {
          this._ask(); // something between was missed
          return;
        }
        this._known = true;
        this._snapshot = withChanges(this._snapshot, changes, null);
        break;
      }
      case 'graph':
        this._snapshot = this._snapshot && { ...this._snapshot, graph: this._snapshot.graph ?? message.graph };
        break;
      case 'stale':
        this._snapshot = this._snapshot && { ...this._snapshot, stale: message.message };
        break;
      case 'stirred':
        this._stirred.emit();
        return;
      default: {
        const waiting = this._waiting.get(message.request);
        this._waiting.delete(message.request);
        message.type === 'problem' ? waiting?.reject(new Error(message.message)) : waiting?.resolve(answerOf(message));
        return;
      }
    }
    this._changed.emit();
  };

  private readonly _model: IModel;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _stirred = new Signal<this, void>(this);
  private readonly _waiting = new Map<string, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  private _snapshot: ISnapshot | null;
  private _known = false;
  private _disposed = false;
}

function answerOf(message: Message): unknown {
  switch (message.type) {
    case 'node':
      return message.detail;
    case 'execution':
      return message.execution;
    case 'stream':
      return message.page;
    default:
      return undefined;
  }
}

/** Show the dispatch of this model in this element, until the returned function is called. */
function render({ model, el }: { model: IModel; el: HTMLElement }): () => void {
  const source = new KernelSource(model);
  const view = new DispatchView({ source, place: 'output' });
  el.append(view.node);
  return () => {
    view.dispose();
    source.dispose();
  };
}

export default { render };
