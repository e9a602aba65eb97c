/**
 * Source that gets a dispatch from the kernel, over the messages of an anywidget model.
 *
 * The Python side is `covalab.view.widget`. Messages are small objects with a `type`; a request carries an id that its
 * response repeats.
 */
import { type IGraph, type ILogQuery, readBundle } from '../tokens';
import type { DispatchChanges, ExecutionView, LogPage, NodeDetail, StreamPage, Timeline } from '../wire';
import { withChanges } from './snapshot';
import { DispatchSource } from './source';

/** The part of anywidget's model that this module uses. */
export interface IWidgetModel {
  get(name: string): unknown;
  send(content: unknown): void;
  on(event: string, callback: (content: Message) => void): void;
  off(event: string, callback: (content: Message) => void): void;
}

type Response =
  | { type: 'node'; request: string; detail: NodeDetail }
  | { type: 'execution'; request: string; execution: ExecutionView }
  | { type: 'stream'; request: string; page: StreamPage }
  | { type: 'timeline'; request: string; timeline: Timeline }
  | { type: 'log'; request: string; log: LogPage }
  | { type: 'done'; request: string }
  | { type: 'problem'; request: string; message: string };

type Message =
  | { type: 'changes'; changes: DispatchChanges }
  | { type: 'graph'; graph: IGraph }
  | { type: 'stale'; message: string }
  | { type: 'execution_changed' }
  | Response;

// Several views may share one model, and each receives the responses to all of them: the page's number tells them apart.
const page = Math.random().toString(36).slice(2);
let requests = 0;

/** Follows one dispatch through the kernel. */
export class KernelSource extends DispatchSource {
  constructor(model: IWidgetModel) {
    const bundle = readBundle(model.get('bundle'));
    super(bundle?.id ?? '', bundle);
    this._model = model;
    model.on('msg:custom', this._onMessage);
    this._subscribe();
  }

  override dispose(): void {
    super.dispose();
    this._model.off('msg:custom', this._onMessage);
    this._pending.forEach(({ reject }) => reject(new Error('The output was closed.')));
    this._pending.clear();
  }

  async node(node: number): Promise<NodeDetail> {
    return (await this._request({ type: 'node', node })) as NodeDetail;
  }

  async timeline(): Promise<Timeline> {
    return (await this._request({ type: 'timeline' })) as Timeline;
  }

  async log(query: ILogQuery): Promise<LogPage> {
    return (await this._request({ type: 'log', query })) as LogPage;
  }

  readonly outputs = null;
  readonly tag = null;
  readonly preview = null;
  readonly reasons = null;

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
    return (await this._request({ type: 'command', command: { action: 'answer', id: interrupt, request_id: request }, json })) as ExecutionView;
  }

  async pause(paused: boolean): Promise<ExecutionView> {
    return (await this._request({ type: 'command', command: { action: paused ? 'pause' : 'resume' } })) as ExecutionView;
  }

  /** Ask the kernel for the changes since the known version, and for those to come. */
  private _subscribe(): void {
    this._model.send({ type: 'shown', since: this._version, graph: this.snapshot?.graph !== null });
  }

  private get _version(): number {
    // A bundle is as old as its notebook, so its version does not count.
    return this._live ? (this.snapshot?.summary.version ?? 0) : 0;
  }

  private _request(content: object): Promise<unknown> {
    const request = `${page}-${requests++}`;
    return new Promise((resolve, reject) => {
      this._pending.set(request, { resolve, reject });
      this._model.send({ ...content, request });
    });
  }

  private _onMessage = (message: Message): void => {
    switch (message.type) {
      case 'changes':
        this._onChanges(message.changes);
        return;
      case 'graph':
        this.setSnapshot(this.snapshot && { ...this.snapshot, graph: this.snapshot.graph ?? message.graph });
        return;
      case 'stale':
        this.setSnapshot(this.snapshot && { ...this.snapshot, stale: message.message });
        return;
      case 'execution_changed':
        this.emitExecutionChanged();
        return;
      default:
        this._onResponse(message);
    }
  };

  private _onChanges(changes: DispatchChanges): void {
    if (changes.since > this._version) {
      this._subscribe(); // a message in between was lost
      return;
    }
    this._live = true;
    this.setSnapshot(withChanges(this.snapshot, changes, null));
  }

  private _onResponse(message: Response): void {
    const pending = this._pending.get(message.request);
    this._pending.delete(message.request);
    message.type === 'problem' ? pending?.reject(new Error(message.message)) : pending?.resolve(contentOf(message));
  }

  private readonly _model: IWidgetModel;
  private readonly _pending = new Map<string, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  /** Whether the snapshot is the kernel's, not the bundle's. */
  private _live = false;
}

function contentOf(message: Response): unknown {
  switch (message.type) {
    case 'node':
      return message.detail;
    case 'execution':
      return message.execution;
    case 'stream':
      return message.page;
    case 'timeline':
      return message.timeline;
    case 'log':
      return message.log;
    default:
      return undefined;
  }
}
