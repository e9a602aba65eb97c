/**
 * Box states: what each box of a scene shows. Counted once for each change of the states, not for each picture.
 */
import { STATUSES } from '../text';
import type { NodeState, Status } from '../wire';
import type { IScene } from './scene';

/** Least length of a part of a bar that needs a reader. */
const LEAST_PART = 4;

type States = ReadonlyMap<number, NodeState>;

/** Number of members by status. */
export type StatusCounts = Readonly<Record<Status, number>>;

/** What the boxes of a scene show, in the order of its boxes. */
export interface IBoxStates {
  readonly status: readonly Status[];
  /** Of groups; null for boxes of one node. */
  readonly counts: readonly (StatusCounts | null)[];
  /** The boxes of each status. */
  readonly byStatus: ReadonlyMap<Status, readonly number[]>;
}

/** Count the members of a unit by status. */
export function countMembers(members: readonly number[], states: States): StatusCounts {
  const counts: Record<Status, number> = { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0, skipped: 0 };
  for (const member of members) {
    counts[states.get(member)?.[1] ?? 'pending']++;
  }
  return counts;
}

/** Return the status that a group shows: the most urgent one of its members, in the order failed, running, pending, ended. */
export function leadingStatus(counts: StatusCounts): Status {
  const order: readonly Status[] = ['failed', 'running', 'pending', 'cancelled', 'skipped', 'completed'];
  // Between two of its tasks a group has none that runs, but it is under way.
  if (counts.failed === 0 && counts.pending > 0 && counts.completed > 0) {
    return 'running';
  }
  return order.find(status => counts[status] > 0) ?? 'pending';
}

/** Return the lengths of the parts of a bar, in the order of `STATUSES`; what needs a reader is never too short to be seen. */
export function barParts(counts: StatusCounts, length: number): ReadonlyMap<Status, number> {
  const all = STATUSES.reduce((sum, status) => sum + counts[status], 0);
  const parts = new Map(STATUSES.filter(status => counts[status] > 0).map(status => [status, (length * counts[status]) / all]));
  const longest = [...parts].reduce((most, part) => (part[1] > most[1] ? part : most))[0];
  for (const status of ['failed', 'running', 'cancelled'] as const) {
    const missing = LEAST_PART - (parts.get(status) ?? LEAST_PART);
    if (missing > 0) {
      parts.set(status, LEAST_PART);
      parts.set(longest, parts.get(longest)! - missing);
    }
  }
  return parts;
}

const known = new WeakMap<IScene, { readonly states: States; readonly boxes: IBoxStates }>();

/** Return what the boxes of a scene show; the same object until scene or states are other ones. */
export function boxStates(scene: IScene, states: States): IBoxStates {
  const last = known.get(scene);
  if (last?.states === states) {
    return last.boxes;
  }
  const status: Status[] = [];
  const counts: (StatusCounts | null)[] = [];
  const byStatus = new Map<Status, number[]>();
  scene.boxes.forEach(({ unit: { kind, members } }, box) => {
    const counted = kind === 'group' ? countMembers(members, states) : null;
    const shown = counted ? leadingStatus(counted) : (states.get(members[0])?.[1] ?? 'pending');
    status.push(shown);
    counts.push(counted);
    const same = byStatus.get(shown);
    same ? same.push(box) : byStatus.set(shown, [box]);
  });
  const boxes = { status, counts, byStatus };
  known.set(scene, { states, boxes });
  return boxes;
}
