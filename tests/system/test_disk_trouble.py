"""A disk that is full or fails at random moments, by a printed seed, and a database that is locked: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.store.test_damage import record
from tests.system.invariants import EXPECTED, Watch, recorded, seeded, two_hundred
from tests.system.processes import dispatcher
from tests.system.test_bad_input import fill, small_disk
from tests.waiting import LONG, until

import covalab as ct
from covalab.client import Client, connect
from covalab.core.errors import CovalabError, DataFolderError
from covalab.core.lifecycle import TERMINAL
from covalab.sdk.building.submit import prepare
from covalab.store import Store, pages
from covalab.store.repair import kept_copies

__all__ = ["small_disk"]

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

LARGE = 70_000  # bytes; a blob each, which stay for minutes: all have to fit
LOCKED_SECONDS = 65


@pytest.fixture
def cramped(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client of a dispatcher whose disk has 16 MB."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(small_disk / "data"))
    client = connect()
    yield client
    (small_disk / "ballast").unlink(missing_ok=True)
    client.stop()


def test_a_disk_that_is_full_again_and_again_loses_nothing(
    cramped: Client,
    small_disk: Path,
    tmp_path: Path,
) -> None:
    """At twenty moments, in some of which the dispatcher is killed: values are inline, so all tasks complete.

    Whoever dispatches meanwhile is told that the disk is full, or was recorded; reading goes on.
    """
    chance, witness, ballast = seeded(), tmp_path / "witness", small_disk / "ballast"
    dispatch = str(ct.dispatch(two_hundred)(str(witness)))
    watch = Watch(cramped, witness)
    others: list[str] = []
    refused: list[str] = []
    kills = 0
    for _ in range(20):
        before, more = len(recorded(cramped.data_dir)), chance.choice([0, 1, 5, 10])
        until(lambda: len(recorded(cramped.data_dir)) >= before + more or is_over(cramped, dispatch))  # noqa: B023
        cramped.status()  # there is one, to be told
        fill(ballast)
        time.sleep(chance.random())
        if chance.random() < 0.3:
            kills += 1
            with suppress(CovalabError, ProcessLookupError):
                os.kill(cramped.status().pid, signal.SIGKILL)
        else:
            assert cramped.summary(dispatch).id == dispatch
            assert [one.id for one in cramped.dispatches()][-1] == dispatch
        try:
            others.append(str(ct.dispatch(ct.lattice(sized))(0, len(others), 10)))
        except DataFolderError as error:
            refused.append(str(error))
        watch.note()
        ballast.unlink()
    print(f"{len(refused)} refused, {kills} kills")
    assert refused
    assert [it for it in refused if "disk is full" not in it and "free some space" not in it] == []
    assert ct.get_result(dispatch, wait=True, timeout=LONG).result == EXPECTED
    for one in others:
        assert ct.get_result(one, wait=True, timeout=LONG).status == "COMPLETED"
    watch.check()


# In a dispatcher: as long as there is a file, whatever is written to the database or synced fails.
FAILING = """
import os, sys
if "covalab.dispatcher" in sys.orig_argv:
    import apsw

    def step(code):
        if os.path.exists(os.environ["TEST_ERRORS"]):
            error = apsw.IOError("injected")
            error.extendedresult = code
            raise error

    class File(apsw.VFSFile):
        def __init__(self, name, flags):
            super().__init__(UNIX, name, flags)
        def xWrite(self, data, offset):
            step(apsw.SQLITE_IOERR_WRITE)
            super().xWrite(data, offset)
        def xSync(self, flags):
            step(apsw.SQLITE_IOERR_FSYNC)
            super().xSync(flags)

    class Disk(apsw.VFS):
        def __init__(self):
            super().__init__("failing", UNIX, makedefault=True)
        def xOpen(self, name, flags):
            return File(name, flags)

    UNIX = apsw.vfs_names()[0]
    disk = Disk()
"""


def test_a_disk_that_reports_errors_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """At twenty moments, in some of which the dispatcher is killed: outcomes wait, and no error is taken for damage.

    Whoever dispatches meanwhile is told of the error, or was recorded; so is who starts the next dispatcher.
    """
    chance, witness, armed = seeded(), tmp_path / "witness", tmp_path / "armed"
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(FAILING)
    others: list[str] = []
    refused: list[str] = []
    with dispatcher(tmp_path / "data", PYTHONPATH=str(tmp_path / "hook"), TEST_ERRORS=str(armed)) as client:
        dispatch = str(ct.dispatch(two_hundred)(str(witness)))
        watch = Watch(client, witness)
        for _ in range(20):
            before, more = len(recorded(client.data_dir)), chance.choice([0, 1, 5, 10])
            until(lambda: len(recorded(client.data_dir)) >= before + more or is_over(client, dispatch))  # noqa: B023
            pid = client.status().pid
            armed.touch()
            time.sleep(chance.random() * 0.5)
            if chance.random() < 0.3:
                os.kill(pid, signal.SIGKILL)
            else:
                assert client.summary(dispatch).id == dispatch
            try:
                others.append(str(ct.dispatch(ct.lattice(sized))(0, len(others), 10)))
            except DataFolderError as error:
                refused.append(str(error))
            watch.note()
            armed.unlink()
        print(f"{len(refused)} refused")
        assert refused
        assert [it for it in refused if "the disk reports an error" not in it] == []
        assert ct.get_result(dispatch, wait=True, timeout=LONG).result == EXPECTED
        for one in others:
            assert ct.get_result(one, wait=True, timeout=LONG).status == "COMPLETED"
        watch.check()
        assert kept_copies(client.data_dir / "covalab.db") == []


def is_over(client: Client, dispatch: str) -> bool:
    """Return whether a dispatch has ended."""
    return client.summary(dispatch).status in TERMINAL


@ct.electron
def sized(x: int, number: int, n_bytes: int) -> bytes:
    """Return so many bytes that no other returns."""
    time.sleep(0.02)
    return f"{x} {number} ".encode().ljust(n_bytes)


@ct.lattice
def large_values(first: int) -> Any:
    """Return four blobs."""
    return [sized(first, number, LARGE) for number in range(4)]


def test_large_values_on_a_full_disk_are_whole_or_fail_as_such(
    cramped: Client,
    small_disk: Path,
) -> None:
    """A task whose value finds no room fails with `storage`, naming the disk; each that completed has its bytes.

    What failed runs again when there is room.
    """
    chance, ballast = seeded(), small_disk / "ballast"
    n_failed = 0
    for first in range(20):
        dispatch = str(ct.dispatch(large_values)(first))
        time.sleep(chance.random() * 0.2)
        fill(ballast)
        time.sleep(0.1 + chance.random() * 0.5)
        ballast.unlink()
        result = ct.get_result(dispatch, wait=True, timeout=LONG)
        for number, node in enumerate(cramped.graph(dispatch).nodes):
            if node.name != "sized":
                continue
            detail = cramped.node(dispatch, number)
            if detail.failure is not None:
                n_failed += 1
                assert detail.failure.type == "storage", detail.failure
            else:
                assert len(cramped.blobs.deserialize(detail.value)) == LARGE  # type: ignore[arg-type]
        if result.status != "COMPLETED":
            again = ct.redispatch(dispatch, reuse_previous_results=True)()
            result = ct.get_result(again, wait=True, timeout=LONG)
        assert result.result == [f"{first} {number} ".encode().ljust(LARGE) for number in range(4)]
        cramped.purge(time.time() + 1)
    print(f"{n_failed} failed")
    assert n_failed


def test_a_database_that_is_locked_for_a_minute_loses_nothing(own: Client, tmp_path: Path) -> None:
    """Longer than a job waits, with others and alone: reading goes on, who dispatches waits or is told why."""
    chance, witness = seeded(), tmp_path / "witness"
    folder = own.data_dir
    dispatch = str(ct.dispatch(two_hundred)(str(witness)))
    share = chance.randrange(1, 100)
    until(lambda: len(recorded(folder)) >= share)
    watch = Watch(own, witness)
    with ThreadPoolExecutor(2) as threads, closing(pages.connect(folder / "covalab.db")) as outsider:
        outsider.set_busy_timeout(10_000)
        outsider.execute("BEGIN IMMEDIATE")
        watch.note()
        n_recorded = len(recorded(folder))
        refused = threads.submit(dispatched_until_told, own)
        end = time.monotonic() + LOCKED_SECONDS
        n_read = 0
        while time.monotonic() < end:
            assert own.summary(dispatch).status == "running"
            assert own.record(dispatch, outputs="none").summary.counts.completed <= n_recorded
            assert own.dispatches()
            n_read += 1
            time.sleep(0.05)
        assert len(recorded(folder)) == n_recorded
        outsider.execute("ROLLBACK")
        # One at a time: whoever's own turn did not come yet is recorded when the lock is gone.
        assert refused.result(LONG) == "" or "another program keeps it locked" in refused.result()
    print(f"{n_read} readings")
    assert ct.get_result(dispatch, wait=True, timeout=LONG).result == EXPECTED
    ran = watch.check()
    assert {*ran.values()} == {1}
    until(lambda: own.status().active == 0)
    os.kill(own.status().pid, signal.SIGKILL)  # what counts is what is on the disk
    assert {one.status for one in own.dispatches()} == {"completed"}
    assert {node.status for node in own.record(dispatch, outputs="none").nodes} == {"completed"}
    assert ct.get_result(dispatch, wait=True, timeout=LONG).result == EXPECTED
    assert watch.check() == ran


def dispatched_until_told(client: Client) -> str:
    """Dispatch while the database is locked, and return what is said; nothing, if it was recorded in the end."""
    try:
        client.submit(prepare(ct.lattice(sized), (0, 0, 10), {}, client.blobs))
    except DataFolderError as error:
        return str(error)
    return ""


def test_a_start_on_a_full_disk_takes_nothing_for_damaged(small_disk: Path) -> None:
    """What was to be moved from the write-ahead log found no room: the file lacks pages, and the log has them."""
    path, ballast = small_disk / "covalab.db", small_disk / "ballast"
    store = Store(path)
    asyncio.run(store.write(record(0), ["0"]))
    store.close()
    with closing(pages.connect(path)) as writer, closing(pages.connect(path, read_only=True)) as reader:
        writer.pragma("wal_autocheckpoint", 0)
        for number in range(1, 40):
            with writer:
                record(number)(writer)
        n_before = reader.execute("SELECT count(*) FROM nodes").fetchall()
        fill(ballast)
        with pytest.raises(apsw.FullError):
            writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        assert pages.damaged_pages(path), "the move was cut"
        for name in ("covalab.db", "covalab.db-wal", "covalab.db-commits"):  # as a kill leaves them
            (small_disk.parent / name).write_bytes((small_disk / name).read_bytes())
    for name in ("covalab.db", "covalab.db-wal", "covalab.db-commits"):
        (small_disk / name).write_bytes((small_disk.parent / name).read_bytes())
    fill(ballast)
    with pytest.raises(DataFolderError, match="the disk is full"):
        Store(path)
    assert not (small_disk / "damaged").exists()
    ballast.unlink()
    store = Store(path)
    assert asyncio.run(store.read(lambda db: db.execute("SELECT count(*) FROM nodes").fetchall())) == n_before
    store.close()
    assert kept_copies(path) == []
