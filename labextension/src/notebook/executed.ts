/**
 * Executed notebook of a run: a file beside the notebook, with the outputs as far as they have come.
 */
import { type Contents, ServerConnection } from '@jupyterlab/services';
import type { Client } from '../client';
import { executedPath } from './texts';

/** The most names that are tried. */
const MAX_NAMES = 100;

/**
 * Write the executed notebook of a run and return its path.
 *
 * A file of the same run is written again, unless it is open; no other file is ever overwritten.
 */
export async function writeExecuted(id: string, client: Client, contents: Contents.IManager, isOpen: (path: string) => boolean): Promise<string> {
  const [{ path }, content] = await Promise.all([client.notebook(id), client.executedNotebook(id)]);
  for (let number = 1; number <= MAX_NAMES; number++) {
    const target = executedPath(path, number);
    const there = await found(contents, target);
    const isSameRun = there !== null && runOf(there) === id;
    if (isSameRun && isOpen(target) && statusOf(there) === statusOf(content)) {
      return target;
    }
    if (there === null || (isSameRun && !isOpen(target))) {
      await contents.save(target, { type: 'notebook', format: 'json', content });
      return target;
    }
  }
  throw new Error(`There are ${MAX_NAMES} files like ${executedPath(path, MAX_NAMES)} already; delete those that you do not need.`);
}

async function found(contents: Contents.IManager, path: string): Promise<unknown> {
  try {
    return (await contents.get(path, { type: 'notebook', content: true })).content as unknown;
  } catch (error) {
    if (error instanceof ServerConnection.ResponseError && error.response.status === 404) {
      return null;
    }
    if (error instanceof ServerConnection.ResponseError && error.response.status === 400) {
      return {}; // a file that is no notebook
    }
    throw error;
  }
}

interface IOwn {
  readonly dispatch_id?: unknown;
  readonly status?: unknown;
}

function own(document: unknown): IOwn {
  return ((document as { metadata?: { covalab?: IOwn } } | null)?.metadata?.covalab ?? {}) as IOwn;
}

function runOf(document: unknown): unknown {
  return own(document).dispatch_id;
}

function statusOf(document: unknown): unknown {
  return own(document).status;
}

