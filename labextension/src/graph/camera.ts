/**
 * Camera: which part of a scene the window shows, and its way to another part.
 */
import type { IViewport } from './paint';

/** Width and height. */
export interface ISize {
  readonly width: number;
  readonly height: number;
}

/** Margin around a scene that is shown as a whole. */
export const MARGIN = 24;

const MAX_SCALE = 2.5;

/** Least part of the scale that shows the whole scene. */
const LEAST_OF_FIT = 0.6;

const TRANSITION = 220; // milliseconds

/** Return the room that a scene is laid out for in a window; one that is not there yet is guessed. */
export function roomFor({ width, height }: ISize, mostHeight: number): ISize {
  return { width: Math.max(100, (width || 800) - 2 * MARGIN), height: Math.max(100, Math.max(height, mostHeight) - 2 * MARGIN) };
}

/** Return the scale at which a whole scene is seen below a bar, as large as possible but not magnified. */
export function fitScale(scene: ISize, window: ISize, bar: number): number {
  return Math.min(1, (window.width - 2 * MARGIN) / scene.width, (window.height - 2 * MARGIN - bar) / scene.height);
}

/** Return the viewport in which a whole scene is in the middle. */
export function fitted(scene: ISize, window: ISize, bar: number): IViewport {
  const scale = fitScale(scene, window, bar);
  return { scale, x: (window.width - scene.width * scale) / 2, y: (window.height + bar - scene.height * scale) / 2 };
}

/** Return a viewport zoomed by a factor around a point of the window. */
export function zoomed(from: IViewport, factor: number, { x, y }: { readonly x: number; readonly y: number }, least: number): IViewport {
  const scale = Math.min(MAX_SCALE, Math.max(LEAST_OF_FIT * least, from.scale * factor));
  const grown = scale / from.scale;
  return { scale, x: x - (x - from.x) * grown, y: y - (y - from.y) * grown };
}

/** Return a viewport with a point of the scene in the middle of the window. */
export function centred(scale: number, x: number, y: number, window: ISize): IViewport {
  return { scale, x: window.width / 2 - x * scale, y: window.height / 2 - y * scale };
}

/** Holds the viewport of one view. */
export class Camera {
  /** What is shown now. */
  get viewport(): IViewport {
    return this._viewport;
  }

  /** What will be shown at the end of the way. */
  get target(): IViewport {
    return this._target ?? this._viewport;
  }

  get isMoving(): boolean {
    return this._target !== null;
  }

  moveTo(target: IViewport, animate: boolean): void {
    if (animate) {
      this._target = target;
      this._from = this._viewport;
      this._start = performance.now();
    } else {
      this._viewport = target;
      this._target = null;
    }
  }

  /** Move on to where it is at a time: fast first and slow at the end. */
  advance(now: number): void {
    if (this._target) {
      const part = Math.min(1, (now - this._start) / TRANSITION);
      this._viewport = between(this._from, this._target, part);
      this._target = part === 1 ? null : this._target;
    }
  }

  private _viewport: IViewport = { x: 0, y: 0, scale: 1 };
  private _target: IViewport | null = null;
  private _from: IViewport = this._viewport;
  private _start = 0;
}

function between(from: IViewport, to: IViewport, part: number): IViewport {
  const ease = 1 - (1 - part) ** 3;
  const mix = (a: number, b: number): number => a + (b - a) * ease;
  return { scale: mix(from.scale, to.scale), x: mix(from.x, to.x), y: mix(from.y, to.y) };
}
