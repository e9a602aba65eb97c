"""Tests of sublattices on the page: links to their graphs, and their rows below the outermost dispatch."""

from __future__ import annotations

from playwright.sync_api import expect
from tests.browser.lab import Desk, Lab, badge

CELL = """
import covalab as ct

@ct.electron
def square(x):
    return x * x

@ct.electron
@ct.lattice
def squares(n):
    return [square(i) for i in range(n)]

@ct.lattice
def nested():
    return squares(square(2))

run = ct.dispatch(nested)()
run
"""


def test_a_sublattice_opens_its_own_graph(desk: Desk, lab: Lab) -> None:
    """The node's panel leads to the dispatch below; the side bar unfolds it under the outermost one."""
    desk.open(lab.notebook("nested.ipynb", CELL))
    desk.run_all()
    view = desk.views().first
    expect(badge(view)).to_have_text("Completed")
    view.get_by_role("button", name="Open in a tab of its own").click()
    page = desk.page
    tab = page.locator(".jp-covalab-Tab:visible")
    expect(badge(tab)).to_have_text("Completed")
    nodes = tab.get_by_role("listbox", name="Nodes of the graph")
    nodes.focus()
    nodes.press("End")
    nodes.press("Enter")
    expect(tab.locator(".cv-panel")).to_contain_text("Sublattice")
    desk.shoot("sublattice-panel")
    tab.get_by_role("button", name="Open its graph").click()
    inner = page.locator(".jp-covalab-Tab:visible")
    expect(inner.locator(".cv-name")).to_have_text("squares")
    expect(badge(inner)).to_have_text("Completed")

    page.get_by_role("tab", name="Dispatches").first.click()
    bar = page.locator(".jp-covalab-Sidebar")
    row = bar.locator(".jp-covalab-Row").first
    expect(bar.locator(".cv-rows > .jp-covalab-Row .cv-rowName").first).to_have_text("nested")
    row.get_by_role("button", name="1 sublattice").click()
    expect(row.locator(".cv-below .cv-rowName")).to_have_text("squares")
    desk.shoot("sublattice-sidebar")
