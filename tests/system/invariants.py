"""Invariants of a dispatch that faults hit: it ends with its value, and no task that was recorded runs again.

The dispatch leaves a line in a witness file for each task that runs, so that what really ran is known independently of
any database.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tests.system.processes import described, family
from tests.waiting import LONG, until

import covalab as ct
from covalab.client import Client
from covalab.core.lifecycle import TERMINAL
from covalab.store import pages


@ct.electron
def step(x: int, number: int, witness: str, seconds: float = 0.01) -> int:
    """Note that it ran, and count on."""
    with open(witness, "a") as file:  # noqa: PTH123 - one short line: atomic
        file.write(f"{number}\n")
    time.sleep(seconds)
    return x + 1


@ct.electron
def total(values: list[int]) -> int:
    """Add."""
    return sum(values)


@ct.electron
@ct.lattice
def inner(witness: str) -> Any:
    """Run twenty below another dispatch."""
    return total([step(0, 1_000 + number, witness) for number in range(20)])


@ct.lattice
def two_hundred(witness: str) -> Any:
    """Run a chain of 59, 80 side by side, a second fan of 40 on top of their sum, and one below."""
    link: Any = 0
    for number in range(59):
        link = step(link, number, witness)
    wide = total([step(0, 100 + number, witness) for number in range(80)])
    return link, total([step(wide, 300 + number, witness) for number in range(40)]), inner(witness)


EXPECTED = [59, 40 * 81, 20]


def recorded(folder: Path) -> set[tuple[int, int]]:
    """Return the nodes that are on the disk as completed, by dispatch."""
    with closing(pages.connect(folder / "covalab.db", read_only=True)) as db:
        rows: Any = db.execute("SELECT key, node FROM nodes WHERE status = 'completed'")
        return {(int(key), int(node)) for key, node in rows}


def witnessed(path: Path) -> Counter[str]:
    """Return how often each task ran."""
    return Counter(path.read_text().split()) if path.exists() else Counter()


def numbers(client: Client, folder: Path) -> dict[tuple[int, int], str]:
    """Return the number in the witness of each node that has one."""
    found: dict[tuple[int, int], str] = {}
    with closing(pages.connect(folder / "covalab.db", read_only=True)) as db:
        rows: Any = db.execute("SELECT key, id FROM dispatches").fetchall()
    for key, dispatch in rows:
        record = client.record(dispatch, outputs="none")
        for edge in record.graph.edges:
            source = record.graph.nodes[edge.source]
            if edge.name == "number" and record.graph.nodes[edge.target].name == "step":
                value = record.values[source.value]
                found[key, edge.target] = str(client.blobs.deserialize(value))
    return found


class Watch:
    """What was recorded and what had run at each fault, of the dispatches that note what runs in one witness file."""

    def __init__(self, client: Client, witness: Path) -> None:
        self._client = client
        self._witness = witness
        self._seen: list[tuple[set[tuple[int, int]], Counter[str]]] = []

    def note(self) -> None:
        """Note what is in the database, and only then how often each task ran."""
        self._seen.append((recorded(self._client.data_dir), witnessed(self._witness)))

    def check(self) -> Counter[str]:
        """Compare with what has run at the end: all tasks, and none again that was recorded. Return how often each."""
        ran = witnessed(self._witness)
        which = numbers(self._client, self._client.data_dir)
        assert {*ran} == {*which.values()}
        assert max(ran.values()) <= 1 + len(self._seen)
        for done, before in self._seen:
            again = {which[node] for node in done if node in which and ran[which[node]] > before[which[node]]}
            assert not again, f"recorded tasks {again} ran again"
        return ran


def faults_while_it_runs(
    client: Client,
    chance: random.Random,
    n_faults: int,
    witness: Path,
    fault: Callable[[Client], object],
    *,
    before_it_begins: bool = False,
) -> None:
    """Run one dispatch of 200 tasks, and let a fault happen again and again; if so, also many before it begins."""
    over = {*TERMINAL, "pending"} if before_it_begins else TERMINAL
    folder, dispatch = client.data_dir, str(ct.dispatch(two_hundred)(str(witness)))
    watch = Watch(client, witness)
    for _ in range(n_faults):
        # Not by time alone: on a slow machine all faults would be in the first start.
        before, more = len(recorded(folder)), chance.choice([0, 0, 1, 5, 15])
        deadline = time.monotonic() + LONG
        while len(recorded(folder)) < before + more and client.summary(dispatch).status not in over:
            assert time.monotonic() < deadline
        time.sleep(chance.random() * 0.05)
        fault(client)
        watch.note()
    began = time.monotonic()
    assert ct.get_result(dispatch, wait=True, timeout=LONG).result == EXPECTED
    print(f"{n_faults} faults, the end {time.monotonic() - began:.1f} s after the last")
    watch.check()


def kill_dispatcher(client: Client) -> None:
    """Kill the dispatcher, wherever it is."""
    with suppress(ProcessLookupError):
        os.kill(client.status().pid, signal.SIGKILL)


def kill_pool(client: Client) -> None:
    """Kill the process that holds Dask's scheduler, as soon as there is one."""
    pid = until(lambda: next((pool.pid for pool in client.status().pools if pool.pid), 0))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_everything(client: Client) -> None:
    """Kill all processes of a data folder, also those that others were about to start."""
    deadline = time.monotonic() + LONG
    while members := [it for it in family(client.data_dir).values() if it.state != "Z"]:
        for it in members:
            with suppress(ProcessLookupError):
                os.kill(it.pid, signal.SIGKILL)
        assert time.monotonic() < deadline, described(members)


def seeded() -> random.Random:
    """Print a seed, and return what chooses by it."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)
