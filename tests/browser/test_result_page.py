"""Result of a dispatch in a real page: below the graph are the outputs of its nodes."""

from __future__ import annotations

import json
import subprocess
import sys

from playwright.sync_api import expect
from tests.browser.lab import Desk, Lab, badge
from tests.browser.test_cell_outputs_page import open_without_kernel, outputs_of

LOAD = "%load_ext covalab\nimport covalab as ct"
FRAME = """%%electron
import matplotlib.pyplot as plt
import pandas as pd
frame = pd.DataFrame({"depth": [1, 2, 3], "score": [0.91, 0.95, 0.93]})
frame"""
PLOT = """%%electron
from IPython.display import HTML
plt.plot(frame.depth, frame.score)
plt.show()
print("plotted")
HTML("<div></div><script>document.currentScript.previousElementSibling.textContent = 'drawn by a script'</script>")"""
ONE = """import matplotlib.pyplot as plt

@ct.electron
def alone():
    plt.plot([1, 3, 2])

ct.get_result(ct.dispatch(ct.lattice(alone))(), wait=True)"""
WIRE = "%lattice study"
SHOW = "run = %dispatch study()\n%result run --wait"


def test_a_result_shows_figures_and_tables(desk: Desk, lab: Lab) -> None:
    """Of one node and of cells that share a session; saved, and from elsewhere without its scripts; exported."""
    path = lab.notebook("result.ipynb", LOAD, ONE, FRAME, PLOT, WIRE, SHOW)
    desk.open(path)
    desk.run_all()

    one, session = outputs_of(desk, 1), outputs_of(desk, 5)
    expect(one.locator(".cv-displays .jp-RenderedImage img")).to_have_count(1, timeout=120_000)
    expect(one.locator(".cv-displays summary")).to_have_count(0)
    expect(session.locator(".cv-displays summary")).to_have_count(2, timeout=120_000)
    expect(session.locator("table.dataframe")).to_be_visible()
    expect(session.locator(".jp-RenderedImage img")).to_be_visible()
    expect(session).to_contain_text("plotted")
    expect(session).to_contain_text("drawn by a script")
    expect(badge(session)).to_have_text("Completed")
    session.locator(".cv-displays summary").first.click()
    expect(session.locator("table.dataframe")).to_be_hidden()
    session.locator(".cv-displays summary").first.click()
    session.locator(".cv-displays").scroll_into_view_if_needed()
    desk.shoot("result")
    desk.save()

    book = json.loads((lab.work / path).read_text())
    for cell in book["cells"]:
        cell["source"] = ["# another file\n", *cell["source"]]
    (lab.work / "foreign_result.ipynb").write_text(json.dumps(book))
    lab.shut_kernels_down()
    open_without_kernel(desk, "foreign_result.ipynb")
    expect(outputs_of(desk, 5).locator("table.dataframe")).to_be_visible()
    expect(outputs_of(desk, 5).locator(".jp-RenderedImage img")).to_be_visible()
    expect(outputs_of(desk, 5)).not_to_contain_text("drawn by a script")

    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--stdout", str(lab.work / path)]
    exported = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for text in ("data:image/png;base64", 'class="dataframe"', "plotted"):
        assert text in exported, text
