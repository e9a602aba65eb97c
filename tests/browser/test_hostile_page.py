"""Hostile texts in a real page: as values, outputs, errors, names and inputs; live, saved, exported; nothing runs."""

from __future__ import annotations

import json
import subprocess
import sys

from playwright.sync_api import expect
from tests.browser.lab import Desk, Lab, badge
from tests.browser.test_cell_outputs_page import open_without_kernel
from tests.browser.test_values_page import choose
from tests.hostile import OTHER_KINDS, PAYLOADS

CELL = f"""
import pandas as pd
import covalab as ct

PAYLOADS = {PAYLOADS!r}
TEXTS = [*PAYLOADS, *{OTHER_KINDS!r}]

class Shows:
    def _repr_html_(self):
        return "<b>shown</b>" + "".join(PAYLOADS)

@ct.electron
def tree(given):
    print("".join(TEXTS))
    return {{"key": TEXTS, **{{text: text for text in TEXTS}}}}

@ct.electron
def frame(given):
    return pd.DataFrame({{text: TEXTS for text in TEXTS[:20]}}, index=TEXTS)

@ct.electron
def long_text(given):
    return "\\n".join(TEXTS)

@ct.electron
def fails(given):
    raise ValueError("\\n".join(TEXTS))

@ct.electron
def shows():
    return Shows()

@ct.lattice
def hostile(given):
    tree(given); long_text(given); fails(PAYLOADS[1])
    return frame(given)

@ct.lattice
def own_html():
    return shows()
"""
SHOW = "run = ct.dispatch(hostile)(PAYLOADS[0])\nct.get_result(run, wait=True)\nrun"
HTML = "own = ct.dispatch(own_html)()\nct.get_result(own, wait=True)\nown"
HIT = """() => globalThis.__hit === undefined && document.querySelector(
    'iframe, base, object, embed, [srcdoc], [http-equiv=refresh], [action*=__hit], [formaction], [id=__hit]'
) === null"""


def test_nothing_runs_that_is_only_text(desk: Desk, lab: Lab) -> None:
    """In the view, each panel and preview, in a file from elsewhere, and in its export."""
    path = lab.notebook("hostile.ipynb", CELL, SHOW)
    desk.open(path)
    desk.run_all()
    view = desk.views().first
    expect(badge(view)).to_have_text("Failed", timeout=120_000)
    for name, seen in (
        ("tree", "key"),
        ("frame", f"of {len(PAYLOADS) + len(OTHER_KINDS)} rows"),
        ("long_text", "__hit"),
    ):
        expect(choose(view, name).locator(".cv-preview")).to_contain_text(seen)
    expect(choose(view, "fails").locator(".cv-failure")).to_contain_text("__hit")
    desk.shoot("hostile")
    assert desk.page.evaluate(HIT)
    desk.save()

    book = json.loads((lab.work / path).read_text())
    assert str(lab.work) not in json.dumps(book["cells"][1]["outputs"])
    book["cells"][1]["source"] = ["# another file\n", *book["cells"][1]["source"]]
    (lab.work / "foreign.ipynb").write_text(json.dumps(book))
    lab.shut_kernels_down()
    open_without_kernel(desk, "foreign.ipynb")
    expect(badge(desk.views().first)).to_have_text("Failed")
    assert desk.page.evaluate(HIT)

    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output", "export.html", str(lab.work / path)]
    subprocess.run(command, capture_output=True, check=True)
    exported = (lab.work / "export.html").read_text()
    assert "Failed" in exported
    desk.page.goto((lab.work / "export.html").as_uri(), wait_until="domcontentloaded")
    assert desk.page.evaluate("() => globalThis.__hit === undefined")


def test_html_of_a_value_runs_only_where_a_notebook_would_run_it(desk: Desk, lab: Lab) -> None:
    """In a file from elsewhere it is cleaned, as the output of a cell is."""
    path = lab.notebook("html.ipynb", CELL, HTML)
    desk.open(path)
    desk.run_all()
    expect(badge(desk.views().first)).to_have_text("Completed", timeout=120_000)
    desk.save()
    book = json.loads((lab.work / path).read_text())
    book["cells"][1]["source"] = ["# another file\n", *book["cells"][1]["source"]]
    (lab.work / "foreign_html.ipynb").write_text(json.dumps(book))
    lab.shut_kernels_down()
    open_without_kernel(desk, "foreign_html.ipynb")
    desk.views().first.locator(".cv-result").scroll_into_view_if_needed()  # values that nobody looks at are not opened
    shown = desk.views().first.locator(".cv-result .cv-displayed")
    expect(shown).to_contain_text("shown")
    assert desk.page.evaluate("() => globalThis.__hit === undefined")
