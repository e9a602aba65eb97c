"""Cancel asks first, then insists: the task and what it started are gone within five seconds, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system import test_other_dask
from tests.waiting import until

import covalab as ct
from covalab.client import Client

pytestmark = pytest.mark.sampled(6, of="file")

by_hand, joined = test_other_dask.by_hand, test_other_dask.joined  # fixtures

SECONDS = 5.0
"""What is promised of a cancel."""


def note(folder: str, name: str, pid: int) -> None:
    """Say which process something is."""
    path = Path(folder) / name
    path.with_suffix(".tmp").write_text(str(pid))
    path.with_suffix(".tmp").rename(path)


@ct.electron
def spinning(folder: str) -> None:
    """Compute for ever in Python."""
    note(folder, "task", os.getpid())
    while True:
        pass


@ct.electron
def asleep_in_c(folder: str) -> None:
    """Sleep where no Python runs."""
    note(folder, "task", os.getpid())
    time.sleep(600)


@ct.electron
def holding_the_lock(folder: str) -> None:
    """Compute inside one call of C that never lets another thread run."""
    note(folder, "task", os.getpid())
    sum(range(10**13))


@ct.electron
def waiting_for_a_child(folder: str) -> None:
    """Wait for a program."""
    note(folder, "task", os.getpid())
    child = subprocess.Popen(["sleep", "600"])
    note(folder, "child", child.pid)
    child.wait()


@ct.electron
def leaving_children(folder: str) -> None:
    """Start a program, one in a session of its own that ignores interrupts, and an orphan; then compute."""
    note(folder, "task", os.getpid())
    note(folder, "child", subprocess.Popen(["sleep", "600"]).pid)
    deaf = ["python", "-c", "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"]
    note(folder, "deaf", subprocess.Popen(deaf, start_new_session=True).pid)
    orphan = subprocess.run(["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"], capture_output=True, check=True)
    note(folder, "orphan", int(orphan.stdout))
    while True:
        pass


@ct.electron
def not_listening(folder: str) -> None:
    """Swallow whatever it is told."""
    note(folder, "task", os.getpid())
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001 - that is its point
            pass


@ct.electron
def tidying_up(folder: str) -> None:
    """Do what a task does when the stop button is pressed."""
    note(folder, "task", os.getpid())
    try:
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        (Path(folder) / "tidy").touch()
        raise


@ct.electron
def beside(seconds: float) -> int:
    """Take a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    return os.getpid()


@ct.electron
def going_on(folder: str) -> int:
    """Go on until it is told that the test has seen enough."""
    end = time.monotonic() + 30
    while not (Path(folder) / "enough").exists() and time.monotonic() < end:
        time.sleep(0.01)
    return os.getpid()


def is_gone(path: Path) -> bool:
    """Whether the process that a file names is away, or only waits to be buried."""
    try:
        return bool(psutil.Process(int(path.read_text())).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def is_idle(path: Path) -> bool:
    """Whether the process that a file names is away, or uses no processor."""
    try:
        return bool(psutil.Process(int(path.read_text())).cpu_percent(0.2) < 20)
    except psutil.NoSuchProcess:
        return True


STUBBORN = [
    (spinning, ["task"]),
    (asleep_in_c, ["task"]),
    (holding_the_lock, ["task"]),
    (waiting_for_a_child, ["task", "child"]),
    (leaving_children, ["task", "child", "deaf", "orphan"]),
    (not_listening, ["task"]),
]


@pytest.mark.parametrize(("task", "names"), STUBBORN, ids=[task.__name__ for task, _ in STUBBORN])
def test_a_cancelled_task_is_gone_in_five_seconds(
    task: Callable[..., Any], names: list[str], live: Client, tmp_path: Path
) -> None:
    """The processor is free, the processes it started are gone, and a task beside it ends as it would have."""

    @ct.lattice
    def both(folder: str) -> object:
        return [task(folder), going_on(folder)]

    dispatch = ct.dispatch(both)(str(tmp_path))
    until(lambda: all((tmp_path / name).exists() for name in names))
    node = next(n for n, node in enumerate(live.graph(dispatch).nodes) if node.name == task.__name__)
    began = time.monotonic()
    ct.cancel(dispatch, [node])
    until(lambda: all(is_gone(tmp_path / name) for name in names[1:]), SECONDS)
    until(lambda: is_idle(tmp_path / "task"), SECONDS - (time.monotonic() - began))
    (tmp_path / "enough").touch()
    result = ct.get_result(dispatch, wait=True, timeout=120)

    assert result.status == ct.status.CANCELLED
    assert result.get_node_result(node)["status"] == "CANCELLED"
    other = next(n for n, node in enumerate(live.graph(dispatch).nodes) if node.name == "going_on")
    assert result.get_node_result(other)["status"] == "COMPLETED"


def worker_of(task: psutil.Process) -> psutil.Process:
    """Return the worker beside which a task runs: the parent of the process that forked it."""
    return task.parents()[1]


def test_a_task_that_listens_keeps_its_worker(live: Client, tmp_path: Path) -> None:
    """It gets a `KeyboardInterrupt` and may tidy up; its process is not killed before its dispatch has ended."""
    dispatch = ct.dispatch(ct.lattice(tidying_up))(str(tmp_path))
    until((tmp_path / "task").exists)
    task = psutil.Process(int((tmp_path / "task").read_text()))
    worker = worker_of(task)
    ct.cancel(dispatch)
    until((tmp_path / "tidy").exists, SECONDS)
    time.sleep(2.5)  # the time after which one that does not listen is ended

    assert ct.get_result(dispatch, wait=True).status == ct.status.CANCELLED
    assert "multiprocessing" in " ".join(worker.cmdline())  # forked, or one with a nanny that somebody started
    assert isinstance(ct.dispatch_sync(ct.lattice(beside))(0.01).result, int)
    until(lambda: not task.is_running())


def test_cancelling_one_of_a_step_leaves_the_rest_of_it(live: Client, tmp_path: Path) -> None:
    """Twenty quick ones and one that is cancelled before or while it runs: twenty values."""

    @ct.lattice
    def many(folder: str) -> object:
        return [*(beside(0.05) for _ in range(10)), tidying_up(folder), *(beside(0.05) for _ in range(10))]

    dispatch = ct.dispatch(many)(str(tmp_path))
    until((tmp_path / "task").exists)
    nodes = live.graph(dispatch).nodes
    node = next(n for n, node in enumerate(nodes) if node.name == "tidying_up")
    ct.cancel(dispatch, [node])
    result = ct.get_result(dispatch, wait=True, timeout=120)

    others = [result.get_node_result(n)["status"] for n, node in enumerate(nodes) if node.name == "beside"]
    assert [str(status) for status in others] == ["COMPLETED"] * 20
    assert result.get_node_result(node)["status"] == "CANCELLED"


def test_cancelling_what_has_not_begun_interrupts_nobody(live: Client, tmp_path: Path) -> None:
    """The task in front of it ends as it would have; it never begins."""

    @ct.lattice
    def chain(folder: str) -> object:
        first = beside(1.0)
        last = tidying_up(folder)
        ct.wait(last, first)
        return first, last

    dispatch = ct.dispatch(chain)(str(tmp_path))
    until(lambda: live.summary(dispatch).counts.running)
    nodes = live.graph(dispatch).nodes
    ct.cancel(dispatch, [next(n for n, node in enumerate(nodes) if node.name == "tidying_up")])
    result = ct.get_result(dispatch, wait=True, timeout=120)

    first = next(n for n, node in enumerate(nodes) if node.name == "beside")
    assert result.get_node_result(first)["status"] == "COMPLETED"
    assert not (tmp_path / "task").exists()


@pytest.mark.parametrize("task", [spinning, waiting_for_a_child], ids=["in Python", "with a child"])
def test_cancel_asks_first_on_somebody_elses_worker(
    task: Callable[..., Any],
    joined: Client,
    tmp_path: Path,
) -> None:
    """The task is interrupted there too, its children are gone, and the worker goes on."""
    folder = tmp_path / "notes"
    folder.mkdir()
    dispatch = ct.dispatch(ct.lattice(task))(str(folder))
    until((folder / "task").exists)
    if task is waiting_for_a_child:
        until((folder / "child").exists)
    worker = worker_of(psutil.Process(int((folder / "task").read_text())))
    ct.cancel(dispatch)
    until(lambda: is_idle(folder / "task") or is_gone(folder / "task"), SECONDS)
    if task is waiting_for_a_child:
        until(lambda: is_gone(folder / "child"), SECONDS)

    assert ct.get_result(dispatch, wait=True, timeout=60).status == ct.status.CANCELLED
    assert worker.is_running()
    assert isinstance(ct.dispatch_sync(ct.lattice(beside))(0.01).result, int)
