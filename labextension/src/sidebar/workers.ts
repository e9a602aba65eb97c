/**
 * Workers at the end of the side bar: the pools with their state, restart, and another number of workers.
 */
import { h } from '../dom';
import { errorMessage } from '../text';
import type { DispatcherStatus, PoolStatus } from '../wire';
import { poolName, poolProblem, poolState, workersTitle } from './workersText';

/** Milliseconds between two reads, while the side bar is visible: unfolded, and folded. */
const OFTEN = 2000;
const SELDOM = 10_000;

const MOST_WORKERS = 1000;

export interface IWorkersOptions {
  readonly read: () => Promise<DispatcherStatus>;
  /** Restart all workers, with another number of them if one is given; false: the reader does not want to. */
  readonly restart: (workers: number | null) => Promise<boolean>;
}

/** Shows the pools of workers. */
export class Workers {
  constructor(options: IWorkersOptions) {
    this._options = options;
    this._restart = h('button', { class: 'cv-button', text: 'Restart', title: 'Stop all workers and start them again; what has ended is kept', attrs: { type: 'button' }, onClick: () => void this._onRestart(null) });
    this._apply = h('button', { class: 'cv-button', text: 'Set', title: 'Restart with this many workers on this machine', attrs: { type: 'button' }, onClick: () => this._onScale() });
    this._count = h('input', { attrs: { type: 'number', min: '1', max: String(MOST_WORKERS), 'aria-label': 'Workers on this machine' } });
    this._count.addEventListener('input', () => (this._isTyped = true));
    this._count.addEventListener('keydown', event => event.key === 'Enter' && this._onScale());
    const scale = h('span', { class: 'cv-scale' }, this._count, this._apply);
    this.node = h('details', { class: 'cv-workers', attrs: { hidden: '' } }, h('summary', {}, this._title), this._pools, this._problem, h('div', { class: 'cv-workersActions' }, scale, this._restart));
    this.node.addEventListener('toggle', this._onToggle);
  }

  readonly node: HTMLDetailsElement;

  dispose(): void {
    this._isShown = false;
    window.clearTimeout(this._timer);
    this.node.removeEventListener('toggle', this._onToggle);
  }

  /** Whether the side bar is visible: else nothing is read. */
  set isShown(shown: boolean) {
    this._isShown = shown;
    window.clearTimeout(this._timer);
    if (shown) {
      void this._read();
    }
  }

  private _onToggle = (): void => {
    this.isShown = this._isShown;
  };

  private async _read(): Promise<void> {
    try {
      this._show(await this._options.read());
    } catch {
      this.node.hidden = true; // the list says that the server does not answer
    }
    window.clearTimeout(this._timer);
    if (this._isShown) {
      this._timer = window.setTimeout(() => void this._read(), this.node.open ? OFTEN : SELDOM);
    }
  }

  private _show(status: DispatcherStatus): void {
    const now = Date.now() / 1000;
    const { pools } = status;
    this.node.hidden = false;
    this._title.textContent = this._isRestarting ? 'Workers: restarting…' : workersTitle(status);
    this.node.classList.toggle('cv-mod-bad', pools.some(pool => pool.state === 'failed' || poolProblem(pool, now) !== ''));
    const key = JSON.stringify(pools.map(pool => [poolName(pool), poolState(pool), poolProblem(pool, now)]));
    if (key !== this._key) {
      this._key = key;
      this._pools.replaceChildren(...(pools.length > 0 ? pools.map(pool => poolItem(pool, now)) : [h('li', { class: 'cv-quiet', text: 'They start with the first dispatch.' })]));
    }
    const local = pools.find(({ kind, state }) => kind === 'pool' && state === 'up');
    if (local && !this._isTyped) {
      this._count.value = String(local.workers);
    }
  }

  private _onScale(): void {
    const workers = Number(this._count.value);
    if (Number.isInteger(workers) && workers >= 1 && workers <= MOST_WORKERS) {
      void this._onRestart(workers);
    } else {
      this._problem.textContent = `A number from 1 to ${MOST_WORKERS.toLocaleString('en')}.`;
    }
  }

  private async _onRestart(workers: number | null): Promise<void> {
    this._setRestarting(true);
    this._problem.textContent = '';
    try {
      await this._options.restart(workers);
    } catch (error) {
      this._problem.textContent = errorMessage(error);
    }
    this._isTyped = false;
    this._setRestarting(false);
    void this._read();
  }

  private _setRestarting(is: boolean): void {
    this._isRestarting = is;
    this._restart.disabled = this._apply.disabled = is;
    this._restart.textContent = is ? 'Restarting…' : 'Restart';
  }

  private readonly _options: IWorkersOptions;
  private readonly _title = h('span');
  private readonly _pools = h('ul', { attrs: { 'aria-label': 'Pools of workers' } });
  private readonly _problem = h('div', { class: 'cv-workersProblem', attrs: { role: 'status' } });
  private readonly _count: HTMLInputElement;
  private readonly _apply: HTMLButtonElement;
  private readonly _restart: HTMLButtonElement;
  private _key = '';
  private _isShown = false;
  private _isTyped = false;
  private _isRestarting = false;
  private _timer = 0;
}

function poolItem(pool: PoolStatus, now: number): HTMLElement {
  const problem = poolProblem(pool, now);
  return h(
    'li',
    { title: pool.python },
    h('span', { class: 'cv-poolName', text: poolName(pool) }),
    h('span', { class: pool.state === 'failed' ? 'cv-rowWhy' : 'cv-quiet', text: poolState(pool) }),
    problem ? h('span', { class: 'cv-workersProblem', text: problem }) : null
  );
}
