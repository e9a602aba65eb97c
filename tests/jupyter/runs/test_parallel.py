"""Notebook runs whose cells run side by side: what they show and leave is that of the notebook, in its order."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner
from tests.jupyter.runs.notebooks import code, shown, tagged, wait_for_end, write
from tests.waiting import until

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


def node_of(client: Client, run: str, number: int) -> int:
    """Return the node of a cell, counted from 0."""
    notebook = client.submission(run).notebook
    assert notebook is not None
    return notebook.cells[number].node


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
    """Nothing of it is lost, and nothing fails; when memory is short, it is the first to be killed."""
    kill = "while open(f'/proc/{found[0]}/oom_score_adj').read() != '1000\\n': time.sleep(0.01)\nos.kill(found[0], 9)"
    path = write(tmp_path / "killed.ipynb", f"{_WATCHES}\n{kill}", _LONG.format("a"), "a")

    run = ct.run_notebook(path, parallel=True)

    assert wait_for_end(live, run) == "completed"
    assert "its process was ended by signal 9" in reasons(live, run)[1]
    assert ct.get_result(run)["a"] == sum(i * i for i in range(2_000_000))


def test_what_a_cell_shows_is_seen_while_its_turn_lasts(live: Client, tmp_path: Path) -> None:
    """It began beside the one before; what it printed and displayed is there once at the end."""
    steps = (
        "total = 0\nfor step in range(100):\n    print('step', step)\n"
        "    if step % 50 == 0:\n        display(step)\n    total += sum(i * i for i in range(400_000))\ntotal"
    )
    path = write(tmp_path / "live.ipynb", _WATCHES, steps)

    run = ct.run_notebook(path, parallel=True, reuse=False)

    node = node_of(live, run, 1)
    until(lambda: "step 3\n" in live.node(run, node).stdout)
    until(lambda: [one for one in live.outputs(run, node).outputs if one["output_type"] == "display_data"])
    assert live.node(run, node).status == "running"
    assert wait_for_end(live, run) == "completed"
    assert reasons(live, run)[1] == "side by side with cell 1"
    assert live.node(run, node).stdout == "".join(f"step {n}\n" for n in range(100))
    found = shown(code(ct.get_result(run).notebook())[1])
    printed = ["".join(f"step {n}\n" for n in part) for part in (range(1), range(1, 51), range(51, 100))]
    total = str(100 * sum(i * i for i in range(400_000)))
    assert found == [printed[0], "0", printed[1], "50", printed[2], total]


def test_a_fork_that_waits_for_itself_is_ended(live: Client, tmp_path: Path) -> None:
    """It was forked while a lock was held that nobody releases there; its cell runs in its turn."""
    path = write(
        tmp_path / "stuck.ipynb",
        "import math\nsetattr(math, 'gate', __import__('thre' 'ading').Lock())\nmath.gate.acquire()",
        f"{_WATCHES}\ngetattr(math.gate, 'rel' 'ease')()",
        "passed = getattr(getattr(math, 'gate'), 'acq' 'uire')()",
    )

    run = ct.run_notebook(path, parallel=True, reuse=False)

    assert wait_for_end(live, run) == "completed"
    assert "it waited for a lock that nobody held any more" in reasons(live, run)[2]
    assert ct.get_result(run)["passed"] is True
