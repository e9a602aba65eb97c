"""kill -9, of each part, in the middle of fifty nodes: it ends by itself, and nothing recorded runs again."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tests.system.tasks import adding, dying, expected_of_fifty, fifty, long, runs, sleeping, witnessed
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.client.launcher import find

pytestmark = pytest.mark.sampled(3, of="file")


def kill_dispatcher(client: Client) -> None:
    """End the process that decides."""
    address = find(client.data_dir)
    assert address is not None
    os.kill(address.pid, signal.SIGKILL)


def kill_pool(client: Client) -> None:
    """End the process that holds Dask."""
    os.kill(client.status().pools[0].pid, signal.SIGKILL)


def starter(client: Client) -> psutil.Process:
    """Return the process from which the pool's workers are forked."""
    pool = psutil.Process(client.status().pools[0].pid)
    return next(process for process in pool.children() if "forkserver" in " ".join(process.cmdline()))


def worker_pids(client: Client) -> list[int]:
    """Return the processes that run tasks."""
    pool = psutil.Process(client.status().pools[0].pid)
    starters = [process for process in pool.children() if "forkserver" in " ".join(process.cmdline())]
    return [process.pid for one in starters for process in one.children()]


def kill_worker(client: Client) -> None:
    """End one process that runs tasks."""
    os.kill(worker_pids(client)[0], signal.SIGKILL)


def kill_starter(client: Client) -> None:
    """End the process that workers are forked from, and them with it."""
    starter(client).kill()


@pytest.mark.parametrize("kill", [kill_dispatcher, kill_pool, kill_worker, kill_starter])
def test_a_dispatch_survives_the_death_of(kill: Callable[[Client], None], own: Client, tmp_path: Path) -> None:
    """Whatever dies, the dispatch completes, its value is right, and no recorded node ran twice."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    witness = tmp_path / "witness"
    dispatch = ct.dispatch(fifty)(str(witness))
    at_least = random.Random(seed).randrange(3, 35)
    until(lambda: own.summary(dispatch).counts.completed >= at_least)
    recorded = {state.node for state in own.record(dispatch, outputs="none").nodes if state.status == "completed"}
    before = runs(witness)
    kill(own)

    result = ct.get_result(dispatch, wait=True, timeout=120)

    assert result.status == ct.status.COMPLETED
    assert result.result == expected_of_fifty()
    after = runs(witness)
    graph = own.graph(dispatch)
    twice = {task for task, count in after.items() if count > 1}
    ran_again = {
        node for node in recorded if graph.nodes[node].name == "witnessed" and _argument(own, dispatch, node) in twice
    }
    assert not ran_again, f"recorded nodes {ran_again} ran again"
    # At most what was in flight: a step at each of two workers, and one queued behind each.
    assert sum(after.values()) - len(after) <= sum(before.values())
    assert set(after) == set(map(str, range(40))) | {str(100 ** (2**n)) for n in range(9)}


def _argument(client: Client, dispatch: str, node: int) -> str:
    source = next(edge.source for edge in client.node(dispatch, node).inputs if edge.name == "x")
    value = client.node(dispatch, source).value
    assert value is not None
    return str(client.blobs.deserialize(value))


def test_killing_everything_at_once_loses_nothing(own: Client, tmp_path: Path) -> None:
    """Dispatcher, pool and workers die together; the next call starts them again and the dispatch completes."""
    witness = tmp_path / "witness"
    dispatch = ct.dispatch(fifty)(str(witness))
    until(lambda: own.summary(dispatch).counts.completed >= 10)
    pool = psutil.Process(own.status().pools[0].pid)
    family = [*pool.children(recursive=True), pool]
    kill_dispatcher(own)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()

    assert ct.get_result(dispatch, wait=True, timeout=120).result == expected_of_fifty()


def test_a_killed_dispatcher_leaves_no_process_behind(own: Client, tmp_path: Path) -> None:
    """The pool, its workers and a running task end within seconds of the dispatcher."""
    pid_file = tmp_path / "pid"
    dispatch = ct.dispatch(long)(str(pid_file))
    until(lambda: pid_file.exists() and pid_file.read_text())
    pool = psutil.Process(own.status().pools[0].pid)
    family = [pool, *pool.children(recursive=True)]
    assert int(pid_file.read_text()) in {process.pid for process in family}
    kill_dispatcher(own)

    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    own.cancel(dispatch)


def test_a_task_that_kills_its_worker_fails_alone(own: Client) -> None:
    """It is blamed after its tries are used up; its neighbours complete, what needs it is skipped."""

    @ct.lattice
    def poisoned() -> object:
        return adding(dying(), 1), [adding(x) for x in range(20)]

    result = ct.dispatch_sync(poisoned)()

    nodes = {node["node_id"]: node for node in result.get_all_node_results()}
    dead = next(node for node in nodes.values() if node["node_name"] == "dying")
    assert result.status == ct.status.FAILED
    assert (dead["status"], "worker process died 4 times" in dead["error"]) == ("FAILED", True)
    assert own.node(result.dispatch_id, dead["node_id"]).failure.type == "worker_lost"  # type: ignore[union-attr]
    others = [node["status"] for node in nodes.values() if node["node_name"] == "adding"]
    assert sorted(map(str, others)) == ["COMPLETED"] * 20 + ["NEW_OBJECT"]


def test_a_cancelled_task_frees_its_worker(own: Client, tmp_path: Path) -> None:
    """The running task's process ends, its dispatch is cancelled, and the next dispatch runs."""

    @ct.lattice
    def long(pid_file: str) -> object:
        return adding(sleeping(600, pid_file), 1)  # type: ignore[arg-type]

    @ct.lattice
    def short(n: int) -> object:
        return [adding(x) for x in range(n)]

    pid_file = tmp_path / "pid"
    dispatch = ct.dispatch(long)(str(pid_file))
    until(lambda: pid_file.exists() and pid_file.read_text())
    ct.cancel(dispatch)
    result = ct.get_result(dispatch, wait=True, timeout=60)

    assert result.status == ct.status.CANCELLED
    until(lambda: not psutil.pid_exists(int(pid_file.read_text())))
    assert ct.dispatch_sync(short)(4).result == [1, 2, 3, 4]


def test_a_time_limit_kills_the_task_and_its_children(own: Client, tmp_path: Path) -> None:
    """A task over its limit is gone, with the processes it started, and says timeout."""

    @ct.electron(time_limit=1)
    def stubborn(pid_file: str) -> None:
        import subprocess

        child = subprocess.Popen(["sleep", "600"])
        Path(pid_file).write_text(str(child.pid))
        while True:
            pass

    @ct.lattice
    def flow(pid_file: str) -> object:
        return stubborn(pid_file)

    pid_file = tmp_path / "pid"
    result = ct.dispatch_sync(flow)(str(pid_file))

    assert result.status == ct.status.FAILED
    detail = own.node(result.dispatch_id, 0)
    assert detail.failure is not None
    assert (detail.failure.type, detail.attempt) == ("timeout", 1)
    until(lambda: not psutil.pid_exists(int(pid_file.read_text())))


def test_a_task_that_uses_more_memory_than_it_asks_for_is_stopped(own: Client, tmp_path: Path) -> None:
    """Once: it would need as much the next time. Those before and after it run."""

    @ct.electron(memory="300 MB")
    def sized(size: int, folder: str) -> int:
        import secrets
        import time

        Path(folder, secrets.token_hex(4)).touch()
        held = b"x" * size
        time.sleep(0 if size < 1_000_000 else 60)
        return len(held)

    @ct.lattice
    def flow(sizes: list[int], folder: str) -> object:
        return [sized(size, folder) for size in sizes]

    result = ct.dispatch_sync(flow)([1, 700_000_000, 2], str(tmp_path))
    assert result.status == ct.status.FAILED
    assert "(sized) was stopped: it used 0." in str(result.error)
    assert "more than the 0.3 GB that it asks for (memory=); raise memory" in str(result.error)
    own_runs = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(own_runs) <= 3


def test_retries_are_exact(own: Client, tmp_path: Path) -> None:
    """A task that fails twice succeeds with two retries and fails with one, and each run is counted."""

    def failing_twice(witness: str) -> int:
        with open(witness, "a") as file:  # noqa: PTH123
            file.write("run\n")
        n = len(Path(witness).read_text().split())
        if n < 3:
            message = f"run {n} fails"
            raise ValueError(message)
        return n

    for retries, status, expected_runs in ((2, "COMPLETED", 3), (1, "FAILED", 2), (0, "FAILED", 1)):
        witness = tmp_path / f"witness-{retries}"
        flow = ct.lattice(ct.electron(failing_twice, retries=retries))
        result = ct.dispatch_sync(flow)(str(witness))

        assert str(result.status) == status
        assert runs(witness) == {"run": expected_runs}
        assert own.node(result.dispatch_id, 0).attempt == expected_runs


def test_two_clients_starting_at_once_find_one_dispatcher(tmp_path: Path) -> None:
    """Ten starts of one data folder end with one dispatcher."""
    from concurrent.futures import ThreadPoolExecutor

    from covalab.client.launcher import start_dispatcher

    folder = tmp_path / "data"
    with ThreadPoolExecutor(10) as threads:
        addresses = list(threads.map(lambda _: start_dispatcher(folder), range(10)))
    try:
        assert len({address.pid for address in addresses}) == 1
    finally:
        Client(folder, start=False).stop()


def test_the_same_submission_twice_is_one_dispatch(own: Client, tmp_path: Path) -> None:
    """A request that was repeated because the answer was lost changes nothing."""
    from covalab.sdk.building.submit import prepare

    witness = tmp_path / "witness"
    lattice = ct.lattice(witnessed)
    submission = prepare(lattice, (3, str(witness)), {}, own.blobs)
    for _ in range(20):
        own.submit(submission)
    ct.get_result(submission.id, wait=True)
    own.submit(submission)

    assert len(own.dispatches()) == 1
    assert runs(witness) == {"3": 1}


def test_workers_that_close_by_themselves_are_replaced(own: Client, tmp_path: Path) -> None:
    """A worker that is asked to end is not restarted by Dask; the dispatch completes all the same."""
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
    for pid in worker_pids(own):
        os.kill(pid, signal.SIGTERM)
    result = ct.get_result(ct.dispatch(fifty)(str(tmp_path / "witness")), wait=True, timeout=120)

    assert result.status == ct.status.COMPLETED
