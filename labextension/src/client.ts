/**
 * Client of the Jupyter server's REST API: one method for each route. No state, no user interface.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import type { ReadonlyJSONValue, ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { RefusedError } from './refusal';
import type { ILogQuery, IOutputsPage, IPreviewQuery } from './tokens';
import type {
  DifferenceView,
  DispatchChanges,
  DispatcherStatus,
  DispatchPage,
  DispatchProvenance,
  DispatchSummary,
  ExecutionView,
  Graph,
  GroupPage,
  LogPage,
  NodeDetail,
  NotebookCell,
  NotebookView,
  Preview,
  Problem,
  Status,
  StreamPage,
  TasksSummary,
  Timeline
} from './wire';

/** Filter and page of a list of dispatches. */
export interface IListQuery {
  readonly status?: readonly Status[];
  readonly name?: string;
  readonly offset?: number;
  readonly count?: number;
  /** List the child dispatches below this one, instead of the outermost dispatches. */
  readonly root?: string;
}

/** Search, order and page of the list. */
export interface ISearchQuery {
  readonly text: string;
  readonly only: string;
  readonly sort: string;
  readonly offset: number;
  readonly count: number;
  readonly name?: string;
  readonly notebook?: string;
  readonly tag?: string;
}

/** A notebook to run. */
export interface INotebookQuery {
  /** Path of the contents API. */
  readonly path: string;
  /** The document as the editor has it, in nbformat's JSON. */
  readonly document: ReadonlyPartialJSONObject;
  /** Id of the cell to begin with; null: the first. */
  readonly first: string | null;
  /** Id of the run to go on with, with its parameters and options; empty: none. */
  readonly resume: string;
  /** Options that are not the server's defaults; with `reuse` false, all cells run; with `parallel` false, none beside another. */
  readonly options: { readonly reuse?: boolean; readonly parallel?: boolean };
}

/** A notebook run that was started. */
export interface IStartedRun {
  readonly dispatch_id: string;
  readonly cells: readonly NotebookCell[];
}

/** Sends requests to the Jupyter server. */
export class Client {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
  }

  status(): Promise<DispatcherStatus> {
    return this._request('status');
  }

  /** Restart the dispatcher and all workers, with another number of them if one is given; what has ended is kept. */
  restart(workers: number | null): Promise<DispatcherStatus> {
    return this._request('cluster', { method: 'POST', body: JSON.stringify(workers === null ? {} : { workers }) });
  }

  dispatches(query: IListQuery = {}): Promise<DispatchSummary[]> {
    const { status = [], name = '', offset = 0, count = 50, root = '' } = query;
    return this._request(`dispatches${URLExt.objectToQueryString({ status: status.join(), name, offset, count, root })}`);
  }

  /** Read a page of the searchable list. */
  list(query: ISearchQuery): Promise<DispatchPage> {
    return this._request(`list${URLExt.objectToQueryString({ ...query })}`);
  }

  /** Read a page of the searchable list, grouped by name and notebook. */
  groups(query: ISearchQuery): Promise<GroupPage> {
    return this._request(`list${URLExt.objectToQueryString({ ...query, group: 'true' })}`);
  }

  summary(id: string): Promise<DispatchSummary> {
    return this._request(`dispatches/${encodeURIComponent(id)}`);
  }

  /** Read the newest dispatch that runs another again. */
  again(id: string): Promise<DispatchSummary | null> {
    return this._request(`dispatches/${encodeURIComponent(id)}/again`);
  }

  graph(id: string): Promise<Graph> {
    return this._request(`dispatches/${encodeURIComponent(id)}/graph`);
  }

  changes(id: string, since: number): Promise<DispatchChanges> {
    return this._request(`dispatches/${encodeURIComponent(id)}/changes?since=${since}`);
  }

  /** Read which worker ran or runs which node, and earlier runs. */
  timeline(id: string): Promise<Timeline> {
    return this._request(`dispatches/${encodeURIComponent(id)}/timeline`);
  }

  /** Read a page of the log of a dispatch. */
  log(id: string, query: ILogQuery): Promise<LogPage> {
    return this._request(`dispatches/${encodeURIComponent(id)}/log${URLExt.objectToQueryString({ ...query })}`);
  }

  /** Add tags to a dispatch and remove some. */
  tag(id: string, add: readonly string[], remove: readonly string[]): Promise<DispatchSummary> {
    return this._request(`dispatches/${encodeURIComponent(id)}/tags`, { method: 'POST', body: JSON.stringify({ add, remove }) });
  }

  /** Read how a dispatch came about. */
  provenance(id: string): Promise<DispatchProvenance> {
    return this._request(`dispatches/${encodeURIComponent(id)}/provenance`);
  }

  /** Read what differs between two dispatches. */
  comparison(left: string, right: string): Promise<DifferenceView> {
    return this._request(`dispatches/${encodeURIComponent(left)}/comparison?other=${encodeURIComponent(right)}`);
  }

  node(id: string, node: number): Promise<NodeDetail> {
    return this._request(`dispatches/${encodeURIComponent(id)}/nodes/${node}`);
  }

  /** Read the outputs of a node that changed after number `since`. */
  outputs(id: string, node: number, since: number): Promise<IOutputsPage> {
    return this._request(`dispatches/${encodeURIComponent(id)}/nodes/${node}/outputs?since=${since}`);
  }

  /** Read a part of a node's value as it is shown. */
  preview(id: string, node: number, query: IPreviewQuery): Promise<Preview> {
    const { offset = 0, count = 20, sort = -1, descending = false, find = '', whole = false } = query;
    const text = URLExt.objectToQueryString({ offset, count, sort, descending: String(descending), find, whole: String(whole) });
    return this._request(`dispatches/${encodeURIComponent(id)}/nodes/${node}/preview${text}`);
  }

  /** Read the output of a cell that runs in the background, as a notebook saves it. */
  cell(id: string, node: number): Promise<Record<string, ReadonlyJSONValue>> {
    return this._request(`dispatches/${encodeURIComponent(id)}/nodes/${node}/cell`);
  }

  /** Read the output of a dispatch that has ended, as a notebook saves it. */
  bundle(id: string): Promise<Record<string, ReadonlyJSONValue>> {
    return this._request(`dispatches/${encodeURIComponent(id)}/bundle`);
  }

  /** Run a notebook in the background. */
  runNotebook(query: INotebookQuery): Promise<IStartedRun> {
    return this._request('notebooks', { method: 'POST', body: JSON.stringify(query) });
  }

  /** Read which cell of a notebook run is which node. */
  notebook(id: string): Promise<NotebookView> {
    return this._request(`dispatches/${encodeURIComponent(id)}/notebook`);
  }

  /** Read the executed notebook of a run as far as it has come, in nbformat's JSON. */
  executedNotebook(id: string): Promise<ReadonlyPartialJSONObject> {
    return this._request(`dispatches/${encodeURIComponent(id)}/notebook/executed`);
  }

  cancel(id: string): Promise<DispatchSummary> {
    return this._request(`dispatches/${encodeURIComponent(id)}/cancel`, { method: 'POST', body: '{}' });
  }

  /** Start a dispatch that was recorded and not started. */
  start(id: string): Promise<DispatchSummary> {
    return this._request(`dispatches/${encodeURIComponent(id)}/start`, { method: 'POST', body: '{}' });
  }

  /** Run the recorded graph again and return the new dispatch; with `reuse`, completed nodes are not run again, but for `nodes` and what follows from them. */
  redispatch(id: string, reuse: boolean, nodes: readonly number[] = []): Promise<DispatchSummary> {
    return this._request(`dispatches/${encodeURIComponent(id)}/redispatch`, { method: 'POST', body: JSON.stringify({ reuse, nodes }) });
  }

  /** Read the counts of all tasks by status. */
  tasksSummary(): Promise<TasksSummary> {
    return this._request('summary');
  }

  execution(id: string): Promise<ExecutionView> {
    return this._request(`dispatches/${encodeURIComponent(id)}/execution`);
  }

  /** Read the newest entries of the stream after number `since`, at most `last` of them. */
  stream(id: string, since: number, last: number): Promise<StreamPage> {
    return this._request(`dispatches/${encodeURIComponent(id)}/journal?since=${since}&last=${last}`);
  }

  /** Answer an interrupt with the value of a JSON text. */
  answer(id: string, interrupt: string, request: string, json: string): Promise<ExecutionView> {
    const command = JSON.stringify({ action: 'answer', id: interrupt, request_id: request });
    // The text is inserted as it was typed, because parsing it here would turn `1.0` into `1`.
    return this._postCommand(id, `${command.slice(0, -1)},"plain":${json}}`);
  }

  /** Pause a dispatch (no new task starts), or resume it. */
  pause(id: string, paused: boolean): Promise<ExecutionView> {
    return this._postCommand(id, JSON.stringify({ action: paused ? 'pause' : 'resume' }));
  }

  async delete(id: string): Promise<void> {
    await this._request(`dispatches/${encodeURIComponent(id)}`, { method: 'DELETE' });
  }

  private _postCommand(id: string, body: string): Promise<ExecutionView> {
    return this._request(`dispatches/${encodeURIComponent(id)}/journal`, { method: 'POST', body });
  }

  private async _request<T>(path: string, init: RequestInit = {}): Promise<T> {
    // The path is not passed to URLExt.join, which would escape its query.
    const url = URLExt.join(this._settings.baseUrl, 'covalab', 'api') + `/${path}`;
    const response = await ServerConnection.makeRequest(url, init, this._settings);
    const text = await response.text();
    if (!response.ok) {
      throw Private.refusal(response, text);
    }
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  private readonly _settings: ServerConnection.ISettings;
}

namespace Private {
  export function refusal(response: Response, text: string): RefusedError {
    try {
      const problem = JSON.parse(text) as Partial<Problem>;
      if (problem.message) {
        return new RefusedError(response.status, problem.kind ?? '', problem.message);
      }
    } catch {
      // Not JSON: a proxy in front of the server answered.
    }
    return new RefusedError(response.status, '', `The server answered ${response.status} ${response.statusText}`);
  }
}
