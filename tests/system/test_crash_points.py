"""Crash points: a process is killed at each named moment; nothing recorded is lost or runs again.

All points in each run. What costs is a pool that starts, after each death of a dispatcher or pool (seconds, while the
dispatch takes a quarter of one): so all share one data folder, and a dispatcher dies before there is a pool at every
point that it passes then. How often the others are passed before is by the seed that is printed.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.conftest import SEED
from tests.system.processes import dispatcher
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import DispatcherUnavailable
from covalab.store import pages

PACKAGE = Path(ct.__file__).parent
N_STEPS = 10
LARGE = 100_000  # bytes: the value is a blob

TASKS_AND_WORKERS = {
    "stem.forked": 0,
    "task.batch": 2,
    "task.done": 9,
    "task.reported": 9,
    "blob.written": 5,
    "blob.renamed": 5,
    "worker.job": 2,
    "worker.done": 1,
}
"""Points, and how often each is passed at least before the dispatch ends."""

POOL = {"pool.batch": 2, "pool.outcome": 7}

SUBMITTING = ["submission.arrived", "submission.recorded", "submission.begun"]

TURNS = {
    "transaction.open": 6,
    "transaction.committed": 6,
    "transaction.logged": 6,
    "turn.applied": 9,
    "turn.committed": 9,
    "turn.published": 9,
    "turn.sent": 9,
}
"""Points that a dispatcher passes for the submission, and so often at least with a pool."""

WITH_A_POOL = {"child.recorded": 0, "batch.chosen": 2, "pool.message": 9}
"""Points that a dispatcher passes only with a pool."""

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
    time.sleep(0.03)  # so that a batch has few
    return number + 1, f"{witness} {number}".encode().ljust(LARGE)  # a blob of its own


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

    def arm(self, point: str, passes: int = 0) -> Path:
        """Let the first process that passes a point end there, after some passes."""
        path = self.points / point
        path.write_text(str(passes))
        return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Armed]:
    """Start a dispatcher whose processes, and whose successors', know the folder of points."""
    points = tmp_path_factory.mktemp("points")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_CRASH_POINTS", str(points))
        with dispatcher(tmp_path_factory.mktemp("crashes") / "data") as client:
            yield Armed(client, points)


@pytest.fixture
def armed(folder: Armed) -> Iterator[Armed]:
    """Leave no point armed for the next test."""
    yield folder
    for left in folder.points.iterdir():
        left.unlink()


class Run:
    """Run of the workflow while processes die."""

    def __init__(self, armed: Armed, witness: Path) -> None:
        self._client = armed.client
        self._witness = witness
        self._seen: list[tuple[set[tuple[int, int]], Counter[str]]] = []
        self.dispatch = str(ct.dispatch(workflow)(str(witness)))

    def die(self, *files: Path) -> None:
        """Wait for the deaths that these files ask for, and note what was recorded and what ran until then."""
        while True:
            # Whoever asks starts the next dispatcher; one that is killed in every start is given up, for now.
            with suppress(DispatcherUnavailable):
                until(lambda: self._client.summary(self.dispatch).version and not any(it.exists() for it in files))
                break
        self.note()

    def note(self) -> None:
        """Note what is in the database, and only then how often each step ran."""
        with closing(pages.connect(self._client.data_dir / "covalab.db", read_only=True)) as connection:
            rows = connection.execute(
                "SELECT d.root IS NULL, n.node FROM nodes AS n JOIN dispatches AS d USING (key) "
                "WHERE n.status = 'completed' AND ? IN (d.id, d.root)",
                (self.dispatch,),
            ).fetchall()
        self._seen.append(({(int(str(outermost)), int(str(node))) for outermost, node in rows}, self._runs()))

    def _runs(self) -> Counter[str]:
        with suppress(FileNotFoundError):
            return Counter(self._witness.read_text().split())
        return Counter()

    def check(self, n_deaths: int = 1) -> None:
        """Wait for the end: nothing is lost, and nothing that was recorded has run again."""
        result = ct.get_result(self.dispatch, wait=True, timeout=240)

        assert (result.status, result.result) == (ct.status.COMPLETED, EXPECTED)
        graph = self._client.graph(self.dispatch)
        steps = [node for node, it in enumerate(graph.nodes) if it.name == "step"]
        names = {(1, node): str(number) for number, node in enumerate(steps)} | {(0, 0): "100"}
        afterwards = self._runs()
        assert set(afterwards) == {*map(str, range(N_STEPS)), "100"}
        assert max(afterwards.values()) <= 1 + n_deaths
        for recorded, runs in self._seen:
            done = {names[one] for one in recorded if one in names}
            assert {name: afterwards[name] for name in done} == {name: runs[name] for name in done}


def begun(armed: Armed, point: str, witness: Path) -> tuple[Run, Path]:
    """Begin a run in which a process dies at a point, after as many passes as the seed says."""
    most = {**TASKS_AND_WORKERS, **POOL, **TURNS, **WITH_A_POOL}[point]
    passes = random.Random(f"{SEED} {point}").randint(0, most)
    print("after", passes, "passes")
    file = armed.arm(point, passes)
    return Run(armed, witness), file


def test_dispatchers_die_one_after_the_other_while_they_submit_and_recover(armed: Armed, tmp_path: Path) -> None:
    """Whoever submits is answered by the next one, which has each dispatch once; what is cut off is done again."""
    n_before = len(armed.client.dispatches())
    runs: list[Run] = []
    for point in SUBMITTING:
        file = armed.arm(point)
        runs.append(Run(armed, tmp_path / f"witness of {point}"))
        runs[-1].die(file)
    runs[-1].die(*map(armed.arm, [*TURNS, *STARTING]))
    assert len(armed.client.dispatches()) == n_before + len(runs)
    for run in runs:
        run.note()
        run.check(len([*SUBMITTING, *TURNS, *STARTING]))


@pytest.mark.parametrize("point", TASKS_AND_WORKERS)
def test_what_runs_tasks_dies_at(point: str, armed: Armed, tmp_path: Path) -> None:
    """The dispatch goes on from what was recorded."""
    run, file = begun(armed, point, tmp_path / "witness")
    run.die(file)
    run.check()


@pytest.mark.parametrize("point", POOL)
def test_a_pool_dies_and_then_its_dispatcher(point: str, armed: Armed, tmp_path: Path) -> None:
    """The next dispatcher knows nothing of that pool, and goes on from what was recorded."""
    run, file = begun(armed, point, tmp_path / "witness")
    until(lambda: not file.exists())
    run.die(armed.arm(random.Random(f"{SEED} after {point}").choice([*TURNS])))
    run.check(2)


@pytest.mark.parametrize("point", [*WITH_A_POOL, *(pytest.param(it, marks=pytest.mark.nightly) for it in TURNS)])
def test_a_dispatcher_dies_amid_work_at(point: str, armed: Armed, tmp_path: Path) -> None:
    """The next one goes on from what was recorded."""
    run, file = begun(armed, point, tmp_path / "witness")
    run.die(file)
    run.check()


def test_every_point_is_tried() -> None:
    """The points of these tests are those of the code."""
    found = [name for file in PACKAGE.rglob("*.py") for name in re.findall(r'crash_point\("(.+?)"\)', file.read_text())]
    assert sorted(found) == sorted([*TASKS_AND_WORKERS, *POOL, *SUBMITTING, *TURNS, *WITH_A_POOL, *STARTING])
