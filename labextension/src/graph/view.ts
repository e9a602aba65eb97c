/**
 * Graph view: a canvas that can be panned and zoomed, and an accessible list of the same nodes.
 *
 * Nodes, edges and states are set from outside, the selection is reported; nothing is read from a server.
 */
import { type Edge, type Node, type NodeProgress, type NodeState, type Status } from '../wire';
import { h, iconButton, pointIn } from '../dom';
import { describeCounts, isTerminal, prettyName, statusLabel, waitLabel } from '../text';
import { GraphBar } from './bar';
import { countMembers } from './boxStates';
import { Camera, centred, fitScale, fitted, MARGIN, roomFor, zoomed } from './camera';
import { matches, nextOf } from './folds';
import { following, runningRects } from './follow';
import { nodeName } from './labels';
import { type IRanks, rankSteps } from './layout';
import { GraphList } from './list';
import { Minimap } from './minimap';
import { captionOf, type IPicture, type IViewport, paint } from './paint';
import { OpenFolds } from './openFolds';
import { type IPalette, readPalette, watchTheme } from './palette';
import { cardWidth, hit, type IScene, readingOrder, sceneSteps } from './scene';
import { placeTip, tipOf } from './tip';
import { type IShape, isPlumbing, type IUnit, shapeSteps } from './shape';
import { Latest, type Steps } from './slices';

const TOOLBAR_HEIGHT = 20; // that the toolbar takes from the graph
const MIN_HEIGHT = 150;
const MAX_HEIGHT = 440;

/** Number of nodes from which on a graph is reduced in slices. */
const LARGE = 3000;

/** Number of nodes from which on there is a search. */
const SEARCH_FROM = 20;

const PERIOD = 1400; // milliseconds of one period of the animation of running nodes
const FRAME = 33; // milliseconds between two pictures: thirty a second are smooth and leave the page half of its time
const DRAG_FROM = 4; // pixels

export interface IGraphViewOptions {
  /** Called when a node is selected, or the selection is cleared. */
  readonly onSelect: (node: number | null) => void;
  /** Called when `wantedHeight` may have changed. */
  readonly onHeight: () => void;
  /** Whether the wheel always zooms; otherwise it scrolls the page unless Ctrl or Cmd is pressed. */
  readonly wheelZooms: boolean;
}

/** Shows one graph. */
export class GraphView {
  constructor(options: IGraphViewOptions) {
    this._options = options;
    this._canvas = h('canvas', { class: 'cv-canvas', attrs: { 'aria-hidden': 'true' } });
    this._context = this._canvas.getContext('2d')!;
    this._tip = h('div', { class: 'cv-tip', attrs: { hidden: '' } });
    this._hint = h('div', { class: 'cv-hint', text: 'Hold Ctrl or ⌘ while scrolling to zoom', attrs: { 'aria-hidden': 'true' } });
    this._everythingButton = iconButton('layers', 'Show parameters and collections', () => this.showEverything(!this._showsEverything));
    this._everythingButton.setAttribute('aria-pressed', 'false');
    this._followButton = iconButton('follow', 'Follow what runs', () => this.follow(!this._isFollowing));
    this._followButton.setAttribute('aria-pressed', 'false');
    this._followButton.hidden = true;
    const tools = h(
      'div',
      { class: 'cv-tools', attrs: { role: 'toolbar', 'aria-label': 'Graph' } },
      this._followButton,
      this._everythingButton,
      iconButton('minus', 'Zoom out', () => this.zoom(1 / 1.35)),
      iconButton('plus', 'Zoom in', () => this.zoom(1.35)),
      iconButton('fit', 'Fit the graph into the window', () => {
        this.follow(false);
        this.fit();
      })
    );
    this._list = new GraphList({
      move: node => this._focus(node),
      choose: node => this._choose(node)
    });
    this._bar = new GraphBar({
      search: text => this._search(text),
      nextFailed: () => this._reveal(nextOf(this._failed, this._selected), 'failed'),
      filter: only => this._changePage(() => this._open.filter(only)),
      turn: by => this._changePage(() => this._open.turn(by, this._shape, this._states)),
      close: () => this._changePage(() => this._open.close())
    });
    this._minimap = new Minimap((x, y) => {
      this._takeOver();
      this._moveTo(centred(this._camera.target.scale, x, y, this._size), false);
    });
    this.node = h('div', { class: 'cv-graph' }, this._bar.node, this._list.node, this._canvas, this._minimap.node, tools, this._tip, this._hint);

    this._canvas.addEventListener('pointerdown', this._onDown);
    this._canvas.addEventListener('pointermove', this._onMove);
    this._canvas.addEventListener('pointerup', this._onUp);
    this._canvas.addEventListener('pointercancel', this._onUp);
    this._canvas.addEventListener('pointerleave', this._onLeave);
    this._canvas.addEventListener('dblclick', this._onDouble);
    this._canvas.addEventListener('wheel', this._onWheel, { passive: false });
    this._resizes = new ResizeObserver(() => this._resize());
    this._resizes.observe(this.node);
    this._intersections = new IntersectionObserver(entries => {
      this._isVisible = entries[entries.length - 1].isIntersecting;
      this._draw();
    });
    this._intersections.observe(this.node);
    this._unwatchTheme = watchTheme(() => {
      this._palette = null;
      this._draw();
    });
    this._reducedMotion = window.matchMedia('(prefers-reduced-motion: reduce)');
  }

  readonly node: HTMLElement;

  /** Remove listeners, observers and timers. An output is disposed when it scrolls away, so anything left would add up. */
  dispose(): void {
    this._disposed = true;
    this._canvas.removeEventListener('pointerdown', this._onDown);
    this._canvas.removeEventListener('pointermove', this._onMove);
    this._canvas.removeEventListener('pointerup', this._onUp);
    this._canvas.removeEventListener('pointercancel', this._onUp);
    this._canvas.removeEventListener('pointerleave', this._onLeave);
    this._canvas.removeEventListener('dblclick', this._onDouble);
    this._canvas.removeEventListener('wheel', this._onWheel);
    this._resizes.disconnect();
    this._intersections.disconnect();
    this._unwatchTheme();
    this._list.dispose();
    this._minimap.dispose();
    this._reductions.dispose();
    this._layouts.dispose();
    cancelAnimationFrame(this._frame);
    window.clearTimeout(this._timer);
    window.clearTimeout(this._hintTimer);
  }

  /** Replace the graph. */
  setGraph(nodes: readonly Node[], edges: readonly Edge[]): void {
    this._nodes = nodes;
    this._edges = edges;
    this._userMoved = false;
    this._fitted = false;
    if (nodes.length >= LARGE) {
      [this._shape, this._scene] = [null, null];
    }
    this._reduce(() => this.fit(false));
  }

  /** Replace the states of the nodes; `live` is false when they may be outdated. */
  setStates(states: ReadonlyMap<number, NodeState>, live: boolean): void {
    this._states = states;
    this._live = live;
    let added = false;
    const failed: number[] = [];
    this._moves = { runs: false, waits: false };
    for (const state of states.values()) {
      const [node, status] = state;
      if (status === 'failed') {
        failed.push(node);
      }
      this._moves.runs ||= status === 'running';
      this._moves.waits ||= waitLabel(state, null) !== '';
      if (status === 'failed' && node < this._nodes.length && isPlumbing(this._nodes[node][1]) && !this._failedPlumbing.has(node)) {
        this._failedPlumbing.add(node);
        added = true;
      }
    }
    this._failed = failed.sort((a, b) => a - b);
    if (added && this._shape) {
      this._reduce();
    }
    this._updateBar();
    this._updateList();
    this._followButton.hidden = !live || !this._nodes.some(([, kind], node) => !isPlumbing(kind) && !isTerminal(states.get(node)?.[1] ?? 'pending'));
    this._followOn();
    this._draw();
  }

  /** Replace what running nodes say about how far they are. */
  setProgress(progress: ReadonlyMap<number, NodeProgress>): void {
    if (progress.size > 0 || this._progress.size > 0) {
      this._progress = progress;
      this._draw();
    }
  }

  /** Highlight a node as selected, without calling `onSelect`. */
  select(node: number | null): void {
    this._selected = node;
    this._draw();
  }

  /** Show or hide parameters and collections. */
  showEverything(all: boolean): void {
    this._showsEverything = all;
    this._everythingButton.setAttribute('aria-pressed', String(all));
    this._reduce(() => this.fit());
  }

  /** The height at which the graph is as large as the width allows, within limits. */
  get wantedHeight(): number {
    if (!this._scene || this._size.width === 0) {
      return MIN_HEIGHT;
    }
    const scale = Math.min(1, (this._size.width - 2 * MARGIN) / this._scene.width);
    return Math.round(Math.min(MAX_HEIGHT, Math.max(MIN_HEIGHT, this._scene.height * scale + 2 * MARGIN + TOOLBAR_HEIGHT + this._bar.height)));
  }

  /** Show the whole graph, as large as possible but not magnified. */
  fit(animate = true): void {
    const { width, height } = this._size;
    if (!this._scene || width === 0 || height === 0) {
      return;
    }
    this._userMoved = false;
    this._fitted = true;
    this._moveTo(fitted(this._scene, this._size, this._bar.height), animate);
  }

  /** Zoom by a factor around a point of the window, by default its middle. */
  zoom(factor: number, x = this._size.width / 2, y = this._size.height / 2, animate = true): void {
    this._takeOver();
    const least = this._scene ? fitScale(this._scene, this._size, this._bar.height) : 1;
    this._moveTo(zoomed(this._camera.target, factor, { x, y }, least), animate);
  }

  /** Keep what runs in sight from now on, until the reader moves the window. */
  follow(follows: boolean): void {
    this._isFollowing = follows;
    this._followButton.setAttribute('aria-pressed', String(follows));
    this._followOn();
  }

  private _followOn(): void {
    const target = this._isFollowing && this._scene && this._size.width > 0 && following(runningRects(this._scene, this._states), this._camera.target, this._size, this._bar.height);
    if (target) {
      this._userMoved = true; // a resize must not fit the graph again
      this._moveTo(target, true);
    }
  }

  /** From here on the reader moves the window. */
  private _takeOver(): void {
    this._userMoved = true;
    this._isFollowing && this.follow(false);
  }

  /** Reduce the graph to what is drawn, and lay it out; large ones in slices, so that the page goes on meanwhile. */
  private _reduce(done?: () => void): void {
    const { _nodes: nodes, _edges: edges } = this;
    const options = { everything: this._showsEverything, keep: this._failedPlumbing };
    function* steps(): Steps<readonly [IShape, IRanks]> {
      const shape = yield* shapeSteps(nodes, edges, options);
      return [shape, yield* rankSteps({ count: shape.units.length, edges: shape.edges })];
    }
    this._reductions.run(nodes.length >= LARGE, steps(), ([shape, ranks]) => {
      this._shape = shape;
      this._ranks = ranks;
      this._layOut(done);
    });
  }

  /** Lay out what is drawn. Until that is done, what was shown before stays. */
  private _layOut(done?: () => void): void {
    const [shape, ranks, window] = [this._shape!, this._ranks!, roomFor(this._size, MAX_HEIGHT)];
    const nameOf = ({ kind, members }: IUnit): string => {
      const [name, type] = this._nodes[members[0]];
      return kind === 'group' ? `${prettyName(name, type)}    ×${members.length}` : this._nameOf(members[0]);
    };
    const open = this._open.shown(shape, this._states);
    function* steps(): Steps<IScene> {
      const card = cardWidth(shape.units.map(nameOf));
      yield;
      return yield* sceneSteps({ shape, ranks, open, card }, window);
    }
    this._layouts.run(shape.units.length >= LARGE, steps(), scene => {
      this._scene = scene;
      this._hovered = null;
      this._updateBar();
      this._updateList();
      this._draw();
      this._options.onHeight();
      done?.();
    });
  }

  private _changePage(change: () => void): void {
    this.follow(false);
    change();
    this._layOut(() => this.fit());
  }

  private _updateBar(): void {
    const isLarge = this._nodes.filter(([, kind]) => !isPlumbing(kind)).length > SEARCH_FROM;
    const failed = this._failed.filter(node => node < this._nodes.length && !isPlumbing(this._nodes[node][1])).length;
    this._bar.update(isLarge, failed, this._open.describe(this._shape, this._states, this._nodes));
  }

  private _search(text: string): readonly [number, number] {
    const found = matches(this._nodes.length, node => this._nameOf(node), node => (this._shape?.unitOf[node] ?? -1) >= 0, text);
    this._lastFound = nextOf(found, this._lastFound);
    this._reveal(this._lastFound, null);
    return [found.indexOf(this._lastFound ?? -1) + 1, found.length];
  }

  /** Bring a node into sight, on the page of its group, and select it. */
  private _reveal(node: number | null, only: Status | null): void {
    const unit = node === null ? undefined : this._shape?.units[this._shape.unitOf[node]];
    if (node === null || !unit) {
      return;
    }
    if (unit.kind === 'group') {
      this._open.reveal(unit.members, this._states, node, only);
      this._layOut(() => {
        this.fit(false);
        this._focus(node);
      });
    }
    this._options.onSelect(node);
    this._focus(node);
  }

  private _updateList(): void {
    if (this._scene) {
      this._list.update(readingOrder(this._scene), node => this._describe(node));
    }
  }

  private _describe(node: number): string {
    const box = this._scene?.boxes.find(({ unit }) => unit.members.includes(node));
    const [name, kind] = this._nodes[node];
    if (box?.unit.kind === 'group' && box.cells.length === 0) {
      const counts = countMembers(box.unit.members, this._states);
      return `${prettyName(name, kind)}, ${box.unit.members.length} alike: ${describeCounts(counts).join(', ')}`;
    }
    return `${this._nameOf(node)}, ${statusLabel(this._states.get(node)?.[1] ?? 'pending')}, ${captionOf(this._states.get(node), this._now, kind)}`;
  }

  private _nameOf(node: number): string {
    return nodeName({ nodes: this._nodes, edges: this._edges }, node);
  }

  private get _now(): number | null {
    return this._live ? Date.now() / 1000 : null;
  }

  private _choose(node: number): void {
    const box = this._scene?.boxes.find(({ unit }) => unit.members.includes(node));
    if (box?.unit.kind === 'group' && box.cells.length === 0) {
      this._toggle(node);
      return;
    }
    this._options.onSelect(node);
  }

  private _toggle(group: number): void {
    this._changePage(() => this._open.toggle(group));
  }

  /** Set the node that the keyboard is on, and move it into the window. */
  private _focus(node: number | null): void {
    this._focused = node;
    const box = node === null ? undefined : this._scene?.boxes.find(({ unit }) => unit.members.includes(node));
    if (box) {
      const { width, height } = this._size;
      const { scale, x, y } = this._camera.viewport;
      const [left, top] = [box.x * scale + x, box.y * scale + y];
      if (left < 0 || top < 0 || left + box.width * scale > width || top + box.height * scale > height) {
        this._takeOver();
        this._moveTo(centred(scale, box.x + box.width / 2, box.y + box.height / 2, this._size), true);
      }
    }
    this._draw();
  }

  private _resize(): void {
    const { width, height } = this.node.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    this._size = { width, height };
    this._canvas.width = Math.round(width * ratio);
    this._canvas.height = Math.round(height * ratio);
    if (this._shape && !this._userMoved) {
      const show = (): void => {
        this.fit(false);
        this._options.onHeight();
      };
      this._fitted ? show() : this._layOut(show);
    }
    this._followOn();
    this._drawNow();
  }

  private _moveTo(target: IViewport, animate: boolean): void {
    this._camera.moveTo(target, animate && !this._reducedMotion.matches && this._isVisible);
    this._draw();
  }

  /** Request a picture. Requests before the next frame are merged into one: changes come in bursts. */
  private _draw(): void {
    if (this._frame === 0 && !this._disposed) {
      this._frame = requestAnimationFrame(() => this._drawNow());
    }
  }

  private _drawNow(): void {
    // Called directly after a resize, which clears the canvas: waiting for the next frame would flicker.
    cancelAnimationFrame(this._frame);
    this._frame = 0;
    if (this._disposed || !this._scene || this._size.width === 0 || !this.node.isConnected) {
      return;
    }
    const now = performance.now();
    this._camera.advance(now);
    const running = this._live && this._moves.runs;
    const hasTimes = running || (this._live && this._moves.waits);
    const animated = running && this._isVisible && !this._reducedMotion.matches;
    // Reading the palette forces the page to compute styles, so it is kept until the theme changes.
    this._palette ??= readPalette(this.node);
    const picture: IPicture = {
      scene: this._scene,
      nodes: this._nodes,
      nameOf: node => this._nameOf(node),
      states: this._states,
      viewport: this._camera.viewport,
      width: this._size.width,
      height: this._size.height,
      palette: this._palette,
      selected: this._selected,
      hovered: this._hovered,
      focused: this._focused,
      progress: this._progress,
      now: this._now,
      phase: animated ? (now % PERIOD) / PERIOD : null
    };
    paint(this._context, picture);
    this._minimap.update(picture, this._camera.viewport, this._size);
    const second = Math.floor(now / 1000);
    if (hasTimes && second !== this._lastSecond) {
      this._lastSecond = second;
      this._list.refresh();
    }
    this._scheduleNext(animated, hasTimes);
  }

  /** Schedule the next picture, if anything will have changed by then; a graph at rest costs nothing. */
  private _scheduleNext(animated: boolean, hasTimes: boolean): void {
    window.clearTimeout(this._timer);
    if (this._camera.isMoving) {
      this._draw();
    } else if (animated) {
      this._timer = window.setTimeout(() => this._draw(), FRAME);
    } else if (hasTimes && this._isVisible) {
      this._timer = window.setTimeout(() => this._draw(), 1000);
    }
  }

  private _hit(event: MouseEvent): ReturnType<typeof hit> {
    if (!this._scene) {
      return null;
    }
    const { x, y } = pointIn(this._canvas, event);
    const { scale, ...at } = this._camera.viewport;
    return hit(this._scene, (x - at.x) / scale, (y - at.y) / scale);
  }

  private _onDown = (event: PointerEvent): void => {
    if (event.button === 0) {
      this._drag = { x: event.clientX, y: event.clientY, from: this._camera.viewport, moved: false };
      this._canvas.setPointerCapture(event.pointerId);
    }
  };

  private _onMove = (event: PointerEvent): void => {
    if (this._drag) {
      const [dx, dy] = [event.clientX - this._drag.x, event.clientY - this._drag.y];
      this._drag.moved ||= Math.hypot(dx, dy) > DRAG_FROM;
      if (this._drag.moved) {
        this._takeOver();
        this._moveTo({ ...this._drag.from, x: this._drag.from.x + dx, y: this._drag.from.y + dy }, false);
        this._canvas.style.cursor = 'grabbing';
        this._tip.hidden = true;
      }
      return;
    }
    const found = this._hit(event);
    this._canvas.style.cursor = found ? 'pointer' : 'grab';
    this._showTip(event, found);
    if (found?.box !== this._hovered?.box || found?.member !== this._hovered?.member) {
      this._hovered = found;
      this._draw();
    }
  };

  private _onUp = (event: PointerEvent): void => {
    const drag = this._drag;
    this._drag = null;
    this._canvas.style.cursor = 'grab';
    if (!drag || drag.moved || event.type !== 'pointerup') {
      return;
    }
    const found = this._hit(event);
    if (!found) {
      this._options.onSelect(null);
      return;
    }
    const { unit, cells } = this._scene!.boxes[found.box];
    if (found.member !== null) {
      this._options.onSelect(found.member);
    } else if (unit.kind === 'group') {
      this._tip.hidden = true;
      this._toggle(unit.members[0]);
    } else if (cells.length === 0) {
      this._options.onSelect(unit.members[0]);
    }
  };

  private _onLeave = (): void => {
    this._tip.hidden = true;
    if (this._hovered) {
      this._hovered = null;
      this._draw();
    }
  };

  private _onDouble = (event: MouseEvent): void => {
    if (!this._hit(event)) {
      const { x, y } = pointIn(this._canvas, event);
      this.zoom(1.6, x, y);
    }
  };

  private _onWheel = (event: WheelEvent): void => {
    if (!this._options.wheelZooms && !event.ctrlKey && !event.metaKey) {
      this._hint.classList.add('cv-mod-shown');
      window.clearTimeout(this._hintTimer);
      this._hintTimer = window.setTimeout(() => this._hint.classList.remove('cv-mod-shown'), 900);
      return;
    }
    event.preventDefault();
    const { x, y } = pointIn(this._canvas, event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 18 : 1;
    this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.006 : 0.0016)), x, y, false);
  };

  private _showTip(event: PointerEvent, found: ReturnType<typeof hit>): void {
    this._tip.hidden = !found;
    if (!found) {
      return;
    }
    const { _nodes: nodes, _states: states, _now: now } = this;
    this._tip.replaceChildren(...tipOf(this._scene!.boxes[found.box], found.member, { nodes, states, now, nameOf: node => this._nameOf(node) }));
    placeTip(this._tip, pointIn(this._canvas, event), this._size);
  }

  private readonly _options: IGraphViewOptions;
  private readonly _canvas: HTMLCanvasElement;
  private readonly _context: CanvasRenderingContext2D;
  private readonly _tip: HTMLElement;
  private readonly _hint: HTMLElement;
  private readonly _everythingButton: HTMLButtonElement;
  private readonly _followButton: HTMLButtonElement;
  private readonly _list: GraphList;
  private readonly _minimap: Minimap;
  private readonly _resizes: ResizeObserver;
  private readonly _intersections: IntersectionObserver;
  private readonly _unwatchTheme: () => void;
  private readonly _reducedMotion: MediaQueryList;
  private readonly _open = new OpenFolds();
  private readonly _bar: GraphBar;
  private _failed: readonly number[] = [];
  private _lastFound: number | null = null;
  private readonly _failedPlumbing = new Set<number>();
  private _nodes: readonly Node[] = [];
  private _edges: readonly Edge[] = [];
  private _states: ReadonlyMap<number, NodeState> = new Map();
  private _shape: IShape | null = null;
  private _ranks: IRanks | null = null;
  private _scene: IScene | null = null;
  private _palette: IPalette | null = null;
  private readonly _camera = new Camera();
  private _isFollowing = false;
  private _size = { width: 0, height: 0 };
  private _selected: number | null = null;
  private _hovered: ReturnType<typeof hit> = null;
  private _focused: number | null = null;
  private _progress: ReadonlyMap<number, NodeProgress> = new Map();
  private _drag: { x: number; y: number; from: IViewport; moved: boolean } | null = null;
  private _live = true;
  private _moves = { runs: false, waits: false };
  private readonly _reductions = new Latest();
  private readonly _layouts = new Latest();
  private _showsEverything = false;
  private _userMoved = false;
  private _fitted = false;
  private _isVisible = true;
  private _disposed = false;
  private _frame = 0;
  private _lastSecond = 0;
  private _timer = 0;
  private _hintTimer = 0;
}
