"""Notebook runs through a real Jupyter server: started from a page, seen by any other, executed without a kernel."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tests.jupyter.runs.notebooks import code, notebook, shown, statuses, tagged, wait_for_end, write
from tests.jupyter.server.helpers import Send, dispatch, successor

from covalab.client import Client
from covalab.core.notebook_run import source_digest


@pytest.fixture
def data_folder(live: Client) -> Path:
    """The data folder of the dispatcher that the tests share."""
    return live.data_dir


@pytest.fixture
def ask(send: Send, jp_auth_header: dict[str, str], jp_base_url: str) -> Any:
    """Send a request as a known user, and return the decoded answer."""

    async def ask(route: str, body: Any = None, *, code: int = 200) -> Any:
        verb, text = ("GET", "") if body is None else ("POST", json.dumps(body))
        response = await send(f"{jp_base_url}covalab/api/{route}", verb, jp_auth_header, text)
        assert response.code == code, response.body
        return json.loads(response.body)

    return ask


async def test_a_saved_notebook_runs_and_any_page_sees_it(ask: Any, live: Client, jp_root_dir: Path) -> None:
    """The answer says which cell is which node; the document comes executed; the path is one of the contents API."""
    (jp_root_dir / "work").mkdir()
    (jp_root_dir / "work" / "beside.py").write_text("x = 5")
    write(
        jp_root_dir / "work" / "n.ipynb",
        "#%prose",
        tagged("n = 1", "parameters"),
        "import beside, os, sys\nprint(n, beside.x, os.getcwd())",
        tagged("1/0", "skip"),
        "sys.executable",
    )

    started = await ask("notebooks", {"path": "work/n.ipynb", "parameters": {"n": 2}}, code=201)

    run, cells = started["dispatch_id"], started["cells"]
    assert await asyncio.to_thread(wait_for_end, live, run) == "completed"
    assert [(cell["id"], cell["node"] >= 0) for cell in cells] == [
        ("c1", True),
        (cells[1]["id"], True),
        ("c2", True),
        ("c3", False),
        ("c4", True),
    ]
    assert cells[0]["source_digest"] == source_digest("n = 1")
    view = await ask(f"dispatches/{run}/notebook")
    assert (view["path"], view["status"], view["cells"]) == ("work/n.ipynb", "completed", cells)
    live_outputs = await ask(f"dispatches/{run}/nodes/{cells[2]['node']}/outputs")
    assert live_outputs["outputs"][0]["text"] == f"2 5 {jp_root_dir / 'work'}\n"
    executed = await ask(f"dispatches/{run}/notebook/executed")
    nbformat.validate(nbformat.from_dict(executed))
    assert shown(code(executed)[4]) == [repr(sys.executable)]
    assert statuses(executed) == ["completed"] * 4


async def test_an_editors_text_runs_from_a_cell_on(ask: Any, live: Client, jp_root_dir: Path) -> None:
    """The file is not read; options and cells before the first count."""
    write(jp_root_dir / "n.ipynb", "'old'")
    body = {
        "path": "n.ipynb",
        "document": notebook("'before'", "1/0", "'after'"),
        "first": "c1",
        "options": {"allow_errors": True},
    }

    started = await ask("notebooks", body, code=201)

    run = started["dispatch_id"]
    assert await asyncio.to_thread(wait_for_end, live, run) == "completed"
    executed = await ask(f"dispatches/{run}/notebook/executed")
    assert [shown(cell) for cell in code(executed)] == [[], ["ZeroDivisionError"], ["'after'"]]


async def test_what_is_left_of_a_run_runs_with_the_editors_text(ask: Any, live: Client, jp_root_dir: Path) -> None:
    """What was done is kept; the view says why a cell did not run, and from which run it goes on."""
    write(jp_root_dir / "n.ipynb", "'of the file'")
    body = {"path": "n.ipynb", "document": notebook("x = 1\nprint(x)", "y = x / zero", "y + 1"), "parameters": {}}
    run = (await ask("notebooks", body, code=201))["dispatch_id"]
    assert await asyncio.to_thread(wait_for_end, live, run) == "failed"
    view = await ask(f"dispatches/{run}/notebook")
    assert view["why"][str(view["cells"][2]["node"])].startswith("not run: follows from cell 2, which failed")

    mended = {"path": "n.ipynb", "document": notebook("x = 1\nprint(x)", "y = x / 2", "y + 1"), "resume": run}
    started = await ask("notebooks", mended, code=201)

    again, cells = started["dispatch_id"], started["cells"]
    assert await asyncio.to_thread(wait_for_end, live, again) == "completed"
    view = await ask(f"dispatches/{again}/notebook")
    assert (view["resumed"], view["reused"]) == (run, [cells[0]["node"]])
    why = [view["why"][str(cell["node"])] for cell in cells]
    assert why[:2] == ["reused: the run before it had completed it", "ran: no run of this text is kept"]
    # If the cell before was not quick, the last one waited for it, and says so.
    waited = "; ran: after cell 2: it uses `y`, which that cell sets"
    assert why[2].removesuffix(waited) == "ran: no run of this text is kept"
    executed = await ask(f"dispatches/{again}/notebook/executed")
    assert [shown(cell) for cell in code(executed)] == [["1\n"], [], ["1.5"]]
    problem = await ask("notebooks", {**mended, "resume": "no-such-run"}, code=400)
    assert "no-such-run" in problem["message"]


async def test_the_interpreter_and_the_variables_are_those_of_the_kernel(
    ask: Any, live: Client, jp_root_dir: Path, jp_environ: Any, jp_data_dir: Path
) -> None:
    """A kernel with variables of its own is asked in a process of its own, also for what it refuses."""
    spec = jp_data_dir / "kernels" / "mine"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": argv, "display_name": "Mine", "language": "python", "env": {"OF_THE_KERNEL": "yes"}}
    (spec / "kernel.json").write_text(json.dumps(kernel))
    metadata = {"kernelspec": {"name": "mine", "display_name": "Mine"}}
    write(jp_root_dir / "n.ipynb", "import os\nos.environ['OF_THE_KERNEL']", metadata=metadata)
    write(jp_root_dir / "bad.ipynb", "import no_such", metadata=metadata)

    started = await ask("notebooks", {"path": "n.ipynb"}, code=201)
    problem = await ask("notebooks", {"path": "bad.ipynb"}, code=400)

    assert await asyncio.to_thread(wait_for_end, live, started["dispatch_id"]) == "completed"
    executed = await ask(f"dispatches/{started['dispatch_id']}/notebook/executed")
    assert shown(code(executed)[0]) == ["'yes'"]
    assert problem["kind"] == "NotebookRefused"


@pytest.mark.parametrize(
    ("body", "code_", "said"),
    [
        ({"path": "none.ipynb"}, 404, "none.ipynb"),
        ({"path": "../outside.ipynb"}, 404, "outside"),
        ({"path": "n.ipynb", "document": {"cells": 3}}, 400, "no notebook"),
        ({"path": "n.ipynb", "document": notebook("import no_such_a, no_such_b")}, 400, "no_such_b (cell 1)"),
        ({"path": "n.ipynb", "document": notebook("input()")}, 400, "input()"),
        ({"path": "n.ipynb", "first": "gone"}, 400, "no cell with the id 'gone'"),
        ({"path": "n.ipynb", "parameters": {"a b": 1}}, 400, "no name in Python"),
        ({"path": "n.ipynb", "options": {"cell_timeout": "x"}}, 400, "JSON like"),
        ({"path": "n.ipynb", "more": 1}, 400, "JSON like"),
        ({}, 400, "JSON like"),
    ],
)
async def test_what_cannot_run_says_why(
    ask: Any, live: Client, jp_root_dir: Path, body: dict[str, Any], code_: int, said: str
) -> None:
    """Nothing is dispatched."""
    write(jp_root_dir / "n.ipynb", "1")
    before = len(live.dispatches(count=1000))

    problem = await ask("notebooks", body, code=code_)

    assert said in problem["message"]
    assert len(live.dispatches(count=1000)) == before


async def test_other_dispatches_have_no_notebook(ask: Any) -> None:
    """Both routes answer 404 with what there is to do."""
    run = dispatch(successor, 1)

    for route in (f"dispatches/{run}/notebook", f"dispatches/{run}/notebook/executed"):
        assert "is no notebook run" in (await ask(route, code=404))["message"]
    for route in ("dispatches/none/notebook", "dispatches/none/notebook/executed"):
        assert (await ask(route, code=404))["kind"] == "MissingLatticeRecordError"
