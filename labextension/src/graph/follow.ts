/**
 * Following: where the window goes so that the nodes that run are in sight. Pure.
 */
import type { NodeState } from '../wire';
import { centred, type ISize, MARGIN } from './camera';
import type { IViewport } from './paint';
import type { IRect, IScene } from './scene';

/** Least scale while following: names can be read. */
const READABLE = 0.5;

/** Return the rectangles of what runs: nodes, members that an open group shows, or else their group. */
export function runningRects({ boxes }: IScene, states: ReadonlyMap<number, NodeState>): IRect[] {
  const runs = (node: number): boolean => states.get(node)?.[1] === 'running';
  return boxes.flatMap(box => {
    const cells = box.cells.filter((_, at) => runs(box.shown[at]));
    return cells.length > 0 ? cells : box.unit.members.some(runs) ? [box] : [];
  });
}

/**
 * Return the viewport that shows what runs; null if nothing runs, or all of it is in sight already.
 *
 * The window only moves when it must: one that moved with each node could not be read. Where what runs is too far apart to
 * be seen at once, as many of its nodes as there is room for are shown, from the first on.
 */
export function following(rects: readonly IRect[], from: IViewport, window: ISize, bar: number): IViewport | null {
  if (rects.length === 0) {
    return null;
  }
  const room = { width: (window.width - 2 * MARGIN) / READABLE, height: (window.height - 2 * MARGIN - bar) / READABLE };
  let wanted = rects[0];
  for (const rect of rects.slice(1)) {
    const both = around(wanted, rect);
    if (both.width <= room.width && both.height <= room.height) {
      wanted = both;
    }
  }
  const left = wanted.x * from.scale + from.x;
  const top = wanted.y * from.scale + from.y;
  const isInSight = left >= 0 && top >= bar && left + wanted.width * from.scale <= window.width && top + wanted.height * from.scale <= window.height;
  if (isInSight && from.scale >= READABLE * 0.99) {
    return null;
  }
  const fits = Math.min((window.width - 2 * MARGIN) / wanted.width, (window.height - 2 * MARGIN - bar) / wanted.height);
  const scale = Math.max(READABLE, Math.min(1, fits, Math.max(from.scale, READABLE)));
  const { x, y } = { x: wanted.x + wanted.width / 2, y: wanted.y + wanted.height / 2 };
  return centred(scale, x, y - bar / 2 / scale, window);
}

function around(a: IRect, b: IRect): IRect {
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  return { x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y };
}
