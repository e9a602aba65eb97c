/**
 * Runs of one group in the list: a strip of their durations, and their rows when it is unfolded.
 */
import { h } from '../dom';
import { counted, formatAge, formatDuration, statusLabel } from '../text';
import type { DispatchGroup, DispatchRow as ListRow } from '../wire';
import { DispatchRow, type IRowOptions } from './row';

const HEIGHT = 16;

/** Shows the older runs of a group below its newest. */
export class GroupRuns {
  constructor(options: IRowOptions, read: (name: string, notebook: string, offset: number) => Promise<readonly ListRow[]>) {
    this._options = options;
    this._read = read;
    this._spark = h('span', { class: 'cv-spark', attrs: { 'aria-hidden': 'true' } });
    this._label = h('span');
    this._button = h('button', { class: 'cv-link cv-runsButton', attrs: { type: 'button', 'aria-expanded': 'false' }, onClick: () => void this._toggle() }, this._spark, this._label);
    this._list = h('ul', { class: 'cv-below', attrs: { hidden: '', 'aria-label': 'Earlier runs' } });
    this.node = h('div', { class: 'cv-runs', attrs: { hidden: '' } }, this._button, this._list);
  }

  readonly node: HTMLElement;

  dispose(): void {
    this._rows.forEach(row => row.dispose());
  }

  update(group: DispatchGroup): void {
    this.node.hidden = group.count < 2;
    this._group = group;
    this._label.textContent = `${counted(group.count, 'run')}${group.failed > 0 ? ` · ${group.failed} failed` : ''}`;
    const key = JSON.stringify([group.count, group.spark.map(([, status, id]) => [status, id])]);
    if (key !== this._key && group.count > 1) {
      this._key = key;
      this._drawSpark(group);
      // Also an older run may have ended, or been cancelled elsewhere.
      this._list.hidden || void this._fill();
    }
    const now = Date.now() / 1000;
    for (const [id, row] of this._rows) {
      const listed = this._listed.get(id);
      if (listed) {
        this._updateRow(row, listed, now);
      }
    }
  }

  private _drawSpark({ spark }: DispatchGroup): void {
    const most = Math.max(0.001, ...spark.map(([seconds]) => seconds));
    this._spark.replaceChildren(
      ...spark.map(([seconds, status]) => {
        const bar = h('span', { class: `cv-mod-${status}`, title: `${formatDuration(seconds)} · ${statusLabel(status)}` });
        bar.style.height = `${Math.max(2, Math.round((HEIGHT * seconds) / most))}px`;
        return bar;
      })
    );
  }

  private async _toggle(): Promise<void> {
    this._list.hidden = !this._list.hidden;
    this._button.setAttribute('aria-expanded', String(!this._list.hidden));
    if (!this._list.hidden) {
      await this._fill();
    }
  }

  private async _fill(): Promise<void> {
    const { name, notebook, id } = this._group!.newest.summary;
    const read = await this._read(name, notebook, 0).catch(() => null);
    if (!read) {
      return; // the list says that the server does not answer; what is here stays
    }
    const found = read.filter(({ summary }) => summary.id !== id);
    this._listed = new Map(found.map(row => [row.summary.id, row]));
    for (const [known, row] of this._rows) {
      if (!this._listed.has(known)) {
        row.dispose();
        this._rows.delete(known);
      }
    }
    const now = Date.now() / 1000;
    for (const row of found) {
      let element = this._rows.get(row.summary.id);
      if (!element) {
        element = new DispatchRow(row.summary.id, this._options, row.summary.id);
        this._rows.set(row.summary.id, element);
      }
      this._updateRow(element, row, now);
      this._list.append(element.node);
    }
    const more = this._group!.count - 1 - found.length;
    this._more.textContent = `and ${more.toLocaleString('en')} older: search for one by its inputs`;
    more > 0 ? this._list.append(this._more) : this._more.remove();
  }

  /** Runs of one name are told apart by their inputs, else by their age. */
  private _updateRow(row: DispatchRow, listed: ListRow, now: number): void {
    row.update(listed.summary, now, [], listed, listed.summary.inputs || formatAge(listed.summary.created_at, now));
  }

  private readonly _options: IRowOptions;
  private readonly _read: (name: string, notebook: string, offset: number) => Promise<readonly ListRow[]>;
  private readonly _button: HTMLElement;
  private readonly _spark: HTMLElement;
  private readonly _label: HTMLElement;
  private readonly _list: HTMLElement;
  private readonly _more = h('li', { class: 'cv-quiet cv-moreRuns' });
  private readonly _rows = new Map<string, DispatchRow>();
  private _listed: ReadonlyMap<string, ListRow> = new Map();
  private _group: DispatchGroup | null = null;
  private _key = '';
}
