"""Tasks that dispatch and wait complete, however many there are and however deep: a wait gives its place away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.processes import dispatcher
from tests.system.tasks import adding
from tests.waiting import until

import covalab as ct
from covalab.client import Client

pytestmark = pytest.mark.sampled(2)

SECONDS = 20
"""Enough for what takes two, on a machine that is busy; nothing here may wait for ever."""
WITHIN = 15


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Share one dispatcher and pool of two workers."""
    with dispatcher(tmp_path_factory.mktemp("nested") / "data") as client:
        assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
        yield client


@ct.electron
def double(x: int, seconds: float = 0.05) -> int:
    """Take a while, double."""
    time.sleep(seconds)
    return 2 * x


@ct.lattice
def inner(x: int) -> Any:
    """Two tasks, one after the other."""
    return double(double(x))


@ct.electron
def dispatch_and_wait(x: int) -> Any:
    """Dispatch, then wait for the result."""
    return ct.get_result(ct.dispatch(inner)(x), wait=True).result


@ct.electron
def dispatch_and_wait_with_a_limit(x: int) -> Any:
    """Wait no longer than a while that is enough."""
    return ct.get_result(ct.dispatch(inner)(x), wait=True, timeout=WITHIN).result


@ct.electron
def dispatch_synchronously(x: int) -> Any:
    """Do both in one call."""
    return ct.dispatch_sync(inner)(x).result


@ct.electron
def dispatch_two_and_wait_for_both(x: int) -> Any:
    """Have two under way, and wait for the second first."""
    first, second = ct.dispatch(inner)(x), ct.dispatch(inner)(10 * x)
    return [ct.get_result(run, wait=True).result for run in (second, first)]


@ct.electron
def wait_for_a_task(x: int) -> Any:
    """Wait for a task by its id, with OmniQ's verb."""
    run = ct.dispatch(inner)(x)
    ct.get_task_result(run, wait=True)
    return ct.get_result(run, wait=True).result


@ct.electron
async def await_the_result(x: int) -> Any:
    """Wait as coroutines do."""
    return (await ct.async_dispatch_sync(inner)(x)).result


@ct.electron
def wait_in_a_thread(x: int) -> Any:
    """Wait in a thread of the task."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda y: ct.dispatch_sync(inner)(y).result, [x, x + 1]))


@ct.electron
async def wait_in_a_coroutine(x: int) -> Any:
    """Wait beside an event loop."""
    import asyncio

    return (await asyncio.to_thread(ct.dispatch_sync(inner), x)).result


WAYS: dict[Any, Callable[[int], Any]] = {
    dispatch_and_wait: lambda x: 4 * x,
    dispatch_and_wait_with_a_limit: lambda x: 4 * x,
    dispatch_synchronously: lambda x: 4 * x,
    dispatch_two_and_wait_for_both: lambda x: [40 * x, 4 * x],
    wait_for_a_task: lambda x: 4 * x,
    await_the_result: lambda x: 4 * x,
    wait_in_a_thread: lambda x: [4 * x, 4 * x + 4],
    wait_in_a_coroutine: lambda x: 4 * x,
}


def completed(client: Client, dispatch: str, seconds: float = SECONDS) -> Any:
    """Return the value of a dispatch that must complete soon; cancel everything if it does not."""
    try:
        result = ct.get_result(dispatch, wait=True, timeout=seconds)
        seen = {n.name: s for n, s in zip(client.graph(dispatch).nodes, client.record(dispatch).nodes, strict=True)}
        assert str(result.status) == "COMPLETED", (str(result.status), result.error, seen)
        return result.result
    finally:
        _cancel_all(client)


def _cancel_all(client: Client) -> None:
    # Again until none is left: a task that was waiting may have dispatched another in between.
    for _ in range(5):
        for summary in client.dispatches(count=1000):
            if summary.status in ("pending", "running"):
                ct.cancel(summary.id)
        if not client.status().active:
            return
        time.sleep(0.2)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_four_that_wait_on_two_workers_complete(way: Any, client: Client) -> None:
    """Each gets the value of the dispatch that it waits for."""

    @ct.lattice
    def four() -> Any:
        return [way(x) for x in range(4)]

    assert completed(client, ct.dispatch(four)()) == [WAYS[way](x) for x in range(4)]


def test_ten_that_wait_among_ten_that_do_not(client: Client) -> None:
    """The others run meanwhile."""

    @ct.lattice
    def twenty() -> Any:
        return [[dispatch_and_wait(x), double(x)] for x in range(10)]

    assert completed(client, ct.dispatch(twenty)()) == [[4 * x, 2 * x] for x in range(10)]


def test_four_dispatches_of_one_task_each(client: Client) -> None:
    """As four notebooks would send them."""
    runs = [ct.dispatch(ct.lattice(dispatch_and_wait))(x) for x in range(4)]

    for run in runs:
        ct.get_result(run, wait=True, timeout=SECONDS)
    seen = [(str(result.status), result.result) for result in map(ct.get_result, runs)]
    _cancel_all(client)

    assert seen == [("COMPLETED", 4 * x) for x in range(4)]


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_waits_within_waits(depth: int, client: Client) -> None:
    """Each level waits for two of the next: more wait than there are workers, at every level."""

    @ct.electron
    def level(n: int) -> int:
        if n == 0:
            return 1

        @ct.lattice
        def below(n: int) -> Any:
            return [level(n), level(n)] if n < 3 else [level(n)]

        return sum(ct.dispatch_sync(below)(n - 1).result)

    @ct.lattice
    def outermost(n: int) -> Any:
        return [level(n), level(n)]

    expected = {2: 4, 3: 8, 5: 8}[depth]
    assert completed(client, ct.dispatch(outermost)(depth), 60) == [expected, expected]


def test_a_wait_in_a_sublattice(client: Client) -> None:
    """Sublattices wait for nothing, their tasks may."""

    @ct.electron
    @ct.lattice
    def below(x: int) -> Any:
        return [dispatch_and_wait(x), dispatch_synchronously(x)]

    @ct.lattice
    def above() -> Any:
        return [below(x) for x in range(4)]

    assert completed(client, ct.dispatch(above)()) == [[4 * x, 4 * x] for x in range(4)]


def test_an_inner_dispatch_that_fails_ends_the_wait(client: Client) -> None:
    """The task goes on and can say what it found."""

    @ct.electron
    def failing(x: int) -> int:
        raise ValueError(x)

    @ct.lattice
    def doomed(x: int) -> Any:
        return failing(x)

    @ct.electron
    def waiting(x: int) -> str:
        result = ct.get_result(ct.dispatch(doomed)(x), wait=True)
        return f"{result.status} {x in [n for n in range(4) if str(n) in str(result.error)]}"

    @ct.lattice
    def four() -> Any:
        return [waiting(x) for x in range(4)]

    assert completed(client, ct.dispatch(four)()) == ["FAILED True"] * 4


def test_an_inner_dispatch_that_ends_its_process_ends_the_wait(client: Client) -> None:
    """The worker that is lost is not the one of the task that waits, nor does it take its place."""

    @ct.electron
    def exiting(x: int) -> int:
        import os

        os._exit(x)

    @ct.lattice
    def doomed(x: int) -> Any:
        return exiting(x)

    @ct.electron
    def waiting(x: int) -> str:
        return str(ct.dispatch_sync(doomed)(x).status)

    @ct.lattice
    def four() -> Any:
        return [waiting(x) for x in range(4)]

    dispatch = ct.dispatch(four)()
    assert completed(client, dispatch, 60) == ["FAILED"] * 4
    working = [n for n, node in enumerate(client.graph(dispatch).nodes) if node.name == "waiting"]
    assert [client.node(dispatch, n).attempt for n in working] == [1] * 4


def test_cancel_of_the_outer_while_it_waits(client: Client, tmp_path: Path) -> None:
    """It ends at once, and the workers are free."""

    @ct.lattice
    def long(x: int) -> Any:
        return double(x, 600)

    @ct.electron
    def waiting(x: int, folder: str) -> Any:
        run = ct.dispatch(long)(x)
        (Path(folder) / f"{x}").write_text(str(run))
        return ct.get_result(run, wait=True).result

    @ct.lattice
    def four(folder: str) -> Any:
        return [waiting(x, folder) for x in range(4)]

    dispatch = ct.dispatch(four)(str(tmp_path))
    try:
        until(lambda: len([path for path in tmp_path.iterdir() if path.name in "0123" and path.read_text()]) == 4)
        began = time.monotonic()
        ct.cancel(dispatch)
        assert str(ct.get_result(dispatch, wait=True, timeout=60).status) == "CANCELLED"
        assert time.monotonic() - began < 5
    finally:
        ct.cancel(dispatch)
        _cancel_all(client)
    assert completed(client, ct.dispatch(ct.lattice(adding))(1)) == 2


def test_cancel_of_the_inner_ends_the_wait(client: Client, tmp_path: Path) -> None:
    """The task learns that it was cancelled."""

    @ct.lattice
    def long(x: int) -> Any:
        return double(x, 600)

    @ct.electron
    def waiting(x: int, folder: str) -> str:
        run = ct.dispatch(long)(x)
        (Path(folder) / f"{x}").write_text(str(run))
        return str(ct.get_result(run, wait=True).status)

    @ct.lattice
    def four(folder: str) -> Any:
        return [waiting(x, folder) for x in range(4)]

    dispatch = ct.dispatch(four)(str(tmp_path))
    try:
        until(lambda: len([path for path in tmp_path.iterdir() if path.read_text()]) == 4)
        for path in tmp_path.iterdir():
            ct.cancel(path.read_text())
    except AssertionError:
        _cancel_all(client)
        raise
    assert completed(client, dispatch) == ["CANCELLED"] * 4


def test_a_task_that_waited_goes_on_as_before(client: Client) -> None:
    """Output, folder, variables and context are those that it had before."""

    @ct.electron
    def waiting(x: int) -> Any:
        import os

        print("before", x)
        os.environ["MINE"] = str(x)
        before = (ct.get_context().dispatch_id, ct.get_context().node_id, str(Path.cwd()))
        value = ct.dispatch_sync(inner)(x).result
        after = (ct.get_context().dispatch_id, ct.get_context().node_id, str(Path.cwd()))
        print("after", x, os.environ["MINE"])
        return [value, before == after]

    @ct.lattice
    def six() -> Any:
        return [waiting(x) for x in range(6)]

    dispatch = ct.dispatch(six)()
    assert completed(client, dispatch) == [[4 * x, True] for x in range(6)]
    nodes = [n for n, node in enumerate(client.graph(dispatch).nodes) if node.name == "waiting"]
    assert [client.node(dispatch, n).stdout for n in nodes] == [f"before {x}\nafter {x} {x}\n" for x in range(6)]


def test_waits_do_not_leave_processes_behind(client: Client) -> None:
    """Whatever took the places that were given away is gone afterwards."""
    from tests.system.processes import settle, steady

    before = steady(client.data_dir)

    @ct.lattice
    def ten() -> Any:
        return [dispatch_and_wait(x) for x in range(10)]

    assert completed(client, ct.dispatch(ten)()) == [4 * x for x in range(10)]
    settle(client.data_dir, before, 75)  # a process may stay for a minute without work
