/**
 * Scene: the boxes and curves of a graph with their coordinates, in either direction. Pure.
 */
import { type IRanks, place } from './layout';
import type { IShape, IUnit } from './shape';

/** Size of a card, the box of a node. */
export const CARD = { height: 46, radius: 9 } as const;
const MIN_CARD_WIDTH = 138;
const MAX_CARD_WIDTH = 212;

/** Width of a card's mark and margins. */
const CARD_PAD = 58;

/** Average width of a letter. Estimated, not measured, so that the layout does not depend on the page's font. */
const LETTER = 7.6;

/** Diameter of a junction. */
const DOT = 8;

/** Size of a member's cell in an open group. */
const CELL = 26;
const CELL_GAP = 5;
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

/** Drawn box of a unit. An open group has one cell for each of its members. */
export interface IBox extends IRect {
  readonly unit: IUnit;
  readonly cells: readonly IRect[];
}

/** Drawn edge: from box to box through points. It leaves and arrives in the direction of the graph. */
export interface ICurve {
  readonly from: number;
  readonly to: number;
  readonly points: readonly (readonly [x: number, y: number])[];
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
  /** The groups, by their first node, that are drawn open. */
  readonly open: ReadonlySet<number>;
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
  const [across, down] = [true, false].map(sideways => arrange(options, sideways));
  const scale = (scene: IScene): number => Math.min(1, window.width / scene.width, window.height / scene.height);
  // From left to right is easier to read, so the other direction must be larger by far.
  return scale(down) > 1.6 * scale(across) ? down : across;
}

/** Lay out a shape in one direction. */
export function arrange({ shape, ranks, open, card }: ISceneOptions, sideways: boolean): IScene {
  const sizes = shape.units.map(unit => sizeOf(unit, open, card));
  const { across, breadth } = place(
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
    const x = cx - width / 2;
    const y = cy - height / 2;
    return { unit, x, y, width, height, cells: open.has(unit.members[0]) && unit.kind === 'group' ? cellsOf(unit, x, y) : [] };
  });
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
    return { from: route[0], to: route[route.length - 1], points };
  });
  const along = Math.max(1, end - LAYER_GAP);
  const [width, height] = point(along, Math.max(1, breadth));
  return { boxes, curves, width, height, sideways };
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
    return { box: index, member: cell < 0 ? null : box.unit.members[cell] };
  }
  return null;
}

function columnsOf(count: number): number {
  return Math.max(6, Math.ceil(Math.sqrt(count * 1.7)));
}

function sizeOf(unit: IUnit, open: ReadonlySet<number>, card: number): { width: number; height: number } {
  if (unit.kind === 'junction') {
    return { width: DOT, height: DOT };
  }
  if (unit.kind === 'node' || !open.has(unit.members[0])) {
    return { width: card, height: CARD.height };
  }
  const columns = Math.min(unit.members.length, columnsOf(unit.members.length));
  const rows = Math.ceil(unit.members.length / columns);
  return {
    width: Math.max(card, columns * (CELL + CELL_GAP) - CELL_GAP + 2 * PANEL_PAD),
    height: PANEL_HEAD + rows * (CELL + CELL_GAP) - CELL_GAP + PANEL_PAD
  };
}

function cellsOf(unit: IUnit, x: number, y: number): IRect[] {
  const columns = Math.min(unit.members.length, columnsOf(unit.members.length));
  return unit.members.map((_, index) => ({
    x: x + PANEL_PAD + (index % columns) * (CELL + CELL_GAP),
    y: y + PANEL_HEAD + Math.floor(index / columns) * (CELL + CELL_GAP),
    width: CELL,
    height: CELL
  }));
}
