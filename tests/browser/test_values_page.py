"""Values in a real page: what the node's panel and the Result show of them, by mouse and by keyboard."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect
from tests.browser.lab import Desk, Lab, badge

CELL = """
import dataclasses
import numpy as np
import pandas as pd
import covalab as ct

@dataclasses.dataclass
class Setup:
    depth: int
    names: list

@ct.electron
def frame(n):
    return pd.DataFrame({"depth": range(n), "score": np.linspace(0.9, 0.5, n), "name": [f"row {i}" for i in range(n)]})

@ct.electron
def array():
    return np.random.default_rng(0).normal(size=(80, 120)).cumsum(axis=1)

@ct.electron
def setup():
    return {"setup": Setup(3, ["a", "b"]), "limits": {"low": 0.1, "high": (1, 2)}}

@ct.electron
def figure():
    from matplotlib.figure import Figure
    drawn = Figure(figsize=(4, 2.4))
    drawn.add_subplot().plot([1, 3, 2])
    return drawn

@ct.electron
def model():
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression(C=0.5)

@ct.electron
def text():
    return "line of text\\n" * 20_000 + "needle\\n" + "line of text\\n" * 5

@ct.electron
@ct.lattice
def inner(depth, n=2):
    return frame(n)

@ct.electron
def fails(depth):
    print("before it failed")
    some_very_long_name_of_a_dictionary_of_values = {"the_only_key_that_is_in_this_dictionary_of_values": depth}
    return some_very_long_name_of_a_dictionary_of_values["another_key_that_is_not_in_this_dictionary_of_values"]

@ct.lattice
def values():
    array(); setup(); figure(); model(); text(); inner(3)
    return frame(1000)

@ct.lattice
def failing():
    return fails(3)

run = ct.dispatch(values)()
ct.get_result(run, wait=True)
run
"""
FAILING = "wrong = ct.dispatch(failing)()\nct.get_result(wrong, wait=True)\nwrong"


def choose(view: Locator, name: str) -> Locator:
    """Open the panel of a node with the keyboard, and return it."""
    nodes = view.get_by_role("listbox")
    nodes.focus()
    nodes.press("Home")
    for _ in range(40):
        if re.search(rf"\b{name}\b", view.get_by_role("option", selected=True).inner_text()):
            break
        nodes.press("ArrowDown")
    nodes.press("Enter")
    panel = view.locator(".cv-panel")
    expect(panel.locator(".cv-title")).to_contain_text(name)
    return panel


def test_values_are_shown_as_what_they_are(desk: Desk, lab: Lab) -> None:
    """A table with pages under the Result; in the panel a histogram, a tree, pictures, HTML, a text with search."""
    desk.open(lab.notebook("values.ipynb", CELL, FAILING))
    desk.run_all()
    view = desk.views().first
    expect(badge(view)).to_have_text("Completed", timeout=120_000)

    look_at_the_table(desk, view.locator(".cv-result"))
    look_at_the_panels(desk, view)
    wrong = desk.views().nth(1)
    look_at_a_failure(desk, wrong)

    count = desk.page.locator(".jp-Cell").count()
    view.locator(".cv-result").get_by_role("button", name="Insert as cell").click()
    expect(desk.page.locator(".jp-Cell")).to_have_count(count + 1)
    expect(desk.page.locator(".jp-Cell").nth(1)).to_contain_text("ct.get_result(")
    look_in_both_themes(desk, view, wrong)


def look_at_the_table(desk: Desk, result: Locator) -> None:
    """Sort, turn pages and download."""
    expect(result).to_contain_text("1\u201320 of 1,000 rows", timeout=60_000)
    expect(result).to_contain_text("pandas.DataFrame")
    expect(result.locator("tbody tr").first).to_contain_text("row 0")
    result.get_by_role("button", name="score").click()
    expect(result.locator("tbody tr").first).to_contain_text("row 999")
    expect(result.locator("th[aria-sort=ascending]")).to_contain_text("score")
    result.get_by_role("button", name="Rows after").click()
    expect(result).to_contain_text("21\u201340 of 1,000 rows")
    with desk.page.expect_download() as download:
        result.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "values.csv"
    assert download.value.path().read_text().splitlines()[1] == "0,0,0.9,row 0"


def look_at_the_panels(desk: Desk, view: Locator) -> None:
    """Open one node after the other with the keyboard."""
    panel = choose(view, "array")
    expect(panel.locator(".cv-preview")).to_contain_text("80 \u00d7 120", timeout=60_000)
    expect(panel.get_by_role("img", name="Histogram")).to_be_visible()
    expect(panel.locator(".cv-displayed img")).to_be_visible()
    assert panel.locator(".cv-body").evaluate("it => it === document.activeElement")
    desk.page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(view.get_by_role("listbox")).to_be_focused()

    tree = choose(view, "setup").locator(".cv-preview .cv-tree").first
    expect(tree).to_contain_text("depth")
    expect(tree).to_contain_text("Setup")
    expect(choose(view, "figure").locator(".cv-displayed img")).to_be_visible()
    expect(choose(view, "model").locator(".cv-displayed")).to_contain_text("LogisticRegression")
    desk.shoot("value-model")

    panel = choose(view, "text")
    box = panel.get_by_role("searchbox")
    box.fill("needle")
    box.press("Enter")
    expect(panel.locator("mark.cv-mod-current")).to_have_text("needle")
    expect(panel).to_contain_text("1 found")
    desk.shoot("value-text")

    panel = choose(view, "inner")
    expect(panel.locator(".cv-inputs .cv-argument")).to_have_text(["depth"])
    expect(panel.locator(".cv-inputs")).not_to_contain_text("json_parent_metadata")
    before = panel.bounding_box()
    edge = panel.get_by_role("separator")
    edge.press("ArrowLeft")
    edge.press("ArrowLeft")
    assert panel.bounding_box()["width"] >= before["width"] + 40  # type: ignore[index]


def look_at_a_failure(desk: Desk, view: Locator) -> None:
    """The error comes first, the machinery last and folded; the traceback needs no bar to scroll."""
    panel = choose(view, "fails")
    order = re.compile(r"^Failed.*KeyError.*before it failed.*Source.*Details", re.DOTALL)
    expect(panel.locator(".cv-body")).to_have_text(order)
    expect(panel.locator(".cv-machinery dl")).to_be_hidden()
    trace = panel.locator("pre", has_text="Traceback").first
    assert trace.evaluate("it => it.scrollWidth <= it.clientWidth + 1")


def look_in_both_themes(desk: Desk, view: Locator, wrong: Locator) -> None:
    """Save pictures to look at: wide and narrow, light and dark."""
    for theme in ("Light", "Dark"):
        desk.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name}).then(() => null)",
            f"JupyterLab {theme}",
        )
        for width in (1440, 900):
            desk.page.set_viewport_size({"width": width, "height": 1000})
            choose(view, "array")
            expect(view.get_by_role("img", name="Histogram")).to_be_visible()
            view.locator(".cv-panel").scroll_into_view_if_needed()
            desk.shoot(f"value-array-{theme}-{width}")
            wrong.scroll_into_view_if_needed()
            desk.shoot(f"value-failed-{theme}-{width}")
            view.locator(".cv-result").scroll_into_view_if_needed()
            desk.shoot(f"value-result-{theme}-{width}")
