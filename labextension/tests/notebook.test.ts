/** Tests of runs of an open notebook: which cell is which, what is written where, what is left alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IOutput as INotebookOutput } from '@jupyterlab/nbformat';
import { Signal } from '@lumino/signaling';
import { nameCells, nodeName } from '../src/graph/labels';
import { Filling } from '../src/notebook/filling';
import { executionCounts, matchCells, notebookOutputs, sourceDigest } from '../src/notebook/matching';
import { documentOf, type INotebookModel, remembered, withRemembered } from '../src/notebook/panel';
import { executedPath, runLine } from '../src/notebook/texts';
import { namesIn } from '../src/text';
import type { IDispatchSource, IOutput, ISnapshot } from '../src/tokens';
import { type DispatchSummary, type Graph, type Node, NodeKind, type NodeState, type NotebookCell, type Status } from '../src/wire';

(globalThis as { window?: unknown }).window ??= globalThis; // timers

function cellOf(id: string, node: number, text: string): NotebookCell {
  return { id, node, source_digest: sourceDigest(text) };
}

function open(id: string, text: string): { id: string; sharedModel: { getSource(): string } } {
  return { id, sharedModel: { getSource: () => text } };
}

function state(node: number, status: Status): NodeState {
  return [node, status, status === 'pending' ? null : 1, status === 'running' || status === 'pending' ? null : 2, 1, null];
}

test('a digest is that of Python', () => {
  assert.equal(sourceDigest('x = 1'), '8ff436def1451285');
  assert.equal(sourceDigest(''), 'e3b0c44298fc1c14');
});

test('cells are found by id, and by text and order where the file stores no ids', () => {
  const run = [cellOf('a', 0, 'x'), cellOf('b', 1, 'y'), cellOf('c', 2, 'y')];
  assert.deepEqual([...matchCells(run, [open('c', 'z'), open('a', 'x')]).values()], [1, 0]);
  assert.deepEqual([...matchCells(run, [open('1', 'x'), open('2', 'y'), open('3', 'new'), open('4', 'y')]).values()], [0, 1, 3]);
  assert.deepEqual([...matchCells(run, [open('a', 'y'), open('n', 'y')]).values()], [0, 1]);
});

test('execution counts are those among the cells that ran', () => {
  const run = [cellOf('a', 0, ''), cellOf('b', 2, ''), cellOf('c', 3, ''), cellOf('d', 4, '')];
  const states = new Map([state(0, 'completed'), state(2, 'skipped'), state(3, 'failed')].map(one => [one[0], one]));
  assert.deepEqual([...executionCounts(run, states)], [[0, 1], [3, 2]]); // prettier-ignore
});

test('outputs are written as nbformat allows', () => {
  const view = { 'application/vnd.jupyter.widget-view+json': {}, 'text/plain': 'bar' };
  const outputs: IOutput[] = [
    { output_type: 'stream', name: 'stdout', text: '1\r2', extra: 1 },
    { output_type: 'display_data', data: view, transient: {} },
    { output_type: 'execute_result', data: { 'text/plain': '3' }, metadata: {}, execution_count: 9 },
    { output_type: 'unknown' }
  ];
  assert.deepEqual(notebookOutputs(outputs, 2), [
    { output_type: 'stream', name: 'stdout', text: '2' },
    { output_type: 'display_data', data: { 'text/plain': 'bar' }, metadata: {} },
    { output_type: 'execute_result', data: { 'text/plain': '3' }, metadata: {}, execution_count: 2 }
  ]);
});

test('what a notebook remembers is read with care', () => {
  assert.equal(remembered({ run: 'x\n!rm -r ~' }), null);
  assert.equal(remembered([]), null);
  assert.deepEqual(remembered({ run: 'a-1', kept: ['c', 3] }), { run: 'a-1', filled: false, kept: ['c'] });
  assert.deepEqual(withRemembered({ timeout: 3, filled: true }, { run: 'b', filled: false, kept: [] }), { timeout: 3, run: 'b' });
  assert.deepEqual(withRemembered({ timeout: 3, run: 'b', kept: ['c'] }, null), { timeout: 3 });
});

test('the document that is sent has ids and no earlier run', () => {
  const json = { nbformat: 4, nbformat_minor: 4, metadata: { covalab: { run: 'a' }, k: 1 }, cells: [{ source: 'x', metadata: { trusted: true, tags: [] } }] };
  const model = { toJSON: () => json, cells: [{ id: 'i' }] } as unknown as INotebookModel;
  assert.deepEqual(documentOf(model), { nbformat: 4, nbformat_minor: 5, metadata: { k: 1 }, cells: [{ source: 'x', metadata: { tags: [] }, id: 'i' }] });
});

test('an executed notebook is beside the notebook, or at the top', () => {
  assert.equal(executedPath('a/b.ipynb', 1), 'a/b-executed.ipynb');
  assert.equal(executedPath('/home/ada/b.ipynb', 2), 'b-executed-2.ipynb');
  assert.equal(executedPath('C:\\ada\\b.ipynb', 1), 'b-executed.ipynb');
});

test('the line about a run says how far it has come', () => {
  const counts = { pending: 1, running: 1, completed: 2, failed: 0, cancelled: 0, skipped: 0 };
  const summary = { status: 'running', counts, held: false, paused: false, waiting: 0, starts_at: null, started_at: 1, ended_at: null } as unknown as DispatchSummary;
  assert.equal(runLine({ summary }, 4, 0, ''), 'Running in the background: 2 of 4 cells done');
  assert.equal(runLine({ summary: { ...summary, status: 'failed' } }, 4, 1, '[3] E: no'), 'Failed in the background: 2 of 4 cells done, 1 reused, [3] E: no');
  assert.equal(runLine({ summary: { ...summary, status: 'completed', ended_at: 3 } }, 4, 0, ''), 'Ran in the background: 4 cells in 2.0 s');
  assert.equal(runLine({ summary: { ...summary, status: 'completed', ended_at: 3 } }, 4, 3, ''), 'Ran in the background: 4 cells in 2.0 s, 3 reused');
});

test('nodes of a run have the numbers of their cells, and no names that were made up', () => {
  const settings = [false, true].map(session => ['', {}, 0, null, '', '', [[], 0, 1, 0, 0], session, null] as unknown as Graph['settings'][number]);
  const named = (name: string, kind: NodeKind = NodeKind.ELECTRON, its = 1): Node => [name, kind, 0, -1, its];
  const nodes = [named('make_a'), named('cell_2'), named(':parameter:1', NodeKind.PARAMETER, -1), named('cell'), named('other', NodeKind.ELECTRON, 0)];
  nameCells({ nodes, settings });
  assert.deepEqual(nodes.map((_, node) => nodeName({ nodes, edges: [] }, node)), ['[1] make_a', '[2]', '1', '[3]', 'other']); // prettier-ignore
  assert.equal(namesIn('<names after cell 3: a, b>'), 'a, b');
  assert.equal(namesIn('<names after cell 3: a, lo…'), 'a, lo…');
  assert.equal(namesIn('<Figure size 4x3>'), '<Figure size 4x3>');
});

/** Outputs of a cell, as JupyterLab's model changes them. */
class FakeOutputs {
  readonly changed = new Signal<this, { type: string }>(this);
  items: INotebookOutput[] = [];

  get length(): number {
    return this.items.length;
  }

  get(at: number): { toJSON(): INotebookOutput } {
    return { toJSON: () => this.items[at] };
  }

  add(output: INotebookOutput): void {
    this.items.push(output);
    this.changed.emit({ type: 'add' });
  }

  set(at: number, output: INotebookOutput): void {
    this.items[at] = output;
    this.changed.emit({ type: 'set' });
  }

  clear(): void {
    this.items = [];
    this.changed.emit({ type: 'remove' });
  }
}

class FakeCell {
  readonly type = 'code';
  readonly outputs = new FakeOutputs();
  readonly sharedModel = { getSource: () => this.text };
  executionCount: number | null = null;
  executionState = 'idle';
  trusted = false;

  constructor(
    readonly id: string,
    public text: string
  ) {}

  get shown(): string {
    return this.outputs.items.map(output => String(output['text'])).join('|');
  }
}

/** A run of cells that each print their text, and a notebook with them. */
class Fake {
  readonly cells: FakeCell[];
  readonly changed = new Signal<this, void>(this);
  readonly contentChanged = new Signal<this, void>(this);
  readonly filling: Filling;
  snapshot: ISnapshot | null = null;

  constructor(...texts: string[]) {
    this.cells = texts.map((text, at) => new FakeCell(`c${at}`, text));
    const run = texts.map((text, at) => cellOf(`c${at}`, at, text));
    const outputs = (node: number): Promise<unknown> => {
      const is_final = this.snapshot?.states.get(node)?.[1] !== 'running';
      return Promise.resolve({ outputs: [{ output_type: 'stream', name: 'stdout', text: `ran ${texts[node]}` }], first: 0, number: is_final ? 2 : 1, is_final });
    };
    const source = { outputs, changed: this.changed, dispose: () => undefined } as unknown as IDispatchSource;
    Object.defineProperty(source, 'snapshot', { get: () => this.snapshot });
    const model = { cells: this.cells, contentChanged: this.contentChanged } as unknown as INotebookModel;
    this.filling = new Filling({ model, source, cells: run, kept: [] });
  }

  states(...statuses: Status[]): void {
    const ended = statuses.every(status => status !== 'pending' && status !== 'running');
    const summary = { status: ended ? 'completed' : 'running' } as DispatchSummary;
    this.snapshot = { summary, graph: null, states: new Map(statuses.map((status, node) => [node, state(node, status)])), children: new Map(), progress: new Map(), stale: '' };
    this.changed.emit();
  }

  async until(condition: () => boolean): Promise<void> {
    for (let round = 0; round < 1000 && !condition(); round++) {
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    assert.ok(condition());
  }
}

test('each output comes into its own cell, and the run is filled at its end', async () => {
  const fake = new Fake('a', 'b');
  fake.states('running', 'pending');
  await fake.until(() => fake.cells[0].shown === 'ran a');
  assert.deepEqual([fake.cells[0].executionState, fake.cells[0].executionCount, fake.cells[0].trusted], ['running', null, true]);
  assert.equal(fake.filling.cells.get('c1')?.phase, 'pending');
  fake.states('completed', 'completed');
  await fake.until(() => fake.filling.isFilled);
  assert.deepEqual(fake.cells.map(({ shown, executionCount, executionState }) => [shown, executionCount, executionState]), [['ran a', 1, 'idle'], ['ran b', 2, 'idle']]); // prettier-ignore
  assert.deepEqual(fake.filling.kept, []);
  fake.filling.dispose();
});

test('a cell with another text is left alone until it is asked for', async () => {
  const fake = new Fake('a', 'b');
  fake.cells[1].text = 'new';
  fake.states('completed', 'completed');
  await fake.until(() => fake.filling.cells.get('c1')?.canShow === true && fake.cells[0].shown === 'ran a');
  assert.equal(fake.filling.cells.get('c1')?.remark, 'stale');
  assert.equal(fake.cells[1].shown, '');
  assert.equal(fake.filling.isFilled, false);
  fake.filling.show('c1');
  await fake.until(() => fake.filling.isFilled);
  assert.equal(fake.cells[1].shown, 'ran b');
  assert.equal(fake.filling.cells.get('c1')?.remark, 'shown');
  fake.filling.dispose();
});

test('an output whose cell is changed after the run is of an older text', async () => {
  const fake = new Fake('a', 'b');
  fake.states('completed', 'completed');
  await fake.until(() => fake.filling.isFilled);
  fake.cells[1].text = 'new';
  fake.contentChanged.emit();
  await fake.until(() => fake.filling.cells.get('c1')?.remark === 'shown');
  assert.deepEqual([fake.cells[1].shown, fake.filling.cells.get('c0')?.remark, fake.filling.isFilled], ['ran b', 'none', true]);
  fake.cells[1].text = 'b';
  fake.contentChanged.emit();
  await fake.until(() => fake.filling.cells.get('c1')?.remark === 'none');
  fake.filling.dispose();
});

test('a cell whose text is as it was again goes on', async () => {
  const fake = new Fake('a');
  fake.cells[0].text = 'new';
  fake.states('running');
  await fake.until(() => fake.filling.cells.get('c0')?.remark === 'stale');
  fake.cells[0].text = 'a';
  fake.contentChanged.emit();
  await fake.until(() => fake.cells[0].shown === 'ran a');
  fake.filling.dispose();
});

test('a cell that a kernel runs meanwhile keeps the output of the kernel', async () => {
  const fake = new Fake('a', 'b');
  fake.states('completed', 'pending');
  await fake.until(() => fake.cells[0].shown === 'ran a');
  fake.cells[1].outputs.add({ output_type: 'stream', name: 'stdout', text: 'by the kernel' });
  fake.states('completed', 'completed');
  await fake.until(() => fake.filling.isFilled && fake.filling.cells.get('c1')?.canShow === true);
  assert.deepEqual([fake.cells[1].shown, fake.filling.cells.get('c1')?.remark, fake.filling.kept], ['by the kernel', 'kept', ['c1']]);
  fake.filling.show('c1');
  await fake.until(() => fake.cells[1].shown === 'ran b');
  fake.filling.dispose();
});
