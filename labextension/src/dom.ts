/**
 * DOM helpers that build elements from text and attributes only. Nothing parses HTML, so an untrusted notebook is harmless.
 */
import { isTerminal } from './text';
import type { Status } from './wire';

/** Properties of an element. */
export interface IProps {
  readonly class?: string;
  readonly text?: string;
  readonly title?: string;
  readonly attrs?: Readonly<Record<string, string>>;
  readonly onClick?: (event: MouseEvent) => void;
}

/** Create an element. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: IProps = {},
  ...children: readonly (Node | null)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (props.class !== undefined) {
    element.className = props.class;
  }
  if (props.text !== undefined) {
    element.textContent = props.text;
  }
  if (props.title !== undefined) {
    element.title = props.title;
  }
  for (const [name, value] of Object.entries(props.attrs ?? {})) {
    element.setAttribute(name, value);
  }
  if (props.onClick) {
    element.addEventListener('click', props.onClick as EventListener);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

/** Name of the attribute that keeps JupyterLab's shortcuts from an element and what is around it. */
const NO_SHORTCUTS = 'data-lm-suppress-shortcuts';

/**
 * Keep the shortcuts of a notebook from what is in an element.
 *
 * Those of its command mode are for whatever has the focus, so it must have the attribute itself: Enter on a button would
 * edit the cell. Notebook 7 looks at a key before any listener here does.
 */
export function keepShortcutsOut(element: HTMLElement): void {
  element.setAttribute(NO_SHORTCUTS, 'true');
  element.addEventListener('focusin', ({ target }) => (target as Element).setAttribute(NO_SHORTCUTS, 'true'));
}

/** Create a button with an icon; its label is the tooltip and the accessible name. */
export function iconButton(icon: IconName, label: string, onClick: () => void, className = ''): HTMLButtonElement {
  const button = h('button', {
    class: `cv-iconButton ${className}`.trim(),
    title: label,
    attrs: { type: 'button', 'aria-label': label },
    onClick: event => {
      event.stopPropagation(); // the row or the graph around it handles clicks as well
      onClick();
    }
  });
  button.append(drawIcon(icon));
  return button;
}

/** Create a field to search in. Keys stay in it, because the notebook has shortcuts on letters. */
export function findField(placeholder: string, label: string): HTMLInputElement {
  const field = h('input', { class: 'cv-find', attrs: { type: 'search', placeholder, 'aria-label': label } });
  field.addEventListener('keydown', event => event.stopPropagation());
  return field;
}

const PATHS = {
  plus: 'M8 3.5v9M3.5 8h9',
  minus: 'M3.5 8h9',
  fit: 'M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10',
  follow: 'M8 4.4a3.6 3.6 0 1 0 0 7.2a3.6 3.6 0 0 0 0-7.2M8 1.6v2.8M8 11.6v2.8M1.6 8h2.8M11.6 8h2.8',
  layers: 'M8 2.5 14 6 8 9.5 2 6zM2.5 9.5 8 12.7l5.5-3.2',
  close: 'M4 4l8 8M12 4l-8 8',
  left: 'M10 3.5 5.5 8l4.5 4.5',
  right: 'M6 3.5 10.5 8 6 12.5',
  open: 'M9 3h4v4M13 3 7.5 8.5M11 9.5V13H3V5h3.5',
  trash: 'M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5 5 13h6l.5-8.5',
  stop: 'M4.5 4.5h7v7h-7z',
  start: 'M5 3.5v9l7.5-4.5z',
  pause: 'M5.5 4v8M10.5 4v8',
  person: 'M8 8a2.6 2.6 0 1 0 0-5.2A2.6 2.6 0 0 0 8 8M3 13.4c.5-2.5 2.4-3.7 5-3.7s4.5 1.2 5 3.7',
  again: 'M3 8a5 5 0 1 0 1.6-3.7M3 2.5v3h3',
  refresh: 'M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3'
} as const;

export type IconName = keyof typeof PATHS;

const SVG = 'http://www.w3.org/2000/svg';

function svg(tag: string, attrs: Readonly<Record<string, string>>): SVGElement {
  const element = document.createElementNS(SVG, tag);
  Object.entries(attrs).forEach(([name, value]) => element.setAttribute(name, value));
  return element as SVGElement;
}

/** Create the SVG of a line icon. */
export function drawIcon(name: IconName): SVGElement {
  const icon = svg('svg', { viewBox: '0 0 16 16', width: '16', height: '16', 'aria-hidden': 'true' });
  icon.append(svg('path', { d: PATHS[name], fill: 'none', stroke: 'currentColor', 'stroke-width': '1.4', 'stroke-linecap': 'round', 'stroke-linejoin': 'round' }));
  return icon;
}

const MARKS: Readonly<Record<Status, string>> = {
  pending: '',
  skipped: '',
  running: '',
  completed: 'M4.8 8.2 7.1 10.5 11.3 5.6',
  failed: 'M5.5 5.5l5 5M10.5 5.5l-5 5',
  cancelled: 'M5 8h6'
};

/** Create the mark of a dispatch: that of its status, or the pause mark. */
export function summaryMark({ status, paused }: { readonly status: Status; readonly paused: boolean }): SVGElement {
  if (!paused || isTerminal(status)) {
    return statusMark(status);
  }
  const icon = svg('svg', { viewBox: '0 0 16 16', width: '16', height: '16', 'aria-hidden': 'true', class: 'cv-mark cv-mod-paused' });
  icon.append(
    svg('circle', { cx: '8', cy: '8', r: '7', fill: 'currentColor' }),
    svg('path', { d: 'M6.3 5.3v5.4M9.7 5.3v5.4', fill: 'none', stroke: 'var(--cv-on-status)', 'stroke-width': '1.7', 'stroke-linecap': 'round' })
  );
  return icon;
}

/** Create the mark of a status. Each has its own shape, since colours alone are not accessible. */
export function statusMark(status: Status): SVGElement {
  const icon = svg('svg', { viewBox: '0 0 16 16', width: '16', height: '16', 'aria-hidden': 'true', class: `cv-mark cv-mod-${status}` });
  const ring = { cx: '8', cy: '8', r: '6.2', fill: 'none', stroke: 'currentColor', 'stroke-width': '1.6' };
  if (status === 'pending') {
    icon.append(svg('circle', ring));
  } else if (status === 'skipped') {
    icon.append(svg('circle', { ...ring, 'stroke-opacity': '0.55' }), svg('path', { d: 'M3.6 12.4 12.4 3.6', stroke: 'currentColor', 'stroke-width': '1.6', 'stroke-linecap': 'round' }));
  } else if (status === 'running') {
    icon.append(
      svg('circle', { ...ring, 'stroke-opacity': '0.25' }),
      svg('path', { d: 'M8 1.8a6.2 6.2 0 0 1 5.9 8.1', fill: 'none', stroke: 'currentColor', 'stroke-width': '1.9', 'stroke-linecap': 'round', class: 'cv-spin' }),
      svg('circle', { cx: '8', cy: '8', r: '2', fill: 'currentColor' })
    );
  } else {
    icon.append(
      svg('circle', { cx: '8', cy: '8', r: '7', fill: 'currentColor' }),
      svg('path', { d: MARKS[status], fill: 'none', stroke: 'var(--cv-on-status)', 'stroke-width': '1.7', 'stroke-linecap': 'round', 'stroke-linejoin': 'round' })
    );
  }
  return icon;
}

/** Return where an event is inside an element, in pixels from its corner. */
export function pointIn(element: HTMLElement, event: MouseEvent): { x: number; y: number } {
  const bounds = element.getBoundingClientRect();
  return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
}
