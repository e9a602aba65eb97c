"""Tests of the dispatch view in JupyterLab: it stays live whatever happens to kernel and page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from playwright.sync_api import expect
from tests.browser.lab import PATIENCE, Desk, Lab, badge, done

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_first_dispatch.ipynb"

SLOW = """
import time
import covalab as ct

@ct.electron
def load():
    time.sleep(0.3)
    return list(range({n}))

@ct.electron
def fit(rows, k):
    print("fitting", k, flush=True)
    time.sleep({seconds})
    return rows[k] * 2

@ct.electron
def best(scores):
    return max(scores)

@ct.lattice
def slow_sweep():
    rows = load()
    return best([fit(rows, k) for k in range({n})])

run = ct.dispatch(slow_sweep)()
run
"""


def slow(n: int, seconds: float) -> str:
    """Return a cell that dispatches `n` tasks of some seconds each, and shows them."""
    return SLOW.format(n=n, seconds=seconds)


def test_the_first_notebook_runs_and_shows_its_dispatches(desk: Desk, lab: Lab) -> None:
    """Every dispatch of the first notebook is drawn and ends as completed; no cell raises."""
    shutil.copy(NOTEBOOK, lab.work / "first.ipynb")
    desk.open("first.ipynb")
    desk.run_all()
    page = desk.page
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").last).to_contain_text(
        "accuracy: 0.9", timeout=2 * PATIENCE
    )
    views = desk.views()
    assert views.count() >= 4
    for at in range(views.count()):
        expect(badge(views.nth(at))).to_have_text("Completed")
        assert done(views.nth(at)) > 0
    assert page.locator(".jp-NotebookPanel:visible [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    views.nth(2).scroll_into_view_if_needed()
    desk.shoot("first-notebook")
    graph = views.nth(2).locator("canvas.cv-canvas").bounding_box()
    assert graph is not None
    assert graph["height"] > 60


def test_the_graph_moves_and_cancel_works_while_the_kernel_is_busy(desk: Desk, lab: Lab) -> None:
    """Progress arrives and the cancel button acts while a cell of the same kernel holds the interpreter's lock."""
    # The sum holds the lock for longer than the dispatch takes, so nothing can come through the kernel.
    desk.open(lab.notebook("busy.ipynb", slow(40, 0.4), "sum(range(1_500_000_000))"))
    desk.run_all()
    view = desk.views().first
    expect(badge(view)).to_have_text("Running")
    desk.until(lambda: done(view) >= 3, "the graph does not move while the kernel is busy")
    assert desk.is_executing(1)
    desk.shoot("running-while-busy")
    seen = done(view)
    desk.until(lambda: done(view) > seen + 2, "the graph stopped while the kernel is busy")
    assert desk.is_executing(1)
    view.get_by_role("button", name="Cancel").click()
    expect(badge(view)).to_have_text("Cancelled")
    assert desk.is_executing(1)
    desk.shoot("cancelled-while-busy")


def test_an_output_stays_live_through_reload_restart_and_no_kernel(desk: Desk, lab: Lab) -> None:
    """A saved notebook shows the live state after a reload, after a kernel restart and with no kernel at all."""
    path = lab.notebook("stays.ipynb", slow(60, 0.5))
    desk.open(path)
    desk.run_all()
    view = desk.views().first
    desk.until(lambda: done(view) >= 3, "it does not start")
    desk.save()
    shutil.copy(lab.work / path, lab.work / "unfinished.ipynb")
    set_notifications(desk, 1)

    desk.open(path)
    desk.until(lambda: done(desk.views().first) > 3, "not live after a reload")
    expect(desk.views().first.locator(".cv-stale")).to_be_hidden()
    desk.shoot("after-reload")

    desk.wait_for_kernel()
    page = desk.page
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart().then(() => null)"
    )
    seen = done(desk.views().first)
    desk.until(lambda: done(desk.views().first) > seen + 2, "not live after a kernel restart")
    desk.shoot("after-restart")

    lab.shut_kernels_down()
    page.goto("about:blank")
    desk.open()
    # No kernel: neither the one of before nor a new one.
    page.evaluate(
        """() => { void window.jupyterapp.commands.execute('docmanager:open', {
            path: 'stays.ipynb', kernel: null, kernelPreference: { shouldStart: false, canStart: false }
        }); }"""
    )
    desk.views().first.wait_for()
    assert lab.ask("api/kernels") == []
    seen = done(desk.views().first)
    desk.until(lambda: done(desk.views().first) > seen + 2, "not live without a kernel")
    desk.shoot("without-kernel")
    expect(badge(desk.views().first)).to_have_text("Completed")
    expect(desk.views().first).to_contain_text("118")
    assert lab.ask("api/kernels") == []
    desk.shoot("completed-without-kernel")

    told_and_saved(desk, lab, path)


def told_and_saved(desk: Desk, lab: Lab, path: str) -> None:
    """Look for the notification of the end; what is saved now is the end, without a kernel as well."""
    page = desk.page
    desk.command("apputils:display-notifications")  # the list keeps what is shown for ten seconds only
    told = page.locator(".jp-Notification-List-Item")
    expect(told).to_have_count(1)
    expect(told).to_contain_text("slow_sweep completed after")
    told.get_by_role("button", name="Open").click()
    expect(badge(page.locator(".jp-covalab-Dispatch.cv-mod-main:visible"))).to_have_text("Completed")
    page.locator(".lm-TabBar-tab", has_text=path).click()
    set_notifications(desk, None)

    def is_complete() -> bool:
        desk.command("docmanager:save")  # the page gives a kernel a moment to bring the output up to date itself
        return "<td" in (text := (lab.work / path).read_text()) and "As of" not in text

    desk.until(is_complete, "what is saved is still the state on the way")
    unfinished, complete = exported(lab, "unfinished.ipynb", path)
    assert re.search("(Pending|Running) · ", unfinished)
    assert "As of" in unfinished
    assert str(lab.work) not in unfinished
    assert "Completed" in complete
    assert "As of" not in complete
    assert str(lab.work) not in complete


def set_notifications(desk: Desk, seconds: int | None) -> None:
    """Set from which duration on the end of a dispatch is notified of; None: the default."""
    desk.page.evaluate(
        "raw => window.jupyterapp.serviceManager.settings.save('covalab:plugin', raw)",
        "{}" if seconds is None else json.dumps({"notifyAfter": seconds}),
    )


def exported(lab: Lab, *names: str) -> list[str]:
    """Return the outputs of notebooks as HTML, as a reader without our extension gets them."""
    subprocess.run([sys.executable, "-m", "nbconvert", "--to", "html", *names], cwd=lab.work, check=True)
    texts = [(lab.work / name).with_suffix(".html").read_text() for name in names]
    return [text[text.index("jp-Cell-outputWrapper") :] for text in texts]


def test_the_side_bar_shows_what_a_script_dispatches(desk: Desk, lab: Lab, tmp_path: Path) -> None:
    """With no kernel running, a dispatch from a script appears in the list, moves, and opens in a tab."""
    desk.open()
    page = desk.page
    page.get_by_role("tab", name="Dispatches").first.click()
    sidebar = page.locator("#covalab-dispatches")
    expect(sidebar).to_be_visible()
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(slow(12, 0.5)) + "\nprint(str(run))\n")
    done_ = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done_.returncode == 0, done_.stderr
    dispatch = done_.stdout.split()[-1]
    row = sidebar.locator(f"[data-dispatch='{dispatch}']")
    expect(row).to_be_visible()
    expect(row).to_have_attribute("data-status", "running")
    desk.shoot("sidebar-running")
    row.locator(".cv-row").click()
    view = page.locator(".jp-covalab-Dispatch.cv-mod-main:visible")
    expect(view).to_be_visible()
    expect(badge(view)).to_have_text("Completed")
    expect(row).to_have_attribute("data-status", "completed")
    assert lab.ask("api/kernels") == []
    desk.shoot("sidebar-and-tab")


def test_a_failed_node_shows_its_traceback(desk: Desk, lab: Lab) -> None:
    """A click on a failed node opens its panel with error, traceback and what it printed, in the dark theme too."""
    cell = """
    %load_ext covalab
    import covalab as ct
    """
    electron = """
    %%electron explode(x)
    print("about to divide")
    1 / (x - x)
    """
    lattice = """
    %%lattice disaster(x)
    explode(x)
    """
    cells = [textwrap.dedent(text).strip() for text in (cell, electron, lattice)]
    desk.open(lab.notebook("fails.ipynb", *cells, "%dispatch disaster(3)"))
    desk.run_all()
    view = desk.views().first
    expect(badge(view)).to_have_text("Failed")
    view.locator(".cv-problem .cv-link").first.click()
    expect(view).to_contain_text("ZeroDivisionError")
    expect(view).to_contain_text("1 / (x - x)")
    expect(view).to_contain_text("about to divide")
    desk.shoot("failed-node")
    desk.page.evaluate(
        "() => { void window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' }); }"
    )
    desk.page.wait_for_timeout(1500)
    desk.shoot("failed-node-dark")
    desk.page.evaluate(
        "() => { void window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Light' }); }"
    )
