/**
 * Dashboard above the list: task counts by status, success rate, error types, and the longest running task.
 */
import { h, statusMark } from '../dom';
import type { Overview } from '../model/overview';
import { counted, errorLabel, errorWords, formatElapsed, statusLabel, successRate } from '../text';
import type { ErrorType, TaskStatusName } from '../wire';

const TASK_STATUSES: readonly TaskStatusName[] = ['running', 'pending', 'completed', 'failed', 'cancelled'];

export interface IDashboardOptions {
  readonly overview: Overview;
  /** Open a dispatch. */
  readonly open: (id: string) => void;
  /** List the dispatches that have tasks of this status. */
  readonly choose: (status: TaskStatusName) => void;
}

/** Shows the overview of all tasks. */
export class Dashboard {
  constructor(options: IDashboardOptions) {
    this._options = options;
    for (const status of TASK_STATUSES) {
      const count = h('span');
      const button = h(
        'button',
        { class: 'cv-tally', attrs: { type: 'button', 'aria-pressed': 'false', 'data-tally': status }, onClick: () => options.choose(status) },
        statusMark(status),
        count
      );
      this._tallies.set(status, [button, count]);
    }
    this._rate = h('span', { class: 'cv-rate' });
    this._errors = h('ul', { class: 'cv-errors', attrs: { 'aria-label': 'Why tasks failed' } });
    this._longest = h('button', { class: 'cv-link cv-longest', attrs: { type: 'button' }, onClick: () => this._openLongest() });
    this.node = h(
      'section',
      { class: 'cv-dashboard', attrs: { 'aria-label': 'All tasks', hidden: '' } },
      h(
        'div',
        { class: 'cv-tallies', attrs: { role: 'group', 'aria-label': 'List dispatches by the status of their tasks' } },
        h('span', { class: 'cv-tallyTitle', text: 'Tasks' }),
        ...[...this._tallies.values()].map(([button]) => button)
      ),
      this._rate,
      this._errors,
      this._longest
    );
    options.overview.changed.connect(this._update, this);
    this._update();
  }

  readonly node: HTMLElement;

  dispose(): void {
    window.clearTimeout(this._timer);
    this._options.overview.changed.disconnect(this._update, this);
  }

  /** Mark the status by which the list is filtered. */
  setPressed(chosen: TaskStatusName | null): void {
    this._tallies.forEach(([button], status) => button.setAttribute('aria-pressed', String(status === chosen)));
  }

  private _update(): void {
    const { summary } = this._options.overview;
    this.node.hidden = !summary || TASK_STATUSES.every(status => !summary.counts[status]);
    if (!summary) {
      return;
    }
    for (const [status, [button, count]] of this._tallies) {
      const tasks = summary.counts[status] ?? 0;
      count.textContent = tasks.toLocaleString('en', { notation: tasks < 10_000 ? 'standard' : 'compact' });
      button.hidden = tasks === 0 && button.getAttribute('aria-pressed') !== 'true';
      const label = `${counted(tasks, 'task')} ${statusLabel(status).toLowerCase()}`;
      button.title = `${label}: list their dispatches`;
      button.setAttribute('aria-label', label);
    }
    const rate = successRate(summary);
    this._rate.hidden = rate === '';
    this._rate.textContent = `${rate} succeeded`;
    this._rate.title = 'Of the tasks that completed or failed';
    this._showErrors(summary.error_types);
    this._updateLongest();
  }

  private _showErrors(types: Readonly<Record<string, number>>): void {
    const entries = Object.entries(types).sort(([, a], [, b]) => b - a);
    // The list is rebuilt only when it differs, since the pointer may be over one of its tooltips.
    const key = JSON.stringify(entries);
    if (key === this._errorsKey) {
      return;
    }
    this._errorsKey = key;
    const most = Math.max(1, ...entries.map(([, count]) => count));
    this._errors.hidden = entries.length === 0;
    this._errors.replaceChildren(
      ...entries.map(([type, count]) => {
        const bar = h('span', { class: 'cv-errorBar', attrs: { 'aria-hidden': 'true' } }, h('span'));
        (bar.firstElementChild as HTMLElement).style.width = `${Math.max(4, (100 * count) / most)}%`;
        return h(
          'li',
          { title: errorLabel(type as ErrorType) },
          h('span', { class: 'cv-errorName', text: errorWords(type as ErrorType) }),
          bar,
          h('span', { class: 'cv-errorCount', text: count.toLocaleString('en') })
        );
      })
    );
  }

  private _updateLongest = (): void => {
    window.clearTimeout(this._timer);
    const { longest } = this._options.overview;
    this._longest.hidden = longest === null;
    if (longest) {
      this._longest.textContent = `Longest: ${longest.name} · ${formatElapsed(Date.now() / 1000 - longest.started)}`;
      this._longest.title = `${longest.name} is the task that has been running for longest: show its dispatch`;
      this._timer = window.setTimeout(this._updateLongest, 1000);
    }
  };

  private _openLongest(): void {
    const { longest } = this._options.overview;
    if (longest) {
      this._options.open(longest.dispatch);
    }
  }

  private readonly _options: IDashboardOptions;
  private readonly _tallies = new Map<TaskStatusName, readonly [HTMLButtonElement, HTMLElement]>();
  private readonly _rate: HTMLElement;
  private readonly _errors: HTMLElement;
  private readonly _longest: HTMLElement;
  private _errorsKey = '';
  private _timer = 0;
}
