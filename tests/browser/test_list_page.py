"""Tests of the side bar: what is searched is everything, runs of one name are folded, and a deletion can be undone."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from playwright.sync_api import Locator, expect
from tests.browser.axe import violations
from tests.browser.lab import Desk
from tests.browser.test_view_page import theme

import covalab as ct
from covalab.client import Client


@ct.electron
def score(depth: int) -> float:
    """Fail for one depth."""
    if depth == 3:
        message = "depth three"
        raise KeyError(message)
    return depth / 8


@ct.lattice
def tuning(depth: int) -> float:
    """Score one depth."""
    return score(depth)


@ct.lattice
def needle(depth: int) -> float:
    """Score one depth, under a name of its own."""
    return score(depth)


@ct.electron
def sleep(seconds: float) -> None:
    """Take longer than the test."""
    time.sleep(seconds)


@ct.lattice
def night(seconds: float) -> None:
    """Sleep twice."""
    sleep(0)
    sleep(seconds)


def test_the_list_is_searched_grouped_and_pruned(desk: Desk, live: Client) -> None:
    """All of it is looked through; groups unfold; rows have inputs, result and why; Undo takes a deletion back."""
    # Before the page: Playwright's event loop runs in this thread.
    alone = ct.dispatch(needle)(depth=4)
    runs = [ct.dispatch(tuning)(depth=depth) for depth in range(5)]
    for run in (alone, *runs):
        ct.get_result(run, wait=True, status_only=True)
    nights = [ct.dispatch(night)(seconds=600 + at) for at in range(2)]
    desk.open()
    page = desk.page
    desk.command("covalab:show-dispatches")
    bar = page.locator("#covalab-dispatches")
    search = bar.get_by_role("searchbox")
    expect(search).to_be_focused()
    row = bar.locator(f".cv-rows > .jp-covalab-Row[data-dispatch='{runs[-1]}']")
    expect(row.locator(".cv-rowFacts").first).to_have_text("depth=4 → 0.5")

    # Runs of one name are one entry, with a strip of their durations.
    fold = row.get_by_role("button", name="5 runs · 1 failed")
    expect(fold.locator(".cv-spark > span")).to_have_count(5)
    fold.press("Enter")
    failed = row.locator(f".jp-covalab-Row[data-dispatch='{runs[3]}']")
    expect(failed.locator(".cv-rowName")).to_have_text("depth=3")
    expect(failed).to_contain_text("KeyError: 'depth three'")
    desk.shoot("list-groups")
    assert violations(bar) == []
    theme(desk, "Dark")
    desk.shoot("list-groups-dark")
    assert violations(bar) == []
    theme(desk, "Light")

    cancelled_elsewhere(bar, live, nights)
    compare(desk, bar, row, runs)
    workers(desk, bar)
    find(bar, row, runs)
    prune(desk, live, bar, alone)

    # The menu of a completed dispatch has no way to resume it.
    row.locator(".cv-row").first.click(button="right")
    menu = page.locator(".lm-Menu-content")
    expect(menu).to_contain_text("Copy Dispatch Id")
    expect(menu).to_contain_text("Insert ct.get_result")
    expect(menu).not_to_contain_text("Resume")
    expect(menu.get_by_text("Open Dispatch", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    tabs_below(desk, runs[1:3])


def tabs_below(desk: Desk, runs: Sequence[str]) -> None:
    """Open dispatches as in Notebook 7, whose main area takes one document and drops everything else.

    The plugin is activated once more, without the shell of JupyterLab; the area below is that of the page.
    """
    page = desk.page
    page.evaluate(
        """() => {
            const app = window.jupyterapp;
            const named = name => app.pluginRegistry._plugins.get(`covalab:${name}`);
            const [main, services] = [named('plugin'), named('services')];
            const commands = new app.commands.constructor();
            const other = Object.create(app, { commands: { value: commands } });
            main.activate(other, services.service, null, null, null);
            window.commandsBelow = commands;
        }"""
    )
    below = page.locator("#jp-down-stack")
    for at, run in enumerate(runs):
        page.evaluate("id => { void window.commandsBelow.execute('covalab:open-dispatch', { id }); }", run)
        name = below.locator(".cv-name:visible")
        expect(name).to_have_attribute("title", run)
        expect(below.locator(".lm-TabBar-tab")).to_have_count(at + 1)
    bounds = below.bounding_box()
    assert bounds is not None
    assert bounds["height"] > 300
    desk.shoot("tabs-below")


def cancelled_elsewhere(bar: Locator, live: Client, nights: Sequence[str]) -> None:
    """Cancel an older run that is shown below its group, then the newest: neither has failed."""
    group = bar.locator(f".cv-rows > .jp-covalab-Row[data-dispatch='{nights[1]}']")
    group.get_by_role("button", name="2 runs", exact=True).press("Enter")
    older = group.locator(f".jp-covalab-Row[data-dispatch='{nights[0]}']")
    expect(older).to_have_attribute("data-over", "false")
    # The side bar calls a task as its graph does: siblings are told apart.
    expect(bar.locator(".cv-longest")).to_contain_text(re.compile(r"Longest: sleep\(seconds=60[01]\) · "))
    live.cancel(nights[0])
    expect(older).to_have_attribute("data-status", "cancelled")
    live.cancel(nights[1])
    expect(group).to_have_attribute("data-status", "cancelled")
    group.get_by_role("button", name="2 runs", exact=True).press("Enter")


def compare(desk: Desk, bar: Locator, row: Locator, runs: Sequence[str]) -> None:
    """Look at what differs between two runs, and at how one of them came about."""
    page = desk.page
    row.locator(".cv-row").first.click(button="right")
    page.locator(".lm-Menu-item", has_text="Compare with Run Before").click()
    before = page.locator(".cv-comparison:visible .cv-cmpHead")
    expect(before).to_contain_text([re.compile("depth=3"), re.compile("depth=4")])
    choice = bar.locator(".cv-choiceBar")
    row.get_by_role("checkbox").first.check()
    expect(choice.get_by_role("button", name="Compare")).to_be_disabled()
    older = row.locator(f".jp-covalab-Row[data-dispatch='{runs[1]}']").get_by_role("checkbox")
    older.check()
    choice.get_by_role("button", name="Compare").press("Enter")
    tab = page.locator(".cv-comparison:visible")
    expect(tab.locator(".cv-cmpVerdict")).to_have_text("Different: 1 input, 1 of 1 output.")
    # The older one is at the left, in whatever order they were selected.
    expect(tab.locator(".cv-cmpHead").first).to_contain_text("depth=1")
    expect(tab.locator(".cv-cmpSection").first).to_have_text(re.compile(r"Inputs\s*depth of score\s*1\s*4"))
    expect(tab.locator(".cv-cmpPair")).to_contain_text("0.125")
    desk.shoot("comparison")
    assert violations(tab) == []
    tab.locator(".cv-cmpHead").last.get_by_role("button", name="tuning").click()
    view = page.locator(".jp-covalab-Dispatch:visible:not(.cv-comparison)")
    view.locator(".cv-execution > summary", has_text="Provenance").click()
    known = view.locator(".cv-provenance")
    expect(known).to_contain_text("return score(depth)")
    expect(known).to_contain_text("Machine")
    known.locator("summary", has_text=re.compile(r"^\d+ packages")).click()
    expect(known.locator(".cv-packages")).to_contain_text("msgspec")
    desk.shoot("provenance")
    assert violations(view) == []
    row.get_by_role("checkbox").first.uncheck()
    older.uncheck()
    expect(choice).to_be_hidden()


def workers(desk: Desk, bar: Locator) -> None:
    """Look at the pools; a number that makes no sense is refused. Restarting is in test_extension."""
    part = bar.locator(".cv-workers")
    part.locator("summary").press("Enter")
    expect(part.locator("summary")).to_have_text(re.compile(r"Workers: [1-9]"))
    expect(part.get_by_role("list", name="Pools of workers")).to_contain_text(re.compile(r"\d workers?"))
    count = part.get_by_role("spinbutton", name="Workers on this machine")
    count.fill("0")
    count.press("Enter")
    expect(part.get_by_role("status")).to_contain_text("A number from 1")
    desk.shoot("workers")
    assert violations(bar) == []
    part.locator("summary").press("Enter")


def find(bar: Locator, row: Locator, runs: Sequence[str]) -> None:
    """Search, filter and sort."""
    search = bar.get_by_role("searchbox")
    # Search and filters are over everything, and the count says so.
    search.fill("needle")
    expect(bar.locator(".cv-rows > .jp-covalab-Row")).to_have_count(1)
    expect(bar.locator(".cv-foundCount")).to_have_text(re.compile(r"1 of \d+"))
    search.fill("depth=3")
    expect(bar.locator(".cv-rows > .jp-covalab-Row")).to_have_attribute("data-dispatch", str(runs[3]))
    search.fill("no such thing")
    expect(bar.locator(".cv-noteBar")).to_contain_text("matches")
    search.fill("")
    bar.get_by_role("button", name="Completed", exact=True).click()
    expect(row).to_be_visible()
    bar.get_by_role("button", name="All", exact=True).click()
    bar.get_by_role("combobox", name="Order").select_option("oldest")
    expect(bar.locator(".cv-rows > .jp-covalab-Row").first).not_to_have_attribute("data-dispatch", str(runs[-1]))
    bar.get_by_role("combobox", name="Order").select_option("newest")


def prune(desk: Desk, live: Client, bar: Locator, alone: str) -> None:
    """Delete a dispatch, once with second thoughts."""
    # Deleted after some seconds, in which it can be taken back.
    only = bar.locator(f".cv-rows > .jp-covalab-Row[data-dispatch='{alone}']")
    only.get_by_role("checkbox").check()
    choice = bar.locator(".cv-choiceBar")
    expect(choice).to_contain_text("1 selected")
    choice.get_by_role("button", name="Delete").click()
    expect(only).to_have_count(0)
    desk.shoot("list-undo")
    choice.get_by_role("button", name="Undo").click()
    expect(only).to_be_visible()
    only.get_by_role("checkbox").check()
    choice.get_by_role("button", name="Delete").click()
    expect(choice).to_be_hidden()
    desk.until(lambda: not any(one.id == alone for one in live.dispatches(name="needle")), "it is not deleted")
