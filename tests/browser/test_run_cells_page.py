"""Cells with `%%electron --run` in a real page: below each is what the plain cell would show."""

from __future__ import annotations

import json
import subprocess
import sys

from playwright.sync_api import expect
from tests.browser.lab import Desk, Lab
from tests.browser.test_cell_outputs_page import open_without_kernel, outputs_of

LOAD = "%load_ext covalab\nimport covalab as ct"
PLOT = """%%electron --run
import matplotlib.pyplot as plt
import pandas as pd
frame = pd.DataFrame({"depth": [1, 2, 3], "score": [0.91, 0.95, 0.93]})
plt.plot(frame.depth, frame.score)
plt.title("scores")
plt.show()
print("plotted")
frame"""
BAR = """%%electron --run
import sys, time
from tqdm import tqdm

for step in tqdm(range(20), desc="epochs"):
    time.sleep(0.05)
best = int(frame.score.idxmax())
best"""
LOOP = """%%electron --run
for line in range(30_000):
    print("line", line)"""
ERROR = """%%electron --run
numbers = [1, 2]
numbers[5]"""
USE = "best, len(frame), 'plain'"


def test_run_all_shows_what_the_plain_cells_would(desk: Desk, lab: Lab) -> None:
    """A figure, a table, a progress bar, a long loop and an error; a plain cell in between waits for two of them."""
    desk.open(lab.notebook("run_cells.ipynb", LOAD, PLOT, BAR, USE, LOOP, ERROR))
    desk.run_all()

    plot, bar, use, loop, error = (outputs_of(desk, cell) for cell in range(1, 6))
    expect(plot.locator("img")).to_have_count(1, timeout=120_000)
    expect(plot.locator("table.dataframe")).to_have_count(1)
    expect(plot).to_contain_text("plotted")
    expect(plot).to_contain_text("done in")
    expect(bar).to_contain_text("epochs: 100%", timeout=60_000)
    expect(bar).to_contain_text("20/20")
    expect(use).to_contain_text("(1, 3, 'plain')", timeout=60_000)
    expect(loop).to_contain_text("line 29999", timeout=60_000)
    expect(loop).to_contain_text("done in", timeout=60_000)
    expect(error).to_contain_text("IndexError: list index out of range", timeout=60_000)
    expect(error).to_contain_text("numbers[5]")
    expect(error).to_contain_text("failed after")
    desk.shoot("run_cells")


def test_all_outputs_are_there_without_a_kernel_and_in_an_export(desk: Desk, lab: Lab) -> None:
    """Saved, opened again with no kernel, and exported to HTML."""
    path = lab.notebook("saved_cells.ipynb", LOAD, PLOT, ERROR)
    desk.open(path)
    desk.run_all()
    expect(outputs_of(desk, 1)).to_contain_text("done in", timeout=120_000)
    expect(outputs_of(desk, 2)).to_contain_text("failed after", timeout=60_000)

    def all_is_saved() -> bool:
        desk.command("docmanager:save")  # without a wait until all is saved: an output may come just after it
        text = (lab.work / path).read_text()
        return "image/png;base64" in text and "failed after" in text

    # The page has the end from the server; the kernel's own last update, which is what is saved, comes a moment later.
    desk.until(all_is_saved, "the picture and the error are not saved with the notebook")
    lab.shut_kernels_down()
    open_without_kernel(desk, path)
    expect(outputs_of(desk, 1).locator("img")).to_have_count(1)
    expect(outputs_of(desk, 1).locator("table.dataframe")).to_have_count(1)
    expect(outputs_of(desk, 2)).to_contain_text("IndexError")

    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--stdout", str(lab.work / path)]
    exported = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for text in ("data:image/png;base64", 'class="dataframe"', "plotted", "IndexError"):
        assert text in exported, (text, json.dumps(exported)[-2000:])
