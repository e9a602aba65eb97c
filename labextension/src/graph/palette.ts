/**
 * Palette: the colours and the font of the canvas, read from the page's theme.
 */
import type { Status } from '../wire';

/** Colours and font of a picture. */
export interface IPalette {
  readonly card: string;
  readonly ink: string;
  readonly muted: string;
  readonly line: string;
  readonly edge: string;
  readonly accent: string;
  readonly onStatus: string;
  readonly status: Readonly<Record<Status, string>>;
  readonly font: string;
}

/** Read the custom properties `--cv-*` (style/view.css) as they are resolved for an element. */
export function readPalette(host: HTMLElement): IPalette {
  const probe = document.createElement('span');
  probe.style.display = 'none';
  host.appendChild(probe);
  // A canvas does not resolve custom properties, and they may use functions that it cannot parse; a computed `color` it can.
  const colour = (name: string): string => {
    probe.style.color = `var(--cv-${name})`;
    return getComputedStyle(probe).color;
  };
  try {
    return {
      card: colour('card'),
      ink: colour('ink'),
      muted: colour('muted'),
      line: colour('line'),
      edge: colour('edge'),
      accent: colour('accent'),
      onStatus: colour('on-status'),
      status: {
        pending: colour('pending'),
        running: colour('running'),
        completed: colour('completed'),
        failed: colour('failed'),
        cancelled: colour('cancelled'),
        skipped: colour('skipped')
      },
      font: getComputedStyle(host).fontFamily
    };
  } finally {
    probe.remove();
  }
}

/** Call back when the page's theme may have changed; the returned function stops that. */
export function watchTheme(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  for (const element of [document.documentElement, document.body]) {
    observer.observe(element, { attributes: true, attributeFilter: ['class', 'style', 'data-jp-theme-name', 'data-theme'] });
  }
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  dark.addEventListener('change', changed);
  return () => {
    observer.disconnect();
    dark.removeEventListener('change', changed);
  };
}
