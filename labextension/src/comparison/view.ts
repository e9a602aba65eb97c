/**
 * Comparison of two dispatches: inputs, code, versions, durations, and outputs side by side.
 */
import { PreviewView } from '../dispatch/preview';
import { codeFor, isWorthText } from '../dispatch/previewText';
import { h, iconButton, statusMark, summaryMark } from '../dom';
import { counted, formatAge, formatDuration, formatTime, isTerminal, statusLabel, summaryLabel } from '../text';
import type { IOutput, IOutputsPage, IOutputsView, IPreviewQuery } from '../tokens';
import type { DifferenceView, DispatchSummary, NodePair, Preview, SideNode, Status } from '../wire';
import { diffLines, isSame, lineKind, ratioLabel, verdict } from './text';

type Changes = Record<string, readonly [string | null, string | null]>;

export interface IComparisonOptions {
  readonly openDispatch: (id: string) => void;
  /** Read both again. */
  readonly refresh: () => void;
  readonly createOutputs: () => IOutputsView;
  readonly readOutputs: (id: string, node: number) => Promise<IOutputsPage>;
  readonly readPreview: (id: string, node: number, query: IPreviewQuery) => Promise<Preview>;
}

/** Shows what differs between two dispatches. */
export class ComparisonView {
  constructor(options: IComparisonOptions) {
    this._options = options;
    this.node = h('div', { class: 'jp-covalab-Dispatch cv-mod-main cv-comparison', attrs: { 'data-lm-suppress-shortcuts': 'true' } }, h('div', { class: 'cv-empty', text: 'Comparing…' }));
  }

  readonly node: HTMLElement;

  dispose(): void {
    this._parts.forEach(part => part.dispose());
    this._parts.length = 0;
    this._disposed = true;
  }

  showError(message: string): void {
    this.node.replaceChildren(h('div', { class: 'cv-empty', text: message, attrs: { role: 'alert' } }));
  }

  show(found: DifferenceView): void {
    this._parts.splice(0).forEach(part => part.dispose());
    const { left, right, arguments: given, code, versions, nodes, more_arguments, more_nodes } = found;
    const names = Object.keys(code);
    this.node.replaceChildren(
      h('div', { class: 'cv-cmpTop' }, h('div', { class: 'cv-cmpVerdict', attrs: { role: 'status' } }, h('h2', { text: verdict(found) })), iconButton('refresh', 'Compare again', () => this._options.refresh())),
      h('div', { class: 'cv-cmpRow cv-cmpHeads' }, h('span'), this._head(left), this._head(right)),
      ...section('Inputs', changes(given), more_arguments),
      ...section('Code', names.length > 0 ? names.map(name => codePart(name, code[name])) : null),
      ...section('Versions', changes(versions)),
      ...section('Outputs', nodes.length > 0 ? this._pairs(nodes, left.id, right.id) : null, more_nodes)
    );
  }

  private _head(summary: DispatchSummary): HTMLElement {
    const { created_at, ended_at, id, inputs, name, notebook, started_at } = summary;
    const took = started_at !== null && ended_at !== null ? formatDuration(ended_at - started_at) : '';
    const facts = [summaryLabel(summary), took, formatAge(created_at, Date.now() / 1000), notebook.split('/').pop() ?? ''];
    return h(
      'div',
      { class: 'cv-cmpHead' },
      h('div', {}, summaryMark(summary), h('button', { class: 'cv-link', text: name, title: `${id}\nmade ${formatTime(created_at)}`, attrs: { type: 'button' }, onClick: () => this._options.openDispatch(id) })),
      inputs ? h('code', { text: inputs }) : null,
      h('div', { class: 'cv-quiet', text: facts.filter(Boolean).join(' · ') })
    );
  }

  /** Make the rows of the nodes; the first that differs in what is worth a look is unfolded. */
  private _pairs(pairs: readonly NodePair[], left: string, right: string): HTMLElement[] {
    let isOpen = false;
    return pairs.map(pair => {
      const same = isSame(pair);
      const row = h('div', { class: 'cv-cmpRow' }, h('span', { class: 'cv-cmpName' }, h('span', { text: pair.name }), h('span', { class: `cv-cmpSame${same === false ? ' cv-mod-differs' : ''}`, text: same === null ? '' : same ? 'same' : 'differs' })), nodeFacts(pair.left, null), nodeFacts(pair.right, pair.left));
      if (same !== false) {
        return row;
      }
      const details = h('details', { class: 'cv-cmpPair' }, h('summary', {}, row));
      const fill = (): void => {
        if (details.open && details.childElementCount === 1) {
          details.append(h('div', { class: 'cv-cmpRow' }, h('span'), this._value(left, pair.left!), this._value(right, pair.right!)));
        }
      };
      details.addEventListener('toggle', fill);
      if (!isOpen && isWorthText(pair.left!.type, pair.left!.text)) {
        details.open = isOpen = true;
        fill();
      }
      return details;
    });
  }

  /** Make one side of a pair: what the node showed, and its value. */
  private _value(id: string, { name, node, text, type }: SideNode): HTMLElement {
    const { createOutputs, readOutputs, readPreview } = this._options;
    const shown = h('div', { class: 'cv-outputs', attrs: { hidden: '' } });
    void readOutputs(id, node).then(
      ({ outputs }) => !this._disposed && outputs.length > 0 && this._display(shown, createOutputs(), outputs),
      () => undefined // the value is shown all the same
    );
    if (!isWorthText(type, text)) {
      return h('div', { class: 'cv-cmpValue' }, shown, h('pre', { text }));
    }
    const preview = new PreviewView({
      read: query => readPreview(id, node, query),
      createOutputs,
      code: codeFor(id, node),
      insert: null,
      name: `${name.replace(/[^\w-]+/g, '_').slice(0, 60)}-${node}`
    });
    this._parts.push(preview);
    return h('div', { class: 'cv-cmpValue' }, shown, preview.node);
  }

  private _display(place: HTMLElement, view: IOutputsView, outputs: readonly IOutput[]): void {
    this._parts.push(view);
    place.hidden = false;
    place.append(view.node);
    view.show(outputs);
  }

  private readonly _options: IComparisonOptions;
  private readonly _parts: { dispose(): void }[] = [];
  private _disposed = false;
}

/** Make a part with its title; none if there is nothing in it. */
function section(title: string, content: readonly HTMLElement[] | null, more = 0): HTMLElement[] {
  if (!content) {
    return [];
  }
  return [h('section', { class: 'cv-cmpSection' }, h('h3', { text: title }), ...content, more > 0 ? h('div', { class: 'cv-quiet', text: `and ${counted(more, 'more', 'more')}` }) : null)];
}

function changes(changed: Changes): HTMLElement[] | null {
  const rows = Object.entries(changed).map(([name, both]) => h('div', { class: 'cv-cmpRow' }, h('span', { class: 'cv-cmpName', text: name }), ...both.map(text => (text === null ? h('span', { class: 'cv-quiet', text: 'none' }) : h('code', { text })))));
  return rows.length > 0 ? rows : null;
}

function codePart(name: string, text: string): HTMLElement {
  const lines = diffLines(text).map(line => h('span', { class: `cv-line cv-mod-${lineKind(line)}`, text: `${line}\n` }));
  return h('div', { class: 'cv-cmpCode' }, h('h4', { text: name === '(lattice)' ? 'The lattice' : name }), h('pre', { attrs: { tabindex: '0', 'aria-label': `Changes of ${name}` } }, ...lines));
}

function nodeFacts(node: SideNode | null, before: SideNode | null): HTMLElement {
  if (!node) {
    return h('span', { class: 'cv-quiet', text: 'not there' });
  }
  const status = node.status as Status;
  const took = node.seconds === null ? '' : formatDuration(node.seconds);
  const ratio = before ? ratioLabel(before.seconds, node.seconds) : '';
  // The first line of a table or an array says less than its type.
  const first = node.text.includes('\n') ? node.type : node.text;
  return h(
    'span',
    { class: 'cv-cmpNode' },
    statusMark(status),
    node.digest ? h('code', { text: first || node.type, title: node.text }) : h('span', { class: 'cv-quiet', text: isTerminal(status) && status === 'completed' ? 'no value' : statusLabel(status) }),
    h('span', { class: 'cv-quiet', text: [took, ratio].filter(Boolean).join(' · ') })
  );
}
