/**
 * Painter: draws a scene on a canvas, in less detail the smaller it is on the screen.
 *
 * Everything drawn is an argument; only the cut texts are kept between two pictures, because measuring is slow.
 */
import { type NodeProgress, type NodeState, type Node, NodeKind, type Status } from '../wire';
import { formatDuration, formatElapsed, prettyName, shareOf, statusLabel, waitLabel } from '../text';
import { barParts, boxStates, type StatusCounts } from './boxStates';
import type { IPalette } from './palette';
import { CARD, type IBox, type ICurve, type IRect, type IScene } from './scene';
import { Sprites } from './sprites';

/** Position and scale of the scene in the window. */
export interface IViewport {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

/** Input of a picture. */
export interface IPicture {
  readonly scene: IScene;
  readonly nodes: readonly Node[];
  readonly nameOf: (node: number) => string;
  readonly states: ReadonlyMap<number, NodeState>;
  readonly viewport: IViewport;
  readonly width: number;
  readonly height: number;
  readonly palette: IPalette;
  readonly selected: number | null;
  readonly hovered: { box: number; member: number | null } | null;
  /** The node that the keyboard focus is on. */
  readonly focused: number | null;
  /** How far running nodes are that say so. */
  readonly progress: ReadonlyMap<number, NodeProgress>;
  /** Seconds since the epoch; null when the states may be outdated, so that no duration grows. */
  readonly now: number | null;
  /** Phase of the animation, from 0 to 1; null when nothing may move. */
  readonly phase: number | null;
}

// Level of detail. Below each scale something could not be recognised any more, so it is not drawn: that is clearer, and
// ten thousand boxes are drawn fast enough because a scene of that size is always small on the screen.

/** Least scale for captions; below it the name is drawn larger instead. */
const CAPTIONS_FROM = 0.74;

/** Least scale for names; below it a box has a mark only. */
const NAMES_FROM = 0.36;

/** Least scale for marks; below it a box is filled with the colour of its status. */
const MARKS_FROM = 0.16;

/** Margin around the window within which boxes are drawn: shadows and rings reach beyond a box. */
const OVERSCAN = 20;

/** Texts that were cut to fit, by font, room and text. */
const fitted = new Map<string, string>();

/** Entries of `fitted` from which on it is cleared: long sessions show many texts. */
const MAX_FITTED = 5000;

/** Radius of a mark that stands for the whole box. */
const LONE_MARK = 13;

const sprites = new Sprites();

/** Draw one picture. */
export function paint(context: CanvasRenderingContext2D, picture: IPicture): void {
  const { viewport, width, height } = picture;
  const ratio = window.devicePixelRatio || 1;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.translate(viewport.x, viewport.y);
  context.scale(viewport.scale, viewport.scale);
  context.lineCap = 'round';
  context.lineJoin = 'round';
  context.textBaseline = 'middle';

  const visible = {
    x: -viewport.x / viewport.scale - OVERSCAN,
    y: -viewport.y / viewport.scale - OVERSCAN,
    width: width / viewport.scale + 2 * OVERSCAN,
    height: height / viewport.scale + 2 * OVERSCAN
  };
  drawCurves(context, picture, visible);
  if (viewport.scale < MARKS_FROM) {
    drawFar(context, picture, visible);
  } else {
    drawNear(context, picture, visible);
  }
}

/** Draw every box as a rectangle in the colour of its status. By colour, because to change it costs more than a rectangle. */
function drawFar(context: CanvasRenderingContext2D, picture: IPicture, visible: IRect): void {
  const { scene, palette, states } = picture;
  for (const [status, boxes] of boxStates(scene, states).byStatus) {
    context.fillStyle = palette.status[status];
    for (const index of boxes) {
      const box = scene.boxes[index];
      if (isPlain(box) && overlaps(box, visible)) {
        context.fillRect(box.x, box.y, box.width, box.height);
      }
    }
  }
  scene.boxes.forEach((box, index) => {
    const isMarked = picture.hovered?.box === index || isChosen(picture, box);
    if ((isMarked || !isPlain(box)) && overlaps(box, visible)) {
      drawBox(context, picture, box, index);
    }
  });
}

/** Draw boxes with their marks; as copies, while they have no names by which they differ. */
function drawNear(context: CanvasRenderingContext2D, picture: IPicture, visible: IRect): void {
  const { scene, viewport, states, palette } = picture;
  const { status } = boxStates(scene, states);
  const copied: number[] = [];
  scene.boxes.forEach((box, index) => {
    if (!overlaps(box, visible)) {
      return;
    }
    const isMarked = picture.hovered?.box === index || isChosen(picture, box) || isFocused(picture, box);
    if (viewport.scale >= NAMES_FROM || box.unit.kind !== 'node' || isMarked || picture.progress.has(box.unit.members[0])) {
      drawBox(context, picture, box, index);
    } else {
      copied.push(index);
    }
  });
  if (copied.length === 0) {
    return;
  }
  const ratio = window.devicePixelRatio || 1;
  sprites.begin(scene.boxes[copied[0]], viewport.scale * ratio);
  context.setTransform(1, 0, 0, 1, 0, 0);
  for (const index of copied) {
    const { x, y } = scene.boxes[index];
    sprites.draw(context, status[index], (x * viewport.scale + viewport.x) * ratio, (y * viewport.scale + viewport.y) * ratio, (own, rect) => {
      drawCard(own, rect, palette, status[index], false);
      drawMark(own, picture, status[index], rect.x + rect.width / 2, rect.y + CARD.height / 2, LONE_MARK);
    });
  }
}

/** Return the second line of a card: the status or duration of the node, and its attempt. */
export function captionOf(state: NodeState | undefined, now: number | null, kind: NodeKind = NodeKind.ELECTRON): string {
  const [, status, started, ended, attempt] = state ?? [0, 'pending' as Status, null, null, 0];
  const wait = waitLabel(state, now);
  if (wait) {
    return wait;
  }
  const again = attempt > 1 ? ` · try ${attempt}` : '';
  if (status === 'running') {
    const since = started === null || now === null ? '' : formatElapsed(now - started);
    if (kind === NodeKind.PAUSE) {
      return `Waits for an answer${since && ` · ${since}`}`;
    }
    return `${since || 'Running'}${again}`;
  }
  if (status === 'completed' && attempt === 0 && started !== null) {
    return 'Reused';
  }
  if (started !== null && ended !== null) {
    const took = formatDuration(ended - started);
    return `${status === 'completed' ? took : `${statusLabel(status)} · ${took}`}${again}`;
  }
  return `${statusLabel(status)}${again}`;
}

function overlaps(a: IRect, b: IRect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/**
 * Draw the edges, batched into three paths by style: one `stroke` per path, not per edge, is what makes ten thousand
 * edges affordable.
 */
function drawCurves(context: CanvasRenderingContext2D, picture: IPicture, visible: IRect): void {
  const { scene, palette, viewport, states, phase } = picture;
  const highlighted = picture.hovered?.box ?? boxOf(picture, picture.selected);
  const plain = new Path2D();
  const bright = new Path2D();
  const moving = new Path2D();
  const detailed = viewport.scale >= NAMES_FROM;
  let anyMoving = false;
  for (const curve of scene.curves) {
    if (!overlaps(curve.bounds, visible)) {
      continue;
    }
    const near = highlighted !== null && (curve.from === highlighted || curve.to === highlighted);
    const target = scene.boxes[curve.to].unit;
    const runs = !near && detailed && target.members.length === 1 && states.get(target.members[0])?.[1] === 'running';
    const path = near ? bright : runs ? moving : plain;
    anyMoving ||= runs;
    trace(path, curve, scene.sideways, viewport.scale < MARKS_FROM);
    if (detailed && target.kind !== 'junction') {
      arrow(path, curve, scene.sideways);
    }
  }
  // Lines keep a least width on the screen, however small the scale.
  const thin = Math.max(1, 0.7 / viewport.scale);
  context.lineWidth = Math.min(thin, 1.3 / viewport.scale);
  context.strokeStyle = palette.edge;
  context.globalAlpha = viewport.scale < MARKS_FROM ? 0.45 : 1;
  context.stroke(plain);
  context.globalAlpha = 1;
  if (anyMoving) {
    context.strokeStyle = palette.status.running;
    context.lineWidth = 1.4;
    context.setLineDash(phase === null ? [] : [5, 5]);
    context.lineDashOffset = phase === null ? 0 : -phase * 20;
    context.stroke(moving);
    context.setLineDash([]);
  }
  context.strokeStyle = palette.accent;
  context.lineWidth = Math.max(1.6, 1.2 / viewport.scale);
  context.stroke(bright);
}

function boxOf(picture: IPicture, node: number | null): number | null {
  if (node === null) {
    return null;
  }
  const index = picture.scene.boxes.findIndex(box => box.unit.members.includes(node));
  return index < 0 ? null : index;
}

function trace(path: Path2D, { points }: ICurve, sideways: boolean, straight: boolean): void {
  path.moveTo(points[0][0], points[0][1]);
  for (let at = 1; at < points.length; at++) {
    const [x0, y0] = points[at - 1];
    const [x1, y1] = points[at];
    if (straight) {
      path.lineTo(x1, y1);
    } else if (sideways) {
      const middle = (x0 + x1) / 2;
      path.bezierCurveTo(middle, y0, middle, y1, x1, y1);
    } else {
      const middle = (y0 + y1) / 2;
      path.bezierCurveTo(x0, middle, x1, middle, x1, y1);
    }
  }
}

function arrow(path: Path2D, { points }: ICurve, sideways: boolean): void {
  const [x, y] = points[points.length - 1];
  const [dx, dy] = sideways ? [-5, 3.5] : [3.5, -5];
  path.moveTo(x + dx, y + dy);
  path.lineTo(x, y);
  path.lineTo(sideways ? x + dx : x - dx, sideways ? y - dy : y + dy);
}

/** Return whether a box is one rectangle. */
function isPlain({ unit, cells }: IBox): boolean {
  return unit.kind !== 'junction' && cells.length === 0;
}

function isChosen({ selected }: IPicture, { unit, cells }: IBox): boolean {
  return selected !== null && (unit.kind === 'node' || cells.length === 0) && unit.members.includes(selected);
}

function isFocused({ focused }: IPicture, { unit, cells }: IBox): boolean {
  return focused !== null && cells.length === 0 && unit.members.includes(focused);
}

function drawBox(context: CanvasRenderingContext2D, picture: IPicture, box: IBox, index: number): void {
  const { palette, viewport, states } = picture;
  const { unit } = box;
  if (unit.kind === 'junction') {
    context.fillStyle = palette.edge;
    context.beginPath();
    context.arc(box.x + box.width / 2, box.y + box.height / 2, box.width / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  const { status: statuses, counts: allCounts } = boxStates(picture.scene, states);
  const [status, counts] = [statuses[index], allCounts[index]];
  const hovered = picture.hovered?.box === index;
  const chosen = isChosen(picture, box);

  if (viewport.scale < MARKS_FROM && box.cells.length === 0) {
    context.fillStyle = chosen || hovered ? palette.accent : palette.status[status];
    context.beginPath();
    context.roundRect(box.x, box.y, box.width, box.height, CARD.radius);
    context.fill();
    return;
  }
  if (unit.kind === 'group' && box.cells.length === 0) {
    // Two cards behind the box show that it is a group.
    for (const shift of [8, 4]) {
      outline(context, { ...box, x: box.x + shift, y: box.y + shift }, palette.card, palette.line, 1, false);
    }
  }
  if (hovered || chosen) {
    context.fillStyle = palette.accent;
    context.globalAlpha = chosen ? 0.22 : 0.12;
    context.beginPath();
    context.roundRect(box.x - 4, box.y - 4, box.width + 8, box.height + 8, CARD.radius + 4);
    context.fill();
    context.globalAlpha = 1;
  }
  drawCard(context, box, palette, status, chosen, unit.kind === 'node');
  if (isFocused(picture, box)) {
    focusRing(context, box, palette);
  }
  drawHead(context, picture, box, counts, status);
  const share = unit.kind === 'node' && status === 'running' ? shareOf(picture.progress.get(unit.members[0])) : null;
  if (share !== null) {
    drawShare(context, picture, box, share);
  }
  box.cells.forEach((cell, at) => drawCell(context, picture, cell, box.shown[at]));
}

/** Draw the card of a box, without what stands in it. */
function drawCard(context: CanvasRenderingContext2D, rect: IRect, palette: IPalette, status: Status, chosen: boolean, tinted = true): void {
  const colour = palette.status[status];
  const prominent = status === 'failed' || status === 'running' || status === 'cancelled';
  outline(context, rect, palette.card, chosen ? palette.accent : prominent ? colour : palette.line, chosen || prominent ? 1.5 : 1, status === 'skipped');
  if (status === 'failed' && tinted) {
    context.fillStyle = colour;
    context.globalAlpha = 0.09;
    context.fill();
    context.globalAlpha = 1;
  }
}

function outline(context: CanvasRenderingContext2D, rect: IRect, fill: string, line: string, width: number, dashed: boolean): void {
  context.beginPath();
  context.roundRect(rect.x, rect.y, rect.width, rect.height, CARD.radius);
  context.fillStyle = fill;
  context.fill();
  context.strokeStyle = line;
  context.lineWidth = width;
  context.setLineDash(dashed ? [4, 3] : []);
  context.stroke();
  context.setLineDash([]);
}

function focusRing(context: CanvasRenderingContext2D, rect: IRect, palette: IPalette): void {
  context.beginPath();
  context.roundRect(rect.x - 4, rect.y - 4, rect.width + 8, rect.height + 8, CARD.radius + 4);
  context.strokeStyle = palette.accent;
  context.lineWidth = 2;
  context.stroke();
}

function drawHead(
  context: CanvasRenderingContext2D,
  picture: IPicture,
  box: IBox,
  counts: StatusCounts | null,
  status: Status
): void {
  const { palette, viewport, nodes, states, now } = picture;
  const { unit } = box;
  const group = counts !== null;
  const readable = viewport.scale >= NAMES_FROM || box.cells.length > 0;
  const middle = box.y + CARD.height / 2;
  if (!readable) {
    drawMark(context, picture, status, box.x + box.width / 2, middle, LONE_MARK);
    return;
  }
  const row = box.cells.length > 0 ? box.y + 20 : middle;
  drawMark(context, picture, status, box.x + 23, row, 10);
  const [name, kind] = nodes[unit.members[0]];
  const plumbing = kind === NodeKind.PARAMETER;
  const left = box.x + 42;
  const room = box.width - 42 - 12;
  const many = group ? `×${unit.members.length}` : '';
  const opened = box.cells.length > 0;
  const captioned = viewport.scale >= CAPTIONS_FROM;
  // The smaller the scale, the larger the font in the scene: names stay readable for as long as they fit.
  const size = Math.min(16.5, Math.max(12.5, 10.5 / viewport.scale));
  const line = opened ? row : captioned ? middle - 8 : group ? middle - 7 : middle;
  context.font = `600 ${size}px ${palette.font}`;
  const manyWidth = many ? context.measureText(many).width + 8 : 0;
  context.fillStyle = palette.muted;
  if (many) {
    context.fillText(many, box.x + box.width - 12 - manyWidth + 8, line);
  }
  context.font = `${plumbing ? 400 : 600} ${size}px ${palette.font}`;
  context.fillStyle = status === 'skipped' || plumbing ? palette.muted : palette.ink;
  context.fillText(group ? fit(context, prettyName(name, kind), room - manyWidth) : fitName(context, picture.nameOf(unit.members[0]), room), left, line);
  if (group && !opened) {
    drawBar(context, picture, counts, { x: left, y: middle + 7, width: room, height: 5 });
  }
  if (group || !captioned) {
    return;
  }
  context.font = `400 11px ${palette.font}`;
  context.fillStyle = status === 'failed' ? palette.status.failed : palette.muted;
  // The full captions are wider than most cards.
  const caption = KIND_CAPTIONS[kind] ?? captionOf(states.get(unit.members[0]), now, kind).replace('Runs again', 'Again').replace('Waits for an answer', 'Waits');
  context.fillText(fit(context, caption, room), left, middle + 9);
}

/** Draw the share of its work that a running node has done, along the bottom of its card. */
function drawShare(context: CanvasRenderingContext2D, { palette }: IPicture, box: IBox, share: number): void {
  const [x, y, width] = [box.x + 12, box.y + CARD.height - 8, box.width - 24];
  for (const [length, colour] of [[width, palette.line], [width * share, palette.status.running]] as const) {
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(x, y, length, 4, 2);
    context.fill();
  }
}

/** Captions of nodes without a status of interest. */
const KIND_CAPTIONS: Partial<Record<NodeKind, string>> = {
  [NodeKind.PARAMETER]: 'parameter',
  [NodeKind.LIST]: 'collection',
  [NodeKind.DICT]: 'collection',
  [NodeKind.OUTPUT]: 'the result'
};

function drawBar(context: CanvasRenderingContext2D, picture: IPicture, counts: StatusCounts, rect: IRect): void {
  const { palette } = picture;
  context.save();
  context.beginPath();
  context.roundRect(rect.x, rect.y, rect.width, rect.height, rect.height / 2);
  context.fillStyle = palette.line;
  context.fill();
  context.clip();
  let x = rect.x;
  for (const [status, width] of barParts(counts, rect.width)) {
    if (status !== 'pending') {
      context.fillStyle = palette.status[status];
      context.fillRect(x, rect.y, width, rect.height);
    }
    x += width;
  }
  context.restore();
}

function drawCell(context: CanvasRenderingContext2D, picture: IPicture, cell: IRect, node: number): void {
  const { palette, viewport, states } = picture;
  const status = states.get(node)?.[1] ?? 'pending';
  context.beginPath();
  context.roundRect(cell.x, cell.y, cell.width, cell.height, 6);
  context.fillStyle = palette.status[status];
  context.globalAlpha = picture.hovered?.member === node ? 0.42 : 0.2;
  context.fill();
  context.globalAlpha = 1;
  if (viewport.scale >= MARKS_FROM) {
    const middle = cell.y + cell.height / 2;
    drawMark(context, picture, status, cell.x + 14, middle, 7);
    if (viewport.scale >= NAMES_FROM) {
      context.font = `500 12px ${palette.font}`;
      context.fillStyle = palette.ink;
      context.fillText(fit(context, shortLabel(picture.nameOf(node)), cell.width - 34), cell.x + 27, middle);
    }
  }
  // The rectangle once more: marks and texts have paths of their own.
  context.beginPath();
  context.roundRect(cell.x, cell.y, cell.width, cell.height, 6);
  if (picture.selected === node) {
    context.strokeStyle = palette.accent;
    context.lineWidth = 2;
    context.stroke();
  }
  if (picture.focused === node) {
    context.beginPath();
    context.roundRect(cell.x - 2, cell.y - 2, cell.width + 4, cell.height + 4, 7);
    context.strokeStyle = palette.accent;
    context.lineWidth = 2;
    context.stroke();
  }
}

/** Return what tells a sibling apart: `depth=3` of `fit(depth=3)`. */
function shortLabel(name: string): string {
  return /^[^(]*\((.*)\)( #\d+)?$/.exec(name)?.slice(1).join('') || name;
}

/** Draw the mark of a status. Each has its own shape, since colours alone are not accessible. */
function drawMark(context: CanvasRenderingContext2D, picture: IPicture, status: Status, x: number, y: number, radius: number): void {
  const { palette, phase } = picture;
  const colour = palette.status[status];
  const unit = radius / 10;
  const line = (...points: readonly (readonly [number, number])[]): void => {
    context.beginPath();
    points.forEach(([dx, dy], at) => (at === 0 ? context.moveTo(x + dx * unit, y + dy * unit) : context.lineTo(x + dx * unit, y + dy * unit)));
    context.stroke();
  };
  context.lineWidth = 2 * unit;
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.beginPath();
  switch (status) {
    case 'pending':
    case 'skipped':
      context.arc(x, y, radius - unit, 0, 2 * Math.PI);
      context.stroke();
      if (status === 'skipped') {
        line([-6, 6], [6, -6]); // passed over: a stroke through the ring of what is pending
      }
      return;
    case 'running': {
      context.globalAlpha = 0.25;
      context.arc(x, y, radius - unit, 0, 2 * Math.PI);
      context.stroke();
      context.globalAlpha = 1;
      context.beginPath();
      const start = 2 * Math.PI * (phase ?? 0) - Math.PI / 2;
      context.lineWidth = 2.4 * unit;
      context.arc(x, y, radius - unit, start, start + 0.6 * Math.PI);
      context.stroke();
      context.beginPath();
      context.arc(x, y, 2.6 * unit, 0, 2 * Math.PI);
      context.fill();
      return;
    }
    default:
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
  }
  context.strokeStyle = palette.onStatus;
  if (status === 'completed') {
    line([-4, 0.4], [-1.2, 3.2], [4.2, -3]);
  } else if (status === 'failed') {
    line([-3.2, -3.2], [3.2, 3.2]);
    line([-3.2, 3.2], [3.2, -3.2]);
  } else {
    line([-4, 0], [4, 0]);
  }
}

/** Return a name that fits: where it does not, what tells it from its siblings is kept, `depth=3` of `fit(depth=3)` and `#12` of `step #12`. */
function fitName(context: CanvasRenderingContext2D, name: string, room: number): string {
  const whole = fit(context, name, room);
  if (whole === name) {
    return name;
  }
  const short = shortLabel(name);
  const number = / #\d+$/.exec(name)?.[0];
  if (short !== name || number === undefined) {
    return fit(context, short, room);
  }
  return fit(context, name.slice(0, -number.length), room - context.measureText(number).width) + number;
}

/** Return the text, cut by bisection until it fits. */
export function fit(context: CanvasRenderingContext2D, text: string, room: number): string {
  const key = `${context.font}|${Math.round(room)}|${text}`;
  let result = fitted.get(key);
  if (result === undefined) {
    result = text;
    if (context.measureText(text).width > room) {
      let [low, high] = [0, text.length];
      while (low < high) {
        const middle = Math.ceil((low + high) / 2);
        context.measureText(`${text.slice(0, middle)}…`).width <= room ? (low = middle) : (high = middle - 1);
      }
      result = `${text.slice(0, low)}…`;
    }
    if (fitted.size > MAX_FITTED) {
      fitted.clear();
    }
    fitted.set(key, result);
  }
  return result;
}
