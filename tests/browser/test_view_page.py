"""Tests of the view of a dispatch: head, timeline, what became of it, and a second place in the same notebook."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect
from tests.browser.axe import violations
from tests.browser.lab import Desk, Lab, badge

SWEEP = """
import time
import covalab as ct

@ct.electron
def load():
    time.sleep(0.2)
    return 3

@ct.electron
def fit(rows, depth):
    print("depth", depth)
    time.sleep(0.8)
    return depth / rows

@ct.electron
def best(scores):
    return max(scores)

@ct.lattice
def sweep():
    rows = load()
    return best([fit(rows, depth) for depth in range(7)])

run = ct.dispatch(sweep)()
run
"""

LONG = """
@ct.lattice
def long(rows):
    return best([fit(rows, depth) for depth in range(2)] + [wait(rows)])

@ct.electron
def wait(seconds):
    time.sleep(seconds)
    return 0

endless = ct.dispatch(long)(600)
endless
"""

CHAINS = """
@ct.electron
def step(value):
    return value

@ct.electron
def hold(values):
    time.sleep(600)

@ct.lattice
def chains():
    first = wait(3)
    ends = []
    for _ in range(10):
        end = first
        for _ in range(21):
            end = step(end)
        ends.append(end)
    return hold(ends)

held = ct.dispatch(chains)()
held
"""

ALONE = "ct.dispatch(ct.lattice(lambda: load()))()"


def theme(desk: Desk, name: str) -> None:
    """Change the theme of JupyterLab."""
    desk.page.evaluate(
        "theme => { void window.jupyterapp.commands.execute('apputils:change-theme', { theme }); }",
        f"JupyterLab {name}",
    )
    desk.page.wait_for_selector(f"body[data-jp-theme-name='JupyterLab {name}']", state="attached")
    desk.page.wait_for_timeout(500)


def row_of(view: Locator) -> Locator:
    """Return the head of a view."""
    return view.locator(".cv-head")


def test_head_timeline_and_what_became_of_a_dispatch(desk: Desk, lab: Lab) -> None:
    """One line above the graph; the timeline says where the time went; an output knows its successor and its end."""
    desk.open(lab.notebook("views.ipynb", SWEEP, "run", LONG, CHAINS, ALONE))
    desk.keys_as_notebook_7()
    desk.run_all()
    first, second, endless, chains, alone = (desk.views().nth(at) for at in range(5))
    follow_and_minimap(desk, chains)
    expect(badge(first)).to_have_text("Completed")

    head_and_second_place(first, second, alone)
    timeline(desk, first)
    table_and_log(desk, first)
    after_the_end(desk, endless)


def head_and_second_place(first: Locator, second: Locator, alone: Locator) -> None:
    """Look at what is above the graph, and at what is drawn only once."""
    # Head: all in one line, no bar when the work is over.
    bounds = row_of(first).bounding_box()
    assert bounds is not None
    assert bounds["height"] < 44
    expect(row_of(first)).to_contain_text("9 of 9 done")
    expect(first.locator(".cv-bar")).to_be_hidden()

    # The same dispatch once more: a line that opens.
    expect(second.locator("canvas:visible")).to_have_count(0)
    second.get_by_role("button", name="Show").click()
    expect(second.locator("canvas:visible")).to_have_count(1)
    second.get_by_role("button", name="Hide").click()

    # One box is no graph.
    expect(badge(alone)).to_have_text("Completed")
    expect(alone.locator("canvas:visible")).to_have_count(0)
    assert alone.evaluate("it => it.offsetHeight") < 120
    alone.get_by_role("option", name="load").click()
    expect(alone.locator(".cv-panel")).to_contain_text("Completed")


def timeline(desk: Desk, first: Locator) -> None:
    """Use the timeline by keyboard, in both themes."""
    switch = first.get_by_role("button", name="Timeline")
    switch.press("Enter")
    expect(switch).to_have_attribute("aria-pressed", "true")
    reason = first.locator(".cv-reason")
    # Which task was the longest is said where it is a good part of all: not on a machine that was slow to begin.
    expect(reason).to_contain_text(
        re.compile(r"waiting for a worker.*(; longest on the critical path: (load|fit|best).*)?; .*could save about")
    )
    bars = first.get_by_role("listbox", name="Runs by their start")
    expect(bars.get_by_role("option").first).to_have_text(
        re.compile(r"load, Worker \d, Completed after .*critical path")
    )
    bars.focus()
    bars.press("ArrowDown")
    bars.press("Enter")
    expect(first.locator(".cv-panel")).to_contain_text("fit")
    desk.shoot("timeline-panel")
    bars.press("Escape")
    expect(first.locator(".cv-panel")).to_be_hidden()
    assert violations(first) == []
    theme(desk, "Dark")
    desk.shoot("timeline-dark")
    assert violations(first) == []
    theme(desk, "Light")


def table_and_log(desk: Desk, first: Locator) -> None:
    """Sort and filter the tasks, and read the log of all of them, by keyboard and in both themes."""
    first.get_by_role("button", name="Tasks", exact=True).press("Enter")
    table = first.get_by_role("grid", name="Tasks")
    rows = table.locator(".cv-tableBody > [role='row']")
    expect(rows).to_have_count(9)
    desk.until(lambda: table.evaluate("it => it.scrollHeight <= it.clientHeight"), "nine rows are cut off")
    expect(rows.first).to_contain_text("load")
    order = table.get_by_role("button", name="Task", exact=True)
    order.click()
    order.press("Enter")
    expect(table.get_by_role("columnheader", name="Task")).to_have_attribute("aria-sort", "descending")
    expect(rows.first).to_contain_text("load")
    expect(rows.nth(1)).to_contain_text("fit(depth=6)")
    first.get_by_role("searchbox", name="Only tasks").fill("depth=3")
    expect(rows).to_have_count(1)
    expect(rows).to_have_text(re.compile(r"fit\(depth=3\)\s*Completed\s*1"))
    assert violations(first) == []
    desk.shoot("tasks")
    table.focus()
    table.press("Enter")
    panel = first.locator(".cv-panel")
    expect(panel).to_contain_text("fit(depth=3)")
    desk.page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(table).to_be_focused()

    first.get_by_role("button", name="Log", exact=True).press("Enter")
    lines = first.locator(".cv-logLine")
    expect(lines.first).to_contain_text("Dispatch started")
    expect(lines.last).to_contain_text("Dispatch completed after")
    first.get_by_role("button", name="Output", exact=True).click()
    expect(lines).to_have_count(7)
    first.get_by_role("searchbox", name="Only lines").fill("fit depth=5")
    expect(lines).to_have_text([re.compile(r"fit\(depth=5\)depth 5")])
    with desk.page.expect_download() as download:
        first.get_by_role("button", name="Download").click()
    assert "fit(depth=5)  depth 5\n" in download.value.path().read_text()
    log = first.get_by_role("listbox", name="Log")
    log.focus()
    log.press("ArrowUp")
    log.press("Enter")
    expect(panel).to_contain_text("fit(depth=5)")
    desk.shoot("log-panel")
    desk.page.keyboard.press("Escape")
    first.get_by_role("searchbox", name="Only lines").fill("")
    first.get_by_role("button", name="All", exact=True).click()
    for name in ("Dark", "Light"):
        theme(desk, name)
        desk.shoot(f"log-{name}")
        assert violations(first) == []
    first.get_by_role("button", name="Graph", exact=True).click()


def follow_and_minimap(desk: Desk, chains: Locator) -> None:
    """Let the window follow what runs through 212 nodes, then move it on the minimap."""
    follow = chains.get_by_role("button", name="Follow what runs")
    minimap = chains.locator(".cv-minimap")
    expect(chains.get_by_role("option", name=re.compile("^wait"))).to_have_count(1)
    expect(minimap).to_be_hidden()  # all of the graph is in sight
    follow.press("Enter")
    expect(follow).to_have_attribute("aria-pressed", "true")
    expect(minimap).to_be_visible()

    def seen() -> tuple[float, float]:
        """Return where the window begins and ends, as parts of the graph's width."""
        part: list[float] = minimap.evaluate(
            """map => {
                const all = map.querySelector('canvas').getBoundingClientRect();
                const part = map.querySelector('.cv-minimapWindow').getBoundingClientRect();
                return [(part.left - all.left) / all.width, (part.right - all.left) / all.width];
            }"""
        )
        return part[0], part[1]

    desk.until(lambda: seen()[1] > 0.97, "the window is not at the last node, which runs")
    desk.shoot("follow")
    assert violations(chains) == []

    # Moved by hand: to where the pointer is, and no further when something runs on.
    bounds = minimap.bounding_box()
    assert bounds is not None
    desk.page.mouse.move(bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2)
    desk.page.mouse.down()
    desk.page.mouse.move(bounds["x"] + 12, bounds["y"] + bounds["height"] / 2, steps=4)
    desk.page.mouse.up()
    desk.until(lambda: seen()[0] < 0.03, "the window is not where the pointer was let go")
    expect(follow).to_have_attribute("aria-pressed", "false")
    theme(desk, "Dark")
    desk.shoot("minimap-dark")
    theme(desk, "Light")
    chains.get_by_role("button", name="Fit the graph into the window").click()
    expect(minimap).to_be_hidden()
    chains.get_by_role("button", name="Cancel").click()
    expect(badge(chains)).to_have_text("Cancelled")
    expect(follow).to_be_hidden()


def after_the_end(desk: Desk, endless: Locator) -> None:
    """Follow a dispatch beyond its end: cancelled, resumed, and in a tab of its own."""
    page = desk.page
    # A dispatch that runs: what is under way is in the timeline, too.
    endless.get_by_role("button", name="Timeline").click()
    expect(endless.locator(".cv-reason")).to_contain_text("so far")
    endless.scroll_into_view_if_needed()
    desk.shoot("timeline-live")

    # After Cancel, the way on is where the reader looks; after Resume, the output names its successor.
    endless.get_by_role("button", name="Cancel").click()
    expect(badge(endless)).to_have_text("Cancelled")
    expect(endless.get_by_role("button", name="Run again")).to_be_visible()
    endless.get_by_role("button", name="Resume").click()
    link = endless.locator(".cv-next .cv-link")
    expect(link).to_contain_text("long")
    desk.shoot("successor")
    link.click()
    tab = page.locator(".jp-covalab-Dispatch.cv-mod-main:visible")
    expect(badge(tab)).to_have_text("Running")

    # A wide tab shows both views.
    page.get_by_role("tab", name="Dispatches").first.click()
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(tab.locator("canvas:visible")).to_have_count(2)
    desk.shoot("tab-wide")
    page.set_viewport_size({"width": 900, "height": 900})
    expect(tab.locator("canvas:visible")).to_have_count(1)
    desk.shoot("tab-narrow")
    assert violations(tab) == []

    # So does a log follow, and a table.
    tab.get_by_role("button", name="Log", exact=True).click()
    expect(tab.locator(".cv-logLine").last).to_contain_text("wait")
    desk.shoot("log-narrow")
    tab.get_by_role("button", name="Tasks", exact=True).click()
    expect(tab.locator(".cv-tableBody > [role='row']")).to_have_count(4)
    desk.shoot("tasks-narrow")
    assert violations(tab) == []
    tab.get_by_role("button", name="Log", exact=True).click()
    tab.get_by_role("button", name="Cancel").click()
    expect(badge(tab)).to_have_text("Cancelled")
    expect(tab.locator(".cv-logLine").last).to_contain_text("Dispatch cancelled")
