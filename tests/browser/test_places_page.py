"""Tests of what a reader finds without knowing any magic: graph bar, cell actions, launcher, status bar."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect
from tests.browser.axe import violations
from tests.browser.lab import Desk, Lab, badge

MANY = """
import covalab as ct

@ct.electron
def square(x):
    if x in (17, 41):
        raise ValueError(x)
    return x * x

@ct.lattice
def squares():
    return [square(x) for x in range(60)]

run = ct.dispatch(squares)()
run
"""


def source(desk: Desk, cell: int) -> str:
    """Return the text of a cell."""
    found: str = desk.page.evaluate(
        "at => window.jupyterapp.shell.currentWidget.content.widgets[at].model.sharedModel.getSource()", cell
    )
    return found


def choose(desk: Desk, cell: int) -> None:
    """Make a cell the current one."""
    desk.page.evaluate("at => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = at; }", cell)


def test_what_is_found_without_knowing_a_magic(desk: Desk, lab: Lab) -> None:
    """Siblings that failed are a click away; a cell is made an electron, or runs in the background, from its menu."""
    page = desk.page
    desk.open()
    expect(page.locator(".jp-LauncherCard", has_text="Show Dispatches")).to_be_visible()
    desk.open(lab.notebook("places.ipynb", MANY, "base = 3", "total = base * 2\nshown = total", "print(base)"))
    desk.run_all()
    view = desk.views().first
    expect(badge(view)).to_have_text("Failed")
    siblings(desk, view)

    choose(desk, 2)
    desk.command("covalab:make-electron")
    dialog = page.locator(".jp-Dialog")
    expect(dialog.locator("input")).to_have_value("make_total_shown(base) -> total, shown")
    desk.shoot("make-electron")
    dialog.get_by_role("button", name="Write the line").click()
    desk.until(lambda: source(desk, 2).startswith("%%electron make_total_shown(base) -> "), "the line is not written")

    choose(desk, 3)
    desk.command("covalab:run-cell")
    desk.until(lambda: source(desk, 3) == "%%electron --run\nprint(base)", "the line is not written")
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").last).to_contain_text("3")
    expect(page.locator(".jp-covalab-StatusItem")).to_be_visible()
    desk.shoot("run-cell")
    changed_and_lost(desk)


def changed_and_lost(desk: Desk) -> None:
    """Change a cell after its dispatch; then leave the page without saving, and have the outputs again."""
    page = desk.page
    note = page.locator(".jp-NotebookPanel:visible .jp-covalab-Note")
    expect(note).to_have_count(0)
    for cell, text in ((0, MANY), (3, "%%electron --run\nprint(base)")):
        rewrite(desk, cell, f"{text}\n# changed")
        expect(note).to_contain_text("older text of the cell")
        desk.shoot(f"changed-{cell}")
        rewrite(desk, cell, text)
        expect(note).to_have_count(0)

    page.on("dialog", lambda dialog: dialog.accept())
    desk.open("places.ipynb")
    bar = page.locator(".jp-NotebookPanel:visible .jp-covalab-RunBar")
    expect(bar).to_contain_text("2 dispatches of this notebook are not shown")
    desk.shoot("lost")
    rewrite(desk, 3, "%%electron --run\nprint(base)")
    bar.get_by_role("button", name="Restore").press("Enter")
    expect(badge(desk.views().first)).to_have_text("Failed")
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").last).to_contain_text(re.compile("3.*done in", re.DOTALL))
    expect(bar).to_have_count(0)
    desk.shoot("restored")


def rewrite(desk: Desk, cell: int, text: str) -> None:
    """Give a cell another text."""
    desk.page.evaluate(
        "([at, text]) => window.jupyterapp.shell.currentWidget.content.widgets[at].model.sharedModel.setSource(text)",
        [cell, text],
    )


def siblings(desk: Desk, view: Locator) -> None:
    """Use the bar above the graph."""
    bar = view.locator(".cv-graphBar")
    bar.get_by_role("button", name="Next of 2 failed").click()
    expect(bar.get_by_role("group", name="Open group")).to_contain_text("1 to 2 of 2")
    panel = view.locator(".cv-panel")
    expect(panel).to_contain_text("square(x=17)")
    bar.get_by_role("button", name="Next of 2 failed").press("Enter")
    expect(panel).to_contain_text("square(x=41)")
    desk.shoot("siblings-failed")
    bar.get_by_role("button", name="All: 60").click()
    bar.get_by_role("button", name="Next page").click()
    expect(bar).to_contain_text("25 to 48 of 60")
    find = bar.get_by_role("searchbox")
    find.fill("x=55")
    find.press("Enter")
    expect(bar).to_contain_text(re.compile("1 of 1"))
    expect(panel).to_contain_text("square(x=55)")
    assert violations(view) == []
    desk.shoot("siblings-search")
    bar.get_by_role("button", name="Fold").click()
    expect(bar.get_by_role("group", name="Open group")).to_be_hidden()
