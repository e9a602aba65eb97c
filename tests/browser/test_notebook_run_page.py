"""A whole notebook in the background, in a real page: every output in its own cell, live, and there again later."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Locator, expect
from tests.browser.axe import violations
from tests.browser.lab import Desk, Lab
from tests.browser.test_cell_outputs_page import change_theme, outputs_of

WAIT = """import pathlib, time
for _ in range(6000):
    if pathlib.Path("{flag}").exists():
        break
    time.sleep(0.05)
"""  # with an end, so that a test that fails leaves no busy worker
FIRST = "print('first')\nrows = [1, 2, 3]"
PLOT = """import matplotlib.pyplot as plt
import pandas as pd

frame = pd.DataFrame({"depth": rows, "score": [0.91, 0.95, 0.93]})
plt.plot(frame.depth, frame.score)
plt.show()
frame"""
SLOW = 'print("began", flush=True)\n' + WAIT + "best = int(frame.score.idxmax())\nbest"
ERROR = "numbers = [1, 2]\nnumbers[5]"


def open_without_kernel(desk: Desk, path: str) -> None:
    """Open a notebook with no kernel, in a page that has no other."""
    desk.open()
    desk.page.evaluate(
        """path => { void window.jupyterapp.commands.execute('docmanager:open', {
            path, kernelPreference: { shouldStart: false, canStart: true, autoStartDefault: false } }); }""",
        path,
    )
    # Before it is read, a notebook has one empty cell.
    desk.page.wait_for_function("() => window.jupyterapp.shell.currentWidget?.context?.isReady === true")
    cell(desk, 0).wait_for()


def prompt_of(desk: Desk, code_cell: int) -> Locator:
    """Return the prompt of a code cell."""
    return desk.page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(code_cell).locator(".jp-InputPrompt")


def cell(desk: Desk, code_cell: int) -> Locator:
    """Return a code cell."""
    return desk.page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(code_cell)


def bar(desk: Desk) -> Locator:
    """Return the line about the run of the notebook."""
    return desk.page.locator(".jp-NotebookPanel:visible .jp-covalab-RunBar")


def press(desk: Desk) -> None:
    """Press the button of the notebook's toolbar."""
    desk.page.locator('.jp-NotebookPanel:visible .jp-Toolbar [data-jp-item-name="covalab-run"] jp-button').click()


def saved(lab: Lab, path: str) -> Any:
    """Return a notebook as it is on the disk."""
    return json.loads((lab.work / path).read_text())


def set_source(desk: Desk, code_cell: int, text: str) -> None:
    """Change the text of a code cell, as an editor does."""
    desk.page.evaluate(
        """([at, text]) => {
            const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
            cells.filter(({ type }) => type === 'code')[at].sharedModel.setSource(text);
        }""",
        [code_cell, text],
    )


def test_outputs_appear_in_place_and_are_there_in_another_browser(
    desk: Desk, lab: Lab, browser: Browser, tmp_path: Path
) -> None:
    """Live with no kernel; the page is closed while it runs, and another one shows what came meanwhile and the rest."""
    flag = tmp_path / "go"
    path = lab.notebook("whole.ipynb", FIRST, PLOT, SLOW.format(flag=flag), ERROR, "print(numbers, 'never')")
    open_without_kernel(desk, path)
    set_source(desk, 0, FIRST + "\nprint('unsaved text')")
    press(desk)

    expect(bar(desk)).to_contain_text("in the background", timeout=120_000)
    expect(outputs_of(desk, 0)).to_contain_text("unsaved text", timeout=120_000)
    expect(prompt_of(desk, 0)).to_have_text("[1]:")
    expect(outputs_of(desk, 1).locator("img")).to_have_count(1, timeout=120_000)
    expect(outputs_of(desk, 1).locator("table.dataframe")).to_have_count(1)
    expect(outputs_of(desk, 2)).to_contain_text("began")
    expect(prompt_of(desk, 2)).to_have_text("[*]:")
    expect(bar(desk)).to_contain_text("2 of 5 cells done")
    assert "jp-covalab-mod-pending" in (cell(desk, 3).get_attribute("class") or "")
    assert lab.ask("api/kernels") == []
    cell(desk, 4).scroll_into_view_if_needed()
    desk.shoot("notebook_run_live")
    change_theme(desk, "Dark")
    desk.shoot("notebook_run_live_dark")
    change_theme(desk, "Light")
    run = saved(lab, path)["metadata"]["covalab"]["run"]
    desk.page.goto("about:blank")

    flag.touch()
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    other = Desk(context.new_page(), lab)
    open_without_kernel(other, path)
    expect(outputs_of(other, 0)).to_contain_text("unsaved text")
    expect(outputs_of(other, 1).locator("img")).to_have_count(1)
    expect(outputs_of(other, 2)).to_contain_text("began")
    expect(outputs_of(other, 2)).to_contain_text("1")
    expect(outputs_of(other, 3)).to_contain_text("IndexError: list index out of range")
    expect(bar(other)).to_contain_text("3 of 5 cells done, [4] IndexError: list index out of range")
    assert [prompt_of(other, at).inner_text() for at in range(5)] == ["[1]:", "[2]:", "[3]:", "[4]:", "[ ]:"]
    other.shoot("notebook_run_reopened")
    other.save()
    book = nbformat.from_dict(saved(lab, path))
    nbformat.validate(book)
    assert book.metadata.covalab == {"run": run, "filled": True}
    assert book.cells[2].outputs[-1].execution_count == 3
    assert lab.ask("api/kernels") == []
    context.close()


def test_a_cell_that_was_changed_meanwhile_is_left_alone(desk: Desk, lab: Lab, tmp_path: Path) -> None:
    """From the selected cell on, one is edited while it waits; then values, the executed notebook, a refusal."""
    flag = tmp_path / "go"
    cells = [
        "raise RuntimeError('not selected')",
        "x = 20\nx + 1",
        WAIT.format(flag=flag) + "y = x * 2",
        "print('old text', y)",
    ]
    path = lab.notebook("edited.ipynb", *cells)
    open_without_kernel(desk, path)
    desk.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1; }")
    desk.command("covalab:run-selected-and-following")
    expect(outputs_of(desk, 1)).to_contain_text("21", timeout=120_000)
    expect(prompt_of(desk, 2)).to_have_text("[*]:")

    note = cell(desk, 3).locator(".jp-covalab-Note")
    set_source(desk, 3, "print('new text', y)")
    expect(note).to_contain_text("The run has an older text of this cell.")
    expect(note.locator("button")).to_be_hidden()
    flag.touch()
    expect(bar(desk)).to_contain_text("Ran in the background: 3 cells", timeout=120_000)
    expect(bar(desk)).to_contain_text("1 cell changed since")
    expect(note).to_contain_text("The run's output is of an older text of this cell.")
    assert outputs_of(desk, 3).inner_text().strip() == ""
    assert [prompt_of(desk, at).inner_text() for at in range(4)] == ["[ ]:", "[1]:", "[2]:", "[ ]:"]
    desk.shoot("notebook_run_stale")
    note.locator("button").click()
    expect(outputs_of(desk, 3)).to_contain_text("old text 40")
    expect(note).to_contain_text("This output is of an older text of the cell.")
    expect(prompt_of(desk, 3)).to_have_text("[3]:")

    bar(desk).get_by_text("Bring Values Here").click()
    desk.page.locator(".jp-Dialog .jp-mod-accept").click()  # which kernel: the notebook was opened without
    expect(desk.page.locator(".Toastify__toast")).to_contain_text(
        "loaded when a cell first reads them", timeout=120_000
    )
    set_source(desk, 0, "x + y + 300")
    desk.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
    desk.command("notebook:run-cell")
    expect(outputs_of(desk, 0)).to_contain_text("360")

    set_source(desk, 0, "import no_such_package_here")
    press(desk)
    dialog = desk.page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("no_such_package_here", timeout=120_000)
    desk.shoot("notebook_run_refused")
    dialog.locator("button").click()
    expect(bar(desk)).to_contain_text("Ran in the background: 3 cells")

    desk.command("covalab:show-dispatches")
    desk.page.locator(".jp-covalab-Row", has_text="edited").first.click(button="right")
    desk.page.locator(".lm-Menu-item", has_text="Open Executed Notebook").click()
    desk.page.locator(".lm-TabBar-tab", has_text="edited-executed.ipynb").wait_for()
    expect(outputs_of(desk, 3)).to_contain_text("old text 40")
    desk.shoot("notebook_run_executed")
    assert saved(lab, "edited-executed.ipynb")["metadata"]["covalab"]["status"] == "completed"


def test_a_run_that_failed_goes_on_when_its_cell_is_mended(desk: Desk, lab: Lab) -> None:
    """What was done is kept and marked so, with the reason; the rest runs, with the text that the editor has."""
    path = lab.notebook(
        "mended.ipynb",
        "with open('mended.txt', 'a') as file:\n    file.write('ran')\nprint('done once')\nn = 2",
        "half = n / zero",
        "print('half is', half)",
    )
    open_without_kernel(desk, path)
    press(desk)
    expect(bar(desk)).to_contain_text("Failed in the background: 1 of 3 cells done", timeout=120_000)
    failed = saved(lab, path)["metadata"]["covalab"]["run"]

    note = cell(desk, 2).locator(".jp-covalab-Note")
    expect(note).to_contain_text("Not run: follows from cell 2, which failed: it uses `half`")
    set_source(desk, 1, "half = n / 4")
    desk.shoot("notebook_run_failed")
    bar(desk).get_by_text("Resume").click()

    expect(bar(desk)).to_contain_text("Ran in the background: 3 cells", timeout=120_000)
    expect(bar(desk)).to_contain_text("1 reused")
    expect(bar(desk).get_by_text("Resume")).to_be_hidden()
    expect(outputs_of(desk, 0)).to_contain_text("done once")
    expect(outputs_of(desk, 2)).to_contain_text("half is 0.5")
    assert [prompt_of(desk, at).inner_text() for at in range(3)] == ["[1]:", "[2]:", "[3]:"]
    why = cell(desk, 0).locator(".jp-covalab-Why")
    expect(why).to_have_text("reused")
    expect(why).to_have_attribute("title", "reused: the run before it had completed it")
    expect(cell(desk, 1).locator(".jp-covalab-Why")).to_have_text("ran")
    expect(note).to_have_count(0)
    desk.shoot("notebook_run_resumed")
    change_theme(desk, "Dark")
    desk.shoot("notebook_run_resumed_dark")
    change_theme(desk, "Light")
    assert (lab.work / "mended.txt").read_text() == "ran"
    run = saved(lab, path)["metadata"]["covalab"]["run"]
    assert lab.ask(f"covalab/api/dispatches/{run}/notebook")["resumed"] == failed
    show_dispatch(desk)

    press(desk)  # what writes a file runs each time
    expect(bar(desk)).to_contain_text("2 reused", timeout=120_000)
    expect(outputs_of(desk, 2)).to_contain_text("half is 0.5")
    desk.command("covalab:toggle-cells-side-by-side")
    desk.until(lambda: "cellsSideBySide" in lab.ask("lab/api/settings/covalab:plugin")["raw"], "it is not kept")
    with desk.page.expect_request("**/covalab/api/notebooks*") as sent:
        desk.command("covalab:run-notebook-afresh")
    asked = json.loads(sent.value.post_data or "{}")
    assert asked["options"] == {"reuse": False, "parallel": False}
    desk.command("covalab:toggle-cells-side-by-side")
    expect(bar(desk)).to_contain_text("Ran in the background: 3 cells", timeout=120_000)
    expect(bar(desk)).not_to_contain_text("reused")
    expect(desk.page.locator(".jp-NotebookPanel:visible .jp-covalab-Why")).to_have_count(0)
    expect(outputs_of(desk, 2)).to_contain_text("half is 0.5")
    assert (lab.work / "mended.txt").read_text() == "ran" * 3


def show_dispatch(desk: Desk) -> None:
    """Look at the run in a tab: cells have their numbers, and why each ran or was reused is beside it."""
    bar(desk).get_by_text("Show Dispatch").click()
    tab = desk.page.locator(".jp-covalab-Tab:visible")
    result = tab.locator(".cv-facts")
    expect(result.locator("dt").first).to_have_text("Names")
    expect(result).to_contain_text("half")
    assert "names after" not in tab.inner_text()
    assert "CellRecord" not in tab.inner_text()
    tab.get_by_role("button", name="Tasks", exact=True).click()
    table = tab.get_by_role("grid", name="Tasks")
    expect(table.get_by_role("columnheader", name="Why")).to_be_visible()
    rows = table.locator(".cv-tableBody > [role='row']")
    expect(rows.nth(0)).to_have_text(re.compile(r"\[1\].*Reused.*the run before it had completed it"))
    expect(rows.nth(1)).to_contain_text("[2] make_half")
    expect(rows.nth(2)).to_have_text(re.compile(r"\[3\]\s*Completed.*\S$"))
    desk.shoot("notebook_run_tasks")
    assert violations(tab) == []
    desk.page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
