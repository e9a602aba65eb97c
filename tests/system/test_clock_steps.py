"""A clock that is set while tasks run: forward, back, by an hour or a day. Nothing times out, no time is negative."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.invariants import seeded
from tests.system.processes import dispatcher
from tests.waiting import LONG, until

import covalab as ct
from covalab.client import Client

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

# Before anything else is imported, in each process of the dispatcher: its pool, workers and task processes as well.
CLOCK = """
import datetime, os, time
_file = os.environ.get("TEST_CLOCK")
if _file:
    _time, _time_ns = time.time, time.time_ns
    def _offset():
        try:
            with open(_file) as file:
                return float(file.read() or 0)
        except (OSError, ValueError):
            return 0.0
    time.time = lambda: _time() + _offset()
    time.time_ns = lambda: _time_ns() + int(_offset() * 1e9)
"""
HOUR, DAY = 3600.0, 86400.0


class Clock:
    """The offset of the clocks of all processes of a dispatcher."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, offset: float) -> None:
        """Set all clocks at once."""
        temporary = self._file.with_suffix(".new")
        temporary.write_text(str(offset))
        temporary.replace(self._file)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Clock]]:
    """Run a dispatcher whose processes have a clock that can be set."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(CLOCK)
    clock = Clock(folder / "offset")
    with dispatcher(
        folder / "data",
        PYTHONPATH=str(folder / "hook"),
        TEST_CLOCK=str(folder / "offset"),
        COVALAB_SILENT_SECONDS="5",
    ) as client:
        yield client, clock


@ct.electron(time_limit=20)
def limited(number: int, witness: str) -> float:
    """Note that it ran, take a while, and return the time of day."""
    import time  # its own: a module's would be the one of the notebook

    with Path(witness).open("a") as file:
        file.write(f"{number}\n")
    time.sleep(0.3)
    return time.time()


@ct.electron(retries=2, retry_delay=1.5)
def flaky(witness: str) -> int:
    """Fail at first."""
    with Path(witness).open("a") as file:
        file.write("flaky\n")
    n = Path(witness).read_text().split().count("flaky")
    if n < 3:
        raise ConnectionError(n)
    return n


@ct.lattice
def chains(witness: str) -> Any:
    """Run one that is tried three times, and twenty others."""
    tried = flaky(witness)
    return [limited(number, witness) for number in range(20)], tried


@pytest.mark.parametrize("step", [HOUR, -HOUR, DAY, -DAY])
def test_a_clock_that_is_set_while_tasks_run(step: float, clock: tuple[Client, Clock], tmp_path: Path) -> None:
    """At five random moments, there and back: each task runs once, each wait ends, no time is negative."""
    client, it = clock
    chance, witness = seeded(), tmp_path / "witness"
    it.set(0)
    dispatch = str(ct.dispatch(chains)(str(witness)))
    until(lambda: witness.exists() and "flaky" in witness.read_text())  # its first delay is when the clock is set
    pools = {pool.pid for pool in client.status().pools}
    for number in range(5):
        time.sleep(chance.random() * 0.5)
        it.set(0 if number % 2 else step)
    result = ct.get_result(dispatch, wait=True, timeout=LONG)

    assert result.status == "COMPLETED", result.error
    times, n_flaky = result.result
    assert n_flaky == 3
    assert any(abs(one - time.time()) > abs(step) / 2 for one in times), "the clocks of the tasks were set"
    assert sorted(witness.read_text().split()) == sorted([*map(str, range(20)), "flaky", "flaky", "flaky"])
    summary = client.summary(dispatch)
    assert summary.created_at <= (summary.started_at or 0) <= (summary.ended_at or 0)
    for number, node in enumerate(client.graph(dispatch).nodes):
        if node.name in ("limited", "flaky"):
            detail = client.node(dispatch, number)
            assert detail.started_at is not None
            assert detail.ended_at is not None
            assert detail.ended_at >= detail.started_at, f"{node.name} {number} took less than no time"
            for attempt in detail.attempts:
                assert attempt.outcome.ended_at >= attempt.outcome.started_at
    assert {pool.pid for pool in client.status().pools} == pools, "none was taken for silent"
