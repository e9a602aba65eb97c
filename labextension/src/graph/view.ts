/**
 * The picture of a graph that a reader moves about in: a canvas, and beside it a list that says the same in words.
 *
 * Takes nodes, edges and states; tells which node was chosen. It fetches nothing.
 */
import { type Edge, type Node, type NodeState } from '../wire';
import { h, iconButton } from '../dom';
import { describeCounts, prettyName, statusLabel, waitLabel } from '../text';
import { type IRanks, rank } from './layout';
import { GraphList } from './list';
import { captionOf, type IPicture, type IViewport, paint, statusOfMembers } from './paint';
import { type IPalette, readPalette, watchTheme } from './palette';
import { cardWidth, hit, type IScene, sceneOf } from './scene';
import { type IShape, isPlumbing, shapeOf } from './shape';

const MARGIN = 24;
const TOOLS = 20;
const LOWEST = 150;
const HIGHEST = 440;
const SMALLEST = 0.02;
const LARGEST = 2.5;
const TURN = 1400;
const GLIDE = 220;

export interface IGraphViewOptions {
  /** Called when a node is chosen, or none any more. */
  readonly onSelect: (node: number | null) => void;
  /** Called when `wantedHeight` may have changed. */
  readonly onHeight: () => void;
  /** Whether a turn of the wheel always zooms; otherwise it scrolls the page unless Ctrl or Cmd is down. */
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
    this._everything = iconButton('layers', 'Show parameters and collections', () => this.showEverything(!this._all));
    this._everything.setAttribute('aria-pressed', 'false');
    const tools = h(
      'div',
      { class: 'cv-tools', attrs: { role: 'toolbar', 'aria-label': 'Graph' } },
      this._everything,
      iconButton('minus', 'Zoom out', () => this.zoom(1 / 1.35)),
      iconButton('plus', 'Zoom in', () => this.zoom(1.35)),
      iconButton('fit', 'Fit the graph into the window', () => this.fit())
    );
    this._list = new GraphList({
      move: node => this._focus(node),
      choose: node => this._choose(node)
    });
    this.node = h('div', { class: 'cv-graph' }, this._list.node, this._canvas, tools, this._tip, this._hint);

    this._canvas.addEventListener('pointerdown', this._onDown);
    this._canvas.addEventListener('pointermove', this._onMove);
    this._canvas.addEventListener('pointerup', this._onUp);
    this._canvas.addEventListener('pointercancel', this._onUp);
    this._canvas.addEventListener('pointerleave', this._onLeave);
    this._canvas.addEventListener('dblclick', this._onDouble);
    this._canvas.addEventListener('wheel', this._onWheel, { passive: false });
    this._sizes = new ResizeObserver(() => this._resize());
    this._sizes.observe(this.node);
    this._sight = new IntersectionObserver(entries => {
      this._seen = entries[entries.length - 1].isIntersecting;
      this._draw();
    });
    this._sight.observe(this.node);
    this._unwatch = watchTheme(() => {
      this._palette = null;
      this._draw();
    });
    this._still = window.matchMedia('(prefers-reduced-motion: reduce)');
  }

  readonly node: HTMLElement;

  /** Whether dispose() was called. */
  get isDisposed(): boolean {
    return this._disposed;
  }

  /** End everything that was started in the constructor. */
  dispose(): void {
    if (this._disposed) {
      return;
    }
    this._disposed = true;
    this._canvas.removeEventListener('pointerdown', this._onDown);
    this._canvas.removeEventListener('pointermove', this._onMove);
    this._canvas.removeEventListener('pointerup', this._onUp);
    this._canvas.removeEventListener('pointercancel', this._onUp);
    this._canvas.removeEventListener('pointerleave', this._onLeave);
    this._canvas.removeEventListener('dblclick', this._onDouble);
    this._canvas.removeEventListener('wheel', this._onWheel);
    this._sizes.disconnect();
    this._sight.disconnect();
    this._unwatch();
    this._list.dispose();
    cancelAnimationFrame(this._frame);
    window.clearTimeout(this._tick);
    window.clearTimeout(this._hintEnd);
  }

  /** Show this graph, from now on. */
  setGraph(nodes: readonly Node[], edges: readonly Edge[]): void {
    this._nodes = nodes;
    this._edges = edges;
    this._reshape();
    this._moved = false;
    this._fitted = false;
    this.fit(false);
  }

  /** Show where the nodes stand; `live` says whether that is so now. */
  setStates(states: ReadonlyMap<number, NodeState>, live: boolean): void {
    this._states = states;
    this._live = live;
    let kept = false;
    for (const [node, status] of states.values()) {
      if (status === 'failed' && node < this._nodes.length && isPlumbing(this._nodes[node][1]) && !this._keep.has(node)) {
        this._keep.add(node);
        kept = true;
      }
    }
    if (kept) {
      this._reshape();
    }
    this._relist();
    this._draw();
  }

  /** Mark this node as the chosen one, without telling anybody. */
  select(node: number | null): void {
    this._selected = node;
    this._draw();
  }

  /** Draw parameters and collections as well, or hide them. */
  showEverything(all: boolean): void {
    this._all = all;
    this._everything.setAttribute('aria-pressed', String(all));
    this._reshape();
    this.fit();
  }

  /** How high this should be to show the graph as large as its width allows, within reason. */
  get wantedHeight(): number {
    if (!this._scene || this._size.width === 0) {
      return LOWEST;
    }
    const scale = Math.min(1, (this._size.width - 2 * MARGIN) / this._scene.width);
    return Math.round(Math.min(HIGHEST, Math.max(LOWEST, this._scene.height * scale + 2 * MARGIN + TOOLS)));
  }

  /** Show all of it, as large as it goes but not larger than life. */
  fit(glide = true): void {
    const { width, height } = this._size;
    if (!this._scene || width === 0 || height === 0) {
      return;
    }
    const scale = Math.min(1, (width - 2 * MARGIN) / this._scene.width, (height - 2 * MARGIN) / this._scene.height);
    const target = {
      scale,
      x: (width - this._scene.width * scale) / 2,
      y: (height - this._scene.height * scale) / 2
    };
    this._moved = false;
    this._fitted = true;
    this._glideTo(target, glide);
  }

  /** Zoom by a factor, about the middle of the window or a point of it. */
  zoom(factor: number, x = this._size.width / 2, y = this._size.height / 2, glide = true): void {
    const from = this._target ?? this._viewport;
    const scale = Math.min(LARGEST, Math.max(SMALLEST, from.scale * factor));
    const grown = scale / from.scale;
    this._moved = true;
    this._glideTo({ scale, x: x - (x - from.x) * grown, y: y - (y - from.y) * grown }, glide);
  }

  private _reshape(): void {
    this._shape = shapeOf(this._nodes, this._edges, { everything: this._all, keep: this._keep });
    this._ranks = rank({ count: this._shape.units.length, edges: this._shape.edges });
    this._replace();
  }

  private _replace(): void {
    const { width, height } = this._size;
    const names = this._shape!.units.map(({ kind, members }) => {
      const [name, type] = this._nodes[members[0]];
      return `${prettyName(name, type)}${kind === 'group' ? ` ×${members.length}` : ''}`;
    });
    this._scene = sceneOf(
      { shape: this._shape!, ranks: this._ranks!, open: this._open, card: cardWidth(names) },
      { width: Math.max(100, (width || 800) - 2 * MARGIN), height: Math.max(100, Math.max(height, HIGHEST) - 2 * MARGIN) }
    );
    this._hovered = null;
    this._relist();
    this._draw();
    this._options.onHeight();
  }

  private _relist(): void {
    if (this._scene) {
      const { boxes, sideways } = this._scene;
      // As the eye goes: along the graph, and across it.
      const sorted = [...boxes].sort((a, b) => (sideways ? a.x - b.x || a.y - b.y : a.y - b.y || a.x - b.x));
      const order = sorted.flatMap(({ unit, cells }) =>
        unit.kind === 'junction' ? [] : cells.length > 0 ? unit.members : [unit.members[0]]
      );
      this._list.update(order, node => this._describe(node));
    }
  }

  private _describe(node: number): string {
    const box = this._scene?.boxes.find(({ unit }) => unit.members.includes(node));
    const [name, kind] = this._nodes[node];
    if (box?.unit.kind === 'group' && box.cells.length === 0) {
      const counts = statusOfMembers(box.unit.members, this._states);
      return `${prettyName(name, kind)}, ${box.unit.members.length} alike: ${describeCounts(counts).join(', ')}`;
    }
    return `${prettyName(name, kind)}, ${statusLabel(this._states.get(node)?.[1] ?? 'pending')}, ${captionOf(this._states.get(node), this._now, kind)}`;
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
    if (!this._open.delete(group)) {
      this._open.add(group);
    }
    this._replace();
    this.fit();
  }

  /** Bring the node somebody walked to by keyboard into sight. */
  private _focus(node: number | null): void {
    this._focused = node;
    const box = node === null ? undefined : this._scene?.boxes.find(({ unit }) => unit.members.includes(node));
    if (box) {
      const { width, height } = this._size;
      const { scale, x, y } = this._viewport;
      const [left, top] = [box.x * scale + x, box.y * scale + y];
      if (left < 0 || top < 0 || left + box.width * scale > width || top + box.height * scale > height) {
        this._moved = true;
        this._glideTo({ scale, x: width / 2 - (box.x + box.width / 2) * scale, y: height / 2 - (box.y + box.height / 2) * scale }, true);
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
    if (this._shape && !this._moved) {
      if (!this._fitted) {
        this._replace();
      }
      this.fit(false);
      this._options.onHeight();
    }
    this._drawNow();
  }

  private _glideTo(target: IViewport, glide: boolean): void {
    if (!glide || this._still.matches || !this._seen) {
      this._viewport = target;
      this._target = null;
    } else {
      this._target = target;
      this._glide = { from: this._viewport, start: performance.now() };
    }
    this._draw();
  }

  private _draw(): void {
    if (this._frame === 0 && !this._disposed) {
      this._frame = requestAnimationFrame(() => this._drawNow());
    }
  }

  private _drawNow(): void {
    cancelAnimationFrame(this._frame);
    this._frame = 0;
    if (this._disposed || !this._scene || this._size.width === 0 || !this.node.isConnected) {
      return;
    }
    const now = performance.now();
    if (this._target) {
      const part = Math.min(1, (now - this._glide.start) / GLIDE);
      const ease = 1 - (1 - part) ** 3;
      const { from } = this._glide;
      const mix = (a: number, b: number): number => a + (b - a) * ease;
      this._viewport = {
        scale: mix(from.scale, this._target.scale),
        x: mix(from.x, this._target.x),
        y: mix(from.y, this._target.y)
      };
      if (part === 1) {
        this._target = null;
      }
    }
    const states = this._live ? [...this._states.values()] : [];
    const running = states.some(([, status]) => status === 'running');
    const clocks = running || states.some(state => waitLabel(state, this._now) !== '');
    const moves = running && this._seen && !this._still.matches;
    this._palette ??= readPalette(this.node);
    const picture: IPicture = {
      scene: this._scene,
      nodes: this._nodes,
      states: this._states,
      viewport: this._viewport,
      width: this._size.width,
      height: this._size.height,
      palette: this._palette,
      selected: this._selected,
      hovered: this._hovered,
      focused: this._focused,
      now: this._now,
      phase: moves ? (now % TURN) / TURN : null
    };
    paint(this._context, picture);
    const second = Math.floor(now / 1000);
    if (clocks && second !== this._second) {
      this._second = second;
      this._list.refresh();
    }
    window.clearTimeout(this._tick);
    if (this._target) {
      this._draw();
    } else if (moves) {
      // Thirty pictures a second are smooth enough, and leave the page half of its time.
      this._tick = window.setTimeout(() => this._draw(), 33);
    } else if (clocks && this._seen) {
      this._tick = window.setTimeout(() => this._draw(), 1000);
    }
  }

  private _at(event: MouseEvent): { x: number; y: number } {
    const bounds = this._canvas.getBoundingClientRect();
    return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
  }

  private _hit(event: MouseEvent): ReturnType<typeof hit> {
    if (!this._scene) {
      return null;
    }
    const { x, y } = this._at(event);
    const { scale } = this._viewport;
    return hit(this._scene, (x - this._viewport.x) / scale, (y - this._viewport.y) / scale);
  }

  private _onDown = (event: PointerEvent): void => {
    if (event.button === 0) {
      this._drag = { x: event.clientX, y: event.clientY, from: this._viewport, far: false };
      this._canvas.setPointerCapture(event.pointerId);
    }
  };

  private _onMove = (event: PointerEvent): void => {
    if (this._drag) {
      const [dx, dy] = [event.clientX - this._drag.x, event.clientY - this._drag.y];
      this._drag.far ||= Math.hypot(dx, dy) > 4;
      if (this._drag.far) {
        this._target = null;
        this._moved = true;
        this._viewport = { ...this._drag.from, x: this._drag.from.x + dx, y: this._drag.from.y + dy };
        this._canvas.style.cursor = 'grabbing';
        this._tip.hidden = true;
        this._draw();
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
    if (!drag || drag.far || event.type !== 'pointerup') {
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
      const { x, y } = this._at(event);
      this.zoom(1.6, x, y);
    }
  };

  private _onWheel = (event: WheelEvent): void => {
    if (!this._options.wheelZooms && !event.ctrlKey && !event.metaKey) {
      this._hint.classList.add('cv-mod-shown');
      window.clearTimeout(this._hintEnd);
      this._hintEnd = window.setTimeout(() => this._hint.classList.remove('cv-mod-shown'), 900);
      return;
    }
    event.preventDefault();
    const { x, y } = this._at(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 18 : 1;
    this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.006 : 0.0016)), x, y, false);
  };

  private _showTip(event: PointerEvent, found: ReturnType<typeof hit>): void {
    this._tip.hidden = !found;
    if (!found) {
      return;
    }
    const { unit, cells } = this._scene!.boxes[found.box];
    const node = found.member ?? unit.members[0];
    const [name, kind] = this._nodes[node];
    const many = unit.kind === 'group' && found.member === null;
    const caption = many
      ? `${describeCounts(statusOfMembers(unit.members, this._states)).join(' · ')}\n${cells.length > 0 ? 'Click to fold' : 'Click to open'}`
      : `Node ${node} · ${statusLabel(this._states.get(node)?.[1] ?? 'pending')} · ${captionOf(this._states.get(node), this._now, kind)}`;
    this._tip.replaceChildren(
      h('strong', { text: `${prettyName(name, kind)}${many ? ` ×${unit.members.length}` : ''}` }),
      h('span', { text: isPlumbing(kind) ? `Node ${node}` : caption })
    );
    const { x, y } = this._at(event);
    const { offsetWidth, offsetHeight } = this._tip;
    this._tip.style.left = `${Math.max(4, Math.min(x + 14, this._size.width - offsetWidth - 6))}px`;
    this._tip.style.top = `${y + 18 + offsetHeight > this._size.height ? Math.max(4, y - offsetHeight - 10) : y + 18}px`;
  }

  private readonly _options: IGraphViewOptions;
  private readonly _canvas: HTMLCanvasElement;
  private readonly _context: CanvasRenderingContext2D;
  private readonly _tip: HTMLElement;
  private readonly _hint: HTMLElement;
  private readonly _everything: HTMLButtonElement;
  private readonly _list: GraphList;
  private readonly _sizes: ResizeObserver;
  private readonly _sight: IntersectionObserver;
  private readonly _unwatch: () => void;
  private readonly _still: MediaQueryList;
  private readonly _open = new Set<number>();
  private readonly _keep = new Set<number>();
  private _nodes: readonly Node[] = [];
  private _edges: readonly Edge[] = [];
  private _states: ReadonlyMap<number, NodeState> = new Map();
  private _shape: IShape | null = null;
  private _ranks: IRanks | null = null;
  private _scene: IScene | null = null;
  private _palette: IPalette | null = null;
  private _viewport: IViewport = { x: 0, y: 0, scale: 1 };
  private _target: IViewport | null = null;
  private _glide: { from: IViewport; start: number } = { from: this._viewport, start: 0 };
  private _size = { width: 0, height: 0 };
  private _selected: number | null = null;
  private _hovered: ReturnType<typeof hit> = null;
  private _focused: number | null = null;
  private _drag: { x: number; y: number; from: IViewport; far: boolean } | null = null;
  private _live = true;
  private _all = false;
  private _moved = false;
  private _fitted = false;
  private _seen = true;
  private _disposed = false;
  private _frame = 0;
  private _second = 0;
  private _tick = 0;
  private _hintEnd = 0;
}
