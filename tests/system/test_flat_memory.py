"""A pool that lives long stays as large as it was: memory, processes, threads and descriptors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from tests.system.processes import dispatcher, family
from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client

pytestmark = pytest.mark.sampled(1)

SAMPLES = 10
ALLOWED = 3 * 2**20


class Limits(NamedTuple):
    """By how many bytes each may grow with a dispatch, seen over the later samples."""

    dispatcher: float
    pool: float
    others: float


IN_THREE_HUNDRED = Limits(40_000, 1_000, 4_000)
"""The dispatcher's cache of finished dispatches is still filling."""
IN_TEN_THOUSAND = Limits(1_000, 500, 500)


class Size(NamedTuple):
    """What everything that belongs to a dispatcher takes."""

    dispatcher: float  # bytes of its own, not shared with another process
    pool: float
    others: float  # workers, and all that they keep
    processes: float
    threads: float
    descriptors: float


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Have a dispatcher and pool that nobody has used before."""
    with dispatcher(tmp_path / "data") as client:
        assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
        yield client


def size(client: Client) -> Size:
    """Measure now; of each number the smallest of three, because garbage is collected when it likes."""
    # Processes of dispatches that have just ended are asked to end twice a second; each is some six megabytes.
    n_before = 0
    while (n_now := len(family(client.data_dir))) != n_before:
        n_before = n_now
        time.sleep(1)
    return Size(*map(min, zip(*(_size(client) for _ in range(3)), strict=True)))


def _size(client: Client) -> Size:
    time.sleep(0.1)
    status = client.status()
    memory = dict.fromkeys((status.pid, status.pools[0].pid, 0), 0)
    members = family(client.data_dir)
    descriptors = 0
    for pid in members:
        with suppress(psutil.NoSuchProcess):  # it ended in between
            process = psutil.Process(pid)
            memory[pid if pid in memory else 0] += process.memory_full_info().uss
            descriptors += process.num_fds()
    threads = sum(it.threads for it in members.values())
    of_dispatcher, of_pool, others = memory.values()
    return Size(of_dispatcher, of_pool, others, len(members), threads, descriptors)


def same_function(_: int) -> Any:
    """Return the same lattice each time."""
    return ct.lattice(adding)


def new_function(n: int) -> Any:
    """Return a lattice whose function was never seen before."""
    namespace: dict[str, Any] = {}
    exec(f"def f(x):\n    return x + 1 + {n} - {n}", namespace)
    return ct.lattice(ct.electron(namespace["f"]))


def printing_function(_: int) -> Any:
    """Return a lattice whose task prints, logs, draws numbers and starts a thread."""

    @ct.electron
    def busy(x: int) -> int:
        import logging
        import random
        import threading
        import warnings

        print("x" * 10_000)
        logging.getLogger("mine").warning("one line")
        warnings.warn("careful", stacklevel=1)
        random.seed(1)
        thread = threading.Thread(target=print, args=("y",))
        thread.start()
        thread.join()
        return x + 1

    return ct.lattice(busy)


def failing_function(_: int) -> Any:
    """Return a lattice whose task fails."""

    @ct.electron
    def failing(x: int) -> int:
        data = bytearray(10**6)  # kept by the traceback, if somebody keeps that
        raise ValueError(len(data) + x)

    return ct.lattice(failing)


def dispatch_many(client: Client, lattice_of: Callable[[int], Any], n: int, limits: Limits) -> None:
    """Dispatch one node `n` times, one after the other, and look at what the later ones add."""
    sizes = []
    for part in range(SAMPLES):
        for number in range(n // SAMPLES):
            result = ct.dispatch_sync(lattice_of(part * n + number))(1)
            assert str(result.status) == "FAILED" if lattice_of is failing_function else result.result == 2
        sizes.append(size(client))
    print(*sizes, sep="\n")
    # The first samples have the caches that fill. The median step: a process that was started anew is no leak.
    later = sizes[3:]
    for name in Limits._fields:
        steps = [getattr(after, name) - getattr(before, name) for before, after in pairwise(later)]
        per_dispatch = statistics.median(steps) / (n // SAMPLES)
        assert per_dispatch < getattr(limits, name), f"{name}: {per_dispatch:.0f} bytes with each dispatch: {sizes}"
    for name, slack in (("processes", 1), ("threads", 2), ("descriptors", 8)):
        seen = [getattr(it, name) for it in later]
        # The fewest: the process of a dispatch that has just ended may still be there.
        assert min(seen[4:]) <= min(seen[:4]) + slack, sizes


@pytest.mark.nightly
@pytest.mark.parametrize("lattice_of", [same_function, new_function, printing_function, failing_function])
def test_three_hundred_dispatches_leave_nothing(lattice_of: Callable[[int], Any], client: Client) -> None:
    """The last hundred find everything as large as the hundred before them."""
    dispatch_many(client, lattice_of, 300, IN_THREE_HUNDRED)


@pytest.mark.nightly(1)
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("lattice_of", [same_function, new_function, printing_function])
def test_ten_thousand_dispatches_leave_nothing(lattice_of: Callable[[int], Any], client: Client) -> None:
    """The same, for long enough to see a few hundred bytes each."""
    dispatch_many(client, lattice_of, 10_000, IN_TEN_THOUSAND)


def test_many_processes_in_turn_leave_nothing(client: Client) -> None:
    """Tasks that end their process, are cancelled or time out, thirty times: what took their place does not add up."""

    @ct.electron(time_limit=0.3)
    def slow(x: int) -> int:
        time.sleep(60)
        return x

    @ct.electron
    def exiting(x: int) -> int:
        import os

        os._exit(x)

    def rounds(n: int) -> None:
        for number in range(n):
            task = (slow, exiting)[number % 2]
            assert str(ct.dispatch_sync(ct.lattice(task))(1).status) == "FAILED"
        assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2

    rounds(4)
    before = _settled(client)
    rounds(10)
    after = _settled(client)

    assert after.processes <= before.processes, (before, after)
    assert after.threads <= before.threads + 2, (before, after)
    assert after.descriptors <= before.descriptors + 8, (before, after)
    assert after.dispatcher - before.dispatcher < ALLOWED, (before, after)
    assert after.pool - before.pool < ALLOWED, (before, after)


def _settled(client: Client) -> Size:
    # Workers that took others' places have not loaded everything at once.
    sizes = [size(client)]
    for _ in range(20):
        sizes.append(size(client))
        if sizes[-1].processes == sizes[-2].processes and sizes[-1].descriptors == sizes[-2].descriptors:
            break
    return sizes[-1]
