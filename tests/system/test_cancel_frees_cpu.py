"""Cancel frees the processor within two seconds, whatever the task does, in whichever process and however deaf."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.system.processes import alive, described, dispatcher, family, note, noted
from tests.system.tasks import adding
from tests.waiting import until

import covalab as ct
from covalab.client import Client

SECONDS = 2.0
"""What is promised."""
LIFE = 90
"""Seconds after which anything that a task starts here ends by itself, if nobody else ends it."""
WINDOW = 0.25
IDLE_SHARE = 0.12
"""Of a core, over a window: what a heartbeat may cost. A task that computes gets more on the busiest machine."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Share one dispatcher and pool."""
    with dispatcher(tmp_path_factory.mktemp("cancel") / "data") as client:
        assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
        yield client


def begun(folder: str, pid: int | None = None) -> None:
    """Say that what the task does has begun, and which process it started for it."""
    if pid is not None:
        note(folder, pid)
    (Path(folder) / "begun").touch()


def spin(folder: str) -> None:
    """Compute in a child process, deaf to what can be ignored."""
    try:
        signal.alarm(LIFE)
        begun(folder, os.getpid())
        while True:
            pass
    finally:
        os._exit(1)


@ct.electron
def python_loop(folder: str) -> None:
    """Compute in Python."""
    begun(folder)
    while True:
        pass


@ct.electron
def power(folder: str) -> int:
    """Compute a number of a hundred million digits, in one call of C that holds the interpreter's lock."""
    begun(folder)
    return len(str(pow(7, 10**9)))


@ct.electron
def pattern(folder: str) -> object:
    """Match what takes for ever to match."""
    begun(folder)
    return re.match(r"(a+)+$", "a" * 60 + "b")


@ct.electron
def summing(folder: str) -> int:
    """Add up in one call of C."""
    begun(folder)
    return sum(range(10**13))


@ct.electron
def in_a_clean_up(folder: str) -> None:
    """Compute in C within a clean-up that an interrupt began."""
    begun(folder)
    try:
        time.sleep(LIFE)
    finally:
        max(range(10**13))


@ct.electron
def sleeping(folder: str) -> None:
    """Use no processor, for long."""
    begun(folder)
    time.sleep(600)


@ct.electron
def swallowing(folder: str) -> None:
    """Catch whatever is raised, for ever."""
    begun(folder)
    while True:
        with suppress(BaseException):
            while True:
                pass


@ct.electron
def ignoring_signals(folder: str) -> None:
    """Ignore every signal that can be ignored, and compute."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
        with suppress(ValueError):  # it is not the main thread
            signal.signal(number, signal.SIG_IGN)
    with suppress(ValueError):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    begun(folder)
    while True:
        pass


@ct.electron
def child(folder: str) -> None:
    """Wait for a program that computes."""
    started = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    begun(folder, started.pid)
    started.wait()


@ct.electron
def deaf_child(folder: str) -> None:
    """Wait for a program that computes and ignores signals."""
    text = f"import signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nsignal.alarm({LIFE})\n"
    started = subprocess.Popen([sys.executable, "-c", text + "while True: pass"], start_new_session=True)
    begun(folder, started.pid)
    started.wait()


@ct.electron
def shell(folder: str) -> None:
    """Run a pipeline of programs that compute."""
    os.system(f"(echo $$ > {folder}/shell; touch {folder}/begun; yes) | cat > /dev/null")


@ct.electron
def grandchild_daemon(folder: str) -> None:
    """Start a daemon that computes, and sleep."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                with suppress(ValueError):
                    signal.signal(number, signal.SIG_IGN)
            spin(folder)
        os._exit(0)
    time.sleep(600)


@ct.electron
def daemon_in_another_environment(folder: str) -> None:
    """Start a daemon with nothing of our environment, and wait for nothing."""
    text = f"trap '' INT TERM HUP; echo $$ > {folder}/daemon; touch {folder}/begun; end=$(($(date +%s) + {LIFE})); "
    text += "while [ $(date +%s) -lt $end ]; do :; done"
    subprocess.Popen(["setsid", "-f", "sh", "-c", text], env={"PATH": os.environ["PATH"]})
    threading.Event().wait()


@ct.electron
def succession(folder: str) -> None:
    """Start a process that computes a tenth of a second, then starts its like and ends."""
    if os.fork() == 0:
        try:
            os.setsid()
            begun(folder, os.getpid())
            end = time.monotonic() + LIFE
            while time.monotonic() < end:
                if os.fork():
                    os._exit(0)
                note(folder)
                until_ = time.monotonic() + 0.1
                while time.monotonic() < until_:
                    pass
        finally:
            os._exit(1)
    time.sleep(600)


@ct.electron
def threads(folder: str) -> None:
    """Compute in six threads, and wait for them: they hold each other up."""
    began = [threading.Thread(target=python_loop, args=(folder,)) for _ in range(6)]
    for thread in began:
        thread.start()
    for thread in began:
        thread.join()


@ct.electron
def daemon_thread(folder: str) -> None:
    """Compute in a thread that nobody waits for, and swallow interrupts."""
    threading.Thread(target=python_loop, args=(folder,), daemon=True).start()
    while True:
        with suppress(BaseException):
            time.sleep(600)


@ct.electron
def process_pool(folder: str) -> None:
    """Compute in the processes of a `multiprocessing` pool."""
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(3) as pool:
        for worker in pool._pool:  # type: ignore[attr-defined]
            note(folder, worker.pid)
        begun(folder)
        pool.map(eval, ["sum(range(10**13))"] * 3)


@ct.electron
def spawned_executor(folder: str) -> None:
    """Compute in the processes of an executor that spawns them."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        ready = [executor.submit(os.getpid) for _ in range(2)]
        for one in ready:
            note(folder, one.result())
        begun(folder)
        list(executor.map(eval, ["sum(range(10**13))"] * 2))


@ct.electron
def numpy_loop(folder: str) -> None:
    """Multiply matrices, in C and in as many threads as it likes."""
    import numpy as np

    a = np.ones((1500, 1500))
    begun(folder)
    while True:
        a @ a


@ct.electron
def one_numpy_call(folder: str) -> object:
    """Compute long in one call of C that gives the interpreter's lock away."""
    import numpy as np

    a = np.random.default_rng(1).random((5000, 5000))
    begun(folder)
    return np.linalg.svd(a)


@ct.electron
def blocked_in_c(folder: str) -> None:
    """Wait in C, where no exception arrives."""
    import ctypes

    begun(folder)
    while True:
        ctypes.CDLL(None).pause()


@ct.electron
def blocked_by_a_lock(folder: str) -> None:
    """Wait for a lock that nobody gives back, beside a thread that computes."""
    threading.Thread(target=python_loop, args=(folder,), daemon=True).start()
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@ct.electron
def event_loop(folder: str) -> None:
    """Compute in a coroutine, and again in its clean-up."""
    import asyncio

    async def compute() -> None:
        begun(folder)
        try:
            while True:
                await asyncio.sleep(0)
        finally:
            while True:
                pass

    asyncio.run(compute())


@ct.electron
def in_exit_handlers(folder: str) -> None:
    """Compute when the process is told to end."""
    import atexit

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):
            signal.signal(number, lambda *_: sum(range(10**13)))
    atexit.register(lambda: sum(range(10**13)))
    begun(folder)
    while True:
        pass


KINDS: list[Any] = [
    *(python_loop, power, pattern, summing, in_a_clean_up, sleeping, swallowing, ignoring_signals, child),
    *(deaf_child, shell, grandchild_daemon, daemon_in_another_environment, succession, threads, daemon_thread),
    *(process_pool, spawned_executor, numpy_loop, one_numpy_call, blocked_in_c, blocked_by_a_lock, event_loop),
    in_exit_handlers,
]


def seconds_until_idle(folder: Path, notes: Path, tracked: set[tuple[int, int]], at_most: float) -> float:
    """Return after how many seconds none of these processes, nor any that was noted since, computes."""
    began = time.monotonic()
    while True:
        since = time.monotonic() - began
        before = _cpu(notes, tracked)
        time.sleep(WINDOW)
        after = _cpu(notes, tracked)
        used = sum(seconds - before.get(key, 0.0) for key, seconds in after.items())
        if used <= IDLE_SHARE * WINDOW + 0.011:  # processor time is counted in hundredths of a second
            return since
        if since > at_most:
            left = [it for it in alive(after.keys()) if it.cpu - before.get(it.key, 0.0) > 0]
            pytest.fail(f"{since:.1f} s after the cancel, these compute:\n{described(left)}\nof {len(family(folder))}")


def _cpu(notes: Path, tracked: set[tuple[int, int]]) -> dict[tuple[int, int], float]:
    return {it.key: it.cpu for it in alive(tracked | noted(notes))}


def of_the_dispatch(client: Client) -> set[tuple[int, int]]:
    """Return all processes there are, except those that decide and relay: they go on working."""
    status = client.status()
    return {it.key for it in family(client.data_dir).values() if it.pid not in {status.pid, status.pools[0].pid}}


def cancel_one(client: Client, task: Callable[..., Any], folder: Path, seconds: float) -> None:
    """Start a task, cancel it after a while, measure, and see that the pool is as good as before."""
    folder.mkdir()
    dispatch = ct.dispatch(ct.lattice(task))(str(folder))
    try:
        until((folder / "begun").exists)
        time.sleep(seconds)
        for name in ("shell", "daemon"):
            if (folder / name).exists():
                until(lambda name=name: (folder / name).read_text())  # type: ignore[misc]
                note(str(folder), int((folder / name).read_text()))
        tracked = of_the_dispatch(client)
    finally:
        ct.cancel(dispatch)
    taken = seconds_until_idle(client.data_dir, folder, tracked, 4 * SECONDS)
    assert taken <= SECONDS, f"the processor was free {taken:.1f} s after the cancel"
    result = ct.get_result(dispatch, wait=True, timeout=60)
    assert result.status == ct.status.CANCELLED
    until(lambda: not alive(noted(folder)), 20)  # two seconds, where the machine has nothing else to do
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2


def cancel_at_random(client: Client, tmp_path: Path, n: int) -> None:
    """Cancel `n` tasks of random kinds at random times, and go on after failures to see them all."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    failures = []
    rounds = -(-n // len(KINDS))
    for number, task in enumerate([task for _ in range(rounds) for task in draw.sample(KINDS, len(KINDS))][:n]):
        seconds = draw.random() * 0.5
        try:
            cancel_one(client, task, tmp_path / str(number), seconds)
        except (AssertionError, pytest.fail.Exception) as error:
            failures.append(f"{number}, {task.__name__}, cancelled after {seconds:.2f} s: {error}")
    assert not failures, "\n\n".join([f"seed {seed}", *failures])


@pytest.mark.timeout(240)
def test_cancel_frees_the_processor_a_dozen_times(client: Client, tmp_path: Path) -> None:
    """In random order, at random times."""
    cancel_at_random(client, tmp_path, 12)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_cancel_frees_the_processor_a_hundred_times(client: Client, tmp_path: Path) -> None:
    """Each kind about four times, in random order, at random times."""
    cancel_at_random(client, tmp_path, 100)


@pytest.mark.nightly
@pytest.mark.timeout(60)
@pytest.mark.parametrize("task", KINDS, ids=lambda task: task.__name__)
def test_cancel_frees_the_processor_of(task: Callable[..., Any], client: Client, tmp_path: Path) -> None:
    """Each kind by itself, to find the one that does not."""
    cancel_one(client, task, tmp_path / "one", 0.2)
