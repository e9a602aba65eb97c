"""kill -9 while sublattices are built and while they run: nothing is lost, nothing recorded runs twice."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.system.tasks import runs, total, witnessed
from tests.system.test_crashes import kill_dispatcher
from tests.waiting import until

import covalab as ct
from covalab.client import Client

pytestmark = pytest.mark.sampled(3, of="file")


@ct.electron
@ct.lattice
def part(first: int, n: int, witness: str) -> Any:
    """Run some tasks and add up."""
    return total([witnessed(x, witness) for x in range(first, first + n)])


@ct.electron
@ct.lattice
def parts(n: int, witness: str) -> Any:
    """A sublattice of sublattices."""
    return [part(first, 5, witness) for first in range(0, 5 * n, 5)]


@ct.lattice
def whole(n: int, witness: str) -> Any:
    """Forty tasks, three levels."""
    return total(parts(n, witness))


def completed_below(client: Client, dispatch: str) -> int:
    """Return how many nodes of the dispatches below are done."""
    return sum(summary.counts.completed for summary in client.dispatches(root=dispatch))


def test_a_dispatcher_killed_while_children_run_takes_up_parent_and_children(own: Client, tmp_path: Path) -> None:
    """Whatever of them has ended: each dispatch is there once, tied to its parent, and no recorded task runs again."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    choose = random.Random(seed)
    witness = tmp_path / "witness"
    run = ct.dispatch(whole)(8, str(witness))
    for share in sorted(choose.randrange(1, 40) for _ in range(3)):
        until(lambda least=share: completed_below(own, run) >= least)  # type: ignore[misc]
        kill_dispatcher(own)
    result = ct.get_result(run, wait=True, timeout=120)
    below = own.dispatches(root=run, count=100)

    assert result.result == sum(x * x for x in range(40))
    assert sorted(summary.name for summary in below) == ["part"] * 8 + ["parts"]
    assert {summary.status for summary in below} == {"completed"}
    inner = result.get_all_node_results()[0]["sublattice_result"]
    assert {node["sublattice_result"].dispatch_id for node in inner.get_all_node_results() if node["sublattice_result"]}
    counted = runs(witness)
    assert set(counted) == set(map(str, range(40)))
    # At most what was in flight at each of three deaths: a step at each of two workers, and one behind each.
    assert sum(counted.values()) - 40 <= 3 * 4 * 5


def test_a_child_that_ended_without_its_parent_hearing_of_it_is_handed_up_later(own: Client, tmp_path: Path) -> None:
    """The dispatcher dies at the moment a child ends, many times over; the parent always ends with its value."""
    for number in range(3):
        witness = tmp_path / f"witness-{number}"

        @ct.lattice
        def flow(witness: str) -> Any:
            return part(0, 2, witness)

        run = ct.dispatch(flow)(str(witness))
        until(lambda run=run: any(one.status == "completed" for one in own.dispatches(root=run)))  # type: ignore[misc]
        kill_dispatcher(own)

        assert ct.get_result(run, wait=True, timeout=120).result == 1


def test_a_worker_killed_while_it_builds_builds_again(own: Client, tmp_path: Path) -> None:
    """The sublattice is built by another worker, and becomes one dispatch."""
    pid_file = tmp_path / "pid"

    @ct.electron
    @ct.lattice
    def slow_to_build(pid_file: str) -> Any:
        import time

        again = Path(pid_file).exists()
        Path(pid_file).write_text(str(os.getpid()))
        if not again:
            time.sleep(600)
        return total([1, 2])

    @ct.lattice
    def flow(pid_file: str) -> Any:
        return slow_to_build(pid_file)

    run = ct.dispatch(flow)(str(pid_file))
    until(lambda: pid_file.exists() and pid_file.read_text())
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    result = ct.get_result(run, wait=True, timeout=120)

    assert result.result == 3
    assert len(own.dispatches(root=run)) == 1
    assert own.node(run, 0).attempt == 2


def test_children_of_a_parent_that_was_cancelled_do_not_come_back(own: Client, tmp_path: Path) -> None:
    """Cancelled together, whatever dies right after it; a restart starts none of them again."""
    witness = tmp_path / "witness"
    run = ct.dispatch(whole)(8, str(witness))
    until(lambda: completed_below(own, run) >= 3)
    ct.cancel(run)
    kill_dispatcher(own)
    statuses = {ct.get_result(run, wait=True, timeout=120).status.STATUS}
    statuses |= {
        str(ct.get_result(summary.id, wait=True, timeout=120).status) for summary in own.dispatches(root=run, count=100)
    }

    assert statuses <= {"CANCELLED", "COMPLETED"}
    assert ct.get_result(run).status == ct.status.CANCELLED
    assert own.status().active == 0


def test_deleting_a_family_leaves_no_row(own: Client, tmp_path: Path) -> None:
    """The outermost takes all levels with it."""
    run = ct.dispatch(whole)(2, str(tmp_path / "witness"))
    ct.get_result(run, wait=True)
    below = [summary.id for summary in own.dispatches(root=run)]
    own.delete(run)

    assert len(below) == 3
    for dispatch in (run, *below):
        with pytest.raises(ct.MissingLatticeRecordError):
            own.summary(dispatch)
