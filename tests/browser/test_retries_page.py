"""Tests of a task that is run again: its waiting time and its earlier attempts on the page."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from tests.browser.lab import Desk, Lab, badge

CELL = """
import sys
import covalab as ct

@ct.electron(retries=3, retry_delay=40, retry_jitter=0)
def fetch_rows(url):
    print("connecting to", url, file=sys.stderr)
    raise ConnectionError(f"no route to {url}")

@ct.lattice
def report(url):
    return fetch_rows(url)

run = ct.dispatch(report)("db.example")
run
"""


def test_a_task_that_waits_for_its_next_run_says_when_and_what_went_wrong(desk: Desk, lab: Lab) -> None:
    """It counts down in the list for screen readers and in the panel, which also shows the attempt that failed."""
    desk.open(lab.notebook("retries.ipynb", CELL))
    desk.run_all()
    view = desk.views().first
    entry = view.get_by_role("option").filter(has_text="fetch_rows")
    expect(entry).to_have_text(re.compile(r"fetch_rows, Pending, Runs again in \d+ s"))
    said = entry.inner_text()
    expect(entry).not_to_have_text(said)

    nodes = view.get_by_role("listbox")
    nodes.focus()
    while "fetch_rows" not in view.get_by_role("option", selected=True).inner_text():
        nodes.press("ArrowDown")
    nodes.press("Enter")
    panel = view.locator(".cv-panel")
    expect(panel).to_contain_text(re.compile(r"Pending · runs again in \d+ s"))
    expect(panel).to_contain_text("Retries left2 of 3")
    earlier = panel.locator(".cv-attempts")
    expect(earlier).to_contain_text("Attempt 1")
    expect(earlier).to_contain_text("The task raised an exception")
    expect(earlier).to_contain_text("ConnectionError: no route to db.example")
    printed = earlier.locator("pre")
    expect(printed).to_be_hidden()
    desk.shoot("retry-waiting")
    earlier.get_by_text("Errors and warnings").click()
    expect(printed).to_contain_text("connecting to db.example")
    desk.shoot("retry-waiting-unfolded")
    view.get_by_role("button", name="Cancel", exact=True).click()
    expect(badge(view)).to_have_text("Cancelled")
    expect(panel).to_contain_text("StatusCancelled")
    expect(printed).to_be_visible()
