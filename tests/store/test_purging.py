"""Forgetting by age: all of a family or nothing, never what is still needed, and ten thousand in a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from covalab.core.model import Digest, DispatchId
from covalab.store import Store
from covalab.store.purging import Deleted, delete_dispatch, delete_ended

TABLES = ("dispatches", "submissions", "nodes", "outcomes", "attempts", "blob_uses", "journal", "triggers", "firings")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return an empty store."""
    store = Store(tmp_path / "covalab.db")
    yield store
    store.close()


def add(db: apsw.Connection, name: str, ended_at: float | None, *blobs: str, root: str | None = None) -> int:
    """Record a dispatch with a row in every table."""
    status = "running" if ended_at is None else "completed"
    db.execute(
        "INSERT INTO dispatches (id, name, status, version, created_at, ended_at, counts, notebook, cell, root, "
        "parent_node, error) VALUES (?, 'f', ?, 1, 0, ?, x'90', '', '', ?, -1, '')",
        (name, status, ended_at, root),
    )
    key = db.last_insert_rowid()
    db.execute("INSERT INTO submissions (key, graph, rest, submission) VALUES (?, x'', x'', x'')", (key,))
    db.execute("INSERT INTO nodes VALUES (?, 0, ?, 0, 0, 1, NULL)", (key, status))
    db.execute("INSERT INTO outcomes (key, node, worker, stdout, stderr) VALUES (?, 0, '', '', '')", (key,))
    db.execute("INSERT INTO attempts VALUES (?, 0, 1, NULL, x'', NULL)", (key,))
    db.execute("INSERT INTO journal VALUES (?, 1, 0, x'', NULL)", (key,))
    db.executemany("INSERT INTO blob_uses VALUES (?, ?)", ((blob, key) for blob in blobs))
    return key


def watch(db: apsw.Connection, key: int, state: str) -> None:
    """Attach a trigger that has fired once."""
    db.execute("INSERT INTO triggers VALUES (?, ?, x'', ?, '', NULL)", (f"t{key}", key, state))
    db.execute("INSERT INTO firings VALUES (?, ?, '')", (f"f{key}", f"t{key}"))


def ids(db: apsw.Connection) -> set[str]:
    """Return the dispatches there are."""
    return {str(one) for (one,) in db.execute("SELECT id FROM dispatches")}


def test_what_ended_before_goes_with_all_below_it_and_what_is_needed_stays(store: Store) -> None:
    """What has not ended, what something below has not, what a trigger runs again, shared blobs."""

    def fill(db: apsw.Connection) -> None:
        add(db, "old", 1.0, "mine", "shared")
        add(db, "old-below", 0.5, "below", root="old")
        watch(db, add(db, "was-watched", 1.0), "stopped")
        watch(db, add(db, "watched", 1.0), "watching")
        add(db, "watched-below", 1.0)
        watch(db, add(db, "its-child", 0.5, root="watched-below"), "watching")
        add(db, "half", 1.0)
        add(db, "half-below", None, root="half")
        add(db, "running", None, "shared")
        add(db, "young", 10.0)
        db.execute("UPDATE dispatches SET held = 1, status = 'pending' WHERE id = 'running'")

    asyncio.run(store.write(fill))
    gone = asyncio.run(store.write(lambda db: delete_ended(db, 10.0, 100)))

    assert set(gone.ids) == {"old", "old-below", "was-watched"}
    assert gone.outermost == 2
    assert set(gone.unused) == {"mine", "below"}
    kept = {"watched", "watched-below", "its-child", "half", "half-below", "running", "young"}
    assert asyncio.run(store.read(ids)) == kept
    assert asyncio.run(store.write(lambda db: delete_ended(db, 10.0, 100))) == Deleted([], 0, [])

    def rows_of_none(db: apsw.Connection) -> int:
        keyed = [table for table in TABLES if table not in ("dispatches", "firings")]
        found = 0
        for table in keyed:
            for (n,) in db.execute(f"SELECT count(*) FROM {table} WHERE key NOT IN (SELECT key FROM dispatches)"):
                found += int(n)
        return found

    assert asyncio.run(store.read(rows_of_none)) == 0


def test_a_dispatch_is_deleted_with_its_family_or_not_at_all(store: Store) -> None:
    """While something below runs, nothing goes."""

    def fill(db: apsw.Connection) -> None:
        add(db, "root", 1.0, "a")
        add(db, "child", None, "b", root="root")

    asyncio.run(store.write(fill))
    assert asyncio.run(store.write(lambda db: delete_dispatch(db, DispatchId("root")))) is None
    asyncio.run(store.write(lambda db: db.execute("UPDATE dispatches SET status = 'cancelled' WHERE id = 'child'")))
    gone = asyncio.run(store.write(lambda db: delete_dispatch(db, DispatchId("root"))))

    assert gone is not None
    assert (set(gone.ids), gone.outermost, set(gone.unused)) == ({"root", "child"}, 1, {"a", "b"})


def test_ten_thousand_go_in_a_few_transactions(store: Store) -> None:
    """The oldest first, as many at a time as are asked for; a whole purge is a matter of a second or two."""
    n = 10_000

    def fill(db: apsw.Connection) -> None:
        for number in range(n):
            add(db, f"d{number}", float(n - number), f"blob{number}", "shared")
        add(db, "kept", float(n + 1), "shared")

    asyncio.run(store.write(fill))
    began = time.monotonic()
    first = asyncio.run(store.write(lambda db: delete_ended(db, n + 0.5, 500)))
    left = [asyncio.run(store.write(lambda db: delete_ended(db, n + 0.5, 500))) for _ in range(20)]
    took = time.monotonic() - began

    assert set(first.ids) == {f"d{number}" for number in range(n - 500, n)}
    assert first.outermost + sum(gone.outermost for gone in left) == n
    assert left[-1].ids == []
    assert Digest("shared") not in {blob for gone in left for blob in gone.unused}
    assert asyncio.run(store.read(ids)) == {"kept"}
    assert took < 20, f"{took:.1f} s"
    print(f"{n} dispatches gone in {took:.2f} s")
