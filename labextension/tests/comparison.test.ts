import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diffLines, isSame, lineKind, ratioLabel, verdict } from '../src/comparison/text';
import { commitLabel } from '../src/dispatch/provenanceText';
import type { DifferenceView, NodePair, SideNode } from '../src/wire';

function node(digest: string): SideNode {
  return { name: 'f', status: 'completed', seconds: 1, digest, text: '', node: 0, type: 'int', function: 'f' };
}

const SAME: NodePair = { name: 'f', left: node('a'), right: node('a') };
const OTHER: NodePair = { name: 'f', left: node('a'), right: node('b') };
const FAILED: NodePair = { name: 'f', left: node('a'), right: node('') };
const GONE: NodePair = { name: 'f', left: null, right: node('b') };

function view(parts: Partial<DifferenceView>): DifferenceView {
  return { arguments: {}, code: {}, versions: {}, nodes: [], more_nodes: 0, more_arguments: 0, ...parts } as DifferenceView;
}

test('outputs are the same, differ, or are not both there', () => {
  assert.deepEqual([SAME, OTHER, FAILED, GONE].map(isSame), [true, false, null, null]);
});

test('one line says in which respects two dispatches differ', () => {
  assert.equal(verdict(view({ nodes: [SAME] })), 'Inputs, code, versions and outputs are the same.');
  assert.equal(
    verdict(view({ arguments: { x: ['1', '2'] }, code: { f: '', g: '' }, versions: { numpy: ['1', null] }, nodes: [SAME, OTHER], more_nodes: 1000 })),
    'Different: 1 input, 2 pieces of code, 1 version, 1 of 1,002 outputs.'
  );
  assert.equal(verdict(view({ nodes: [SAME, FAILED] })), '1 node has no output on one side or both.');
  assert.equal(verdict(view({ nodes: [OTHER, FAILED, GONE] })), 'Different: 1 of 3 outputs. 2 nodes have no output on one side or both.');
});

test('lines of a difference have their kinds, and its heads are left out', () => {
  const text = '--- f\n+++ f\n@@ -1,2 +1,2 @@\n x = 1\n-y = 1\n+y = 2';
  assert.deepEqual(diffLines(text).map(lineKind), ['place', 'same', 'removed', 'added']);
});

test('how much longer it took is said where it is worth a word', () => {
  assert.deepEqual(
    [ratioLabel(1, 2), ratioLabel(2, 0.5), ratioLabel(1, 1.1), ratioLabel(0.001, 0.004), ratioLabel(null, 1), ratioLabel(0, 1), ratioLabel(1, 40)],
    ['2.0 × as long', '0.3 × as long', '', '', '', '', '40 × as long']
  );
});

test('a commit is one line', () => {
  const git = { commit: '4f1d2c90ab77', branch: 'main', dirty: true, remote: '' };
  assert.equal(commitLabel(git), '4f1d2c90ab · main · with uncommitted changes');
  assert.equal(commitLabel({ ...git, dirty: null, branch: '' }), '4f1d2c90ab');
  assert.equal(commitLabel({ ...git, commit: '', dirty: false }), 'no commit yet · main · unchanged');
});
