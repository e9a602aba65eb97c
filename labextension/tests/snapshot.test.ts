/** Tests of snapshots and bundles. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBundle, withChanges } from '../src/model/snapshot';
import { readBundle } from '../src/tokens';
import type { DispatchChanges, DispatchSummary, NodeState } from '../src/wire';

const COUNTS = { pending: 2, running: 0, completed: 0, failed: 0, cancelled: 0, skipped: 0 };

function summary(version: number): DispatchSummary {
  return {
    id: 'd1',
    name: 'experiment',
    status: 'running',
    version,
    created_at: 0,
    started_at: null,
    ended_at: null,
    counts: COUNTS,
    notebook: '',
    cell: '',
    root: null,
    parent_node: -1,
    error: '',
    held: false,
    parent: null,
    inner: 0,
    waiting: 0,
    paused: false,
    notice: '',
    starts_at: null,
    schedule_id: null,
    interval: null,
    recovered: 0,
    origin: null,
    inputs: '',
    progress: null,
    tags: []
  };
}

function changes(since: number, version: number, ...nodes: NodeState[]): DispatchChanges {
  return { summary: summary(version), since, nodes, children: {}, progress: [] };
}

const GRAPH = { nodes: [], edges: [] };

test('changes add up, and the graph stays the same object', () => {
  const first = withChanges(null, changes(0, 1, [0, 'running', 1, null, 1, null], [1, 'pending', null, null, 0, null]), GRAPH);
  const second = withChanges(first, changes(1, 2, [0, 'completed', 1, 2, 1, null]), null);

  assert.equal(second.graph, GRAPH);
  assert.equal(second.states.get(0)?.[1], 'completed');
  assert.equal(second.states.get(1)?.[1], 'pending');
  assert.equal(first.states.get(0)?.[1], 'running', 'a snapshot never changes');
});

test('how far nodes are is what the last answer says', () => {
  const first = withChanges(null, { ...changes(0, 1), progress: [[0, 3, 10, 'epochs']] }, GRAPH);
  assert.deepEqual(first.progress.get(0), [0, 3, 10, 'epochs']);
  assert.equal(withChanges(first, changes(1, 1), null).progress.size, 0);
});

test('an outdated answer changes nothing', () => {
  const newer = withChanges(null, changes(0, 5, [0, 'completed', 1, 2, 1, null]), GRAPH);

  assert.equal(withChanges(newer, changes(3, 4, [0, 'running', 1, null, 1, null]), null), newer);
});

test('changes since 0 replace the states that a notebook saved', () => {
  const kept = fromBundle({ id: 'd1', summary: summary(9), graph: GRAPH, states: [[7, 'running', 1, null, 1, null]] }, 'old');
  const fresh = withChanges(kept, changes(0, 3, [0, 'running', 1, null, 1, null]), null);

  assert.deepEqual([...fresh.states.keys()], [0]);
  assert.equal(fresh.stale, '');
});

test('a malformed output is not read as a dispatch', () => {
  for (const data of [null, 3, 'x', {}, { id: 7, summary: {} }, { id: 'a' }, { id: 'a', summary: { status: 4 } }]) {
    assert.equal(readBundle(data), null);
  }
  const read = readBundle({ id: 'a', summary: summary(1), graph: { nodes: 'no' }, states: 'no' });
  assert.deepEqual([read?.graph, read?.states], [null, []]);
});

test('outputs of nodes that a notebook saved are read, malformed ones are left out', () => {
  const its = { id: 'd1', summary: summary(1), graph: null, states: [] };
  const output = { output_type: 'stream', name: 'stdout', text: 'a' };
  const nodes = [{ node: 0, name: 'fit', outputs: [output, null, 'x'], is_open: true }, null];

  assert.equal(readBundle(its)?.outputs, null);
  assert.equal(readBundle({ ...its, outputs: 'x' })?.outputs, null);
  assert.deepEqual(readBundle({ ...its, outputs: { nodes, more: 'and 3 more nodes' } })?.outputs, {
    nodes: [
      { node: 0, name: 'fit', outputs: [output], is_open: true },
      { node: NaN, name: '', outputs: [], is_open: false }
    ],
    more: 'and 3 more nodes'
  });
});
