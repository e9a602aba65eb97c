/** Tests of the outputs of a node: folding of text, pages, the reader, the line about a cell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { folded } from '../src/cell/folding';
import { cellLine } from '../src/cell/state';
import { NOTHING_READ, OutputsReader, withPage } from '../src/model/outputs';
import { RefusedError } from '../src/refusal';
import { type ICellBundle, type IOutput, type IOutputsPage, type ISnapshot, readCellBundle } from '../src/tokens';
import type { DispatchSummary, NodeState, Status } from '../src/wire';

function stream(text: string): IOutput {
  return { output_type: 'stream', name: 'stdout', text };
}

function page(outputs: IOutput[], first: number, number: number, is_final = false): IOutputsPage {
  return { outputs, first, number, is_final };
}

/** Wait until a condition holds. */
async function until(condition: () => boolean): Promise<void> {
  for (let round = 0; round < 500 && !condition(); round++) {
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  assert.ok(condition());
}

test('text is folded as on a terminal', () => {
  assert.equal(folded('10 %\r20 %\r30 %\n'), '30 %\n');
  assert.equal(folded('\r  0%|    |\r100%|====|\ndone'), '100%|====|\ndone');
  assert.equal(folded('1/10\b\b\b\b2/10'), '2/10');
  assert.equal(folded('longer\rab'), 'abnger');
  assert.equal(folded('a\r\nb'), 'a\nb');
  assert.equal(folded('\x1b[31mred\x1b[0m\r\x1b[32mgo\x1b[0m'), '\x1b[32mgo\x1b[0m');
  assert.equal(folded('ends\r'), 'ends');
  assert.equal(folded('\b\bx'), 'x');
});

test('a page replaces the tail', () => {
  const first = withPage(NOTHING_READ, page([stream('a'), stream('b')], 0, 2))!;
  const longer = withPage(first, page([stream('bc'), stream('d')], 1, 3))!;
  const cleared = withPage(longer, page([], 0, 4))!;

  assert.deepEqual(longer.outputs, [stream('a'), stream('bc'), stream('d')]);
  assert.equal(longer.outputs[0], first.outputs[0]);
  assert.deepEqual(cleared.outputs, []);
  assert.equal(withPage(cleared, page([stream('x')], 3, 5)), null, 'there is a gap');
});

test('a page without a change leaves the outputs as they are', () => {
  const known = withPage(NOTHING_READ, page([stream('a')], 0, 1))!;

  assert.equal(withPage(known, page([], 1, 1, true))!.outputs, known.outputs);
  assert.equal(withPage(known, page([], 0, 1, true))!.outputs, known.outputs);
});

test('the reader follows until all is read', async () => {
  const pages = [page([stream('a')], 0, 1), page([], 1, 1), page([stream('ab')], 0, 2), page([], 1, 3, true)];
  const asked: number[] = [];
  const reader = new OutputsReader(since => {
    asked.push(since);
    return Promise.resolve(pages.shift()!);
  });
  const seen: string[] = [];
  reader.changed.connect(() => seen.push(reader.known.outputs.map(({ text }) => text).join()));

  reader.follow(false);
  await until(() => reader.known.isFinal);
  reader.follow(true);
  await new Promise(resolve => setTimeout(resolve, 50));

  assert.deepEqual(asked, [0, 1, 1, 2]);
  assert.deepEqual(seen, ['a', 'ab', 'ab']);
  reader.dispose();
});

test('the reader begins anew when a page does not continue what it has', async () => {
  const reader = new OutputsReader(since => Promise.resolve(since === 5 ? page([stream('z')], 4, 2) : page([stream('y'), stream('z')], 0, 2, true)));
  reader.accept({ outputs: [stream('x')], number: 5, isFinal: false });

  reader.follow(true);
  await until(() => reader.known.isFinal);

  assert.deepEqual(reader.known.outputs, [stream('y'), stream('z')]);
  reader.dispose();
});

test('the reader stops where the server does not know the outputs, and goes on after other errors', async () => {
  let asked = 0;
  const refused = new OutputsReader(() => {
    asked++;
    return Promise.reject(new RefusedError(404, 'not_found', 'no such dispatch'));
  });
  refused.follow(false);
  await until(() => asked === 1);
  refused.follow(true);
  await new Promise(resolve => setTimeout(resolve, 600));
  assert.equal(asked, 1);
  assert.equal(refused.wasRead, false);
  refused.dispose();

  let failures = 1;
  const lost = new OutputsReader(() => (failures-- > 0 ? Promise.reject(new Error('no connection')) : Promise.resolve(page([], 0, 1, true))));
  lost.follow(false);
  await until(() => lost.known.isFinal);
  lost.dispose();
});

test('what the kernel brings is taken over only if it is newer', () => {
  const reader = new OutputsReader(() => Promise.reject(new Error('not asked')));
  const known = (text: string, number: number, isFinal = false): void => reader.accept({ outputs: [stream(text)], number, isFinal });

  known('b', 2);
  known('a', 1);
  assert.deepEqual(reader.known.outputs, [stream('b')]);
  known('c', 2, true);
  assert.deepEqual(reader.known.outputs, [stream('c')]);
  known('d', 3);
  assert.deepEqual(reader.known.outputs, [stream('c')], 'nothing comes after the final outputs');
  reader.dispose();
});

function bundle(fields: Partial<ICellBundle> = {}): ICellBundle {
  const given = { state: 'running', is_final: false, started_at: 100, ended_at: null, seen_at: 105, message: '' } as const;
  return { id: 'd', node: 0, name: 'fit', outputs: [], n_cut: 0, number: 1, ...given, ...fields };
}

function live(state: NodeState | null, status: Status = 'running', stale = ''): ISnapshot {
  const summary = { status, error: '' } as DispatchSummary;
  return { summary, graph: null, states: new Map(state ? [[0, state]] : []), children: new Map(), progress: new Map(), stale };
}

const ERROR: IOutput = { output_type: 'error', ename: 'ValueError', evalue: 'bad\nmore', traceback: [] };

test('the line of a cell is that of the server while the cell runs', () => {
  const text = (snapshot: ISnapshot | null, fields: Partial<ICellBundle> = {}, outputs: IOutput[] = []): string => cellLine(bundle(fields), snapshot, outputs, 112).text;

  assert.equal(text(live(null), { state: 'waiting', message: 'for `loss`' }), 'waiting for `loss`');
  assert.equal(text(live(null), { state: 'waiting' }), 'waiting for a worker');
  assert.equal(text(live([0, 'running', 100, null, 1, null]), { state: 'waiting' }), 'running 12 s');
  assert.equal(text(live([0, 'pending', null, null, 1, 115])), 'runs again in 3 s');
  assert.equal(text(live([0, 'completed', 100, 103.2, 1, null], 'completed')), 'done in 3.2 s');
  assert.equal(text(live([0, 'failed', 100, 103.2, 1, null], 'failed'), {}, [ERROR]), 'failed after 3.2 s: ValueError: bad');
  assert.equal(text(live([0, 'cancelled', 100, 103.2, 1, null], 'cancelled')), 'cancelled after 3.2 s');
  assert.equal(text(null, { seen_at: 111 }), 'running 12 s', 'the kernel has just said so');
});

test('the line of a cell that has ended is what the kernel said', () => {
  const line = cellLine(bundle({ state: 'done', ended_at: 103.2, message: 'set `x`' }), live([0, 'completed', 100, 103.2, 1, null], 'completed'), [], 112);

  assert.deepEqual(line, { state: 'done', text: 'done in 3.2 s, set `x`', isTicking: false, canStop: false });
});

test('an old state that nobody can confirm says of when it is', () => {
  const alone = cellLine(bundle(), null, [], 4000);
  const lost = cellLine(bundle(), live([0, 'running', 100, null, 1, null], 'running', 'Shown as last seen'), [], 4000);

  assert.match(alone.text, /^running 5 s, as of /);
  assert.match(lost.text, /^running 5 s, as of .* \(the server does not answer\)$/);
  assert.deepEqual([alone.isTicking, alone.canStop, lost.canStop], [false, false, false]);
});

test('a malformed cell is not read, and odd parts of one are left out', () => {
  assert.equal(readCellBundle(null), null);
  assert.equal(readCellBundle({ id: 'd', node: 0, state: 'lost' }), null);
  assert.equal(readCellBundle({ id: 3, node: 0, state: 'done' }), null);
  const read = readCellBundle({ id: 'd', node: 0, state: 'done', outputs: [stream('a'), null, 3, {}], number: 'x' })!;
  assert.deepEqual([read.outputs, read.number, read.is_final, read.message], [[stream('a')], 0, false, '']);
});
