"""Tests of the output of a cell that runs in the background, with bundles that a cell displays itself."""

from __future__ import annotations

import json
import subprocess
import sys

import nbformat
from playwright.sync_api import Locator, expect
from tests.browser.lab import Desk, Lab, badge

MAKE = """
import base64, struct, zlib, time
import covalab as ct
from IPython.display import display
from covalab.view.cell_view import CellView, cell_bundle

def square(colour, size=160):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\\0" + bytes(colour) * size) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    png = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()

def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}

def shown(**data):
    kinds = {name.replace("_", "/"): part for name, part in data.items()}
    return {"output_type": "display_data", "data": kinds, "metadata": {}}

HEAD = "<tr><th></th><th>depth</th><th>score</th></tr>"
ROWS = "".join(f"<tr><th>{at}</th><td>{at + 1}</td><td>0.9{at}</td></tr>" for at in range(4))
TABLE = f"<table border='1' class='dataframe'><thead>{HEAD}</thead><tbody>{ROWS}</tbody></table>"

ERROR = {
    "output_type": "error", "ename": "ValueError", "evalue": "no such depth",
    "traceback": [
        "\\x1b[31m---------\\x1b[39m",
        "\\x1b[31mValueError\\x1b[39m  Traceback (most recent call last)",
        "Cell \\x1b[32mIn[2], line 1\\x1b[39m\\n\\x1b[32m----> 1\\x1b[39m fit(depth)",
        "\\x1b[31mValueError\\x1b[39m: no such depth",
    ],
}

def cell(outputs, number=1, state="done", is_final=True, id="not-known-here", **fields):
    now = time.time()
    given = dict(started_at=now - 3.2, ended_at=now if is_final else None, seen_at=now, node=0, name="fit")
    given.update(state=state, outputs=outputs, number=number, is_final=is_final, id=id, **fields)
    return cell_bundle(CellView(**given))
"""

ALL = """
SCRIPT = \"\"\"<div></div>
<script>document.currentScript.previousElementSibling.textContent = 'drawn by a script'</script>\"\"\"
OUTPUTS = [
    stream("fitting \\x1b[32mmodel\\x1b[0m <b>no tag</b>\\n"),
    stream("careful: few rows\\n", "stderr"),
    shown(image_png=square((70, 130, 180)), text_plain="<Figure size 640x480 with 1 Axes>"),
    shown(text_html=TABLE, text_plain="   depth  score"),
    shown(text_latex=r"$\\displaystyle x^2 + y$", text_plain="x**2 + y"),
    shown(text_markdown="**bold** and `code`", text_plain="<Markdown>"),
    shown(text_html=SCRIPT, text_plain="script"),
    {"output_type": "execute_result", "data": {"text/plain": "{'depth': 3}"}, "metadata": {}, "execution_count": 1},
]
display(cell(OUTPUTS, message="set `x`, `model`"), raw=True)
"""

PLAIN = """
import sys
print("fitting \\x1b[32mmodel\\x1b[0m <b>no tag</b>", flush=True)
print("careful: few rows", file=sys.stderr, flush=True)
for it in OUTPUTS[2:7]:
    display(it["data"], raw=True)
{'depth': 3}
"""

DISPATCH = """
@ct.electron
def fit():
    print("began", flush=True)
    time.sleep(60)

@ct.lattice
def alone():
    return fit()

run = ct.dispatch(alone)()
display(cell([stream("began\\n")], id=str(run), state="waiting", is_final=False, started_at=None), raw=True);
"""


LIVE = """
@ct.electron
def fit():
    import sys
    from IPython.display import HTML, display
    display(HTML("<table class='dataframe'><tr><td>0.93</td></tr></table>"))
    for at in range(40):
        print(f"\\repoch {at + 1}/40", end="", file=sys.stderr, flush=True)
        time.sleep(SECONDS / 40)
    print("best: 3")

@ct.lattice
def alone():
    return fit()

run = ct.dispatch(alone)()
display(cell_bundle(CellView(id=str(run), node=0, name="fit", state="waiting")), raw=True);
"""


def outputs_of(desk: Desk, code_cell: int) -> Locator:
    """Return the output area of a code cell."""
    return desk.page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(code_cell).locator(".jp-Cell-outputArea")


def cells(desk: Desk) -> Locator:
    """Return the outputs of cells that run in the background."""
    return desk.page.locator(".jp-NotebookPanel:visible .jp-covalab-Cell")


def line(desk: Desk, at: int = 0) -> Locator:
    """Return the line about the state of one of them."""
    return cells(desk).nth(at).locator(".cv-cellText")


def change_theme(desk: Desk, theme: str) -> None:
    """Choose a theme and wait until it is there."""
    desk.page.evaluate(
        "theme => { void window.jupyterapp.commands.execute('apputils:change-theme', { theme }); }",
        f"JupyterLab {theme}",
    )
    desk.page.wait_for_timeout(1500)


def open_without_kernel(desk: Desk, name: str) -> None:
    """Open a notebook with no kernel."""
    desk.page.goto("about:blank")
    desk.open()
    desk.page.evaluate(
        """path => { void window.jupyterapp.commands.execute('docmanager:open', {
            path, kernel: null, kernelPreference: { shouldStart: false, canStart: false }
        }); }""",
        name,
    )
    desk.page.locator(".jp-NotebookPanel:visible").locator(".jp-covalab-Cell, .jp-covalab-Dispatch").first.wait_for()


def test_outputs_are_those_of_a_plain_cell(desk: Desk, lab: Lab) -> None:
    """Text, colours, a figure, a table, formulas and scripts look as below a plain cell; then one line."""
    desk.open(lab.notebook("all.ipynb", MAKE, ALL, PLAIN))
    desk.run_all()
    expect(line(desk)).to_have_text("done in 3.2 s, set x, model")
    plain, ours = outputs_of(desk, 2), cells(desk).first
    expect(plain).to_contain_text("{'depth': 3}")
    expect(ours).to_contain_text("drawn by a script")
    kinds = "all => all.map(it => [it.dataset.mimeType, it.innerText.trim()])"
    inner = ".jp-OutputArea-output[data-mime-type]"
    # The formula is typeset a moment later.
    expect(ours.locator("mjx-container, .MathJax").first).to_be_visible()
    expect(plain.locator("mjx-container, .MathJax").first).to_be_visible()
    assert ours.locator(inner).evaluate_all(kinds) == plain.locator(inner).evaluate_all(kinds)
    assert ours.locator("img").bounding_box()["width"] == plain.locator("img").bounding_box()["width"]  # type: ignore[index]
    ours.scroll_into_view_if_needed()
    desk.shoot("cell-all")
    change_theme(desk, "Dark")
    desk.shoot("cell-all-dark")
    change_theme(desk, "Light")


def test_updates_of_the_kernel_replace_what_changed(desk: Desk, lab: Lab) -> None:
    """Nothing is shown twice, what did not change stays the same element, and a progress bar stays one line."""
    begin = """
    bar = "".join(f"\\r{at}%" for at in range(50))
    figure = shown(image_png=square((70, 130, 180)))
    outputs = [stream("load\\n"), figure, stream(bar, "stderr")]
    handle = display(cell(outputs, state="running", is_final=False), raw=True, display_id=True)
    """
    go_on = """
    outputs = [stream("load\\n"), figure, stream(bar + "\\r99%", "stderr"), stream("next\\n")]
    handle.update(cell(outputs, 2, "running", False), raw=True)
    """
    cleared = 'handle.update(cell([stream("only this\\n")], 3, "running", False), raw=True)'
    end = 'handle.update(cell([stream("only this\\n"), ERROR], 4, "failed"), raw=True)'
    desk.open(lab.notebook("grows.ipynb", MAKE, *map(_dedent, (begin, go_on, cleared, end))))
    desk.wait_for_kernel()
    for _ in range(2):
        desk.command("notebook:run-cell-and-select-next")
    ours = cells(desk)
    expect(ours).to_contain_text("49%")
    expect(line(desk)).to_contain_text("running ")
    ours.locator("img").evaluate("it => { it.seenBefore = true; }")
    desk.command("notebook:run-cell-and-select-next")
    expect(ours).to_contain_text("next")
    texts = ours.locator(".jp-OutputArea-output").all_inner_texts()
    assert [text.strip() for text in texts] == ["load", "", "99%", "next"]
    assert ours.locator("img").evaluate("it => it.seenBefore") is True
    desk.command("notebook:run-cell-and-select-next")
    expect(ours.locator(".jp-OutputArea-output")).to_have_text(["only this"])
    desk.command("notebook:run-cell-and-select-next")
    expect(line(desk)).to_have_text("failed after 3.2 s: ValueError: no such depth")
    expect(ours).to_contain_text("Traceback (most recent call last)")
    assert ours.get_by_role("button", name="Stop").count() == 0
    desk.shoot("cell-failed")


def test_it_stops_and_follows_the_server_while_the_kernel_is_busy(desk: Desk, lab: Lab) -> None:
    """State and stop button come from the server; the kernel, which holds the interpreter's lock, is not asked."""
    desk.open(lab.notebook("stops.ipynb", MAKE + DISPATCH, "sum(range(1_500_000_000))"))
    desk.run_all()
    expect(line(desk)).to_contain_text("running ")
    desk.shoot("cell-running")
    assert desk.is_executing(1)
    cells(desk).get_by_role("button", name="Stop").click()
    expect(line(desk)).to_contain_text("cancelled after ")
    assert desk.is_executing(1)
    assert cells(desk).get_by_role("button", name="Stop").count() == 0
    expect(cells(desk)).to_contain_text("began")
    desk.shoot("cell-cancelled")


def test_outputs_arrive_while_the_kernel_is_busy(desk: Desk, lab: Lab) -> None:
    """The page reads the outputs from the server: in order, each once, and what did not change is not drawn again."""
    desk.open(lab.notebook("live.ipynb", MAKE + LIVE.replace("SECONDS", "8"), "sum(range(1_500_000_000))"))
    desk.run_all()
    ours = cells(desk)
    expect(ours).to_contain_text("epoch ")
    assert desk.is_executing(1)
    desk.shoot("cell-live")
    ours.locator("table").evaluate("it => { it.seenBefore = true; }")
    expect(line(desk)).to_contain_text("done in ")
    expect(ours.locator(".jp-OutputArea-output")).to_have_text(["0.93", "epoch 40/40", "best: 3"])
    assert ours.locator("table").evaluate("it => it.seenBefore") is True


def test_the_page_completes_a_notebook_whose_kernel_is_gone(desk: Desk, lab: Lab) -> None:
    """Saved while the cell ran, opened later with no kernel: all is shown, and saving it again saves all."""
    name = lab.notebook("gone.ipynb", MAKE + LIVE.replace("SECONDS", "6"))
    desk.open(name)
    desk.run_all()
    expect(cells(desk)).to_contain_text("epoch ")
    desk.save()
    assert "best: 3" not in (lab.work / name).read_text().partition('"outputs"')[2].partition('"source"')[0]
    lab.shut_kernels_down()

    open_without_kernel(desk, name)
    expect(line(desk)).to_contain_text("done in ")
    expect(cells(desk)).to_contain_text("best: 3")
    line(desk).click()  # so that the notebook is the page's current widget
    # The page gives a kernel a moment to do this.
    desk.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.context.model.dirty")
    desk.save()
    (output,) = nbformat.read(lab.work / name, 4).cells[0].outputs
    assert output.data["application/vnd.covalab.cell+json"]["state"] == "done"
    assert "best: 3" in output.data["text/html"]
    assert "0.93" in output.data["text/html"]
    expect(cells(desk).locator(".jp-OutputArea-output")).to_have_text(["0.93", "epoch 40/40", "best: 3"])


def test_the_panel_of_a_node_shows_its_outputs(desk: Desk, lab: Lab) -> None:
    """A click on a node shows tables and text in order, while it runs and afterwards."""
    desk.open(lab.notebook("panel.ipynb", MAKE + LIVE.replace("SECONDS", "6") + "run"))
    desk.run_all()
    view = desk.views().first
    expect(badge(view)).to_have_text("Running")
    # One node is no graph: it is a line, which opens the panel.
    view.get_by_role("listbox").get_by_role("option").first.click()
    outputs = view.locator(".cv-outputs .jp-OutputArea-output")
    expect(outputs.nth(1)).to_contain_text("epoch ")
    expect(badge(view)).to_have_text("Completed")
    expect(outputs).to_have_text(["0.93", "epoch 40/40", "best: 3"])
    assert view.get_by_text("Printed").count() == 0
    sizes = "all => [...new Set(all.map(it => getComputedStyle(it).fontSize))]"
    assert len(view.locator(".cv-panel h4").evaluate_all(sizes)) == 1
    small = view.locator(".cv-counts").evaluate("it => getComputedStyle(it).fontSize")
    assert line(desk).evaluate("it => getComputedStyle(it).fontSize") == small
    desk.shoot("node-panel")


def test_a_saved_notebook_shows_all_without_kernel_and_exported(desk: Desk, lab: Lab) -> None:
    """A saved notebook has the outputs: with no kernel, with a server that does not know them, and as HTML."""
    unfinished = (
        'display(cell([stream("so far\\n")], state="running", is_final=False, seen_at=time.time() - 3600), raw=True)'
    )
    name = lab.notebook("saved.ipynb", MAKE, ALL + "display(cell([ERROR], state='failed'), raw=True)", unfinished)
    desk.open(name)
    desk.run_all()
    expect(line(desk, 2)).to_contain_text("running ")
    desk.save()
    lab.shut_kernels_down()

    open_without_kernel(desk, name)
    assert lab.ask("api/kernels") == []
    ours = cells(desk).first
    expect(ours).to_contain_text("drawn by a script")  # this user ran it here, so it is trusted
    expect(ours.locator("img")).to_be_visible()
    expect(ours.locator("table.dataframe")).to_be_visible()
    expect(line(desk, 1)).to_have_text("failed after 3.2 s: ValueError: no such depth")
    expect(line(desk, 2)).to_contain_text("as of ")

    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level=WARN", str(lab.work / name)]
    subprocess.run(command, check=True, timeout=120)
    desk.page.goto((lab.work / "saved.html").as_uri())
    exported = desk.page.locator(".jp-OutputArea").nth(0)
    for text in (
        "fitting model <b>no tag</b>",
        "careful: few rows",
        "depth",
        "drawn by a script",
        "done in 3.2 s",
        "{'depth': 3}",
    ):
        expect(exported).to_contain_text(text)
    expect(exported.locator("img")).to_be_visible()
    expect(desk.page.locator("body")).to_contain_text("ValueError: no such depth")
    expect(desk.page.locator("body")).to_contain_text("as of ")
    desk.page.get_by_text("done in 3.2 s").first.scroll_into_view_if_needed()
    desk.shoot("cell-exported")


def test_an_untrusted_notebook_runs_no_script(desk: Desk, lab: Lab) -> None:
    """Outputs keep to the notebook's trust: the same file from elsewhere shows the table, and no script runs."""
    name = lab.notebook("mine.ipynb", MAKE, ALL)
    desk.open(name)
    desk.run_all()
    expect(cells(desk)).to_contain_text("drawn by a script")
    desk.save()
    book = json.loads((lab.work / name).read_text())
    book["cells"][1]["source"] = "# another file\n" + "".join(book["cells"][1]["source"])
    (lab.work / "foreign.ipynb").write_text(json.dumps(book))

    desk.open("foreign.ipynb")
    ours = cells(desk)
    expect(ours.locator("table.dataframe")).to_be_visible()
    expect(ours.locator("img")).to_be_visible()
    expect(line(desk)).to_have_text("done in 3.2 s, set x, model")
    desk.page.wait_for_timeout(500)
    assert "drawn by a script" not in ours.inner_text()


def test_a_long_print_loop(desk: Desk, lab: Lab) -> None:
    """A hundred thousand lines are shown, and the page still answers."""
    code = (
        'display(cell([stream("".join(f"epoch {at}: loss {1 / (at + 1):.6f}\\n" for at in range(100_000)))]), raw=True)'
    )
    desk.open(lab.notebook("long.ipynb", MAKE, code, "'below'"))
    desk.run_all()
    expect(line(desk)).to_have_text("done in 3.2 s")
    expect(outputs_of(desk, 2)).to_contain_text("below")
    expect(cells(desk)).to_contain_text("epoch 99999: loss 0.000010")


def _dedent(text: str) -> str:
    return "\n".join(each.strip() for each in text.strip().splitlines())


def test_a_malformed_output_says_so(desk: Desk, lab: Lab) -> None:
    """Any program may have written the notebook."""
    kind = "application/vnd.covalab.cell+json"
    malformed = f'display({{"{kind}": {{"id": 3, "outputs": "?"}}, "text/plain": "x"}}, raw=True)'
    desk.open(lab.notebook("odd.ipynb", f"from IPython.display import display\n{malformed}", MAKE + ALL))
    desk.run_all()
    expect(cells(desk).first).to_contain_text("does not contain its dispatch")
    expect(line(desk, 1)).to_have_text("done in 3.2 s, set x, model")
