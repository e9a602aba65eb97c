/**
 * Timeline view: a lane for each worker, a bar for each run, and a line that says where the time went.
 *
 * Which worker ran what is read when the timeline is shown, and again while the dispatch runs; all else is given.
 */
import { GraphList } from '../graph/list';
import { nodeName } from '../graph/labels';
import { type IPalette, readPalette, watchTheme } from '../graph/palette';
import { placeTip } from '../graph/tip';
import { h, iconButton, pointIn } from '../dom';
import { formatDuration, statusLabel } from '../text';
import type { IDispatchSource, IGraph, ISnapshot } from '../tokens';
import type { Timeline } from '../wire';
import { geometryOf, type IGeometry, type IWindow, paintTimeline, rectOf } from './paint';
import { reasonOf } from './reason';
import { type IBar, type IScheduleInput, type ISchedule, scheduleOf } from './schedule';

/** Milliseconds between two pictures while time passes, and between two reads. */
const FRAME = 200;
const READ = 1000;

/** Pixels from which on a pointer drags instead of clicking. */
const DRAG_FROM = 4;

/** Number of nodes from which on work is saved. */
const LARGE = 3000;

const MIN_HEIGHT = 110;
const MAX_HEIGHT = 440;

/** Height of what is below the canvas. */
const FOOT = 48;

export interface ITimelineOptions {
  readonly source: IDispatchSource;
  /** Called when a node is selected, or the selection is cleared. */
  readonly onSelect: (node: number | null) => void;
  /** Called when `wantedHeight` may have changed. */
  readonly onHeight: () => void;
  readonly wheelZooms: boolean;
}

/** Shows when and where the nodes of one dispatch ran. */
export class TimelineView {
  constructor(options: ITimelineOptions) {
    this._options = options;
    this._canvas = h('canvas', { class: 'cv-canvas', attrs: { 'aria-hidden': 'true' } });
    this._context = this._canvas.getContext('2d')!;
    this._tip = h('div', { class: 'cv-tip', attrs: { hidden: '' } });
    this._reason = h('p', { class: 'cv-reason' });
    this._legend = h('ul', { class: 'cv-legend', attrs: { 'aria-label': 'Marks of the timeline' } });
    this._list = new GraphList(
      { move: node => this._focus(node), choose: node => options.onSelect(node) },
      'Runs by their start. Arrow keys move, Enter opens.'
    );
    const tools = h(
      'div',
      { class: 'cv-zoom', attrs: { role: 'toolbar', 'aria-label': 'Timeline' } },
      iconButton('minus', 'Show more time', () => this._zoom(1 / 1.5)),
      iconButton('plus', 'Show less time', () => this._zoom(1.5)),
      iconButton('fit', 'Show the whole time', () => this._setWindow(null))
    );
    this._scroll = h('div', { class: 'cv-lanes', attrs: { tabindex: '-1' } }, this._canvas);
    this._area = h('div', { class: 'cv-laneArea' }, this._scroll, this._list.node, this._tip);
    this.node = h('div', { class: 'cv-timeline', attrs: { hidden: '' } }, this._area, h('div', { class: 'cv-timelineFoot' }, this._reason, this._legend, tools));
    this._canvas.addEventListener('pointerdown', this._onDown);
    this._canvas.addEventListener('pointermove', this._onMove);
    this._canvas.addEventListener('pointerup', this._onUp);
    this._canvas.addEventListener('pointercancel', this._onUp);
    this._canvas.addEventListener('pointerleave', this._onLeave);
    this._canvas.addEventListener('wheel', this._onWheel, { passive: false });
    this._resizes = new ResizeObserver(() => this._resize());
    this._resizes.observe(this._area);
    this._unwatchTheme = watchTheme(() => {
      this._palette = null;
      this._draw();
    });
  }

  readonly node: HTMLElement;

  dispose(): void {
    this._disposed = true;
    this._resizes.disconnect();
    this._unwatchTheme();
    this._list.dispose();
    cancelAnimationFrame(this._frame);
    window.clearTimeout(this._timer);
    window.clearTimeout(this._readTimer);
  }

  /** Whether it is shown. While it is not, nothing is read and nothing is computed. */
  set isShown(shown: boolean) {
    if (this.node.hidden === shown) {
      this.node.hidden = !shown;
      this._refresh();
    }
  }

  /** The height at which all lanes are seen, within limits. */
  get wantedHeight(): number {
    const height = this._schedule ? geometryOf(this._schedule, this._width || 800).height : 0;
    return Math.min(MAX_HEIGHT, Math.max(MIN_HEIGHT, height)) + FOOT;
  }

  update(snapshot: ISnapshot): void {
    this._snapshot = snapshot;
    this._refresh();
  }

  /** Highlight a node as selected, without calling `onSelect`. */
  select(node: number | null): void {
    this._selected = node;
    this._draw();
  }

  private _refresh(): void {
    if (this.node.hidden || !this._snapshot?.graph) {
      return;
    }
    const { version } = this._snapshot.summary;
    if (version !== this._readVersion && this._readTimer === 0 && this._snapshot.stale === '') {
      this._readTimer = window.setTimeout(() => void this._read(version), this._timeline ? READ : 0);
    }
    // A large graph is computed once only: when it is known which worker ran what.
    if (this._timeline || this._readTimer === 0 || this._snapshot.graph.nodes.length < LARGE) {
      this._compute();
    }
  }

  private async _read(version: number): Promise<void> {
    let found: Timeline | null = null;
    try {
      found = await this._options.source.timeline();
    } catch {
      // The view itself shows that the other side is away; without workers, all runs are in one lane.
    }
    this._readTimer = 0;
    if (!this._disposed) {
      this._readVersion = version;
      this._timeline = found ?? this._timeline;
      this._refresh();
    }
  }

  private _compute(): void {
    const { graph, states, summary, stale } = this._snapshot!;
    this._now = stale ? Math.max(summary.started_at ?? summary.created_at, ...[...states.values()].map(([, , start, end]) => end ?? start ?? 0)) : Date.now() / 1000;
    const input: IScheduleInput = { nodes: graph!.nodes, edges: graph!.edges, states, timeline: this._timeline, summary };
    this._schedule = scheduleOf(input, this._now);
    this._computedAt = performance.now();
    const nameOf = this._nameOf(graph!);
    this._reason.textContent = reasonOf(this._schedule, input, nameOf, this._now) || 'Nothing has begun yet.';
    this._updateLegend();
    this._barOf = new Map();
    this._schedule.bars.forEach(bar => bar.kind !== 'earlier' && this._barOf.set(bar.node, bar));
    this._list.update([...this._barOf.keys()], node => this._describe(node));
    this._resize();
    this._options.onHeight();
  }

  private _updateLegend(): void {
    const { bars, waiting, path } = this._schedule!;
    const has = (kind: IBar['kind']): boolean => bars.some(bar => bar.kind === kind);
    const marks: readonly (readonly [string, string, boolean])[] = [
      ['critical', 'Critical path', path.length > 0],
      ['waiting', 'Waiting', waiting.length > 0],
      ['earlier', 'Run again', has('earlier')],
      ['reused', 'Reused', has('reused')]
    ];
    const shown = marks.filter(([, , isShown]) => isShown);
    if (this._legend.childElementCount !== shown.length) {
      this._legend.replaceChildren(...shown.map(([name, text]) => h('li', { text, class: `cv-legend-${name}` })));
    }
  }

  private _nameOf(graph: IGraph): (node: number) => string {
    return node => nodeName(graph, node);
  }

  private _describe(node: number): string {
    const bar = this._barOf.get(node);
    return bar ? `${this._nameOf(this._snapshot!.graph!)(node)}, ${this._factsOf(bar).join(', ')}` : '';
  }

  private _factsOf(bar: IBar): string[] {
    const { lanes, start } = this._schedule!;
    const waited = bar.start - Math.max(bar.ready, start);
    const seconds = (bar.end ?? this._now) - bar.start;
    const label = bar.kind === 'reused' ? 'Reused' : bar.kind === 'earlier' ? `${statusLabel(bar.status)}, then run again` : statusLabel(bar.status);
    return [
      lanes[bar.lane].name,
      bar.kind === 'reused' ? label : `${label} after ${formatDuration(seconds)}`.replace('Running after', 'Running for'),
      `began at ${formatDuration(Math.max(0, bar.start - start))}`,
      bar.kind === 'run' && waited > 0.01 && waited !== Infinity ? `waited ${formatDuration(waited)}` : '',
      bar.isCritical ? 'on the critical path' : ''
    ].filter(Boolean);
  }

  private get _whole(): IWindow {
    const { start, end } = this._schedule!;
    const to = Math.max(end ?? this._now, start + 0.001);
    return { from: start, to: end === null ? to + (to - start) * 0.04 : to };
  }

  private get _shown(): IWindow {
    return this._window ?? this._whole;
  }

  private _setWindow(window: IWindow | null): void {
    this._window = window;
    this._draw();
  }

  /** Show less time around a position (by default the middle), or more for a factor below 1. */
  private _zoom(factor: number, x?: number): void {
    if (!this._schedule) {
      return;
    }
    const { from, to } = this._shown;
    const whole = this._whole;
    const { gutter } = this._geometry!;
    const part = x === undefined ? 0.5 : Math.min(1, Math.max(0, (x - gutter) / Math.max(1, this._width - gutter)));
    const length = Math.max(0.002, (to - from) / factor);
    if (length >= whole.to - whole.from) {
      this._setWindow(null);
      return;
    }
    const at = from + part * (to - from);
    this._setWindow(this._within(at - part * length, length));
  }

  private _within(from: number, length: number): IWindow {
    const whole = this._whole;
    const start = Math.min(Math.max(from, whole.from), Math.max(whole.from, whole.to - length));
    return { from: start, to: start + length };
  }

  private _focus(node: number | null): void {
    this._focused = node;
    const bar = node === null ? undefined : this._barOf.get(node);
    if (bar && this._geometry) {
      const { from, to } = this._shown;
      if (bar.start < from || bar.start > to) {
        this._window = this._within(bar.start - (to - from) / 4, to - from);
      }
      const { y, height } = rectOf(bar, { window: this._shown, width: this._width, now: this._now }, this._geometry);
      if (y < this._scroll.scrollTop || y + height > this._scroll.scrollTop + this._scroll.clientHeight) {
        this._scroll.scrollTop = y - this._scroll.clientHeight / 2;
      }
    }
    this._draw();
  }

  private _resize(): void {
    const { clientWidth, clientHeight } = this._scroll;
    if (!this._schedule || clientWidth === 0) {
      return;
    }
    this._width = clientWidth;
    this._geometry = geometryOf(this._schedule, clientWidth);
    this._height = Math.max(this._geometry.height, Math.min(clientHeight, this._geometry.height + 40));
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this._width * ratio), Math.round(this._height * ratio)];
    if (this._canvas.width !== width || this._canvas.height !== height) {
      this._canvas.width = width;
      this._canvas.height = height;
      this._canvas.style.height = `${this._height}px`;
      this._drawNow();
      return;
    }
    this._draw();
  }

  private _draw(): void {
    if (this._frame === 0 && !this._disposed && !this.node.hidden) {
      this._frame = requestAnimationFrame(() => this._drawNow());
    }
  }

  private _drawNow(): void {
    cancelAnimationFrame(this._frame);
    this._frame = 0;
    window.clearTimeout(this._timer);
    if (this._disposed || !this._schedule || this._width === 0 || !this.node.isConnected || this.node.hidden) {
      return;
    }
    const lives = this._schedule.end === null && this._snapshot!.stale === '';
    this._now = lives ? Date.now() / 1000 : this._now;
    this._palette ??= readPalette(this.node);
    paintTimeline(this._context, {
      schedule: this._schedule,
      nodes: this._snapshot!.graph!.nodes,
      nameOf: this._nameOf(this._snapshot!.graph!),
      window: this._shown,
      width: this._width,
      height: this._height,
      palette: this._palette,
      selected: this._selected,
      hovered: this._hovered?.node ?? null,
      focused: this._focused,
      now: this._now
    });
    if (lives) {
      // The sentence grows each second; the line that marks the present moves more often.
      this._timer = window.setTimeout(() => (performance.now() - this._computedAt > 1000 ? this._compute() : this._draw()), FRAME);
    }
  }

  private _hit(event: MouseEvent): IBar | null {
    if (!this._schedule || !this._geometry) {
      return null;
    }
    const { x, y } = pointIn(this._canvas, event);
    const picture = { window: this._shown, width: this._width, now: this._now };
    let found: IBar | null = null;
    for (const bar of this._schedule.bars) {
      const rect = rectOf(bar, picture, this._geometry);
      if (x >= rect.x - 2 && x <= rect.x + rect.width + 2 && y >= rect.y && y <= rect.y + rect.height + 2 && x >= this._geometry.gutter) {
        found = bar;
      }
    }
    return found;
  }

  private _onDown = (event: PointerEvent): void => {
    if (event.button === 0 && this._schedule) {
      this._drag = { x: event.clientX, window: this._shown, moved: false };
      this._canvas.setPointerCapture(event.pointerId);
    }
  };

  private _onMove = (event: PointerEvent): void => {
    if (this._drag) {
      const moved = event.clientX - this._drag.x;
      this._drag.moved ||= Math.abs(moved) > DRAG_FROM;
      if (this._drag.moved && this._window) {
        const { from, to } = this._drag.window;
        const room = this._width - this._geometry!.gutter;
        this._tip.hidden = true;
        this._setWindow(this._within(from - (moved / room) * (to - from), to - from));
      }
      return;
    }
    const found = this._hit(event);
    this._canvas.style.cursor = found ? 'pointer' : this._window ? 'grab' : 'default';
    this._showTip(event, found);
    if (found !== this._hovered) {
      this._hovered = found;
      this._draw();
    }
  };

  private _onUp = (event: PointerEvent): void => {
    const drag = this._drag;
    this._drag = null;
    if (drag && !drag.moved && event.type === 'pointerup') {
      this._options.onSelect(this._hit(event)?.node ?? null);
    }
  };

  private _onLeave = (): void => {
    this._tip.hidden = true;
    this._hovered = null;
    this._draw();
  };

  private _onWheel = (event: WheelEvent): void => {
    if (event.ctrlKey || event.metaKey || (this._options.wheelZooms && event.altKey)) {
      event.preventDefault();
      this._zoom(Math.exp(-event.deltaY * 0.004), pointIn(this._canvas, event).x);
    }
  };

  private _showTip(event: PointerEvent, bar: IBar | null): void {
    this._tip.hidden = !bar;
    if (!bar) {
      return;
    }
    this._tip.replaceChildren(
      h('strong', { text: this._nameOf(this._snapshot!.graph!)(bar.node) }),
      h('span', { text: this._factsOf(bar).join('\n') })
    );
    placeTip(this._tip, pointIn(this._area, event), this._area.getBoundingClientRect());
  }

  private readonly _options: ITimelineOptions;
  private readonly _canvas: HTMLCanvasElement;
  private readonly _context: CanvasRenderingContext2D;
  private readonly _tip: HTMLElement;
  private readonly _reason: HTMLElement;
  private readonly _legend: HTMLElement;
  private readonly _list: GraphList;
  private readonly _scroll: HTMLElement;
  private readonly _area: HTMLElement;
  private readonly _resizes: ResizeObserver;
  private readonly _unwatchTheme: () => void;
  private _snapshot: ISnapshot | null = null;
  private _schedule: ISchedule | null = null;
  private _geometry: IGeometry | null = null;
  private _timeline: Timeline | null = null;
  private _barOf = new Map<number, IBar>();
  private _palette: IPalette | null = null;
  private _window: IWindow | null = null;
  private _selected: number | null = null;
  private _hovered: IBar | null = null;
  private _focused: number | null = null;
  private _drag: { x: number; window: IWindow; moved: boolean } | null = null;
  private _readVersion = -1;
  private _now = 0;
  private _computedAt = 0;
  private _width = 0;
  private _height = 0;
  private _frame = 0;
  private _timer = 0;
  private _readTimer = 0;
  private _disposed = false;
}
