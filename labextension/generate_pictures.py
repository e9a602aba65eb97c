"""Generator of the README's pictures of JupyterLab, in its light and its dark theme, from a real run.

``python labextension/generate_pictures.py``, in a checkout with the group `dev` and the extra `demo`, and with Chromium
(`COVALAB_CHROMIUM` names one). It takes about a minute.
"""

# ruff: noqa: INP001 - a script of the checkout, not part of a package

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from playwright.sync_api import expect, sync_playwright

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "python" / "docs"
SIZE: Final = {"width": 1180, "height": 760}

if TYPE_CHECKING:
    from tests.browser.lab import Desk

IMPORTS = "import time\nimport covalab as ct"

SWEEP = """\
@ct.electron
def load():
    from sklearn.datasets import load_digits
    return load_digits(return_X_y=True)

@ct.electron
def fit(data, depth):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score
    time.sleep(1.5 * depth)
    return cross_val_score(RandomForestClassifier(max_depth=depth, random_state=0), *data).mean()

@ct.electron
def best(scores):
    return max(scores)

@ct.lattice
def forests(depths):
    data = load()
    return best([fit(data, depth) for depth in depths])

ct.dispatch(forests)(depths=[1, 2, 3, 4, 6, 8])"""


def main() -> None:
    """Run the sweep in JupyterLab and take the pictures while it runs."""
    sys.path.insert(0, str(ROOT))
    chromium = os.environ.get("COVALAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir()
        os.environ |= {
            "COVALAB_DATA_DIR": str(data),
            "COVALAB_CONFIG": str(folder / "covalab.toml"),
            "COVALAB_KEY_FILE": str(folder / "covalab.key"),
            "COVALAB_WORKERS": "2",
        }
        from tests.browser.lab import Desk, Lab  # noqa: PLC0415 - they read the variables

        from covalab.client import Client  # noqa: PLC0415

        lab = Lab(folder / "lab")
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
                _take(Desk(browser.new_page(viewport=SIZE), lab))  # type: ignore[arg-type]
                browser.close()
        finally:
            lab.stop()
            Client(data, start=False).stop()


def _take(desk: Desk) -> None:
    page = desk.page
    desk.open(desk.lab.notebook("forests.ipynb", IMPORTS, SWEEP))
    desk.command("covalab:show-dispatches")
    desk.run_all()
    view = desk.views().first
    expect(view).to_contain_text("3 of 8 done", timeout=120_000)
    for theme in ("Light", "Dark"):
        page.evaluate(
            "theme => { void window.jupyterapp.commands.execute('apputils:change-theme', { theme }); }",
            f"JupyterLab {theme}",
        )
        page.wait_for_selector(f"body[data-jp-theme-name='JupyterLab {theme}']", state="attached")
        view.evaluate("it => it.scrollIntoView({ block: 'end' })")
        page.mouse.move(600, 200)
        page.wait_for_timeout(1000)
        page.screenshot(path=TARGET / f"lab-{theme.lower()}.png")
    expect(view).to_contain_text("Completed", timeout=120_000)


if __name__ == "__main__":
    main()
