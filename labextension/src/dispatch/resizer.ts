/**
 * Edge of a panel that is dragged, or moved with the arrow keys. The width is the same in all views, and kept by the browser.
 */
import { h } from '../dom';

const KEY = 'covalab:panel-width';
const SMALLEST = 240;
const STEP = 24;

/** Width of the panel in pixels; null: as the style sheet has it. */
export function readWidth(text: string | null): number | null {
  const width = Number(text);
  return text && Number.isFinite(width) && width >= SMALLEST && width <= 10_000 ? width : null;
}

/** Return a width that leaves room for what is beside the panel. */
export function allowedWidth(wanted: number, room: number): number {
  return Math.round(Math.max(SMALLEST, Math.min(wanted, room - SMALLEST)));
}

/** Make the edge of a panel at its left. */
export function createResizer(panel: HTMLElement): HTMLElement {
  const edge = h('div', { class: 'cv-resizer', title: 'Drag to change the width', attrs: { role: 'separator', tabindex: '0', 'aria-orientation': 'vertical', 'aria-label': 'Width of the panel' } });
  // A separator that takes the focus must say where it is, also before anybody has moved it.
  edge.setAttribute('aria-valuenow', String(SMALLEST));
  edge.setAttribute('aria-valuemin', String(SMALLEST));
  const show = (width: number): void => {
    panel.style.setProperty('--cv-panelWidth', `${width}px`);
    edge.setAttribute('aria-valuenow', String(width));
  };
  const set = (wanted: number): void => {
    const width = allowedWidth(wanted, panel.parentElement?.clientWidth ?? wanted * 2);
    show(width);
    try {
      localStorage.setItem(KEY, String(width));
    } catch {
      // The browser keeps nothing for this page; the width holds as long as the view.
    }
  };
  edge.addEventListener('pointerdown', event => {
    const right = panel.getBoundingClientRect().right;
    edge.setPointerCapture(event.pointerId);
    const move = ({ clientX }: PointerEvent): void => set(right - clientX);
    edge.addEventListener('pointermove', move);
    edge.addEventListener('lostpointercapture', () => edge.removeEventListener('pointermove', move), { once: true });
    event.preventDefault();
  });
  edge.addEventListener('keydown', event => {
    const step = { ArrowLeft: STEP, ArrowRight: -STEP }[event.key];
    if (step) {
      set(panel.offsetWidth + step);
      event.preventDefault();
      event.stopPropagation();
    }
  });
  try {
    const kept = readWidth(localStorage.getItem(KEY));
    kept !== null && show(kept);
  } catch {
    // As above.
  }
  return edge;
}
