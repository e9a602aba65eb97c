"""Notebook runs in which a cell fails: what is independent of it runs, the rest says why not, and resuming keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.jupyter.runs.notebooks import code, shown, statuses, wait_for_end, write

import covalab as ct
from covalab.client import Client

_CELLS = (
    "rows = [1, 2]\nk = 3",
    "total = sum(rows)\nraise ValueError('no')",
    "print(k * 2)",
    "print(total)",
    "double = total * 2",
    "print(double)",
    "total = 7\nprint(total)",
    "print(total + len(rows))",
)
_RAN = ["completed", "failed", "completed", "skipped", "skipped", "skipped", "completed", "completed"]


def test_independent_cells_run_after_a_failure_and_the_rest_says_why_not(live: Client, tmp_path: Path) -> None:
    """In the executed notebook, in the view of the page and of each node; after it is mended the rest runs."""
    path = write(tmp_path / "failing.ipynb", *_CELLS)

    run = ct.run_notebook(path)

    assert wait_for_end(live, run) == "failed"
    result = ct.get_result(run)
    found = result.notebook()
    assert statuses(found) == _RAN
    cells = code(found)
    assert [shown(cells[n]) for n in (2, 6, 7)] == [["6\n"], ["7\n"], ["9\n"]]
    assert [cell["execution_count"] for cell in cells] == [1, 2, 3, None, None, None, 4, 5]
    reasons = [cell["metadata"]["covalab"].get("not_run", "") for cell in cells]
    assert "follows from cell 2, which failed: it uses `total`" in reasons[3]
    assert "follows from cell 5, which was not run: it uses `double`" in reasons[5]
    assert shown(cells[3]) == [f"not run: {reasons[3]}\n"]
    assert (result["total"], result["k"]) == (7, 3)
    assert "double" not in result
    failure = live.node(run, cells[3]["metadata"]["covalab"]["node"]).failure
    assert failure is not None
    assert failure.message == reasons[3]

    document = json.loads(path.read_text())
    document["cells"][1]["source"] = "total = sum(rows)"
    path.write_text(json.dumps(document))
    again = ct.resume_notebook(run)

    assert wait_for_end(live, again) == "completed"
    mended = code(ct.get_result(again).notebook())
    assert [shown(mended[n]) for n in (2, 3, 5, 7)] == [["6\n"], ["3\n"], ["6\n"], ["9\n"]]
    assert not any("not_run" in cell["metadata"]["covalab"] for cell in mended)


def test_a_run_that_goes_on_keeps_what_was_done_after_the_failure(live: Client, tmp_path: Path) -> None:
    """Cells that ran after the failed one are taken from there: their inputs are the same."""
    cells = ("k = 3", "raise ValueError('no')", "open('runs', 'a').close()", "slow = k * 2\nprint(slow)", "slow + 1")
    path = write(tmp_path / "kept.ipynb", *cells[:2], *cells[3:])
    run = ct.run_notebook(path)
    assert wait_for_end(live, run) == "failed"

    document = json.loads(path.read_text())
    document["cells"][1]["source"] = "mended = 1"
    path.write_text(json.dumps(document))
    again = ct.resume_notebook(run)

    assert wait_for_end(live, again) == "completed"
    found = code(ct.get_result(again).notebook())
    assert ["reused" in cell["metadata"]["covalab"] for cell in found] == [True, False, True, True]
    assert shown(found[2]) == ["6\n"]
    assert ct.get_result(again)["mended"] == 1


def test_an_option_stops_at_the_first_failure(live: Client, tmp_path: Path) -> None:
    """As "Run All" does."""
    run = ct.run_notebook(write(tmp_path / "stops.ipynb", *_CELLS), stop_on_error=True)

    assert wait_for_end(live, run) == "failed"
    assert statuses(ct.get_result(run).notebook()) == ["completed", "failed", *["skipped"] * 6]


def test_a_cell_that_is_repeated_fails_once_before_others_run(live: Client, tmp_path: Path) -> None:
    """Retries come first; what the last run left is what goes on."""
    failing = "import os\nopen(f'file{len(os.listdir())}', 'w').close()\nassert n"
    path = write(tmp_path / "again.ipynb", "n = 0", (failing, {"covalab": {"retries": 1}}), "m = 2\nprint(m)")

    run = ct.run_notebook(path)

    assert wait_for_end(live, run) == "failed"
    found = code(ct.get_result(run).notebook())
    assert statuses(ct.get_result(run).notebook()) == ["completed", "failed", "completed"]
    assert shown(found[2]) == ["2\n"]


@pytest.mark.parametrize("text", ["def broken(:", "import os\nos._exit(3)", "%time 1 / 0"])
def test_nothing_runs_after_what_cannot_be_judged(live: Client, tmp_path: Path, text: str) -> None:
    """A cell that is no Python, one that ends its process, one that may do anything."""
    run = ct.run_notebook(write(tmp_path / "unclear.ipynb", "x = 1", text, "y = 1"))

    assert wait_for_end(live, run) == "failed"
    assert statuses(ct.get_result(run).notebook()) == ["completed", "failed", "skipped"]
