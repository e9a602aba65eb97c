"""Two dispatchers of one folder: the one that was frozen and overtaken wakes, changes nothing and ends."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest
from tests.system.invariants import EXPECTED, Watch, recorded, seeded, two_hundred
from tests.system.processes import process
from tests.system.tasks import adding
from tests.waiting import LONG, until

import covalab as ct
from covalab.client import Client
from covalab.client.launcher import Address, find, start_dispatcher
from covalab.core.lifecycle import TERMINAL
from covalab.store import pages

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]


def frozen(folder: Path) -> Address:
    """Stop the dispatcher, at a moment at which it does not hold the database: while it does, nobody can take over."""
    address = find(folder)
    assert address is not None
    while True:
        os.kill(address.pid, signal.SIGSTOP)
        until(lambda: getattr(process(address.pid), "state", "") == "T")
        with closing(pages.connect(folder / "covalab.db")) as db:
            try:
                db.execute("BEGIN IMMEDIATE; ROLLBACK")
            except apsw.BusyError:
                os.kill(address.pid, signal.SIGCONT)
                time.sleep(0.01)
            else:
                return address


def content(folder: Path) -> list[str]:
    """Return all rows of the database."""
    with closing(pages.connect(folder / "covalab.db", read_only=True)) as db:
        names: list[str] = [str(name) for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [f"{name} {row}" for name in sorted(names) for row in db.execute(f"SELECT * FROM {name}")]


def is_gone(pid: int) -> bool:
    """Return whether a process has ended."""
    return getattr(process(pid), "state", "Z") == "Z"


def overtake(client: Client, chance: random.Random, witness: Path, *, late: bool) -> None:
    """Let the dispatcher of 200 tasks be overtaken in their middle, and wake in the middle or after their end."""
    folder = client.data_dir
    before = len(recorded(folder))
    dispatch = str(ct.dispatch(two_hundred)(str(witness)))
    watch = Watch(client, witness)
    share = chance.randrange(100)
    until(lambda: len(recorded(folder)) >= before + share)
    with ThreadPoolExecutor(4) as threads:
        waiting = threads.submit(lambda: ct.get_result(dispatch, wait=True, timeout=LONG).result)
        time.sleep(chance.random() * 0.1)
        old = frozen(folder)
        try:
            watch.note()
            # As on a disk whose locks do not last as long as their holder sleeps.
            (folder / "lock").unlink()
            new = {address.pid: address for address in threads.map(lambda _: start_dispatcher(folder), range(3))}
            assert len({*new}) == 1
            assert old.pid not in new
            other = Client(folder, start=False)
            if late:
                until(lambda: other.summary(dispatch).status in TERMINAL)
                time.sleep(0.5)  # both pools have done what they were given
                watch.note()
                rows = content(folder)
            else:
                time.sleep(chance.random() * 2)
            pools = until(lambda: {pool.pid for pool in other.status().pools if pool.pid})
        finally:
            os.kill(old.pid, signal.SIGCONT)
        until(lambda: is_gone(old.pid))
        assert waiting.result(LONG) == EXPECTED
    assert other.summary(dispatch).status == "completed"
    assert {pool.pid for pool in other.status().pools} == pools, "the end of the first took no pool of the other along"
    if late:
        assert content(folder) == rows
    found = find(folder)
    assert found is not None
    assert {found.pid} == {*new}, "the address is the new one's"
    assert client.status().pid == found.pid
    other.close()
    watch.check()


def test_a_frozen_owner_that_wakes_writes_nothing(own: Client, tmp_path: Path) -> None:
    """Twenty times, each the one that had overtaken before: one owner at a time, one truth, and no run too many."""
    chance = seeded()
    for number in range(20):
        overtake(own, chance, tmp_path / f"witness {number}", late=bool(number % 2))
        own.purge(time.time() + 1)


def test_an_idle_owner_that_was_overtaken_ends(own: Client) -> None:
    """It has nothing to write; who waits at it, for a dispatch that the other one starts, is answered by that one."""
    dispatch = str(ct.dispatch(ct.lattice(adding), disable_run=True)(1))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: own.record(dispatch, wait=True, held=True).summary.status)
        time.sleep(0.5)
        old = frozen(own.data_dir)
        try:
            (own.data_dir / "lock").unlink()
            other = Client(own.data_dir)
            other.start_held(dispatch)
            assert other.record(dispatch, wait=True).summary.status == "completed"
        finally:
            os.kill(old.pid, signal.SIGCONT)
        until(lambda: is_gone(old.pid))
        assert waiting.result(LONG) == "completed"
    other.close()


def test_who_dispatches_while_one_ends_and_others_start_is_served(own: Client) -> None:
    """Twenty restarts under work, with three who start the next one at once: each dispatch ends."""
    chance, runs = seeded(), []
    for number in range(20):
        runs.append(ct.dispatch(ct.lattice(adding))(number))
        with ThreadPoolExecutor(5) as threads:
            stopping = threads.submit(own.stop)
            time.sleep(chance.random() * 0.3)
            starting = [threads.submit(start_dispatcher, own.data_dir) for _ in range(3)]
            sending = threads.submit(lambda: ct.dispatch(ct.lattice(adding))(-1))  # in its own thread
            stopping.result(LONG)
            with suppress(Exception):
                _ = [one.result(LONG) for one in starting]
            runs.append(sending.result(LONG))
    assert [ct.get_result(run, wait=True, timeout=LONG).status for run in runs] == ["COMPLETED"] * 40
    assert own.status().active == 0
