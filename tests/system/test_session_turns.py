"""Sessions beside other work: pause and cancel between cells, time limits, and a worker that others use too."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tests.system.test_sessions import lattice_of
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.jupyter.notebook.electron_cell import Options

WAIT = "import os, time\nwhile not os.path.exists({path!r}):\n    time.sleep(0.02)\n"


def waiting(path: Path) -> str:
    """Return lines that wait for a file."""
    return WAIT.format(path=str(path))


@ct.electron
def waits(began: str, path: str) -> int:
    """Say that it has begun, and wait for a file."""
    Path(began).touch()
    while not Path(path).exists():
        time.sleep(0.02)
    return os.getpid()


def test_a_pause_stops_between_cells(live: Client, tmp_path: Path) -> None:
    """The cell that runs goes on to its end, no other begins; resumed, the session is the same, iterators included."""
    cells = [
        f"pids = []\nit = iter('abc')\nopen({str(tmp_path / 'began')!r}, 'w').close()\n" + waiting(tmp_path / "go"),
        "pids.append(os.getpid())\nfirst = next(it)",
        "pids.append(os.getpid())\nsecond = next(it)",
    ]
    run = ct.dispatch(lattice_of(cells))()
    until((tmp_path / "began").exists)
    ct.pause(run)
    (tmp_path / "go").touch()
    until(lambda: live.summary(run).counts.running == 0)

    summary = live.summary(run)
    assert (summary.counts.completed, summary.counts.pending, summary.paused) == (1, 2, True)
    assert "first" not in ct.get_result(run)
    ct.resume(run)
    result = ct.get_result(run, wait=True, timeout=240)
    assert (result["first"], result["second"]) == ("a", "b")
    assert len(set(result["pids"])) == 1
    assert [result.get_node_result(number)["attempts"] for number in session_cells(result)] == [1, 1, 1]


def session_cells(result: ct.Result) -> list[int]:
    """Return the numbers of the nodes that ran."""
    nodes = result.get_all_node_results()
    return [one["node_id"] for one in nodes if one.get("attempts")]


def test_a_cancelled_session_begins_no_other_cell(live: Client, tmp_path: Path) -> None:
    """The cell that runs is interrupted; one that was cancelled alone takes those along that need it."""
    cells = [
        f"x = 1\nopen({str(tmp_path / 'began')!r}, 'w').close()",
        waiting(tmp_path / "go"),
        f"open({str(tmp_path / 'third')!r}, 'w').close()",
    ]
    run = ct.dispatch(lattice_of(cells))()
    until(lambda: live.summary(run).counts.completed == 1)
    ct.cancel(run)
    result = ct.get_result(run, wait=True, timeout=240)
    assert result.status == ct.status.CANCELLED
    assert result["x"] == 1

    alone = ct.dispatch(lattice_of([cells[1], cells[2], "y = 2"]))()
    third = [number for number, node in enumerate(live.graph(alone).nodes) if node.settings >= 0][1]
    until(lambda: live.summary(alone).counts.running)
    ct.cancel(alone, task_ids=[third])
    (tmp_path / "go").touch()
    assert ct.get_result(alone, wait=True, timeout=240).status == ct.status.CANCELLED
    assert not (tmp_path / "third").exists()


def test_a_time_limit_is_that_of_one_cell(live: Client, tmp_path: Path) -> None:
    """The cell whose time is up fails; what those before it have made is there."""
    lattice = lattice_of(["x = 1", waiting(tmp_path / "never"), "z = 3"], options=Options(time_limit=3))
    result = ct.get_result(ct.dispatch(lattice)(), wait=True, timeout=240)

    assert "its time limit of 3 s" in str(result.error)
    assert result["x"] == 1
    assert "z" not in result


def test_a_session_goes_on_beside_a_long_task_at_its_worker(own: Client, tmp_path: Path) -> None:
    """As soon as another worker is idle: in its own process, and nothing is run again."""
    go = {name: str(tmp_path / name) for name in ("one", "two", "beside", "began one", "began two", "began beside")}
    notebook: dict[str, Any] = {"__name__": "__main__", "GO": go}
    first = "import os\npids = [os.getpid()]\ng = (n for n in range(9))\nnext(g)"
    beside = (
        "%%electron beside(pids, GO=GO) -> there\n"
        "import time\nfrom pathlib import Path\nPath(GO['began beside']).touch()\n"
        "while not Path(GO['beside']).exists():\n    time.sleep(0.02)\nthere = len(pids)"
    )
    last = "pids.append(os.getpid())\ntotal = there + next(g)\ntotal"
    lattice = lattice_of([first, beside, last], notebook)
    one = ct.dispatch(ct.lattice(waits))(go["began one"], go["one"])
    until(Path(go["began one"]).exists)
    session = ct.dispatch(lattice)()  # at the second of two workers
    until(Path(go["began beside"]).exists)
    two = ct.dispatch(ct.lattice(waits), priority=1)(go["began two"], go["two"])  # before the session
    Path(go["beside"]).touch()
    until(Path(go["began two"]).exists)
    Path(go["one"]).touch()

    result = ct.get_result(session, wait=True, timeout=240)
    assert result.result == 2
    assert len(set(result["pids"])) == 1
    assert not Path(go["two"]).exists()
    until(lambda: own.summary(two).status == "running")  # its start is committed with the next that comes
    Path(go["two"]).touch()
    pids = [ct.get_result(run, wait=True, timeout=240).result for run in (one, two)]
    assert result["pids"][0] not in pids
