"""Crash points: a process is killed at each named moment; nothing recorded is lost or runs again.

A few in each run, by the seed that is printed; `--every-case` runs all.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.conftest import SEED
from tests.waiting import until

import covalab as ct
from covalab.client import Client, connect
from covalab.store import pages

PACKAGE = Path(ct.__file__).parent
N_STEPS = 10
LARGE = 100_000  # bytes: the value is a blob

DISPATCHER = {
    "submission.arrived": 0,
    "submission.recorded": 0,
    "submission.begun": 0,
    "transaction.open": 9,
    "transaction.committed": 9,
    "transaction.logged": 9,
    "turn.applied": 9,
    "turn.committed": 9,
    "turn.published": 9,
    "turn.sent": 9,
    "child.recorded": 0,
    "batch.chosen": 3,
    "pool.message": 15,
}
"""Points of the dispatcher, and how often each is passed at least before the dispatch ends, once it is armed."""

OTHERS = {
    "pool.batch": 3,
    "pool.outcome": 9,
    "worker.job": 3,
    "worker.done": 2,
    "stem.forked": 0,
    "task.batch": 3,
    "task.done": 9,
    "task.reported": 9,
    "blob.written": 5,
    "blob.renamed": 5,
}

STARTING = [
    "dispatcher.locked",
    "recovery.counted",
    "recovery.dispatch",
    "recovery.begun",
    "dispatcher.ready",
    "dispatcher.published",
]
"""Points that the next dispatcher passes before it serves."""


@ct.electron
def step(number: int, witness: str) -> tuple[int, bytes]:
    """Leave a line, and return something large."""
    with Path(witness).open("a") as file:
        file.write(f"{number}\n")
    return number + 1, bytes(LARGE)


@ct.electron
def total(parts: list[tuple[int, bytes]], below: int) -> int:
    """Return a number that depends on all."""
    return sum(number * len(data) for number, data in parts) + below


@ct.electron
@ct.lattice
def inner(witness: str) -> int:
    """Return the value of one more step."""
    return step(100, witness)[0]


@ct.lattice
def workflow(witness: str) -> int:
    """Return one number."""
    return total([step(number, witness) for number in range(N_STEPS)], inner(witness))


EXPECTED = LARGE * sum(range(1, N_STEPS + 1)) + 101


class Armed(NamedTuple):
    """A data folder of which the processes die where they are told to."""

    client: Client
    points: Path
    witness: Path

    def arm(self, point: str, passes: int = 0) -> Path:
        """Let the first process that passes a point end there, after some passes."""
        path = self.points / point
        path.write_text(str(passes))
        return path

    def runs(self) -> Counter[str]:
        """Return how often each step ran."""
        with suppress(FileNotFoundError):
            return Counter(self.witness.read_text().split())
        return Counter()

    def recorded(self) -> set[tuple[int, int]]:
        """Return the nodes of which the end is in the database, each with whether its dispatch is the outermost."""
        connection = pages.connect(self.client.data_dir / "covalab.db", read_only=True)
        with closing(connection):
            rows = connection.execute(
                "SELECT d.root IS NULL, n.node FROM nodes AS n JOIN dispatches AS d USING (key) "
                "WHERE n.status = 'completed'"
            ).fetchall()
        return {(int(str(outermost)), int(str(node))) for outermost, node in rows}


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Armed]:
    """Start a dispatcher whose processes, and whose successors', know the folder of points."""
    points = tmp_path / "points"
    points.mkdir()
    monkeypatch.setenv("COVALAB_CRASH_POINTS", str(points))
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client = connect(data_dir=tmp_path / "data")
    yield Armed(client, points, tmp_path / "witness")
    for left in points.iterdir():
        left.unlink()
    client.stop()


def check(armed: Armed, *files: Path) -> None:
    """Run the workflow while processes die; nothing is lost, and nothing that was recorded runs again."""
    dispatch = ct.dispatch(workflow)(str(armed.witness))
    # Whoever asks starts the next dispatcher.
    until(lambda: armed.client.summary(dispatch).version and not any(file.exists() for file in files))
    recorded, runs = armed.recorded(), armed.runs()

    result = ct.get_result(dispatch, wait=True, timeout=240)

    assert (result.status, result.result) == (ct.status.COMPLETED, EXPECTED)
    graph = armed.client.graph(dispatch)
    steps = [node for node, it in enumerate(graph.nodes) if it.name == "step"]
    names = {(1, node): str(number) for number, node in enumerate(steps)} | {(0, 0): "100"}
    afterwards = armed.runs()
    assert set(afterwards) == {*map(str, range(N_STEPS)), "100"}
    assert max(afterwards.values()) <= 1 + len(files)
    done = {names[one] for one in recorded if one in names}
    assert {name: afterwards[name] for name in done} == {name: runs[name] for name in done}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("point", DISPATCHER | OTHERS)
def test_a_process_dies_at(point: str, armed: Armed) -> None:
    """Whichever process it is: the dispatch goes on from what was recorded."""
    passes = random.Random(f"{SEED} {point}").randint(0, (DISPATCHER | OTHERS)[point])
    print("after", passes, "passes")
    check(armed, armed.arm(point, passes))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("point", STARTING)
def test_the_next_dispatcher_dies_as_well_while_it_starts(point: str, armed: Armed) -> None:
    """A recovery that is cut off is begun again: nothing is counted twice or left out."""
    check(armed, armed.arm("turn.sent", 3), armed.arm(point))


def test_every_point_is_tried() -> None:
    """The points of these tests are those of the code."""
    found = [name for file in PACKAGE.rglob("*.py") for name in re.findall(r'crash_point\("(.+?)"\)', file.read_text())]
    assert sorted(found) == sorted({**DISPATCHER, **OTHERS, **dict.fromkeys(STARTING)})
