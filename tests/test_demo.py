"""`covalab demo` from end to end, and what it says when something does not work."""

from __future__ import annotations

import io
import re
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console

import covalab as ct
from covalab.cli import main
from covalab.client import Client
from covalab.demo import NOTEBOOK, DemoFailed, run


@pytest.fixture
def console() -> Console:
    """A console that keeps what is said."""
    return Console(file=io.StringIO(), width=200)


def notebook(path: Path, *cells: str) -> Path:
    """Write a notebook."""
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), path)
    return path


def test_the_demo_does_the_main_job(live: Client, tmp_path: Path) -> None:
    """A server, the first notebook in its kernel, the results from a second kernel; all of it is still there after."""
    folder = tmp_path / "work"

    ran = CliRunner().invoke(main, ["demo", "--folder", str(folder)])

    assert ran.exit_code == 0, ran.output
    told = dict(re.findall(r"^(sweep|experiment|accuracy)\s+(\S+)$", ran.output, re.MULTILINE))
    assert float(told["accuracy"]) > 0.9
    for name in ("sweep", "experiment"):
        assert ct.get_result(told[name]).status == "COMPLETED"
    kernels = re.findall(r"kernel [12]\s+([0-9a-f-]{36})", ran.output)
    assert len(set(kernels)) == 2
    kept = nbformat.read(folder / NOTEBOOK, as_version=4)
    shown = [output for cell in kept.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("application/vnd.covalab.dispatch+json" in output.data for output in shown)
    assert re.search(rf"covalab lab \S*{NOTEBOOK}$", ran.output.strip())


@pytest.mark.sampled(1, of="file")
def test_a_cell_that_fails_ends_the_demo(live: Client, tmp_path: Path, console: Console) -> None:
    """The error names the exception and has the traceback, without colour codes; an earlier notebook is kept."""
    source = notebook(tmp_path / "fails.ipynb", "x = 1", "x / 0", "print('never')")
    earlier = tmp_path / "work" / NOTEBOOK
    earlier.parent.mkdir()
    earlier.write_text("mine")

    with pytest.raises(DemoFailed, match="ZeroDivisionError") as caught:
        run(tmp_path / "work", console, source)

    assert "x / 0" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert earlier.read_text() == "mine"
    assert sorted(path.name for path in earlier.parent.glob("*.ipynb")) == ["01_first_dispatch-2.ipynb", NOTEBOOK]


@pytest.mark.sampled(1, of="file")
def test_a_notebook_that_says_no_ids_is_told_so(live: Client, tmp_path: Path, console: Console) -> None:
    """A notebook that runs but does not say its dispatches fails, and what it printed is shown."""
    source = notebook(tmp_path / "silent.ipynb", "print('nothing of use')")

    with pytest.raises(DemoFailed, match="nothing of use"):
        run(tmp_path / "work", console, source)
