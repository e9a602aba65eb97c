/**
 * Sprites: boxes that look alike are drawn once for each picture and copied, which costs a fraction of their paths.
 */
import type { IRect } from './scene';

/** Room around a box, for its line. */
const PAD = 2;

/** Copies boxes of one size. Positions are whole pixels of the device, so that what is copied stays sharp. */
export class Sprites {
  /** Begin a picture at this scale, with boxes of this size; nothing of the last one is used again. */
  begin(size: { readonly width: number; readonly height: number }, scale: number): void {
    this._drawn.clear();
    this._size = size;
    this._scale = scale;
  }

  /** Draw a box whose corner is at a pixel of the context's canvas. `paint` draws it where it is told, if no box of this `look` was drawn yet. */
  draw(context: CanvasRenderingContext2D, look: string, x: number, y: number, paint: (context: CanvasRenderingContext2D, rect: IRect) => void): void {
    let canvas = this._canvases.get(look);
    if (!canvas) {
      canvas = document.createElement('canvas');
      this._canvases.set(look, canvas);
    }
    if (!this._drawn.has(look)) {
      this._drawn.add(look);
      const { width, height } = this._size;
      canvas.width = Math.ceil((width + 2 * PAD) * this._scale);
      canvas.height = Math.ceil((height + 2 * PAD) * this._scale);
      const own = canvas.getContext('2d')!;
      own.setTransform(this._scale, 0, 0, this._scale, 0, 0);
      own.lineCap = 'round';
      own.lineJoin = 'round';
      paint(own, { x: PAD, y: PAD, width, height });
    }
    context.drawImage(canvas, Math.round(x - PAD * this._scale), Math.round(y - PAD * this._scale));
  }

  private readonly _canvases = new Map<string, HTMLCanvasElement>();
  private readonly _drawn = new Set<string>();
  private _size = { width: 0, height: 0 };
  private _scale = 1;
}
