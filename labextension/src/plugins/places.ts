/**
 * Places plugin: where people look first. Launcher card, status bar item, and a notification when a long dispatch ends.
 */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { Widget } from '@lumino/widgets';
import { CommandIDs } from '../commands';
import { h } from '../dom';
import type { DispatchesModel } from '../model/dispatches';
import { Endings, type IEnding } from '../model/endings';
import { mainPlugin } from './main';
import { ICovalab } from './services';

/** Rank of the status bar item, among those at the left. */
const RANK = 30;

export const placesPlugin: JupyterFrontEndPlugin<void> = {
  id: 'covalab:places',
  description: 'Shows dispatches in launcher, status bar and notifications.',
  autoStart: true,
  requires: [ICovalab],
  optional: [ILauncher, IStatusBar, ISettingRegistry],
  activate: (app: JupyterFrontEnd, { dispatches, feed }: ICovalab, launcher: ILauncher | null, statusBar: IStatusBar | null, registry: ISettingRegistry | null): void => {
    const show = (): void => void app.commands.execute(CommandIDs.show);
    launcher?.add({ command: CommandIDs.show, category: 'Other', rank: 50 });
    statusBar?.registerStatusItem('covalab:status', { item: new StatusItem(dispatches, show), align: 'left', rank: RANK });
    const settings: { after: number; inBrowser: boolean } = { after: 60, inBrowser: false };
    void registry?.load(mainPlugin.id).then(
      loaded => {
        const read = (): void => {
          settings.after = Number(loaded.composite['notifyAfter'] ?? 60);
          settings.inBrowser = loaded.composite['browserNotifications'] === true;
          if (settings.inBrowser && 'Notification' in window && window.Notification.permission === 'default') {
            void window.Notification.requestPermission();
          }
        };
        loaded.changed.connect(read);
        read();
      },
      () => undefined // without the schema, the defaults hold
    );
    const endings = new Endings(() => settings.after);
    feed.changed.connect((_, summaries) =>
      endings.take(summaries, Date.now() / 1000).forEach(ending => notify(ending, settings.inBrowser, () => void app.commands.execute(CommandIDs.open, { id: ending.id })))
    );
  }
};

/** Number of dispatches that run, and of those that wait for a person. */
class StatusItem extends Widget {
  constructor(dispatches: DispatchesModel, show: () => void) {
    super();
    this._dispatches = dispatches;
    this._button = h('button', { class: 'cv-statusItem', title: 'Show dispatches', attrs: { type: 'button' }, onClick: show });
    this.node.append(this._button);
    this.addClass('jp-covalab-StatusItem');
    dispatches.changed.connect(this._update, this);
    this._update();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._dispatches.changed.disconnect(this._update, this);
      super.dispose();
    }
  }

  private _update(): void {
    const { active } = this._dispatches;
    const waiting = active.filter(summary => summary.waiting > 0).length;
    const parts = [active.length > 0 ? `${active.length} running` : '', waiting > 0 ? `${waiting} ${waiting === 1 ? 'waits' : 'wait'} for you` : ''];
    const text = parts.filter(Boolean).join(' · ') || 'Dispatches';
    this.toggleClass('cv-mod-active', active.length > 0);
    if (this._button.textContent !== text) {
      this._button.textContent = text;
      this._button.setAttribute('aria-label', `Dispatches: ${text}`);
    }
  }

  private readonly _dispatches: DispatchesModel;
  private readonly _button: HTMLElement;
}

function notify({ text, isBad }: IEnding, inBrowser: boolean, open: () => void): void {
  const actions = [{ label: 'Open', callback: open }];
  isBad ? Notification.error(text, { actions, autoClose: false }) : Notification.success(text, { actions, autoClose: 10_000 });
  if (inBrowser && document.hidden && 'Notification' in window && window.Notification.permission === 'granted') {
    const shown = new window.Notification('covalab', { body: text });
    shown.onclick = () => {
      window.focus();
      open();
    };
  }
}
