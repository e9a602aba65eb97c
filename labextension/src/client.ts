/**
 * The server's REST API, one method for each route. No state, no user interface.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import type { DispatchChanges, DispatcherStatus, DispatchSummary, ExecutionView, Graph, NodeDetail, Problem, Status, StreamPage, TasksSummary } from './wire';

/** The server answered, and the answer is no. Its message is for the reader. */
export class RefusedError extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    message: string
  ) {
    super(message);
    this.name = 'RefusedError';
  }
}

/** Which dispatches to list. */
export interface IListQuery {
  readonly status?: readonly Status[];
  readonly name?: string;
  readonly offset?: number;
  readonly count?: number;
  /** List what is below this one, instead of the outermost. */
  readonly root?: string;
}

/** Asks the Jupyter server about dispatches. */
export class Client {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
  }

  status(): Promise<DispatcherStatus> {
    return this._ask('status');
  }

  dispatches(query: IListQuery = {}): Promise<DispatchSummary[]> {
    const { status = [], name = '', offset = 0, count = 50, root = '' } = query;
    return this._ask(`dispatches${URLExt.objectToQueryString({ status: status.join(), name, offset, count, root })}`);
  }

  summary(id: string): Promise<DispatchSummary> {
    return this._ask(`dispatches/${encodeURIComponent(id)}`);
  }

  graph(id: string): Promise<Graph> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/graph`);
  }

  changes(id: string, since: number): Promise<DispatchChanges> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/changes?since=${since}`);
  }

  node(id: string, node: number): Promise<NodeDetail> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/nodes/${node}`);
  }

  cancel(id: string): Promise<DispatchSummary> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/cancel`, { method: 'POST', body: '{}' });
  }

  /** Start one that was recorded and not started. */
  start(id: string): Promise<DispatchSummary> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/start`, { method: 'POST', body: '{}' });
  }

  /** Run the recorded graph once more; with `reuse` only what has not completed. Answers with the new dispatch. */
  redispatch(id: string, reuse: boolean): Promise<DispatchSummary> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/redispatch`, { method: 'POST', body: JSON.stringify({ reuse }) });
  }

  /** How all tasks stand. */
  tasksSummary(): Promise<TasksSummary> {
    return this._ask('summary');
  }

  execution(id: string): Promise<ExecutionView> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/execution`);
  }

  /** The newest entries of the stream after number `since`, at most `last` of them. */
  stream(id: string, since: number, last: number): Promise<StreamPage> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/journal?since=${since}&last=${last}`);
  }

  /** Answer what waits for a person with the value of a JSON text, which is sent as it was written: `1.0` stays `1.0`. */
  answer(id: string, interrupt: string, request: string, json: string): Promise<ExecutionView> {
    const rest = JSON.stringify({ action: 'answer', id: interrupt, request_id: request });
    return this._wish(id, `${rest.slice(0, -1)},"plain":${json}}`);
  }

  /** Let a dispatch start nothing new, or go on. */
  pause(id: string, wanted: boolean): Promise<ExecutionView> {
    return this._wish(id, JSON.stringify({ action: wanted ? 'pause' : 'resume' }));
  }

  async delete(id: string): Promise<void> {
    await this._ask(`dispatches/${encodeURIComponent(id)}`, { method: 'DELETE' });
  }

  private _wish(id: string, body: string): Promise<ExecutionView> {
    return this._ask(`dispatches/${encodeURIComponent(id)}/journal`, { method: 'POST', body });
  }

  private async _ask<T>(path: string, init: RequestInit = {}): Promise<T> {
    // Not URLExt.join for all of it: that would escape the query.
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
      // Something between us and our server answered.
    }
    return new RefusedError(response.status, '', `The server answered ${response.status} ${response.statusText}`);
  }
}
