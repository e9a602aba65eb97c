/**
 * Provenance panel: of which code, arguments, packages and machine a dispatch is. Read when it is unfolded for the first time.
 */
import { h } from '../dom';
import { counted, errorMessage, formatTime } from '../text';
import type { DispatchProvenance } from '../wire';
import { commitLabel } from './provenanceText';

/** The most arguments that are listed; a fan-out has thousands. */
const MAX_ARGUMENTS = 40;

/** Shows how one dispatch came about. */
export class ProvenancePanel {
  constructor(read: () => Promise<DispatchProvenance>) {
    this._read = read;
    this._body = h('div', { class: 'cv-executionBody cv-provenance' });
    this.node = h('details', { class: 'cv-execution' }, h('summary', { text: 'Provenance: code, arguments, packages, machine' }), this._body);
    this.node.addEventListener('toggle', this._onToggle);
  }

  readonly node: HTMLDetailsElement;

  dispose(): void {
    this.node.removeEventListener('toggle', this._onToggle);
  }

  private _onToggle = (): void => {
    // It was taken when the dispatch was made, and does not change.
    if (this.node.open && !this._isRead) {
      this._isRead = true;
      this._body.replaceChildren(h('div', { class: 'cv-quiet', text: 'Loading…' }));
      this._read().then(
        known => this._show(known),
        (error: unknown) => {
          this._isRead = false;
          this._body.replaceChildren(h('div', { class: 'cv-quiet', text: errorMessage(error) }));
        }
      );
    }
  };

  private _show(known: DispatchProvenance): void {
    const { created_at, folder, git, host, interpreter, notebook, python, system } = known;
    const rows: (readonly [string, string])[] = [
      ['Made', [formatTime(created_at), notebook && `in ${notebook}`].filter(Boolean).join(' ')],
      ['Git commit', git ? commitLabel(git) : ''],
      ['Repository', git?.remote ?? ''],
      ['Python', [python, interpreter].filter(Boolean).join(' · ')],
      ['covalab', known.covalab],
      ['Machine', [host, system].filter(Boolean).join(' · ')],
      ['Folder', folder]
    ];
    const shown = rows.filter(([, text]) => text !== '').flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text, title: text })]);
    this._body.replaceChildren(h('dl', { class: 'cv-table' }, ...shown), ...this._parts(known));
  }

  private _parts(known: DispatchProvenance): HTMLElement[] {
    const given = Object.entries(known.arguments);
    const functions = Object.entries(known.functions);
    const packages = Object.entries(known.packages);
    const parts: HTMLElement[] = [];
    if (given.length > 0) {
      const more = given.length - MAX_ARGUMENTS;
      parts.push(
        h(
          'section',
          {},
          h('h3', { text: 'Arguments' }),
          h('dl', { class: 'cv-table cv-mod-code' }, ...given.slice(0, MAX_ARGUMENTS).flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text, title: text })])),
          more > 0 ? h('div', { class: 'cv-quiet', text: `and ${more.toLocaleString('en')} more` }) : null
        )
      );
    }
    if (known.source.trim() !== '') {
      parts.push(h('section', {}, h('h3', { text: 'Code' }), code(known.source, known.name)));
    }
    parts.push(...functions.map(([name, source]) => folded(name, () => code(source, name))));
    if (packages.length > 0) {
      parts.push(folded(counted(packages.length, 'package'), () => packageList(packages)));
    }
    return parts;
  }

  private readonly _read: () => Promise<DispatchProvenance>;
  private readonly _body: HTMLElement;
  private _isRead = false;
}

function code(text: string, name: string): HTMLElement {
  return h('pre', { text, attrs: { tabindex: '0', 'aria-label': `Code of ${name}` } });
}

/** Make a part that is filled when it is unfolded. */
function folded(title: string, fill: () => HTMLElement): HTMLElement {
  const details = h('details', {}, h('summary', { text: title }));
  details.addEventListener('toggle', () => details.open && details.childElementCount === 1 && details.append(fill()));
  return details;
}

function packageList(packages: readonly (readonly [string, string])[]): HTMLElement {
  const text = packages.map(([name, version]) => `${name}==${version}`).join('\n');
  const copy = h('button', {
    class: 'cv-button',
    text: 'Copy as requirements.txt',
    attrs: { type: 'button' },
    onClick: () =>
      void navigator.clipboard.writeText(`${text}\n`).then(
        () => (copy.textContent = 'Copied'),
        () => (copy.textContent = 'The browser does not allow it')
      )
  });
  return h('div', { class: 'cv-packages' }, copy, h('ul', { attrs: { tabindex: '0', 'aria-label': 'Packages' } }, ...packages.map(([name, version]) => h('li', {}, h('span', { text: name }), h('span', { class: 'cv-quiet', text: ` ${version}` })))));
}
