"""Notebook runs whose cells run side by side: what they show and leave is that of the notebook, in its order."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner
from tests.jupyter.runs.notebooks import code, shown, tagged, wait_for_end, write

import covalab as ct
from covalab.cli import main
from covalab.client import Client

_WATCHES = """
import os, time
def below(pid):
    return [int(one) for one in open(f"/proc/{pid}/task/{pid}/children").read().split()]
for n in range(3_000):
    found = [cell for one in below(os.getpid()) for cell in below(one)]
    if found:
        break
    time.sleep(0.02)
assert found, "no cell runs beside this one"
"""
"""It ends when another cell runs beside it."""
_LONG = "{0} = sum(i * i for i in range(2_000_000))\nprint('{0}', {0})\n{0} % 1_000"


def reasons(client: Client, run: str) -> list[str]:
    """Return why each cell of a run ran when it did."""
    notebook = client.submission(run).notebook
    assert notebook is not None
    details = [client.node(run, cell.node) for cell in notebook.cells]
    return ["; ".join(one.reuse.reasons) if one.reuse is not None else "" for one in details]


def test_independent_cells_run_side_by_side_and_others_wait(live: Client, tmp_path: Path) -> None:
    """Outputs, counts and names are in the notebook's order; what may not come from beside runs again in its turn."""
    path = write(
        tmp_path / "beside.ipynb",
        _WATCHES,
        _LONG.format("a"),
        "kept = [1]\nimport pathlib\nfile = pathlib.Path('file')\ndef fill(rows): rows.append(2)",
        "k = a",
        tagged("alias = [kept, len(kept)]", "parallel"),
        "fill(kept)",
        tagged("print(len(kept))", "parallel"),
        tagged("1 / len([])", "parallel", "raises-exception"),
        tagged("import random\nrandom.seed(1)\ndrawn = random.random()", "parallel"),
        tagged("again = random.random()\nagain", "parallel"),
        tagged("getattr(file, 'wri' 'te_text')(str(len(kept)))", "parallel"),
    )

    ran = CliRunner().invoke(main, ["run", str(path), "--parallel", "--fresh"])

    assert ran.exit_code == 0, ran.output
    lines = ran.stderr.splitlines()
    assert "cell 2 ran side by side with cell 1" in lines
    assert "cell 10 ran after cell 9: it uses `random`, which that cell sets" in lines
    found = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", ran.stderr)
    assert found is not None
    run = found[0]
    why = reasons(live, run)
    assert why[1] == "side by side with cell 1"
    assert "what it made shares objects with `kept`" in why[4]
    assert "and since then" in why[6]
    assert "it raises an exception" in why[7]
    assert why[8] == "in its turn: it may draw random numbers"
    assert why[9] == "after cell 9: it uses `random`, which that cell sets"
    assert "it writes to" in why[10]
    cells = code(ct.get_result(run).notebook())
    assert [cell["execution_count"] for cell in cells] == [*range(1, 12)]
    total = sum(i * i for i in range(2_000_000))
    assert shown(cells[1]) == [f"a {total}\n", str(total % 1_000)]
    assert shown(cells[6]) == ["2\n"]
    assert shown(cells[7]) == ["ZeroDivisionError"]
    assert shown(cells[9]) == ["0.8474337369372327"]
    assert (tmp_path / "file").read_text() == "2"
    result = ct.get_result(run)
    assert (result["k"], result["kept"], result["alias"]) == (total, [1, 2], [[1, 2], 1])


def test_a_cell_whose_process_is_killed_runs_in_its_turn(live: Client, tmp_path: Path) -> None:
    """Nothing of it is lost, and nothing fails."""
    path = write(tmp_path / "killed.ipynb", f"{_WATCHES}\nos.kill(found[0], 9)", _LONG.format("a"), "a")

    run = ct.run_notebook(path, parallel=True)

    assert wait_for_end(live, run) == "completed"
    assert "its process was ended by signal 9" in reasons(live, run)[1]
    assert ct.get_result(run)["a"] == sum(i * i for i in range(2_000_000))
