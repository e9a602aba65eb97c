/**
 * Head of the view of a dispatch, one line: status, name, counts, duration, the switch between graph and timeline, buttons.
 */
import { h, iconButton, statusMark, summaryMark } from '../dom';
import { canCancel, describeCounts, formatDuration, formatElapsed, formatTime, isTerminal, STATUSES, summaryLabel, total } from '../text';
import type { IDispatchSource, ISnapshot } from '../tokens';
import type { Counts, DispatchSummary } from '../wire';
import { TagsView } from './tagsView';
import { SUMMARY_LABELS } from '../words';

/** What is shown below the head. */
export type Shown = 'graph' | 'timeline' | 'tasks' | 'log';

export interface IHeadOptions {
  readonly cancel: () => void;
  readonly pause: () => void;
  readonly show: (shown: Shown) => void;
  readonly fold: () => void;
  readonly open: (() => void) | null;
  readonly start: (() => void) | null;
  readonly redispatch: ((reuse: boolean) => void) | null;
  readonly tag: IDispatchSource['tag'];
}

const VIEWS: readonly (readonly [Shown, string])[] = [
  ['graph', 'Graph'],
  ['timeline', 'Timeline'],
  ['tasks', 'Tasks'],
  ['log', 'Log']
];

/** Shows the state of one dispatch in one line. */
export class DispatchHead {
  constructor(options: IHeadOptions) {
    const { redispatch, start, open, tag } = options;
    this._tags = new TagsView(tag);
    const button = (text: string, title: string, act: () => void, name = ''): HTMLButtonElement =>
      h('button', { class: `cv-button ${name}`.trim(), text, title, attrs: { type: 'button' }, onClick: act });
    this._mark = h('span', { class: 'cv-badge' });
    this._name = h('h2', { class: 'cv-name' });
    this._time = h('span', { class: 'cv-time' });
    this._counts = h('span', { class: 'cv-counts' });
    this._cancel = button('Cancel', 'Stop running tasks and start no new ones', options.cancel, 'cv-mod-cancel');
    this._pause = button('Pause', '', options.pause);
    this._again = redispatch && button('Run again', 'Run all of it again', () => redispatch(false));
    this._resume = redispatch && button('Resume', 'Run again, and reuse completed tasks', () => redispatch(true));
    this._start = start && button('Start', '', () => start());
    this.views = h(
      'span',
      { class: 'cv-switch', attrs: { role: 'group', 'aria-label': 'View', hidden: '' } },
      ...VIEWS.map(([shown, text]) => h('button', { text, attrs: { type: 'button', 'data-view': shown }, onClick: () => options.show(shown) }))
    );
    this.fold = button('Show', 'This dispatch is shown above', options.fold);
    this.fold.hidden = true;
    this.bar = h('div', { class: 'cv-bar', attrs: { role: 'progressbar', 'aria-label': 'Nodes that have ended', 'aria-valuemin': '0' } });
    this.node = h(
      'div',
      { class: 'cv-head' },
      this._mark,
      this._name,
      this._counts,
      this._time,
      this._tags.node,
      h('span', { class: 'cv-actions' }, this.views, this.fold, this._start, this._resume, this._again, this._pause, this._cancel, open ? iconButton('open', 'Open in a tab of its own', open) : null)
    );
  }

  readonly node: HTMLElement;

  /** Progress, of a dispatch that goes on. */
  readonly bar: HTMLElement;

  /** Switch between the views; hidden where there is one only. */
  readonly views: HTMLElement;

  /** Opens and folds what is below; hidden where that is always shown. */
  readonly fold: HTMLButtonElement;

  dispose(): void {
    window.clearTimeout(this._timer);
  }

  /** Mark the view that is shown, and offer only those that there are. */
  setShown(shown: Shown, offered: readonly Shown[]): void {
    this.views.querySelectorAll<HTMLElement>('button').forEach(one => (one.hidden = !offered.includes(one.dataset['view'] as Shown)));
    this.views.querySelectorAll<HTMLElement>('button').forEach(one => one.setAttribute('aria-pressed', String(one.dataset['view'] === shown)));
  }

  update(snapshot: ISnapshot, counts: Counts, isCancelling: boolean): void {
    const { summary } = snapshot;
    this._snapshot = snapshot;
    this._updateBadge(snapshot);
    this._name.textContent = summary.name;
    this._name.title = summary.id;
    this._tags.update(summary.tags ?? []); // a notebook may have been saved before there were tags
    this._updateTime();
    this._updateButtons(snapshot, isCancelling);
    this._updateProgress(summary, counts);
  }

  private _updateBadge({ summary, stale, isDeleted = false }: ISnapshot): void {
    // What was running may have ended since; what has ended stays so.
    const text = isDeleted ? DELETED : stale !== '' && !isTerminal(summary.status) ? AWAY : summaryLabel(summary);
    if (this._badgeText !== text) {
      this._badgeText = text;
      this._mark.className = `cv-badge cv-mod-${text === AWAY || text === DELETED ? 'away' : text === SUMMARY_LABELS.paused ? 'paused' : summary.status}`;
      this._mark.replaceChildren(summaryMark(summary), h('span', { text }));
    }
  }

  private _updateTime = (): void => {
    window.clearTimeout(this._timer);
    const { summary, stale } = this._snapshot!;
    const start = summary.started_at ?? summary.created_at;
    if (isTerminal(summary.status)) {
      this._time.textContent = formatDuration((summary.ended_at ?? start) - start);
    } else if (stale || summary.held) {
      this._time.textContent = '';
    } else {
      this._time.textContent = formatElapsed(Date.now() / 1000 - start);
      this._timer = window.setTimeout(this._updateTime, 1000);
    }
    this._time.title = `Started ${formatTime(start)}${summary.ended_at === null ? '' : `, ended ${formatTime(summary.ended_at)}`}`;
  };

  private _updateButtons({ summary, stale }: ISnapshot, isCancelling: boolean): void {
    const live = stale === ''; // commands of a stale view would be refused, or act on an outdated state
    const ended = isTerminal(summary.status);
    this._cancel.hidden = !live || !canCancel(summary);
    this._cancel.disabled = isCancelling || ended;
    this._cancel.textContent = isCancelling ? 'Cancelling…' : 'Cancel';
    this._pause.hidden = this._cancel.hidden || summary.held;
    this._pause.textContent = summary.paused ? 'Resume' : 'Pause';
    this._pause.title = summary.paused ? 'Start new tasks again' : 'Start no new tasks; running tasks continue';
    setShown(this._start, live && summary.held);
    setShown(this._again, live && ended);
    setShown(this._resume, live && ended && summary.status !== 'completed');
  }

  private _updateProgress({ status, progress }: DispatchSummary, counts: Counts): void {
    const all = total(counts);
    const ended = all - counts.pending - counts.running;
    // A bar that is full says nothing.
    this.bar.hidden = all === 0 || isTerminal(status);
    this.bar.setAttribute('aria-valuemax', String(all));
    this.bar.setAttribute('aria-valuenow', String(ended));
    this.bar.setAttribute('aria-valuetext', describeCounts(counts).join(', '));
    for (const part of STATUSES) {
      let element = this.bar.querySelector<HTMLElement>(`.cv-mod-${part}`);
      element ??= this.bar.appendChild(h('span', { class: `cv-mod-${part}` }));
      element.style.flexGrow = String(counts[part]);
      element.hidden = counts[part] === 0;
    }
    const share = isTerminal(status) ? null : progress;
    const [done, ...others] = describeCounts(counts);
    const shown = STATUSES.filter(part => part !== 'completed' && counts[part] > 0);
    this._counts.replaceChildren(
      h('span', { text: done ?? '' }),
      ...(share === null ? [] : [h('span', { class: 'cv-share', title: 'Of all work, with what running tasks say', text: `${Math.round(100 * share)} %` })]),
      ...others.map((text, at) => h('span', { class: `cv-count cv-mod-${shown[at]}` }, statusMark(shown[at]), h('span', { text })))
    );
  }

  private readonly _mark: HTMLElement;
  private readonly _tags: TagsView;
  private readonly _name: HTMLElement;
  private readonly _time: HTMLElement;
  private readonly _counts: HTMLElement;
  private readonly _cancel: HTMLButtonElement;
  private readonly _pause: HTMLButtonElement;
  private readonly _start: HTMLButtonElement | null;
  private readonly _again: HTMLButtonElement | null;
  private readonly _resume: HTMLButtonElement | null;
  private _snapshot: ISnapshot | null = null;
  private _badgeText: string | null = null;
  private _timer = 0;
}

/** Label of a dispatch that goes on, and of which nothing is heard. */
const AWAY = 'Server away';
const DELETED = 'Deleted';

/** Show or hide a button that may not exist. */
function setShown(button: HTMLElement | null, shown: boolean): void {
  if (button) {
    button.hidden = !shown;
  }
}
