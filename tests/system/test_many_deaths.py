"""Deaths by the dozen, by a printed seed: of everything at once, of the pool, of workers; what is left of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system import invariants
from tests.system.invariants import Watch, faults_while_it_runs, kill_everything, kill_pool, seeded, step
from tests.system.processes import alive, described, family, note, noted
from tests.system.test_environments import second_environment
from tests.waiting import LONG, until
from typing_extensions import Self

import covalab as ct
from covalab.client import Client
from covalab.client.launcher import find
from covalab.core.lifecycle import TERMINAL

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

N_DEATHS = 20
MEAN_LIFE = 2.0
SILENT_SECONDS = 2.5


def test_everything_dies_at_once_again_and_again(own: Client, tmp_path: Path) -> None:
    """No process is left of them; the next dispatcher, every second time of another Python, loses nothing."""
    other = second_environment(tmp_path / "other")
    number = count()
    started: list[subprocess.Popen[bytes]] = []

    def fault(client: Client) -> None:
        kill_everything(client)
        if next(number) % 2:
            command = [str(other), "-m", "covalab.dispatcher", "--data-dir", str(client.data_dir)]
            with (tmp_path / "log").open("ab") as log:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
            started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            process.stdout.close()
            assert client.status().pid == process.pid

    faults_while_it_runs(own, seeded(), N_DEATHS, tmp_path / "witness", fault)
    own.stop()
    for process in started:
        process.wait(LONG)


def test_pools_die_one_after_the_other(own: Client, tmp_path: Path) -> None:
    """Each takes the scheduler and all workers along; the next one goes on from what is recorded."""
    faults_while_it_runs(own, seeded(), N_DEATHS, tmp_path / "witness", kill_pool)


# -- workers -----------------------------------------------------------------------------------------------------


@ct.lattice
def three_hundred(witness: str) -> Any:
    """Run a chain of 40, and 260 side by side."""
    link: Any = 0
    for number in range(40):
        link = step(link, number, witness, 0.05)
    return link, invariants.total([step(0, 100 + number, witness, 0.1) for number in range(260)])


class Reaper:
    """Ends or stops each worker, or a process below it, after a life of random length."""

    WAYS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGSTOP)

    def __init__(self, client: Client, chance: random.Random) -> None:
        self._client = client
        self._chance = chance
        self._over = threading.Event()
        self._until: dict[int, float] = {}  # when a worker's life ends, by its pid
        self._stopped: list[psutil.Process] = []
        self.ends: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._reap)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; whoever is stopped goes on."""
        self._over.set()
        self._thread.join()
        for process in self._stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _reap(self) -> None:
        client = Client(self._client.data_dir, start=False)
        while not self._over.wait(0.05):
            with suppress(psutil.NoSuchProcess, IndexError, StopIteration):
                self._look(psutil.Process(client.status().pools[0].pid))

    def _look(self, pool: psutil.Process) -> None:
        starter = next(process for process in pool.children() if "forkserver" in " ".join(process.cmdline()))
        for worker in starter.children():
            end = self._until.setdefault(worker.pid, time.monotonic() + self._chance.expovariate(1 / MEAN_LIFE))
            if time.monotonic() > end:
                self._until[worker.pid] = time.monotonic() + 5  # one that does not end by this is not hit again soon
                victim = self._chance.choice([worker, worker, *worker.children(recursive=True)])
                # Whoever stops a task's process makes that task pause; a worker that is stopped is lost.
                way = self._chance.choice(self.WAYS if victim == worker else self.WAYS[:-1])
                victim.send_signal(way)
                if way == signal.SIGSTOP:
                    self._stopped.append(victim)
                self.ends[f"{way.name} of {'a worker' if victim == worker else 'a process below'}"] += 1


def test_workers_that_live_two_seconds_complete_three_hundred_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, ended or stopped, again and again: all tasks complete, no innocent one fails, nothing recorded reruns."""
    monkeypatch.setenv("COVALAB_SILENT_SECONDS", str(SILENT_SECONDS))
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client = Client(tmp_path / "data")
    try:
        chance, witness = seeded(), tmp_path / "witness"
        dispatch = ct.dispatch(three_hundred)(str(witness))
        until(lambda: invariants.witnessed(witness))
        watch = Watch(client, witness)
        with Reaper(client, chance) as reaper:
            while client.summary(dispatch).status not in TERMINAL:
                watch.note()
                time.sleep(0.5)
        print(dict(reaper.ends))
        assert sum(reaper.ends.values()) >= 5
        assert ct.get_result(dispatch).result == [40, 260]
        watch.check()
    finally:
        client.stop()


# -- what is left ------------------------------------------------------------------------------------------------


@ct.electron
def with_child(folder: str, number: int) -> None:
    """Start a process that starts another, and go on for long."""
    note(folder)
    child = subprocess.Popen(["sh", "-c", "sleep 600 & wait"])
    note(folder, child.pid)
    Path(folder, f"began {number}").touch()
    time.sleep(600)


def test_a_dispatcher_that_is_killed_leaves_nothing_behind(own: Client, tmp_path: Path) -> None:
    """While its pool starts, while tasks run with children of their own, or as it serves: after seconds none is left.

    What it left in the folder keeps nobody from starting the next.
    """
    chance = seeded()
    for number in range(N_DEATHS):
        folder = tmp_path / str(number)
        folder.mkdir()
        dispatch = ct.dispatch(ct.lattice(with_child))(str(folder), number)
        if chance.random() < 0.6:
            until((folder / f"began {number}").exists)
        time.sleep(chance.random())
        address = find(own.data_dir)
        assert address is not None
        os.kill(address.pid, signal.SIGKILL)
        # A zombie waits for the system's first process only.
        found = [*family(own.data_dir).values()]
        deadline = time.monotonic() + 30
        while left := [it for it in [*found, *alive(noted(folder))] if it.state != "Z"]:
            assert time.monotonic() < deadline, described(left)
            time.sleep(0.05)
            found = [*family(own.data_dir).values()]
        assert own.status().pid != address.pid
        ct.cancel(dispatch)
        assert own.summary(dispatch).status == "cancelled"


# -- time limits -------------------------------------------------------------------------------------------------


@ct.electron(time_limit=1)
def stubborn(folder: str, number: int) -> None:
    """Ignore all signals, in one of four ways, with a process that ignores them too and has a session of its own."""
    import ctypes

    for one in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(one, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    note(folder)
    own_session = bool(number % 2)
    child = subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; sleep 600 & wait"], start_new_session=own_session)
    note(folder, child.pid)
    while True:
        if number % 4 == 0:
            pass  # Python
        elif number % 4 == 1:
            ctypes.PyDLL(None).usleep(600_000_000)  # C code that keeps the interpreter's lock
        elif number % 4 == 2:
            with suppress(BaseException):
                time.sleep(600)
        else:
            with suppress(BaseException):
                threading.Event().wait(600)


@ct.lattice
def all_stubborn(folder: str, n: int) -> Any:
    """Run many that ignore their limit, and some that do not."""
    return [stubborn(folder, number) for number in range(n)], [
        step(0, number, f"{folder}/witness") for number in range(20)
    ]


def test_a_hundred_tasks_that_ignore_everything_end_at_their_limit(own: Client, tmp_path: Path) -> None:
    """Each says `timeout`, once; nothing of it is left, and its neighbours complete."""
    dispatch = ct.dispatch(all_stubborn)(str(tmp_path), 100)
    ct.get_result(dispatch, wait=True, timeout=600)

    found = Counter()  # type: ignore[var-annotated]
    longest = 0.0
    for number, node in enumerate(own.graph(dispatch).nodes):
        if node.name in ("stubborn", "step"):
            detail = own.node(dispatch, number)
            found[node.name, detail.failure and detail.failure.type, detail.attempt] += 1
            if node.name == "stubborn":
                longest = max(longest, (detail.ended_at or 0) - (detail.started_at or 0))
    print(f"the longest took {longest:.2f} s")
    assert found == {("stubborn", "timeout", 1): 100, ("step", None, 1): 20}
    keys = noted(tmp_path)
    assert len(keys) >= 101
    until(lambda: not alive(keys), 30)
