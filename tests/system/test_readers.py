"""Readers while dispatchers are killed, by a printed seed: nothing that was read is taken back, no item is missed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.system.invariants import recorded, seeded, step, total
from tests.system.processes import dispatcher
from tests.waiting import LONG, until

import covalab as ct
from covalab.client import Client
from covalab.core.lifecycle import TERMINAL

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

# In a dispatcher: a transaction takes a while, as on a slow disk, and most kills are in the middle of one.
SLOW = """
import sys, time
if "covalab.dispatcher" in sys.orig_argv:
    from covalab.store import store

    pass_point = store.crash_point
    store.crash_point = lambda name: (name == "transaction.open" and time.sleep(0.25), pass_point(name))
"""
N_POLLS = 10_000
N_CURSORS = 1_000
N_KILLS = 10
RANKS = {"pending": 0, "running": 1, **dict.fromkeys(TERMINAL, 2)}


@ct.electron
def telling(number: int, witness: str) -> int:
    """Put items into the stream, and take a while."""
    del witness
    for item in range(5):
        ct.put_into_stream([number, item])
        time.sleep(0.01)
    return number


@ct.lattice
def told(witness: str) -> Any:
    """Run a hundred that tell, and a chain of sixty."""
    link: Any = 0
    for number in range(60):
        link = step(link, number, witness)
    return link, total([telling(number, witness) for number in range(100)])


class Reader:
    """Compares what it reads of a dispatch with what it read before."""

    def __init__(self, folder: Path, dispatch: str, chance: random.Random) -> None:
        self._client = Client(folder)
        self._dispatch = dispatch
        self._chance = chance
        self._since = 0
        self._newest: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))  # by view
        self._ended: dict[int, str] = {}
        self.n_polls = 0
        self.trouble: list[str] = []

    def poll(self) -> None:
        """Read one view, chosen at random."""
        self.n_polls += 1
        view = self._chance.choice(["summary", "record", "changes", "list", "node"])
        if view == "summary":
            self._compare(view, self._client.summary(self._dispatch))
        elif view == "record":
            record = self._client.record(self._dispatch, outputs="none")
            self._compare(view, record.summary)
            self._compare_nodes(view, record.nodes)
        elif view == "changes":
            changes = self._client.changes(self._dispatch, self._since)
            self._compare(view, changes.summary)
            self._compare_nodes(view, changes.nodes)
            self._since = changes.summary.version
        elif view == "list":
            self._compare(view, next(one for one in self._client.dispatches() if one.id == self._dispatch))
        else:
            number = self._chance.randrange(60)
            detail = self._client.node(self._dispatch, number)
            self._compare_node(view, number, detail.status)

    def _compare(self, view: str, summary: Any) -> None:
        now = (RANKS[summary.status], summary.counts.completed, summary.version)
        # Over all views: who has read one of them must not be told less by another.
        before = self._newest["all"]
        if any(new < old for new, old in zip(now, before, strict=True)):
            self.trouble.append(f"{view}: {before}, then {now}")
        self._newest["all"] = now

    def _compare_nodes(self, view: str, nodes: Any) -> None:
        for state in nodes:
            self._compare_node(view, state.node, state.status)

    def _compare_node(self, view: str, number: int, status: str) -> None:
        before = self._ended.get(number)
        if before is not None and status != before:
            self.trouble.append(f"{view}: node {number} was {before}, then {status}")
        if status in TERMINAL:
            self._ended[number] = status


def stream_from(client: Client, dispatch: str, since: int, over: threading.Event | None = None) -> Iterator[Any]:
    """Yield the entries of the stream after a number, to its end."""
    read = 0
    while True:
        page = client.stream(dispatch, since, read, 1.0)
        assert not page.missed
        for number, entry in page.entries:
            assert number > since, "an entry twice, or out of order"
            since = number
            read += 1
            yield number, entry
        if page.ended:
            return
        if over is not None and over.is_set():
            return


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Client]:
    """Run a dispatcher with a slow disk."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(SLOW)
    with dispatcher(tmp_path / "data", PYTHONPATH=str(tmp_path / "hook")) as client:
        yield client


def test_what_was_read_is_not_taken_back(slow: Client, tmp_path: Path) -> None:
    """Ten thousand polls of five views by four readers, one that follows the stream, and ten kills meanwhile.

    The stream is the same to the one that followed it and from a thousand cursors.
    """
    chance = seeded()
    folder, dispatch = slow.data_dir, str(ct.dispatch(told)(str(tmp_path / "witness")))
    readers = [Reader(folder, dispatch, random.Random(chance.random())) for _ in range(4)]
    errors: list[BaseException] = []
    over = threading.Event()
    followed: list[Any] = []

    def read(reader: Reader) -> None:
        try:
            while reader.n_polls < N_POLLS // len(readers) or not over.is_set():  # else all are before it begins
                reader.poll()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    def follow() -> None:
        try:
            followed.extend(stream_from(Client(folder), dispatch, 0))
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    threads.append(threading.Thread(target=follow))
    for thread in threads:
        thread.start()
    for _ in range(N_KILLS):
        before, more = len(recorded(folder)), chance.choice([0, 1, 5, 15])
        until(lambda: len(recorded(folder)) >= before + more or slow.summary(dispatch).status in TERMINAL)  # noqa: B023
        time.sleep(chance.random() * 0.1)
        with suppress(ProcessLookupError):
            os.kill(slow.status().pid, signal.SIGKILL)
    try:
        assert ct.get_result(dispatch, wait=True, timeout=2 * LONG).result == [60, sum(range(100))]
    finally:
        over.set()
    for thread in threads:
        thread.join(LONG)
    assert errors == []
    assert [reader.trouble for reader in readers] == [[]] * 4
    assert sum(reader.n_polls for reader in readers) >= N_POLLS

    whole = list(stream_from(slow, dispatch, 0))
    assert len(whole) >= 500
    assert followed == whole
    numbers = [number for number, _ in whole]
    for _ in range(N_CURSORS):
        at = chance.randrange(len(whole))
        page = slow.stream(dispatch, numbers[at], at + 1, 0.0)
        assert page.entries == whole[at + 1 : at + 1 + len(page.entries)]
        assert page.entries or at == len(whole) - 1
