/**
 * Page of the bench: the view of a dispatch of thousands of nodes, from data that is already there, and what a reader does in it.
 */
import { DispatchView } from '../../labextension/src/dispatch/view';
import type { IDispatchSource, ISnapshot } from '../../labextension/src/tokens';
import { type DispatchSummary, type Edge, EdgeKind, type Node, NodeKind, type NodeState, type Status, type Timeline } from '../../labextension/src/wire';

const START = 1_700_000_000;
const WORKERS = 8;

declare const PAGE: { nodes: number; width: number };

/** Layers of `width` tasks; each takes the results of two tasks of the layer before, so that none is folded. */
function graph(): { nodes: Node[]; edges: Edge[] } {
  const { nodes: count, width } = PAGE;
  const nodes = Array.from({ length: count }, (_, at): Node => [`step_${(at * 7919) % count}`, NodeKind.ELECTRON, at, -1, -1]);
  const edges: Edge[] = [];
  for (let at = width; at < count; at++) {
    edges.push([at - width, at, 'x', EdgeKind.ARG, 0], [Math.max(0, at - width + (at % 2 ? 1 : -1)), at, 'y', EdgeKind.ARG, 1]);
  }
  return { nodes, edges };
}

function stateOf(node: number): NodeState {
  const { nodes } = PAGE;
  const at = START + node / WORKERS;
  if (node < 0.6 * nodes) {
    return [node, node % 97 === 5 ? 'failed' : 'completed', at, at + 0.5 + (node % 13) / 10, 1, null];
  }
  return node < 0.6 * nodes + WORKERS ? [node, 'running', at, null, 1, null] : [node, 'pending', null, null, 0, null];
}

function snapshot(): ISnapshot {
  const states = new Map(Array.from({ length: PAGE.nodes }, (_, node) => [node, stateOf(node)]));
  const counts: Record<Status, number> = { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0, skipped: 0 };
  states.forEach(([, status]) => counts[status]++);
  const summary = { id: 'bench', name: 'bench', status: 'running', version: 1, created_at: START, started_at: START, ended_at: null, counts, notebook: '', inputs: '', error: '', notice: '', tags: [] };
  return { summary: summary as unknown as DispatchSummary, graph: graph(), states, children: new Map(), progress: new Map(), stale: '' };
}

const timeline = (): Timeline => ({
  workers: Array.from({ length: WORKERS }, (_, at) => `host:${at}`),
  places: Array.from({ length: Math.floor(0.6 * PAGE.nodes) }, (_, node) => [node, node % WORKERS]),
  earlier: [],
  reasons: Array.from({ length: Math.floor(0.6 * PAGE.nodes) }, (_, node) => [node, 'ValueError: too deep'] as const).filter(([node]) => node % 97 === 5)
});

const frame = (): Promise<number> => new Promise(requestAnimationFrame);
const percentile = (times: readonly number[], part: number): number => [...times].sort((a, b) => a - b)[Math.floor(part * (times.length - 1))];

/** Show the dispatch; return the milliseconds from having its data to the frame that draws its graph. */
async function open(): Promise<number> {
  const known = snapshot();
  const signal = { connect: () => true, disconnect: () => true };
  const never = (): Promise<never> => new Promise(() => undefined);
  const source = {
    id: 'bench',
    snapshot: known,
    changed: signal,
    executionChanged: signal,
    node: never,
    execution: never,
    stream: never,
    timeline: () => Promise.resolve(timeline()),
    outputs: null,
    preview: null,
    tag: null
  };
  await frame();
  performance.mark('open');
  const began = performance.now();
  const view = new DispatchView({ source: source as unknown as IDispatchSource, place: 'main' });
  document.querySelector('#host')!.append(view.node);
  while (!document.querySelector('.cv-graph [role="option"]')) {
    await frame();
  }
  await frame();
  performance.mark('drawn');
  return performance.now() - began;
}

/** Zoom in and out twice by the wheel; return the milliseconds between two frames, median and 95th percentile. */
async function zoom(): Promise<readonly [number, number]> {
  performance.mark('zoom');
  const canvas = document.querySelector('.cv-graph canvas')!;
  const { x, y, width, height } = canvas.getBoundingClientRect();
  const times: number[] = [];
  let last = await frame();
  for (let step = 0; step < 80; step++) {
    const deltaY = step % 40 < 20 ? -60 : 60;
    canvas.dispatchEvent(new WheelEvent('wheel', { deltaY, clientX: x + width / 2, clientY: y + height / 2, bubbles: true, cancelable: true }));
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return [percentile(times, 0.5), percentile(times, 0.95)];
}

/** Open the table of the tasks, sort, filter, scroll, and move in it by keys. */
async function table(): Promise<void> {
  const press = (text: string): void => [...document.querySelectorAll<HTMLElement>('button')].find(button => button.textContent === text)!.click();
  performance.mark('table');
  press('Tasks');
  while (document.querySelectorAll('.cv-tableBody .cv-tableRow').length < 5) {
    await frame();
  }
  for (const column of ['Task', 'Task', 'Error', 'Took', 'Worker', 'State']) {
    press(column);
    await frame();
    await frame();
  }
  const find = document.querySelector<HTMLInputElement>('.cv-tasks input')!;
  for (const text of ['s', 'st', 'step_7', 'step_7 value', '']) {
    find.value = text;
    find.dispatchEvent(new Event('input'));
    await frame();
    await frame();
  }
  const grid = document.querySelector<HTMLElement>('[role="grid"]')!;
  for (let at = 0; at < 30; at++) {
    grid.scrollTop = (at * 7919 * 26) % grid.scrollHeight;
    await frame();
  }
  for (const key of ['Home', 'ArrowDown', 'ArrowDown', 'PageDown', 'PageDown', 'End', 'PageUp', 'Home']) {
    grid.dispatchEvent(new KeyboardEvent('keydown', { key }));
    await frame();
  }
}

Object.assign(window, { bench: { open, zoom, table } });
