/**
 * Minimap: the whole graph in a corner of a window that shows a part of it. A click or a drag on it moves the window.
 *
 * It is for pointers only, and hidden from screen readers: the list of the graph has the same nodes.
 */
import { h, pointIn } from '../dom';
import type { NodeState } from '../wire';
import { boxStates } from './boxStates';
import type { ISize } from './camera';
import type { IViewport } from './paint';
import type { IPalette } from './palette';
import type { IRect, IScene } from './scene';
import { inSlices, type Steps } from './slices';

/** Drawn nodes from which on there is a minimap. */
export const MINIMAP_FROM = 200;

/** Most space it takes. */
const MOST: ISize = { width: 180, height: 110 };

/** Least size: a thin graph would be a line that nobody can hit. */
const LEAST = 24;

/** Most part of the width or height of a window that it takes; where that is too little, there is none. */
const MOST_PART = 0.4;

/** Least pixels of a node that failed or runs. */
const URGENT = 3;

/** Boxes of one step. */
const STEP = 256;

/** Least milliseconds between two pictures while states change. */
const PERIOD = 500;

/** What the minimap shows. The picture is drawn again when scene, states or palette are other ones. */
export interface IMinimapContent {
  readonly scene: IScene;
  readonly states: ReadonlyMap<number, NodeState>;
  readonly palette: IPalette;
}

/** Return whether a part of a scene is out of sight in a window. */
export function isCut(scene: ISize, { scale, x, y }: IViewport, window: ISize): boolean {
  return x < -1 || y < -1 || x + scene.width * scale > window.width + 1 || y + scene.height * scale > window.height + 1;
}

/** Shows the minimap of one graph. */
export class Minimap {
  /** `goTo` gets the point of the scene that shall be in the middle of the window. */
  constructor(goTo: (x: number, y: number) => void) {
    this._goTo = goTo;
    this._canvas = h('canvas');
    this._window = h('div', { class: 'cv-minimapWindow' });
    this.node = h('div', { class: 'cv-minimap', attrs: { 'aria-hidden': 'true', hidden: '' } }, this._canvas, this._window);
    this.node.addEventListener('pointerdown', this._onDown);
    this.node.addEventListener('pointermove', this._onMove);
  }

  readonly node: HTMLElement;

  dispose(): void {
    this._content = null;
    window.clearTimeout(this._timer);
  }

  /** Show a part of a scene as it is now. Called for each picture of the graph, so it does next to nothing if nothing changed. */
  update(content: IMinimapContent, viewport: IViewport, size: ISize): void {
    const { scene } = content;
    if (scene !== this._counted) {
      this._counted = scene;
      this._count = scene.boxes.reduce((sum, { cells }) => sum + Math.max(1, cells.length), 0);
      this._scale = Math.min(MOST.width / scene.width, MOST.height / scene.height);
      this._size = { width: Math.max(LEAST, Math.round(scene.width * this._scale)), height: Math.max(LEAST, Math.round(scene.height * this._scale)) };
    }
    const hasRoom = this._size.width <= MOST_PART * size.width && this._size.height <= MOST_PART * size.height;
    const isShown = this._count > MINIMAP_FROM && hasRoom && isCut(scene, viewport, size);
    this.node.hidden = !isShown;
    if (!isShown) {
      return;
    }
    const last = this._content;
    this._content = content;
    if (!last || last.scene !== scene || last.palette !== content.palette) {
      this._resize();
      void this._draw();
    } else if (last.states !== content.states && this._timer === 0) {
      this._timer = window.setTimeout(() => {
        this._timer = 0;
        void this._draw();
      }, PERIOD);
    }
    this._place(viewport, size, scene);
  }

  private _resize(): void {
    const ratio = window.devicePixelRatio || 1;
    this._canvas.width = Math.round(this._size.width * ratio);
    this._canvas.height = Math.round(this._size.height * ratio);
    this._canvas.style.width = `${this._size.width}px`;
    this._canvas.style.height = `${this._size.height}px`;
  }

  /** Draw the boxes out of sight, in slices, and show them when all are there. */
  private async _draw(): Promise<void> {
    const content = this._content;
    if (!content) {
      return;
    }
    const { width, height } = this._canvas;
    const hidden = h('canvas', { attrs: { width: String(width), height: String(height) } });
    const isWanted = (): boolean => this._content !== null && this._content.scene === content.scene && this._content.palette === content.palette;
    const drawn = await inSlices(boxesOf(hidden.getContext('2d')!, content, (this._scale * width) / this._size.width), isWanted);
    if (drawn) {
      const context = this._canvas.getContext('2d')!;
      context.clearRect(0, 0, width, height);
      context.drawImage(hidden, 0, 0);
    }
  }

  /** Put the rectangle around what the window shows. */
  private _place({ scale, x, y }: IViewport, size: ISize, scene: ISize): void {
    const part = (from: number, length: number, whole: number): readonly [number, number] => {
      const [start, end] = [Math.max(0, from), Math.min(whole, from + length)];
      return [Math.round(start * this._scale), Math.max(6, Math.round((end - start) * this._scale))];
    };
    const [left, width] = part(-x / scale, size.width / scale, scene.width);
    const [top, height] = part(-y / scale, size.height / scale, scene.height);
    const place = `${left} ${top} ${width} ${height}`;
    if (place !== this._placed) {
      this._placed = place;
      this._window.style.transform = `translate(${left}px, ${top}px)`;
      this._window.style.width = `${width}px`;
      this._window.style.height = `${height}px`;
    }
  }

  private _onDown = (event: PointerEvent): void => {
    if (event.button === 0) {
      event.preventDefault(); // no selection of text while the pointer is dragged
      this.node.setPointerCapture(event.pointerId);
      this._move(event);
    }
  };

  private _onMove = (event: PointerEvent): void => {
    if (this.node.hasPointerCapture(event.pointerId)) {
      this._move(event);
    }
  };

  private _move(event: PointerEvent): void {
    const { x, y } = pointIn(this._canvas, event);
    this._goTo(x / this._scale, y / this._scale);
  }

  private readonly _goTo: (x: number, y: number) => void;
  private readonly _canvas: HTMLCanvasElement;
  private readonly _window: HTMLElement;
  private _content: IMinimapContent | null = null;
  private _counted: IScene | null = null;
  private _count = 0;
  private _size: ISize = { width: 0, height: 0 };
  private _scale = 1;
  private _placed = '';
  private _timer = 0;
}

/** Draw a dot for each node; what failed or runs comes last and is never smaller than can be seen. */
function* boxesOf(context: CanvasRenderingContext2D, { scene, states, palette }: IMinimapContent, scale: number): Steps<true> {
  const urgent: [IRect, string][] = [];
  let drawn = 0;
  const shows = boxStates(scene, states);
  for (const [index, { unit, cells, shown, ...box }] of scene.boxes.entries()) {
    const parts: readonly IRect[] = cells.length > 0 ? cells : [box];
    for (const [at, rect] of parts.entries()) {
      const status = cells.length > 0 ? (states.get(shown[at])?.[1] ?? 'pending') : shows.status[index];
      const colour = unit.kind === 'junction' ? palette.edge : palette.status[status];
      if (status === 'failed' || status === 'running') {
        urgent.push([rect, colour]);
      } else {
        fill(context, rect, colour, scale, 1);
      }
      if (++drawn % STEP === 0) {
        yield;
      }
    }
  }
  for (const [rect, colour] of urgent) {
    fill(context, rect, colour, scale, URGENT);
    if (++drawn % STEP === 0) {
      yield;
    }
  }
  return true;
}

function fill(context: CanvasRenderingContext2D, rect: IRect, colour: string, scale: number, least: number): void {
  const [width, height] = [Math.max(least, rect.width * scale), Math.max(least, rect.height * scale)];
  context.fillStyle = colour;
  context.fillRect((rect.x + rect.width / 2) * scale - width / 2, (rect.y + rect.height / 2) * scale - height / 2, width, height);
}
