"""A data folder with very much in it: a dispatcher starts, lists and stays as small; and many clients at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import psutil
import pytest
from tests.system.processes import dispatcher

import covalab as ct
from covalab.blobs import InMemory
from covalab.client import Client
from covalab.core.codec import serialize_small
from covalab.core.dispatch_list import ListQuery
from covalab.core.model import Counts, DispatchId, NodeKind, NodeState, Outcome, Status, Submission
from covalab.dispatcher.account_key import account_key
from covalab.dispatcher.running import summary_of
from covalab.sdk.building.submit import prepare
from covalab.store import Store, dispatch_rows, list_rows, pages

BATCH = 50
MIB = 2**20


@ct.electron
def one(x: int) -> int:
    """Return what it is given."""
    return x


@ct.lattice
def fan(n: int) -> list[int]:
    """Run so many side by side."""
    return [one(x) for x in range(n)]


@ct.lattice
def small(n: int) -> list[int]:
    """Run ten nodes."""
    return [one(n + x) for x in range(10)]


def fill(folder: Path, n_dispatches: int, n_nodes: int, *, n_running: int = 0) -> None:
    """Record dispatches that ended, the last of them running, as a dispatcher would have."""
    made = prepare(fan, (n_nodes,), {}, InMemory())
    working = [number for number, node in enumerate(made.graph.nodes) if node.kind is NodeKind.ELECTRON]
    value = serialize_small(1)

    def batch(first: int) -> list[tuple[Submission, Status]]:
        numbers = range(first, min(first + BATCH, n_dispatches))
        return [
            (
                msgspec.structs.replace(made, id=DispatchId(f"stored-{it:06}")),
                "running" if it >= n_dispatches - n_running else "completed",
            )
            for it in numbers
        ]

    def record(db: apsw.Connection, first: int) -> None:
        for submission, status in batch(first):
            at = 1e9 + first
            summary = summary_of(submission, at)
            key, _ = dispatch_rows.insert_dispatch(db, submission, summary)
            ended = [] if status == "running" else working
            counts = Counts(pending=len(working) - len(ended), completed=len(ended))
            end = None if status == "running" else at + 1
            summary = msgspec.structs.replace(summary, status=status, started_at=at, ended_at=end, counts=counts)
            states = [NodeState(node, "completed", at, at + 1, 1) for node in ended]
            outcomes = [Outcome(node, "completed", at, at + 1, value, worker="w") for node in ended]
            dispatch_rows.update_dispatch(db, key, summary, states, outcomes)

    async def fill_all() -> None:
        store = Store(folder / "covalab.db", account_key())
        for first in range(0, n_dispatches, BATCH):
            await store.write(lambda db, first=first: record(db, first))  # type: ignore[misc]
        store.close()

    folder.mkdir(mode=0o700)
    asyncio.run(fill_all())


def memory(client: Client) -> int:
    """Return what the dispatcher takes."""
    return int(psutil.Process(client.status().pid).memory_full_info().uss)


def seconds(call: object, n: int = 15) -> float:
    """Return how long a call takes: the median."""
    assert callable(call)
    found = []
    for _ in range(n):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def look(client: Client, n_dispatches: int) -> None:
    """Look at everything that a list, a page and a notebook look at."""
    assert client.dispatches(count=50)[0].id.startswith("stored-")
    client.dispatches(count=50, offset=n_dispatches // 2, status="completed")
    client.tasks_summary()
    for number in range(0, n_dispatches, max(1, n_dispatches // 20)):
        record = client.record(f"stored-{number:06}")
        assert record.summary.status in ("completed", "running")


def holds(tmp_path: Path, n_dispatches: int, n_nodes: int) -> dict[str, float]:
    """Fill a folder, use it, and return the figures. Memory does not grow with what is looked at."""
    folder = tmp_path / "data"
    fill(folder, n_dispatches, n_nodes)
    figures: dict[str, float] = {"MiB": (folder / "covalab.db").stat().st_size / MIB}
    began = time.perf_counter()
    with dispatcher(folder) as client:
        client.status()
        figures["start"] = time.perf_counter() - began
        figures["list"] = seconds(lambda: client.dispatches(count=50))
        figures["summary"] = seconds(client.tasks_summary, 3)
        with closing(pages.connect(folder / "covalab.db", read_only=True)) as db:
            figures["page"] = seconds(lambda: list_rows.select_page(db, ListQuery(count=50)))
            figures["text"] = seconds(lambda: list_rows.select_page(db, ListQuery(text="nowhere", count=50)), 3)
        look(client, n_dispatches)
        look(client, n_dispatches)
        before = memory(client)
        for _ in range(5):
            look(client, n_dispatches)
        figures["grown KiB"] = (memory(client) - before) / 1024
        figures["memory MiB"] = memory(client) / MIB
        assert memory(client) - before < 16 * MIB, figures
        run = ct.dispatch(small)(1)
        assert ct.get_result(run, wait=True, timeout=120).result == list(range(1, 11))
    print({name: round(it, 4) for name, it in figures.items()})
    return figures


def at_once(client: Client, n_clients: int, n_each: int) -> None:
    """Let clients dispatch all at once; every value is right, and nobody gets another's."""

    def work(number: int) -> list[tuple[int, list[int]]]:
        own = Client(client.data_dir)
        runs = [(number * 1_000 + it, ct.dispatch(small)(number * 1_000 + it)) for it in range(n_each)]
        found = [(it, ct.get_result(run, wait=True, timeout=300).result) for it, run in runs]
        own.close()
        return found

    began = time.perf_counter()
    with ThreadPoolExecutor(n_clients) as pool:
        all_found = [it for found in pool.map(work, range(n_clients)) for it in found]
    print(f"{n_clients} clients x {n_each} dispatches of 10 nodes: {time.perf_counter() - began:.1f} s")
    assert len(all_found) == n_clients * n_each
    for first, found in all_found:
        assert found == list(range(first, first + 10))


def test_many_dispatches_are_stored(tmp_path: Path) -> None:
    """10,000 nodes of 500 dispatches: all can be read, and memory does not grow with what was read."""
    holds(tmp_path, 500, 20)


def test_many_clients_at_once(tmp_path: Path) -> None:
    """20 clients, each 5 dispatches: each gets its own, and the same again takes no more memory."""
    with dispatcher(tmp_path / "data") as client:
        at_once(client, 20, 5)
        before = memory(client)
        at_once(client, 20, 5)
        assert memory(client) - before < 24 * MIB
        assert client.status().active == 0


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_million_nodes_are_stored(tmp_path: Path) -> None:
    """5,000 dispatches of 200 nodes: the dispatcher starts within 5 s and lists within 50 ms."""
    figures = holds(tmp_path, 5_000, 200)
    assert figures["start"] <= 5, figures
    assert figures["list"] <= 0.05, figures


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_thousand_dispatches_of_twenty_clients(tmp_path: Path) -> None:
    """20 clients, each 50 dispatches, three times: memory stays flat once caches are full."""
    with dispatcher(tmp_path / "data") as client:
        at_once(client, 20, 50)
        at_once(client, 20, 50)
        before = memory(client)
        at_once(client, 20, 50)
        assert memory(client) - before < 32 * MIB
