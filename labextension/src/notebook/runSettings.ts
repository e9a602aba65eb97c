/**
 * Settings of runs of notebooks, as JupyterLab keeps them for the reader.
 */
import type { ISettingRegistry } from '@jupyterlab/settingregistry';

/** Name in schema/plugin.json. */
const SIDE_BY_SIDE = 'cellsSideBySide';

/** Reads and writes the settings; without a registry they hold for the page. */
export class RunSettings {
  constructor(registry: ISettingRegistry | null, plugin: string, changed: () => void) {
    void registry?.load(plugin).then(
      loaded => {
        this._loaded = loaded;
        const read = (): void => {
          this._sideBySide = loaded.composite[SIDE_BY_SIDE] !== false;
          changed();
        };
        loaded.changed.connect(read);
        read();
      },
      () => undefined // without the schema, the defaults hold
    );
  }

  /** Whether cells that are shown to be independent of those before them run beside these. */
  get sideBySide(): boolean {
    return this._sideBySide;
  }

  async setSideBySide(value: boolean): Promise<void> {
    this._sideBySide = value;
    await this._loaded?.set(SIDE_BY_SIDE, value);
  }

  private _loaded: ISettingRegistry.ISettings | null = null;
  private _sideBySide = true;
}
