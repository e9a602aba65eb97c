/**
 * Schedule of a dispatch: which node ran when and where, how long it waited, the critical path, and where the time went.
 *
 * Pure. The critical path goes from the node that ended last back over the input that each node got last, so its runs
 * and waits together are the whole time of the dispatch.
 */
import { isPlumbing } from '../graph/shape';
import { workerLabels } from '../text';
import { type DispatchSummary, type Edge, type Node, NodeKind, type NodeState, type Status, type Timeline } from '../wire';

/** Input of a schedule. `timeline` is null where it could not be read: then it is not known which worker ran what. */
export interface IScheduleInput {
  readonly nodes: readonly Node[];
  readonly edges: readonly Edge[];
  readonly states: ReadonlyMap<number, NodeState>;
  readonly timeline: Timeline | null;
  readonly summary: Pick<DispatchSummary, 'created_at' | 'started_at' | 'ended_at' | 'status'>;
}

/** One run of a node. Times are seconds since the epoch; `end` is null while it runs. */
export interface IBar {
  readonly node: number;
  readonly lane: number;
  /** Line within the lane: runs at the same time are below each other. */
  readonly row: number;
  readonly start: number;
  readonly end: number | null;
  readonly status: Status;
  /** `earlier`: a run that was followed by another. `reused`: an earlier dispatch's run stands for it. */
  readonly kind: 'run' | 'earlier' | 'reused';
  /** The moment from which on it could have run: its inputs were there. */
  readonly ready: number;
  readonly isCritical: boolean;
}

/** One line of the timeline: a worker, or what needs none. */
export interface ILane {
  readonly name: string;
  readonly title: string;
  readonly rows: number;
}

/** Seconds of the critical path by what they were spent on. */
export interface IAccount {
  /** Tasks ran. */
  readonly run: number;
  /** Before the first task began: workers started. */
  readonly start: number;
  /** A task could have run, and none of the workers was free. */
  readonly worker: number;
  /** Runs that failed, and the waits after them. */
  readonly rerun: number;
  /** A person had not answered. */
  readonly person: number;
}

/** Number of nodes that wait for a worker, from a moment on. */
export type WaitStep = readonly [at: number, waiting: number];

/** A schedule. */
export interface ISchedule {
  readonly lanes: readonly ILane[];
  readonly bars: readonly IBar[];
  readonly start: number;
  /** Null while the dispatch goes on. */
  readonly end: number | null;
  /** Drawn nodes of the critical path, the first first. */
  readonly path: readonly number[];
  readonly account: IAccount;
  readonly waiting: readonly WaitStep[];
  readonly workers: number;
}

/** Return the schedule as of `now`. */
export function scheduleOf(input: IScheduleInput, now: number): ISchedule {
  const { summary, states } = input;
  const start = summary.started_at ?? summary.created_at;
  const times = Private.timesOf(input, start);
  const path = Private.pathOf(times, states);
  const critical = new Set(path);
  const { lanes, bars, workers } = Private.barsOf(input, times, critical);
  const last = Math.max(start, ...path.map(node => states.get(node)?.[3] ?? now));
  return {
    lanes,
    bars,
    start,
    end: summary.ended_at ?? (Private.TERMINAL.has(summary.status) ? last : null),
    path: path.filter(node => !isPlumbing(input.nodes[node][1])),
    account: Private.accountOf(input, times, path, start, now),
    waiting: Private.waitsOf(input, times, now),
    workers
  };
}

/**
 * Return how long a dispatch would have taken with so many workers, by sending what is ready, first come first served.
 *
 * It is compared with the same figure for another number of workers, so that what it leaves out does not count.
 */
export function simulate(input: IScheduleInput, workers: number): number {
  const { nodes, edges, states } = input;
  const { parents, children } = Private.linksOf(nodes, edges);
  const missing = parents.map(list => list.length);
  const ready = new Float64Array(nodes.length);
  const queue = new Private.Heap();
  const free = new Private.Heap();
  for (let worker = 0; worker < Math.min(workers, nodes.length); worker++) {
    free.push(0, worker);
  }
  missing.forEach((count, node) => count === 0 && queue.push(0, node));
  let end = 0;
  for (let next = queue.pop(); next !== null; next = queue.pop()) {
    const [at, node] = next;
    const [, , started, ended] = states.get(node) ?? [node, 'pending', null, null];
    const seconds = started !== null && ended !== null ? ended - started : 0;
    let finish = at;
    if (seconds > 0) {
      const [idle, worker] = free.pop()!;
      finish = Math.max(at, idle) + seconds;
      free.push(finish, worker);
    }
    end = Math.max(end, finish);
    for (const child of children[node]) {
      ready[child] = Math.max(ready[child], finish);
      if (--missing[child] === 0) {
        queue.push(ready[child], child);
      }
    }
  }
  return end;
}

namespace Private {
  export const TERMINAL: ReadonlySet<Status> = new Set<Status>(['completed', 'failed', 'cancelled', 'skipped']);

  export interface ILinks {
    readonly parents: readonly (readonly number[])[];
    readonly children: readonly (readonly number[])[];
    /** Parents before children. */
    readonly order: readonly number[];
  }

  export interface ITimes {
    /** Moment at which the inputs of a node were there; infinite as long as one is missing. */
    readonly ready: Float64Array;
    /** The input that came last: the node whose end that was; -1: none. */
    readonly blocker: Int32Array;
    /** Start of the first run of a node; not a number: none has begun. */
    readonly first: Float64Array;
  }

  const known = new WeakMap<readonly Edge[], ILinks>();

  export function linksOf(nodes: readonly Node[], edges: readonly Edge[]): ILinks {
    const found = known.get(edges);
    if (found) {
      return found;
    }
    const parents: number[][] = nodes.map(() => []);
    const children: number[][] = nodes.map(() => []);
    for (const [source, target] of edges) {
      parents[target].push(source);
      children[source].push(target);
    }
    const missing = parents.map(list => list.length);
    const order: number[] = [];
    missing.forEach((count, node) => count === 0 && order.push(node));
    for (const node of order) {
      children[node].forEach(child => --missing[child] === 0 && order.push(child));
    }
    const links = { parents, children, order };
    known.set(edges, links);
    return links;
  }

  export function timesOf({ nodes, edges, states, timeline }: IScheduleInput, start: number): ITimes {
    const { parents, order } = linksOf(nodes, edges);
    const ready = new Float64Array(nodes.length);
    const finish = new Float64Array(nodes.length);
    const blocker = new Int32Array(nodes.length).fill(-1);
    const first = new Float64Array(nodes.length).fill(NaN);
    states.forEach(([node, , started]) => (first[node] = started ?? NaN));
    timeline?.earlier.forEach(([node, , started]) => (first[node] = Number.isNaN(first[node]) ? started : Math.min(first[node], started)));
    for (const node of order) {
      ready[node] = start;
      for (const parent of parents[node]) {
        // A node without times (a parameter, a collection) passes on what it waited for itself.
        if (finish[parent] > ready[node]) {
          ready[node] = finish[parent];
          blocker[node] = hasTimes(states.get(parent)) ? parent : blocker[parent];
        }
      }
      const state = states.get(node);
      finish[node] = hasTimes(state) ? (state![3] ?? Infinity) : isVirtual(nodes[node]) ? ready[node] : Infinity;
    }
    return { ready, blocker, first };
  }

  function isVirtual([, kind, fn]: Node): boolean {
    return kind === NodeKind.PARAMETER || kind === NodeKind.LIST || kind === NodeKind.DICT || (kind === NodeKind.OUTPUT && fn < 0);
  }

  function hasTimes(state: NodeState | undefined): boolean {
    return (state?.[2] ?? null) !== null;
  }

  function isReused(state: NodeState): boolean {
    return state[1] === 'completed' && state[4] === 0;
  }

  /** Return the critical path so far: to what runs for longest, or else to what ended last. */
  export function pathOf({ blocker }: ITimes, states: ReadonlyMap<number, NodeState>): number[] {
    let last = -1;
    let lastStart = Infinity;
    let lastEnd = -Infinity;
    for (const state of states.values()) {
      const [node, status, started, ended] = state;
      if (status === 'running' && started !== null) {
        if (started < lastStart) {
          [last, lastStart, lastEnd] = [node, started, Infinity];
        }
      } else if (started !== null && ended !== null && ended > lastEnd) {
        [last, lastEnd] = [node, ended];
      }
    }
    const path: number[] = [];
    for (let node = last; node >= 0; node = blocker[node]) {
      path.push(node);
    }
    return path.reverse();
  }

  /** Share the time along the path among what it was spent on. */
  export function accountOf({ nodes, states }: IScheduleInput, { first, ready }: ITimes, path: readonly number[], start: number, now: number): IAccount {
    const account = { run: 0, start: 0, worker: 0, rerun: 0, person: 0 };
    let begun = Infinity;
    states.forEach(state => {
      // Parameters count as begun when the dispatch does, and what was reused never began.
      if (!isPlumbing(nodes[state[0]][1]) && !isReused(state) && first[state[0]] < begun) {
        begun = first[state[0]];
      }
    });
    let cursor = start;
    for (const node of path) {
      const state = states.get(node)!;
      const since = Math.max(cursor, ready[node]);
      const began = Math.max(since, first[node]);
      const started = Math.max(began, state[2]!);
      const ended = Math.max(started, state[3] ?? now);
      const isAsked = nodes[node][1] === NodeKind.PAUSE;
      account[isAsked ? 'person' : began <= begun ? 'start' : 'worker'] += began - since;
      account.rerun += started - began;
      account[isAsked ? 'person' : 'run'] += ended - started;
      cursor = ended;
    }
    return account;
  }

  /** Return how many nodes waited for a worker, over time. */
  export function waitsOf({ nodes, states }: IScheduleInput, { first, ready }: ITimes, now: number): WaitStep[] {
    const begins: number[] = [];
    const ends: number[] = [];
    for (let node = 0; node < nodes.length; node++) {
      const kind = nodes[node][1];
      const state = states.get(node);
      const never = state !== undefined && (TERMINAL.has(state[1]) || state[5] !== null) && Number.isNaN(first[node]);
      if (isPlumbing(kind) || kind === NodeKind.PAUSE || ready[node] === Infinity || never || (state && isReused(state))) {
        continue;
      }
      const until = Number.isNaN(first[node]) ? now : first[node];
      if (until > ready[node]) {
        begins.push(ready[node]);
        ends.push(until);
      }
    }
    const sorted = [Float64Array.from(begins).sort(), Float64Array.from(ends).sort()];
    const steps: WaitStep[] = [];
    for (let began = 0, ended = 0; ended < ends.length; ) {
      const at = Math.min(sorted[0][began] ?? Infinity, sorted[1][ended]);
      while (sorted[0][began] === at) {
        began++;
      }
      while (sorted[1][ended] === at) {
        ended++;
      }
      steps.push([at, began - ended]);
    }
    return steps;
  }

  /** A bar before its lane and row are known. */
  type Run = { -readonly [key in keyof IBar]: IBar[key] } & { readonly place: string };

  export function barsOf(input: IScheduleInput, times: ITimes, critical: ReadonlySet<number>): { lanes: ILane[]; bars: IBar[]; workers: number } {
    const runs = runsOf(input, times, critical);
    const names = workerLabels(input.timeline?.workers ?? []);
    const used = new Set(runs.map(({ place }) => place));
    const workers = [...names.keys()].map(name => `w${name}`).filter(place => used.has(place));
    const places = [...workers, ...['', 'sublattices', 'people', 'reused'].filter(place => used.has(place))];
    const titles: Readonly<Record<string, readonly [string, string]>> = {
      '': workers.length > 0 ? ['Others', 'It is not known which worker ran these'] : ['Tasks', 'It is not known which workers ran these'],
      sublattices: ['Sublattices', 'Dispatches of their own'],
      people: ['People', 'Waits for an answer'],
      reused: ['Reused', 'An earlier run stands for these']
    };
    const rows = places.map((): number[] => []);
    const laneOf = new Map(places.map((place, lane) => [place, lane]));
    // Changed in place: with ten thousand runs, a copy of each is most of the work.
    runs.sort((a, b) => a.start - b.start || a.node - b.node);
    for (const run of runs) {
      run.lane = laneOf.get(run.place)!;
      run.row = rowFor(rows[run.lane], run.start, run.end ?? Infinity);
    }
    const lanes = places.map((place, lane): ILane => {
      const [name, title] = titles[place] ?? [names.get(place.slice(1))!, place.slice(1)];
      return { name, title, rows: rows[lane].length };
    });
    return { lanes, bars: runs, workers: workers.length };
  }

  function runsOf({ nodes, states, timeline }: IScheduleInput, { ready }: ITimes, critical: ReadonlySet<number>): Run[] {
    const workerOf = new Map(timeline?.places ?? []);
    const labels = (timeline?.workers ?? []).map(worker => `w${worker}`);
    const place = (node: number, worker: number | undefined): string => {
      const kind = nodes[node][1];
      const fixed = kind === NodeKind.PAUSE ? 'people' : kind === NodeKind.SUBLATTICE ? 'sublattices' : '';
      return fixed || (labels[worker ?? -1] ?? '');
    };
    const runs: Run[] = [];
    for (const state of states.values()) {
      const [node, status, start, end] = state;
      // Item access and the like run with their producer, and are not drawn in the graph either.
      if (node >= nodes.length || start === null || (isPlumbing(nodes[node][1]) && status !== 'failed')) {
        continue;
      }
      const reused = isReused(state);
      runs.push({
        node,
        start,
        end,
        status,
        kind: reused ? 'reused' : 'run',
        ready: ready[node],
        isCritical: critical.has(node) && !reused,
        lane: 0,
        row: 0,
        place: reused ? 'reused' : place(node, workerOf.get(node))
      });
    }
    for (const [node, worker, start, end, status] of timeline?.earlier ?? []) {
      runs.push({ node, start, end, status, kind: 'earlier', ready: ready[node], isCritical: critical.has(node), lane: 0, row: 0, place: place(node, worker) });
    }
    return runs;
  }

  /** Return the first row that is free from `start` on, and occupy it until `end`. */
  function rowFor(rows: number[], start: number, end: number): number {
    const found = rows.findIndex(busy => busy <= start + 1e-4);
    const row = found < 0 ? rows.length : found;
    rows[row] = Math.max(end, start);
    return row;
  }

  /** Priority queue of numbers by a key; of equal keys, the smaller number first. */
  export class Heap {
    push(key: number, value: number): void {
      const items = this._items;
      let at = items.push([key, value]) - 1;
      while (at > 0) {
        const parent = (at - 1) >> 1;
        if (!before(items[at], items[parent])) {
          return;
        }
        [items[at], items[parent]] = [items[parent], items[at]];
        at = parent;
      }
    }

    pop(): [number, number] | null {
      const items = this._items;
      if (items.length === 0) {
        return null;
      }
      const top = items[0];
      const last = items.pop()!;
      if (items.length > 0) {
        items[0] = last;
        this._sink();
      }
      return top;
    }

    private _sink(): void {
      const items = this._items;
      for (let at = 0; ; ) {
        const left = 2 * at + 1;
        const right = left + 1;
        let least = at;
        if (left < items.length && before(items[left], items[least])) {
          least = left;
        }
        if (right < items.length && before(items[right], items[least])) {
          least = right;
        }
        if (least === at) {
          return;
        }
        [items[at], items[least]] = [items[least], items[at]];
        at = least;
      }
    }

    private readonly _items: [number, number][] = [];
  }

  function before(a: readonly [number, number], b: readonly [number, number]): boolean {
    return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
  }
}
