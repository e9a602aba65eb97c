/**
 * Row of the list of dispatches: name, status, progress, buttons, forms for interrupts, and the rows of its sublattices.
 */
import { InterruptForms } from '../dispatch/interruptForms';
import { h, iconButton, summaryMark } from '../dom';
import type { DispatchesModel } from '../model/dispatches';
import { ExecutionReader } from '../model/execution';
import { canCancel, counted, describeCounts, formatAge, formatDuration, formatElapsed, isNotebookRun, isTerminal, namesIn, STATUSES, summaryLabel, tagsLabel, total } from '../text';
import type { DispatchRow as ListRow, DispatchSummary } from '../wire';
import { SUMMARY_LABELS } from '../words';

/** Actions of a row, each on the dispatch with an id. */
export interface IRowOptions {
  readonly model: DispatchesModel;
  readonly open: (id: string) => void;
  readonly cancel: (id: string) => void;
  readonly start: (id: string) => void;
  /** Pause the dispatch (no new task starts), or resume it. */
  readonly pause: (id: string, paused: boolean) => void;
  /** Run the dispatch again; with `reuse`, completed nodes are not run again. */
  readonly redispatch: (id: string, reuse: boolean) => void;
  readonly delete: (id: string) => void;
  /** Choose the dispatch, or take it out of the choice; null where there is no choice. */
  readonly choose: ((id: string, chosen: boolean) => void) | null;
  readonly isChosen: (id: string) => boolean;
}

const MAX_FORMS = 3;

/** Shows one dispatch. It lives as long as the dispatch is listed. */
export class DispatchRow {
  constructor(id: string, options: IRowOptions, root: string) {
    this._id = id;
    this._root = root;
    this._options = options;
    this._foldButton = h('button', { class: 'cv-link cv-unfold', attrs: { type: 'button', 'aria-expanded': 'false', hidden: '' }, onClick: () => this._unfold(!this._isOpen) });
    this._below = h('ul', { class: 'cv-below', attrs: { hidden: '', 'aria-label': 'Sublattices' } });
    this._mark = h('span', { class: 'cv-rowMark' });
    this._name = h('span', { class: 'cv-rowName' });
    this._time = h('span', { class: 'cv-rowTime' });
    this._where = h('span', { class: 'cv-rowWhere' });
    this._facts = h('span', { class: 'cv-rowFacts' });
    this._why = h('span', { class: 'cv-rowWhy' });
    this._choice = h('input', { class: 'cv-choice', attrs: { type: 'checkbox' } });
    this._choice.addEventListener('change', () => options.choose?.(id, this._choice.checked));
    this._bar = h('span', { class: 'cv-bar', attrs: { 'aria-hidden': 'true' } }, ...STATUSES.map(status => h('span', { class: `cv-mod-${status}` })));
    this._cancel = iconButton('stop', 'Cancel', () => options.cancel(id));
    this._start = iconButton('start', 'Start', () => options.start(id));
    this._pause = iconButton('pause', 'Pause: start no new tasks', () => options.pause(id, true));
    this._unpause = iconButton('start', 'Resume: start new tasks again', () => options.pause(id, false));
    this._again = iconButton('again', 'Run again', () => options.redispatch(id, false));
    this._resume = iconButton('start', 'Resume: run again, and reuse completed tasks', () => options.redispatch(id, true));
    this._delete = iconButton('trash', 'Delete', () => options.delete(id));
    this._main = h(
      'button',
      { class: 'cv-row', attrs: { type: 'button' }, onClick: () => options.open(id) },
      this._mark,
      h('span', { class: 'cv-rowText' }, h('span', { class: 'cv-rowTop' }, this._name, this._time), this._facts, this._why, this._where, this._bar)
    );
    this.node = h(
      'li',
      { class: 'jp-covalab-Row', attrs: { 'data-dispatch': id } },
      this._main,
      options.choose && id === root ? this._choice : null,
      h('span', { class: 'cv-rowActions' }, this._start, this._resume, this._again, this._unpause, this._pause, this._cancel, this._delete),
      this._foldButton,
      this._below
    );
  }

  readonly node: HTMLElement;

  dispose(): void {
    this.node.remove();
    this._reader?.dispose();
    this._forms?.dispose();
    this._rows.forEach(row => row.dispose());
  }

  /**
   * Show a summary; `family` has all known dispatches below the outermost one. `row` has the result, and why it failed;
   * `title` is shown instead of the name, where that is the same for all.
   */
  update(summary: DispatchSummary, now: number, family: readonly DispatchSummary[], row?: Pick<ListRow, 'result' | 'why'>, title = ''): void {
    this._updateStatus(summary);
    this._updateText(summary, now, title);
    this._updateFacts(summary, row, title !== '');
    this._updateBar(summary);
    this._updateButtons(summary);
    this._updateForms(summary);
    this._updateBelow(summary, now, family);
  }

  private _updateStatus(summary: DispatchSummary): void {
    const { status, held, paused } = summary;
    const key = `${status}|${held}|${paused}`;
    if (this._statusKey !== key) {
      this._statusKey = key;
      const ended = isTerminal(status);
      this._mark.replaceChildren(summaryMark(summary));
      // The selectors of the context menu (schema/plugin.json) depend on these attributes.
      this.node.dataset['status'] = status;
      this.node.dataset['over'] = String(ended);
      this.node.dataset['held'] = String(held);
      this.node.dataset['cancel'] = String(canCancel(summary));
      this.node.dataset['paused'] = String(paused && !ended);
      this.node.dataset['notebook'] = String(isNotebookRun(summary));
    }
  }

  private _updateFacts({ id, inputs, name, notice }: DispatchSummary, row: Pick<ListRow, 'result' | 'why'> | undefined, isTitled: boolean): void {
    const result = namesIn(row?.result ?? '');
    this._facts.textContent = [isTitled ? '' : inputs, result && `→ ${result}`].filter(Boolean).join(' ');
    this._facts.hidden = this._facts.textContent === '';
    this._why.textContent = row?.why || (notice && `It ${notice}`);
    this._why.hidden = this._why.textContent === '';
    this._choice.checked = this._options.isChosen(id);
    this._choice.setAttribute('aria-label', `Select ${name} ${inputs}`.trim());
  }

  private _updateText(summary: DispatchSummary, now: number, title: string): void {
    const { status, counts, held } = summary;
    const start = summary.started_at ?? summary.created_at;
    this._name.textContent = title || summary.name;
    this._time.textContent = isTerminal(status) ? formatDuration((summary.ended_at ?? start) - start) : held ? '' : formatElapsed(now - start);
    const age = formatAge(summary.created_at, now);
    const label = summaryLabel(summary);
    // The mark shows every status, but it does not distinguish these.
    const isLabelled = held || label === SUMMARY_LABELS.paused || label === SUMMARY_LABELS.waiting;
    this._where.textContent = [isLabelled ? label : '', title ? '' : (summary.notebook.split('/').pop() ?? ''), title === age ? '' : age, tagsLabel(summary.tags)].filter(Boolean).join(' · ');
    this._where.hidden = this._where.textContent === '';
    const facts = [summary.name, summary.inputs, label, ...describeCounts(counts), summary.notebook, age, tagsLabel(summary.tags)];
    this._main.setAttribute('aria-label', facts.filter(Boolean).join(', '));
    this._main.title = [`${summary.name} · ${label}`, describeCounts(counts).join(', '), summary.notebook, summary.id, summary.error]
      .filter(Boolean)
      .join('\n');
  }

  private _updateBar({ status, counts }: DispatchSummary): void {
    STATUSES.forEach((part, at) => {
      const element = this._bar.children[at] as HTMLElement;
      element.style.flexGrow = String(counts[part]);
      element.hidden = counts[part] === 0;
    });
    this._bar.hidden = isTerminal(status) || total(counts) === 0;
  }

  private _updateButtons(summary: DispatchSummary): void {
    const { status, held, paused } = summary;
    const ended = isTerminal(status);
    this._cancel.hidden = !canCancel(summary);
    this._start.hidden = !held;
    this._pause.hidden = ended || held || paused;
    this._unpause.hidden = ended || held || !paused;
    this._again.hidden = !ended;
    this._resume.hidden = !ended || status === 'completed';
    // A sublattice is deleted with its outermost dispatch.
    this._delete.hidden = (!ended && !held) || this._id !== this._root;
  }

  /** Show the forms of the interrupts. The last form stays until its outcome was shown. */
  private _updateForms({ version, waiting }: DispatchSummary): void {
    if ((waiting === 0 && !this._reader) || (version === this._readVersion && !this._reader?.hasFailed)) {
      return;
    }
    this._readVersion = version;
    this._waiting = waiting;
    // Made with the first interrupt: most dispatches never have one.
    this._reader ??= this._createForms();
    this._reader.refresh();
  }

  private _createForms(): ExecutionReader {
    const { model } = this._options;
    const reader = new ExecutionReader(() => model.execution(this._id));
    const forms = new InterruptForms({
      answer: async (interrupt, request, json) => {
        try {
          reader.accept(await model.answer(this._id, interrupt, request, json));
        } finally {
          reader.refresh(); // also after a failure: another person may have answered first
        }
      },
      limit: MAX_FORMS
    });
    reader.changed.connect(() => forms.update(reader.execution?.interrupts ?? [], this._waiting));
    this.node.insertBefore(forms.node, this._foldButton);
    this._forms = forms;
    return reader;
  }

  private _unfold(open: boolean): void {
    this._isOpen = open;
    this._foldButton.setAttribute('aria-expanded', String(this._isOpen));
    this._below.hidden = !this._isOpen;
    if (this._isOpen) {
      void this._options.model.unfold(this._root);
    }
  }

  private _updateBelow(summary: DispatchSummary, now: number, family: readonly DispatchSummary[]): void {
    const children = family.filter(({ parent }) => parent === this._id);
    const count = Math.max(summary.inner, children.length);
    this._foldButton.hidden = count === 0;
    const waits = waitsBelow(this._id, family);
    this._foldButton.textContent = `${counted(count, 'sublattice')}${waits ? ' · an answer is awaited' : ''}`;
    if (waits && !this._waitsBelow) {
      this._unfold(true); // once: the reader may fold it again
    }
    this._waitsBelow = waits;
    if (this._id === this._root && !isTerminal(summary.status) && summary.inner > this._inner) {
      // A new sublattice may wait for a person, which only its own summary says.
      this._inner = summary.inner;
      void this._options.model.unfold(this._root);
    }
    children.forEach((child, at) => {
      let row = this._rows.get(child.id);
      if (!row) {
        row = new DispatchRow(child.id, this._options, this._root);
        this._rows.set(child.id, row);
      }
      row.update(child, now, family);
      if (this._below.children[at] !== row.node) {
        this._below.insertBefore(row.node, this._below.children[at] ?? null);
      }
    });
  }

  private readonly _id: string;
  private readonly _root: string;
  private readonly _options: IRowOptions;
  private readonly _facts: HTMLElement;
  private readonly _why: HTMLElement;
  private readonly _choice: HTMLInputElement;
  private readonly _foldButton: HTMLElement;
  private readonly _below: HTMLElement;
  private readonly _rows = new Map<string, DispatchRow>();
  private _isOpen = false;
  private _waitsBelow = false;
  private _inner = 0;
  private readonly _main: HTMLElement;
  private readonly _mark: HTMLElement;
  private readonly _name: HTMLElement;
  private readonly _time: HTMLElement;
  private readonly _where: HTMLElement;
  private readonly _bar: HTMLElement;
  private readonly _cancel: HTMLElement;
  private readonly _delete: HTMLElement;
  private readonly _start: HTMLElement;
  private readonly _again: HTMLElement;
  private readonly _resume: HTMLElement;
  private readonly _pause: HTMLElement;
  private readonly _unpause: HTMLElement;
  private _statusKey = '';
  private _reader: ExecutionReader | null = null;
  private _forms: InterruptForms | null = null;
  private _readVersion = -1;
  private _waiting = 0;
}

/** Return whether a dispatch below another one waits for a person. */
function waitsBelow(id: string, family: readonly DispatchSummary[]): boolean {
  return (
    family.some(({ waiting }) => waiting > 0) &&
    family.some(child => child.parent === id && (child.waiting > 0 || waitsBelow(child.id, family)))
  );
}
