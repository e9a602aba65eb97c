/**
 * Scene: the boxes and curves of a graph with their coordinates, in either direction. Pure.
 */
import { type IRanks, placeSteps } from './layout';
import type { IShape, IUnit } from './shape';
import { atOnce, type Steps } from './slices';

/** Size of a card, the box of a node. */
export const CARD = { height: 46, radius: 9 } as const;
const MIN_CARD_WIDTH = 152; // `Cancelled · 2.2 s` fits
const MAX_CARD_WIDTH = 320;

/** Width of cards where wide ones would make the graph small. */
const NARROW_CARD_WIDTH = 200;

/** Scale below which narrower cards are tried. */
const ROOMY = 0.85;

/** Width of a card's mark and margins. */
const CARD_PAD = 58;

/** Average width of a letter. Estimated, not measured, so that the layout does not depend on the page's font. */
const LETTER = 7.6;

/** Diameter of a junction. */
const DOT = 8;

/** Size of a member's cell in an open group, and how many are in a row. */
const CELL = { width: 118, height: 28 } as const;
const CELL_GAP = 6;
const COLUMNS = 4;
const PANEL_PAD = 12;
const PANEL_HEAD = 40;
const LAYER_GAP = 40;
const BOX_GAP = 14;

/** Rectangle in the scene. */
export interface IRect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Drawn box of a unit. An open group has one cell for each of the members that are shown. */
export interface IBox extends IRect {
  readonly unit: IUnit;
  readonly cells: readonly IRect[];
  /** The members of the cells. */
  readonly shown: readonly number[];
}

/** Drawn edge: from box to box through points. It leaves and arrives in the direction of the graph. */
export interface ICurve {
  readonly from: number;
  readonly to: number;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** The rectangle around the points. */
  readonly bounds: IRect;
}

/** A laid out graph. */
export interface IScene {
  readonly boxes: readonly IBox[];
  readonly curves: readonly ICurve[];
  readonly width: number;
  readonly height: number;
  /** Whether the graph runs from left to right; else from top to bottom. */
  readonly sideways: boolean;
}

/** Input of a scene. */
export interface ISceneOptions {
  readonly shape: IShape;
  readonly ranks: IRanks;
  /** The groups that are drawn open, by their first node, with the members that are shown. */
  readonly open: ReadonlyMap<number, readonly number[]>;
  /** The width of a card, see `cardWidth`. */
  readonly card: number;
}

/** Return the width of cards for these names. All cards of a scene are equally wide. */
export function cardWidth(names: Iterable<string>): number {
  let longest = 0;
  for (const name of names) {
    longest = Math.max(longest, name.length);
  }
  return Math.min(MAX_CARD_WIDTH, Math.max(MIN_CARD_WIDTH, Math.ceil(CARD_PAD + LETTER * longest)));
}

/** Lay out a shape in the direction that shows it larger in a window of this size. */
export function sceneOf(options: ISceneOptions, window: { width: number; height: number }): IScene {
  return atOnce(sceneSteps(options, window));
}

/** Lay out a shape in steps, which a page takes in slices when the graph is large. */
export function* sceneSteps(options: ISceneOptions, window: { width: number; height: number }): Steps<IScene> {
  const scale = (scene: IScene): number => Math.min(1, window.width / scene.width, window.height / scene.height);
  if (options.ranks.layers.length === 1) {
    return grid(options, window);
  }
  const across = yield* arrangeSteps(options, true);
  const down = yield* arrangeSteps(options, false);
  if (options.card > NARROW_CARD_WIDTH && Math.max(scale(across), scale(down)) < ROOMY) {
    return yield* sceneSteps({ ...options, card: NARROW_CARD_WIDTH }, window);
  }
  // From left to right is easier to read, so the other direction must be larger by far.
  return scale(down) > 1.6 * scale(across) ? down : across;
}

/** Lay out units that nothing joins in rows, in the number of columns that shows them largest. */
function grid({ shape, open, card }: ISceneOptions, window: { width: number; height: number }): IScene {
  const sizes = shape.units.map(unit => sizeOf(unit, open, card));
  const cell = { width: Math.max(...sizes.map(({ width }) => width)) + BOX_GAP * 2, height: Math.max(...sizes.map(({ height }) => height)) + BOX_GAP };
  const count = shape.units.length;
  let columns = 1;
  let best = 0;
  for (let tried = 1; tried <= Math.min(count, 200); tried++) {
    const scale = Math.min(1, window.width / (tried * cell.width), window.height / (Math.ceil(count / tried) * cell.height));
    if (scale > best + 1e-6) {
      [columns, best] = [tried, scale];
    }
  }
  const boxes = shape.units.map((unit, index): IBox => {
    const x = (index % columns) * cell.width;
    const y = Math.floor(index / columns) * cell.height;
    return boxOf(unit, x, y, sizes[index], open);
  });
  return { boxes, curves: [], width: columns * cell.width - BOX_GAP * 2, height: Math.ceil(count / columns) * cell.height - BOX_GAP, sideways: false };
}

function boxOf(unit: IUnit, x: number, y: number, size: { width: number; height: number }, open: ISceneOptions['open']): IBox {
  const shown = (unit.kind === 'group' && open.get(unit.members[0])) || [];
  return { unit, x, y, ...size, shown, cells: cellsOf(shown, x, y) };
}

/** Lay out a shape in one direction. */
export function arrange(options: ISceneOptions, sideways: boolean): IScene {
  return atOnce(arrangeSteps(options, sideways));
}

function* arrangeSteps({ shape, ranks, open, card }: ISceneOptions, sideways: boolean): Steps<IScene> {
  const sizes = shape.units.map(unit => sizeOf(unit, open, card));
  const { across, breadth } = yield* placeSteps(
    ranks,
    sizes.map(({ width, height }) => (sideways ? height : width)),
    BOX_GAP
  );
  const thickness = ranks.layers.map(layer =>
    layer.reduce((most, item) => {
      const size = sizes[item];
      return size === undefined ? most : Math.max(most, sideways ? size.width : size.height);
    }, 0)
  );
  const starts: number[] = [];
  let end = 0;
  for (const thick of thickness) {
    starts.push(end);
    end += thick + LAYER_GAP;
  }
  const point = (along: number, cross: number): [number, number] => (sideways ? [along, cross] : [cross, along]);
  const boxes = shape.units.map((unit, index): IBox => {
    const layer = ranks.layerOf[index];
    const [cx, cy] = point(starts[layer] + thickness[layer] / 2, across[index]);
    const { width, height } = sizes[index];
    return boxOf(unit, cx - width / 2, cy - height / 2, sizes[index], open);
  });
  yield;
  const curves = ranks.routes.map((route): ICurve => {
    const points: [number, number][] = [];
    route.forEach((item, at) => {
      const layer = ranks.layerOf[item];
      const box = boxes[item];
      const half = box ? (sideways ? box.width : box.height) / 2 : thickness[layer] / 2;
      const middle = starts[layer] + thickness[layer] / 2;
      if (at > 0) {
        points.push(point(middle - half, across[item]));
      }
      if (at < route.length - 1) {
        points.push(point(middle + half, across[item]));
      }
    });
    return { from: route[0], to: route[route.length - 1], points, bounds: boundsOf(points) };
  });
  yield;
  const along = Math.max(1, end - LAYER_GAP);
  const [width, height] = point(along, Math.max(1, breadth));
  return { boxes, curves, width, height, sideways };
}

function boundsOf(points: ICurve['points']): IRect {
  let [left, top] = points[0];
  let [right, bottom] = points[0];
  for (const [x, y] of points) {
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x);
    bottom = Math.max(bottom, y);
  }
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/** Return the box and, within an open group, the member at a point; null outside of all boxes. */
export function hit(scene: IScene, x: number, y: number): { box: number; member: number | null } | null {
  const within = (rect: IRect, margin: number): boolean =>
    x >= rect.x - margin && x <= rect.x + rect.width + margin && y >= rect.y - margin && y <= rect.y + rect.height + margin;
  // Backwards: the box drawn last is on top.
  for (let index = scene.boxes.length - 1; index >= 0; index--) {
    const box = scene.boxes[index];
    if (box.unit.kind === 'junction' || !within(box, 0)) {
      continue;
    }
    const cell = box.cells.findIndex(rect => within(rect, CELL_GAP / 2));
    return { box: index, member: cell < 0 ? null : box.shown[cell] };
  }
  return null;
}

function sizeOf(unit: IUnit, open: ISceneOptions['open'], card: number): { width: number; height: number } {
  if (unit.kind === 'junction') {
    return { width: DOT, height: DOT };
  }
  const shown = unit.kind === 'group' ? open.get(unit.members[0]) : undefined;
  if (!shown) {
    return { width: card, height: CARD.height };
  }
  const columns = Math.min(Math.max(1, shown.length), COLUMNS);
  const rows = Math.max(1, Math.ceil(shown.length / COLUMNS));
  return {
    width: Math.max(card, columns * (CELL.width + CELL_GAP) - CELL_GAP + 2 * PANEL_PAD),
    height: PANEL_HEAD + rows * (CELL.height + CELL_GAP) - CELL_GAP + PANEL_PAD
  };
}

function cellsOf(shown: readonly number[], x: number, y: number): IRect[] {
  return shown.map((_, index) => ({
    x: x + PANEL_PAD + (index % COLUMNS) * (CELL.width + CELL_GAP),
    y: y + PANEL_HEAD + Math.floor(index / COLUMNS) * (CELL.height + CELL_GAP),
    ...CELL
  }));
}

/** Return the nodes that are drawn in reading order: along the graph, then across it. */
export function readingOrder({ boxes, sideways }: IScene): number[] {
  const sorted = [...boxes].sort((a, b) => (sideways ? a.x - b.x || a.y - b.y : a.y - b.y || a.x - b.x));
  return sorted.flatMap(({ unit, cells, shown }) => (unit.kind === 'junction' ? [] : cells.length > 0 ? [...shown] : [unit.members[0]]));
}
