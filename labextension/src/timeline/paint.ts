/**
 * Painter of the timeline: lanes, bars, waits and the critical path on a canvas. Everything drawn is an argument.
 */
import { fit } from '../graph/paint';
import type { IPalette } from '../graph/palette';
import { formatDuration, formatElapsed } from '../text';
import type { Node } from '../wire';
import type { IBar, ISchedule } from './schedule';

/** Height of the time axis, and of the strip that shows how many wait. */
const AXIS = 24;
const WAITING = 40;
const LANE_GAP = 8;
const RADIUS = 4;

/** Least height of a row with names in its bars. */
const NAMES_FROM = 15;

/** Letters of a cut name that say something. */
const LEAST_NAME = 5;

/** Pixels between two marks of the time axis, at least. */
const TICK = 84;

const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400];

/** Hues of names. None is close to the colours of failed (red) and cancelled (orange). */
const HUES = [212, 152, 276, 184, 318, 96, 240, 66];

/** Part of the time that is shown, in seconds since the epoch. */
export interface IWindow {
  readonly from: number;
  readonly to: number;
}

/** Input of a picture. */
export interface ITimelinePicture {
  readonly schedule: ISchedule;
  readonly nodes: readonly Node[];
  readonly nameOf: (node: number) => string;
  readonly window: IWindow;
  readonly width: number;
  readonly height: number;
  readonly palette: IPalette;
  readonly selected: number | null;
  readonly hovered: number | null;
  readonly focused: number | null;
  readonly now: number;
}

/** Geometry of a schedule in a canvas of some width. */
export interface IGeometry {
  readonly gutter: number;
  readonly row: number;
  /** Top of each lane. */
  readonly tops: readonly number[];
  readonly height: number;
}

/** Return where lanes are; rows become lower when there are many. */
export function geometryOf({ lanes, waiting }: ISchedule, width: number): IGeometry {
  const rows = lanes.reduce((sum, lane) => sum + lane.rows, 0);
  const row = rows <= 16 ? 24 : rows <= 40 ? 18 : Math.max(3, Math.min(14, 1200 / rows));
  const gap = row >= 14 ? LANE_GAP : 2;
  const tops: number[] = [];
  let y = AXIS + 4;
  for (const lane of lanes) {
    tops.push(y);
    y += lane.rows * row + gap;
  }
  return { gutter: width < 520 ? 66 : 88, row, tops, height: y + (waiting.length > 0 ? WAITING : 4) };
}

/** Return the position of a moment. */
export function positionOf(at: number, { from, to }: IWindow, gutter: number, width: number): number {
  return gutter + ((at - from) / (to - from)) * (width - gutter - 8);
}

/** Return the rectangle of a bar. */
export function rectOf(bar: IBar, picture: Pick<ITimelinePicture, 'window' | 'width' | 'now'>, { gutter, row, tops }: IGeometry): { x: number; y: number; width: number; height: number } {
  const { window, width, now } = picture;
  // What was reused was there before the dispatch began.
  const x = bar.kind === 'reused' ? Math.max(gutter + 1, positionOf(bar.start, window, gutter, width)) : positionOf(bar.start, window, gutter, width);
  const right = positionOf(bar.end ?? now, window, gutter, width);
  return { x, y: tops[bar.lane] + bar.row * row, width: Math.max(bar.kind === 'reused' ? 8 : 1.5, right - x), height: Math.max(2, row - (row >= 8 ? 3 : 1)) };
}

/** Return the positions of the marks of the axis, in seconds from the start. */
export function ticksOf(seconds: number, room: number): number {
  const least = (seconds * TICK) / Math.max(1, room);
  return STEPS.find(step => step >= least) ?? Math.ceil(least / 86400) * 86400;
}

/** Draw one picture. */
export function paintTimeline(context: CanvasRenderingContext2D, picture: ITimelinePicture): void {
  const { schedule, width, height, palette } = picture;
  const geometry = geometryOf(schedule, width);
  const ratio = window.devicePixelRatio || 1;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.textBaseline = 'middle';
  drawAxis(context, picture, geometry);
  drawLanes(context, picture, geometry);
  context.save();
  context.beginPath();
  context.rect(geometry.gutter, 0, width - geometry.gutter, height);
  context.clip();
  drawBars(context, picture, geometry);
  drawPath(context, picture, geometry);
  if (schedule.waiting.length > 0) {
    drawWaiting(context, picture, geometry);
  }
  if (schedule.end === null) {
    const x = positionOf(picture.now, picture.window, geometry.gutter, width);
    context.fillStyle = palette.accent;
    context.fillRect(x, AXIS - 6, 1.5, height - AXIS + 6);
    context.beginPath();
    context.arc(x + 0.75, AXIS - 7, 3.5, 0, 2 * Math.PI);
    context.fill();
  }
  context.restore();
}

function drawAxis(context: CanvasRenderingContext2D, { schedule, window, width, height, palette }: ITimelinePicture, { gutter }: IGeometry): void {
  const step = ticksOf(window.to - window.from, width - gutter);
  const first = Math.max(0, Math.ceil((window.from - schedule.start) / step - 1e-6));
  const last = Math.floor((window.to - schedule.start) / step + 1e-6);
  context.font = `400 11px ${palette.font}`;
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  context.beginPath();
  for (let index = first; index <= last; index++) {
    const at = index * step;
    const x = Math.round(positionOf(schedule.start + at, window, gutter, width)) + 0.5;
    context.moveTo(x, AXIS - 4);
    context.lineTo(x, height);
    const text = at === 0 ? '0' : at < 1 || step < 1 ? formatDuration(at) : formatElapsed(at);
    context.fillStyle = palette.muted;
    const room = context.measureText(text).width;
    context.fillText(text, Math.min(width - room - 2, Math.max(gutter, x - room / 2)), AXIS / 2 - 1);
  }
  context.stroke();
}

function drawLanes(context: CanvasRenderingContext2D, { schedule, width, palette }: ITimelinePicture, { gutter, row, tops }: IGeometry): void {
  let shown = -Infinity;
  schedule.lanes.forEach((lane, index) => {
    const top = tops[index];
    context.fillStyle = palette.line;
    context.globalAlpha = 0.35;
    context.beginPath();
    context.roundRect(gutter, top - 1, width - gutter - 4, lane.rows * row + (row >= 8 ? -1 : 1), RADIUS);
    context.fill();
    context.globalAlpha = 1;
    const middle = top + (lane.rows * row) / 2 - 1;
    if (middle - shown < 12) {
      return; // too many lanes for all of their names
    }
    shown = middle;
    context.font = `500 11.5px ${palette.font}`;
    context.fillStyle = palette.muted;
    context.fillText(fit(context, lane.name, gutter - 12), 4, middle);
  });
}

function drawBars(context: CanvasRenderingContext2D, picture: ITimelinePicture, geometry: IGeometry): void {
  const { schedule, palette, width, hovered, selected, focused } = picture;
  const dark = isDark(palette);
  const hues = huesOf(picture.nodes);
  const named = geometry.row >= NAMES_FROM;
  // Bars narrower than a pixel hide each other; of those in one place, the first is drawn.
  const drawnTo = new Map<string, number>();
  for (const bar of schedule.bars) {
    const rect = rectOf(bar, picture, geometry);
    if (rect.x > width || rect.x + rect.width < geometry.gutter) {
      continue;
    }
    if (rect.width < 2 && !bar.isCritical && bar.status === 'completed') {
      const key = `${bar.lane}.${bar.row}`;
      if (rect.x - (drawnTo.get(key) ?? -Infinity) < 1) {
        continue;
      }
      drawnTo.set(key, rect.x);
    }
    drawBar(context, picture, bar, rect, { dark, hue: hues.get(picture.nodes[bar.node][0]) ?? HUES[0], named });
    if (bar.node === hovered || bar.node === selected || bar.node === focused) {
      drawWait(context, picture, bar, rect, geometry);
      context.strokeStyle = palette.accent;
      context.lineWidth = 2;
      context.beginPath();
      context.roundRect(rect.x - 2, rect.y - 2, rect.width + 4, rect.height + 4, RADIUS + 1);
      context.stroke();
    }
  }
}

interface IStyle {
  readonly dark: boolean;
  readonly hue: number;
  readonly named: boolean;
}

function drawBar(context: CanvasRenderingContext2D, picture: ITimelinePicture, bar: IBar, rect: ReturnType<typeof rectOf>, { dark, hue, named }: IStyle): void {
  const { palette } = picture;
  const { x, y, width, height } = rect;
  const solid = bar.status === 'failed' || bar.status === 'cancelled' || bar.status === 'running';
  context.fillStyle = solid ? palette.status[bar.status] : `hsl(${hue} ${dark ? '32% 37%' : '62% 82%'})`;
  context.globalAlpha = bar.kind === 'earlier' ? 0.55 : 1;
  context.beginPath();
  width < 4 ? context.rect(x, y, width, height) : context.roundRect(x, y, width, height, Math.min(RADIUS, width / 2));
  if (bar.kind === 'reused') {
    context.strokeStyle = palette.status.completed;
    context.lineWidth = 1.5;
    context.setLineDash([3, 2]);
    context.stroke();
    context.setLineDash([]);
  } else {
    context.fill();
  }
  context.globalAlpha = 1;
  if (!named || width < 26) {
    return;
  }
  const mark = bar.status === 'failed' ? '✕ ' : bar.kind === 'earlier' ? '↻ ' : bar.status === 'cancelled' ? '– ' : '';
  context.font = `500 11px ${palette.font}`;
  context.fillStyle = solid ? palette.onStatus : palette.ink;
  const left = Math.max(x, geometryLeft(picture)) + 6;
  const room = x + width - left - 4;
  const name = fit(context, mark + picture.nameOf(bar.node), room);
  if (name.length >= LEAST_NAME || !name.endsWith('…')) {
    context.fillText(name, left, y + height / 2 + 0.5);
  }
}

/** Names stay in sight when the begin of a bar is not. */
function geometryLeft({ width }: ITimelinePicture): number {
  return width < 520 ? 66 : 88;
}

/** Draw how long a node waited before it began, as a hatched strip. */
function drawWait(context: CanvasRenderingContext2D, picture: ITimelinePicture, bar: IBar, rect: ReturnType<typeof rectOf>, { gutter }: IGeometry): void {
  const from = positionOf(Math.max(bar.ready, picture.schedule.start), picture.window, gutter, picture.width);
  const room = rect.x - from;
  if (bar.ready === Infinity || room < 2 || bar.kind === 'reused') {
    return;
  }
  const height = 5;
  const y = rect.y + rect.height - 1; // between the rows, so that it hides no name
  context.fillStyle = picture.palette.card;
  context.fillRect(from, y, room, height);
  hatch(context, { x: from, y, width: room, height }, picture.palette.ink);
}

function hatch(context: CanvasRenderingContext2D, rect: { x: number; y: number; width: number; height: number }, colour: string): void {
  const { x, y, width, height } = rect;
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.globalAlpha = 0.55;
  context.beginPath();
  for (let at = x - height - ((x - height) % 5); at < x + width; at += 5) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.globalAlpha = 0.8;
  context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  context.restore();
}

/** Outline the runs of the critical path, and join them by lines. */
function drawPath(context: CanvasRenderingContext2D, picture: ITimelinePicture, geometry: IGeometry): void {
  const { palette } = picture;
  const critical = picture.schedule.bars.filter(({ isCritical }) => isCritical);
  let before: ReturnType<typeof rectOf> | null = null;
  for (const bar of critical) {
    const rect = rectOf(bar, picture, geometry);
    if (bar.kind === 'run') {
      drawWait(context, picture, bar, rect, geometry);
    }
    context.strokeStyle = palette.ink;
    if (before && rect.y !== before.y) {
      const [x0, x1] = [before.x + before.width, rect.x];
      context.globalAlpha = 0.6;
      context.lineWidth = 1.25;
      context.beginPath();
      context.moveTo(x0 - 0.5, before.y + before.height / 2);
      context.lineTo(x0 - 0.5, rect.y + rect.height / 2);
      context.lineTo(x1, rect.y + rect.height / 2);
      context.stroke();
      context.globalAlpha = 1;
    }
    context.lineWidth = 2;
    context.beginPath();
    context.roundRect(rect.x + 1, rect.y + 1, Math.max(1, rect.width - 2), Math.max(1, rect.height - 2), Math.min(RADIUS - 1, rect.width / 2));
    context.stroke();
    before = rect;
  }
}

/** Draw how many nodes waited for a worker, as a hatched area. */
function drawWaiting(context: CanvasRenderingContext2D, picture: ITimelinePicture, { gutter }: IGeometry): void {
  const { schedule, window, width, height, palette } = picture;
  const { waiting } = schedule;
  const most = waiting.reduce((found, [, count]) => Math.max(found, count), 1);
  const bottom = height - 4;
  const top = height - WAITING + 8;
  const place = (at: number): number => positionOf(at, window, gutter, width);
  const level = (count: number): number => bottom - ((bottom - top) * count) / most;
  const area = new Path2D();
  area.moveTo(place(waiting[0][0]), bottom);
  waiting.forEach(([at, count], index) => {
    area.lineTo(place(at), level(index === 0 ? 0 : waiting[index - 1][1]));
    area.lineTo(place(at), level(count));
  });
  area.closePath();
  context.save();
  context.clip(area);
  context.fillStyle = palette.line;
  context.fillRect(gutter, top - 2, width, WAITING);
  hatch(context, { x: gutter, y: top - 2, width: width - gutter, height: bottom - top + 4 }, palette.ink);
  context.restore();
  context.strokeStyle = palette.muted;
  context.lineWidth = 1;
  context.stroke(area);
  context.restore();
  context.save();
  context.font = `500 11.5px ${palette.font}`;
  context.fillStyle = palette.muted;
  context.fillText('Waiting', 4, (top + bottom) / 2 - 6);
  context.font = `400 10.5px ${palette.font}`;
  context.fillText(`up to ${most.toLocaleString('en')}`, 4, (top + bottom) / 2 + 8);
}

const knownHues = new WeakMap<readonly Node[], ReadonlyMap<string, number>>();

function huesOf(nodes: readonly Node[]): ReadonlyMap<string, number> {
  let found = knownHues.get(nodes);
  if (!found) {
    const made = new Map<string, number>();
    nodes.forEach(([name, kind]) => kind !== 1 && !made.has(name) && made.set(name, HUES[made.size % HUES.length]));
    found = made;
    knownHues.set(nodes, found);
  }
  return found;
}

function isDark({ ink }: IPalette): boolean {
  const [red = 0, green = 0, blue = 0] = (ink.match(/[\d.]+/g) ?? []).map(Number);
  return red + green + blue > 380;
}
