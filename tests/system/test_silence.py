"""Workers, pools and executor hosts that are stopped in the middle of their work: others take their place."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system.tasks import adding, expected_of_fifty, fifty, runs
from tests.system.test_crashes import worker_pids
from tests.system.test_other_dask import HandMade
from tests.waiting import until

import covalab as ct
from covalab.client import Client, connect

pytestmark = pytest.mark.sampled(3, of="file")

# A busy machine must not keep anybody silent for so long.
LIMIT = 2.5


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client of a dispatcher with two workers that takes for lost what is silent for a moment."""
    monkeypatch.setenv("COVALAB_SILENT_SECONDS", str(LIMIT))
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client = connect(data_dir=tmp_path / "data")
    yield client
    client.stop()


@pytest.fixture
def stop() -> Iterator[Any]:
    """Stop processes by a signal, and let those go on at the end that are still there."""
    stopped: list[int] = []

    def stop(*pids: int) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

    yield stop
    for pid in stopped:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class Here(ct.executor.BaseExecutor):
    """Runs tasks in the executor host."""

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        """Call."""
        return function(*args, **kwargs)


def slow_at_first(witness: str) -> int:
    """Sleep for ten minutes in the first run; return the number of runs in another."""
    with open(witness, "a") as file:  # noqa: PTH123 - O_APPEND
        file.write("run\n")
    n = len(Path(witness).read_text().split())
    if n == 1:
        time.sleep(600)
    return n


def dispatched(witness: Path, **options: Any) -> str:
    """Dispatch the slow task, and return when it runs."""
    task = ct.electron(slow_at_first, **options)
    dispatch = str(ct.dispatch(ct.lattice(task))(str(witness)))
    until(lambda: runs(witness))
    return dispatch


def busy_worker(client: Client) -> int:
    """Return the worker process that runs the task."""
    # The task is in a process below the worker, or in the worker itself.
    workers = worker_pids(client)
    return max(workers, key=lambda pid: len(psutil.Process(pid).children(recursive=True)))


def test_a_stopped_worker_is_lost(quick: Client, tmp_path: Path, stop: Any) -> None:
    """Its task runs again on another worker, as after a death; the stopped process is ended, and replaced."""
    witness = tmp_path / "witness"
    dispatch = dispatched(witness)
    workers = worker_pids(quick)
    # One: if both are stopped, the second attempt may begin on the other before its silence is noticed.
    stop(busy_worker(quick))

    result = ct.get_result(dispatch, wait=True, timeout=120)

    assert result.result == 2
    attempts = quick.node(dispatch, 0).attempts
    assert [attempt.outcome.failure.type for attempt in attempts if attempt.outcome.failure] == ["worker_lost"]
    assert f"has not answered for {LIMIT} s" in attempts[0].outcome.failure.message  # type: ignore[union-attr]
    until(lambda: len(worker_pids(quick)) == 2)
    assert set(worker_pids(quick)) != set(workers)


def test_a_task_that_stops_its_parents_fails_alone(quick: Client) -> None:
    """It is a suspect like one that kills its worker, and its innocent neighbours complete."""

    def freezing() -> None:
        me = psutil.Process()
        above = [process for process in [me, *me.parents()] if "forkserver" in " ".join(process.cmdline())]
        os.kill(above[0].pid, signal.SIGSTOP)
        time.sleep(600)

    @ct.lattice
    def poisoned() -> object:
        return ct.electron(freezing)(), [adding(x) for x in range(10)]

    result = ct.dispatch_sync(poisoned)()

    nodes = {node["node_id"]: node for node in result.get_all_node_results()}
    assert [str(node["status"]) for node in nodes.values() if node["node_name"] == "adding"] == ["COMPLETED"] * 10
    failure = quick.node(result.dispatch_id, 0).failure
    assert failure is not None
    assert failure.type == "worker_lost"
    assert f"has not answered for {LIMIT} s" in failure.message


def test_a_stopped_pool_is_replaced(quick: Client, tmp_path: Path, stop: Any) -> None:
    """Its session is ended, its batches run in the next one."""
    dispatch = dispatched(tmp_path / "witness")
    pool = quick.status().pools[0].pid
    family = [psutil.Process(pool), *psutil.Process(pool).children(recursive=True)]
    stop(pool)

    assert ct.get_result(dispatch, wait=True, timeout=120).result == 2
    assert quick.status().pools[0].pid != pool
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.nightly
def test_a_stopped_pool_without_work_is_left_alone(quick: Client, stop: Any) -> None:
    """An idle pool is asked nothing; its silence is found when there is something to do."""
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
    pool = quick.status().pools[0].pid
    time.sleep(0.5)  # the end of its batch comes after the result
    stop(pool)
    time.sleep(2 * LIMIT)
    assert quick.status().pools[0].pid == pool

    assert ct.dispatch_sync(ct.lattice(adding))(2).result == 3
    assert quick.status().pools[0].pid != pool


@pytest.mark.nightly
def test_a_short_stop_loses_nothing(quick: Client, tmp_path: Path, stop: Any) -> None:
    """Pool and workers that are stopped for less than the limit go on where they were."""
    witness = tmp_path / "witness"
    dispatch = ct.dispatch(fifty)(str(witness))
    until(lambda: runs(witness))
    pool = quick.status().pools[0].pid
    for _ in range(3):
        for pids in ([pool], worker_pids(quick)):
            stop(*pids)
            time.sleep(LIMIT / 3)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.2)

    assert ct.get_result(dispatch, wait=True, timeout=120).result == expected_of_fifty()
    assert set(runs(witness).values()) == {1}
    assert quick.status().pools[0].pid == pool


@pytest.mark.nightly
def test_all_stopped_together_is_a_pause(quick: Client, tmp_path: Path, stop: Any) -> None:
    """As when a laptop sleeps: dispatcher, pool and workers stop for longer than the limit, and nothing is lost."""
    witness = tmp_path / "witness"
    dispatch = ct.dispatch(fifty)(str(witness))
    until(lambda: runs(witness))
    pid, pool = quick.status().pid, quick.status().pools[0].pid
    everything = [pid, pool, *worker_pids(quick)]
    stop(*everything)
    time.sleep(3 * LIMIT)
    for one in reversed(everything):
        os.kill(one, signal.SIGCONT)

    assert ct.get_result(dispatch, wait=True, timeout=120).result == expected_of_fifty()
    assert set(runs(witness).values()) == {1}
    assert (quick.status().pid, quick.status().pools[0].pid) == (pid, pool)


def test_a_stopped_executor_host_is_replaced(quick: Client, tmp_path: Path, stop: Any) -> None:
    """A host is a pool."""
    dispatch = dispatched(tmp_path / "witness", executor=Here())
    host = next(pool.pid for pool in quick.status().pools if pool.kind == "host")
    stop(host)

    assert ct.get_result(dispatch, wait=True, timeout=120).result == 2
    assert next(pool.pid for pool in quick.status().pools if pool.kind == "host") != host


@pytest.mark.nightly
def test_a_host_that_is_kept_from_answering_is_left_alone(quick: Client) -> None:
    """A task there may hold the interpreter's lock for longer than the limit, in C code."""

    def holding(seconds: float) -> int:
        import ctypes

        ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # PyDLL, unlike CDLL, keeps the lock
        return os.getpid()

    host = ct.dispatch_sync(ct.lattice(ct.electron(holding, executor=Here())))(0.0).result
    assert ct.dispatch_sync(ct.lattice(ct.electron(holding, executor=Here())))(3 * LIMIT).result == host


def test_a_stopped_worker_of_another_cluster_is_avoided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Any
) -> None:
    """Its task runs elsewhere; it is not ended, and gets work again when it answers."""
    monkeypatch.setenv("COVALAB_SILENT_SECONDS", str(LIMIT))
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    dask = HandMade(tmp_path / "dask")
    monkeypatch.setenv("COVALAB_DASK_SCHEDULER_ADDRESS", dask.address)
    client = connect(data_dir=tmp_path / "data")
    try:
        witness = tmp_path / "witness"
        dispatch = dispatched(witness)
        node = client.node(dispatch, 0)
        assert node.status == "running"
        workers = [
            process
            for parent in dask.processes[1:]
            for process in psutil.Process(parent.pid).children(recursive=True)
            if "spawn_main" in " ".join(process.cmdline())
        ]
        assert len(workers) == 2
        stop(*(process.pid for process in workers))
        until(lambda: client.status().pools[0].workers == 1)
        for process in workers:
            os.kill(process.pid, signal.SIGCONT)

        assert ct.get_result(dispatch, wait=True, timeout=120).result == 2
        until(lambda: client.status().pools[0].workers == 2)
        assert all(process.is_running() for process in workers)
        assert f"has not answered for {LIMIT} s" in client.node(dispatch, 0).attempts[0].outcome.failure.message  # type: ignore[union-attr]
    finally:
        client.stop()
        dask.kill()


@pytest.mark.nightly
def test_a_stopped_scheduler_of_another_cluster_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Any
) -> None:
    """The pool ends, another waits for the scheduler, and all goes on with it."""
    monkeypatch.setenv("COVALAB_SILENT_SECONDS", str(LIMIT))
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    dask = HandMade(tmp_path / "dask")
    monkeypatch.setenv("COVALAB_DASK_SCHEDULER_ADDRESS", dask.address)
    client = connect(data_dir=tmp_path / "data")
    try:
        dispatch = dispatched(tmp_path / "witness")
        pool = client.status().pools[0].pid
        stop(dask.processes[0].pid)
        until(lambda: client.status().pools[0].pid != pool)
        os.kill(dask.processes[0].pid, signal.SIGCONT)

        assert ct.get_result(dispatch, wait=True, timeout=120).result == 2
    finally:
        client.stop()
        dask.kill()
