/**
 * Tests of following, and of when there is a minimap.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitted } from '../src/graph/camera';
import { following } from '../src/graph/follow';
import { isCut } from '../src/graph/minimap';
import type { IViewport } from '../src/graph/paint';
import type { IRect } from '../src/graph/scene';

const WINDOW = { width: 800, height: 400 };
const BAR = 30;

const box = (x: number, y: number): IRect => ({ x, y, width: 200, height: 46 });

function isSeen({ x, y, width, height }: IRect, { scale, ...at }: IViewport): boolean {
  const [left, top] = [x * scale + at.x, y * scale + at.y];
  return left >= 0 && top >= BAR && left + width * scale <= WINDOW.width && top + height * scale <= WINDOW.height;
}

test('the window goes to what runs, and stays where it is when that is in sight', () => {
  const far = box(5000, 900);
  const target = following([far], { scale: 1, x: 0, y: 0 }, WINDOW, BAR);
  assert.ok(target && isSeen(far, target));
  assert.equal(target.scale, 1);
  assert.equal(following([far], target, WINDOW, BAR), null);
  assert.equal(following([], target, WINDOW, BAR), null);
});

test('what is too small to be read is not in sight', () => {
  const rect = box(5000, 900);
  const whole = fitted({ width: 10_000, height: 2000 }, WINDOW, BAR);
  const target = following([rect], whole, WINDOW, BAR);
  assert.ok(target && target.scale >= 0.5 && isSeen(rect, target));
});

test('what is too far apart is seen from the first node on', () => {
  const rects = [box(0, 0), box(9000, 0), box(300, 100), box(900, 300)];
  const target = following(rects, { scale: 1, x: -4000, y: 0 }, WINDOW, BAR);
  assert.ok(target);
  assert.deepEqual(rects.map(rect => isSeen(rect, target)), [true, false, true, true]);
});

test('a graph that fits is not cut, and one that is zoomed or moved is', () => {
  const scene = { width: 3000, height: 500 };
  const whole = fitted(scene, WINDOW, BAR);
  assert.equal(isCut(scene, whole, WINDOW), false);
  assert.equal(isCut(scene, { ...whole, scale: whole.scale * 1.5 }, WINDOW), true);
  assert.equal(isCut(scene, { ...whole, x: -100 }, WINDOW), true);
});
