"""What is acknowledged is on the disk; who was overtaken writes no more."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from covalab.core.codec import serialize_small
from covalab.core.dispatch_list import SummaryQuery
from covalab.core.errors import DataFolderError, TakenOver, VersionMismatch
from covalab.core.model import (
    Attempt,
    Counts,
    Digest,
    DispatchId,
    DispatchSummary,
    Environment,
    Failure,
    Graph,
    Node,
    NodeKind,
    NodeState,
    Origin,
    Outcome,
    Status,
    Submission,
    Value,
)
from covalab.store import Store, dispatch_rows
from covalab.store.purging import Deleted, delete_dispatch, delete_ended
from covalab.store.schema import MIGRATIONS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return an empty store."""
    store = Store(tmp_path / "covalab.db")
    yield store
    store.close()


def submission(name: str, *, values: tuple[Value, ...] = ()) -> Submission:
    """Return a dispatch of one node."""
    graph = Graph(name, [Node("f", NodeKind.OUTPUT)], [], [], [], 0)
    environment = Environment(sys.executable, sys.prefix, "/")
    code = {Digest("c" * 64): b"code"}
    return Submission(
        DispatchId(name), graph, list(values), code, environment, Origin(), serialize_small(1), Digest("c" * 64)
    )


def summary(name: str, status: Status = "pending", version: int = 1) -> DispatchSummary:
    """Return the row of a dispatch."""
    ended = 3.0 if status not in ("pending", "running") else None
    return DispatchSummary(DispatchId(name), name, status, version, 1.0, None, ended, Counts(pending=1))


def insert(name: str, status: Status = "pending", values: tuple[Value, ...] = ()) -> Callable[[apsw.Connection], int]:
    """Return the job that records a dispatch."""
    return lambda db: dispatch_rows.insert_dispatch(db, submission(name, values=values), summary(name, status))[0]


def count(db: apsw.Connection) -> int:
    """Count dispatches."""
    row = db.execute("SELECT count(*) FROM dispatches").fetchone()
    assert row is not None
    return int(row[0])


def commits(store: Store) -> list[int]:
    """Return a list that grows with every commit of a store."""
    seen: list[int] = []

    def hook() -> bool:
        seen.append(1)
        return False  # go on

    store._writer.set_commit_hook(hook)
    return seen


def test_jobs_that_arrive_together_are_committed_together(store: Store) -> None:
    """A hundred writes that wait behind one are a single transaction."""
    seen = commits(store)
    release = threading.Event()

    def slow(_: apsw.Connection) -> None:
        release.wait(30)

    async def write() -> list[int]:
        first = asyncio.create_task(store.write(slow))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(store.write(insert(f"d{n}"))) for n in range(100)]
        await asyncio.sleep(0.05)
        release.set()
        await first
        return await asyncio.gather(*others)

    keys = asyncio.run(write())

    assert len(set(keys)) == 100
    assert len(seen) == 2


def test_one_bad_job_harms_no_other_of_its_group(store: Store) -> None:
    """Only who asked for it hears of it; nothing of it is kept."""
    release = threading.Event()

    def bad(db: apsw.Connection) -> None:
        insert("half")(db)
        message = "bad"
        raise KeyError(message)

    async def write() -> list[Any]:
        first = asyncio.create_task(store.write(lambda _: release.wait(30)))
        await asyncio.sleep(0.05)
        jobs: list[Callable[[apsw.Connection], Any]] = [
            insert("a"),
            bad,
            insert("b"),
            lambda db: db.execute("nonsense"),
        ]
        tasks = [asyncio.create_task(store.write(job)) for job in jobs]
        await asyncio.sleep(0.05)
        release.set()
        await first
        return [*await asyncio.gather(*tasks, return_exceptions=True), await store.read(count)]

    one, error, two, nonsense, n = asyncio.run(write())

    assert isinstance(error, KeyError)
    assert isinstance(nonsense, apsw.SQLError)
    assert (one > 0, two > 0, n) == (True, True, 2)


def test_who_was_overtaken_writes_no_more(store: Store) -> None:
    """A second store on the file has a higher epoch, and the first refuses."""
    second = Store(store.path)
    try:
        assert second.epoch == store.epoch + 1
        with pytest.raises(TakenOver, match=f"epoch {store.epoch}"):
            asyncio.run(store.write(insert("late")))
        asyncio.run(second.write(insert("fine")))
        assert asyncio.run(store.read(count)) == 1
    finally:
        second.close()


def test_an_empty_file_gets_the_current_schema(tmp_path: Path) -> None:
    """From each older schema too, one migration after the other."""
    for version in range(len(MIGRATIONS) + 1):
        path = tmp_path / f"{version}.db"
        connection = apsw.Connection(str(path))
        for number, statements in enumerate(MIGRATIONS[:version], 1):
            connection.execute(statements)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.close()

        store = Store(path)
        try:
            assert asyncio.run(store.write(insert("a"))) == 1
            assert asyncio.run(store.read(lambda db: db.pragma("user_version"))) == len(MIGRATIONS)
        finally:
            store.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The error names both; not a byte is changed, no file is added."""
    path = tmp_path / "covalab.db"
    connection = apsw.Connection(str(path))
    connection.execute(f"CREATE TABLE future (x); PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(VersionMismatch, match=f"schema {len(MIGRATIONS)}.*schema {len(MIGRATIONS) + 1}"):
        Store(path)

    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["covalab.db"]


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """The error says which file and what to do; the file is kept."""
    path = tmp_path / "covalab.db"
    path.write_bytes(content)
    with pytest.raises(DataFolderError, match=r"covalab\.db.*COVALAB_DATA_DIR"):
        Store(path)

    assert path.read_bytes() == content


WRITER = """
import asyncio, sys
sys.path[:0] = {path!r}
from pathlib import Path
from covalab.store import Store
from tests.store.test_store import insert
store = Store(Path({database!r}))
async def one(n):
    await store.write(insert(f"d{{n}}"))
    print(n, flush=True)
async def main():
    for start in range(0, 100000, 7):
        await asyncio.gather(*(one(start + n) for n in range(7)))
asyncio.run(main())
"""


def test_every_acknowledged_row_survives_kill_9(tmp_path: Path) -> None:
    """A process that writes is killed at three moments: what it had said is there, and the file is whole."""
    for acknowledged_at_least in (1, 50, 200):
        database = tmp_path / f"{acknowledged_at_least}.db"
        program = WRITER.format(path=sys.path, database=str(database))
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(int(line))
                if len(said) == acknowledged_at_least:
                    process.send_signal(signal.SIGKILL)
        connection = apsw.Connection(str(database))
        there = {row[0] for row in connection.execute("SELECT id FROM dispatches")}

        assert len(said) >= acknowledged_at_least
        assert there >= {f"d{n}" for n in said}
        assert connection.pragma("integrity_check") == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_read_sees_one_moment(store: Store) -> None:
    """What is committed while a read runs, it does not see; the next read does."""
    reading, written = threading.Event(), threading.Event()

    def twice(db: apsw.Connection) -> tuple[int, int]:
        before = count(db)
        reading.set()
        assert written.wait(30)
        return before, count(db)

    async def both() -> tuple[int, int]:
        task = asyncio.create_task(store.read(twice))
        await asyncio.to_thread(reading.wait, 30)
        await store.write(insert("new"))
        written.set()
        return await task

    assert asyncio.run(both()) == (0, 0)
    assert asyncio.run(store.read(count)) == 1


def test_a_reader_cannot_write(store: Store) -> None:
    """Reading connections refuse, whatever the job."""
    with pytest.raises(DataFolderError, match="cannot be written"):
        asyncio.run(store.read(insert("sly")))


def plan(db: apsw.Connection, ask: Callable[[apsw.Connection], object]) -> list[str]:
    """Return how SQLite goes about the statements of a job."""
    statements: list[tuple[str, Any]] = []

    def note(cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        statements.append((sql, bindings))
        return True

    db.exec_trace = note
    ask(db)
    db.exec_trace = None
    return [
        str(row[3])
        for sql, bindings in statements
        if sql.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE"))
        for row in db.execute("EXPLAIN QUERY PLAN " + sql, bindings)
    ]


@pytest.mark.parametrize(
    "ask",
    [
        lambda db: dispatch_rows.select_dispatch(db, "d1"),
        lambda db: dispatch_rows.select_dispatches(db, SummaryQuery()),
        lambda db: dispatch_rows.select_dispatches(db, SummaryQuery(statuses=("running", "pending"))),
        lambda db: dispatch_rows.select_dispatches(db, SummaryQuery(name="d1")),
        lambda db: dispatch_rows.select_dispatches(db, SummaryQuery(schedule="d1")),
    ],
)
def test_lists_use_indexes_and_touch_no_other_table(store: Store, ask: Callable[[apsw.Connection], object]) -> None:
    """However many values are stored, they are not looked at to show a list."""
    asyncio.run(store.write(insert("d1")))

    steps = asyncio.run(store.read(lambda db: plan(db, ask)))

    assert steps
    for step in steps:
        if step.startswith("CORRELATED SCALAR SUBQUERY"):
            continue  # the heading of the search that counts what is below
        assert "dispatches" in step or step.startswith("USE TEMP B-TREE"), step
        assert step.startswith(("SEARCH", "USE TEMP")) or step == "SCAN dispatches", step


def test_asking_for_one_dispatch_or_deleting_it_walks_no_table(store: Store) -> None:
    """Not the nodes of others, nor their blobs."""

    def ask(db: apsw.Connection) -> None:
        dispatch_rows.select_graph(db, 1)
        dispatch_rows.select_submission(db, 1)
        dispatch_rows.select_states(db, 1)
        dispatch_rows.select_values(db, 1, [0])
        dispatch_rows.select_values(db, 1, None)
        dispatch_rows.select_failures(db, 1)
        dispatch_rows.select_outcome(db, 1, 0)
        dispatch_rows.update_dispatch(db, 1, summary("d1", "completed", 2), [], [])
        delete_dispatch(db, DispatchId("d1"))
        delete_ended(db, 1.0, 10)

    asyncio.run(store.write(insert("d1")))
    steps = asyncio.run(store.write(lambda db: plan(db, ask)))

    assert len(steps) >= 12
    # What was asked for, however little; and triggers, which are few and of which one look shows those that watch.
    chosen = (
        "SCAN wanted",
        "SCAN roots",
        "SCAN json_each",
        "SCAN triggers",
        "LIST SUBQUERY",
        "CORRELATED",
        "CREATE BLOOM",
    )
    assert [step for step in steps if not step.startswith(("SEARCH", *chosen))] == []


def test_a_dispatch_comes_back_as_it_was_recorded(store: Store) -> None:
    """Row, graph, states, values and failures."""
    value = serialize_small([1, 2])
    outcomes = [
        Outcome(0, "completed", 1.0, 2.0, value, None, "out", "err", "w"),
        Outcome(1, "failed", 1.0, 2.0, None, Failure("runtime", "no", "ValueError", "trace")),
    ]
    states = [NodeState(0, "completed", 1.0, 2.0, 1), NodeState(1, "failed", 1.0, 2.0, 3)]

    async def both() -> None:
        key = await store.write(insert("a"))
        again = lambda db: dispatch_rows.insert_dispatch(db, submission("a"), summary("a"))  # noqa: E731
        assert await store.write(again) == (key, False), "the same id again is the same dispatch"
        await store.write(
            lambda db: dispatch_rows.update_dispatch(db, key, summary("a", "failed", 5), states, outcomes)
        )
        assert await store.read(lambda db: dispatch_rows.select_dispatch(db, "a")) == (
            key,
            summary("a", "failed", 5),
        )
        assert await store.read(lambda db: dispatch_rows.select_graph(db, key)) == submission("a").graph
        assert await store.read(lambda db: dispatch_rows.select_states(db, key)) == states
        assert await store.read(lambda db: dispatch_rows.select_values(db, key, [0, 1])) == {0: value}
        assert await store.read(lambda db: dispatch_rows.select_failures(db, key)) == {1: outcomes[1].failure}
        found = await store.read(lambda db: dispatch_rows.select_outcome(db, key, 0))
        assert found == dispatch_rows.OutcomeRow("w", value, None, "out", "err")

    asyncio.run(both())


def test_outputs_are_recorded_and_their_blobs_are_used(store: Store) -> None:
    """Of the last run of a node, of those before it, and of a dispatch that takes nodes over."""
    small, large, earlier = (
        Value(2, "outputs", data=b"[]"),
        Value(9, "outputs", digest=Digest("a" * 64)),
        Value(9, "outputs", digest=Digest("b" * 64)),
    )
    outcomes = [
        Outcome(0, "completed", 1.0, 2.0, outputs=small),
        Outcome(1, "completed", 1.0, 2.0, serialize_small(1), outputs=large),
        Outcome(2, "completed", 1.0, 2.0),
    ]
    attempt = Attempt(1, Outcome(1, "failed", 1.0, 2.0, outputs=earlier))
    states = [NodeState(node, "completed", 1.0, 2.0, 1) for node in range(3)]
    digests = [large.digest, earlier.digest]

    async def all_of_it() -> None:
        first, second = await store.write(insert("a")), await store.write(insert("b"))
        await store.write(
            lambda db: dispatch_rows.update_dispatch(
                db, first, summary("a", "completed", 5), states, outcomes, attempts=[attempt]
            )
        )
        await store.write(lambda db: dispatch_rows.take_over(db, second, first, [0, 1], 3.0))
        rows = await store.read(lambda db: dispatch_rows.select_outcomes(db, first))
        assert {node: row.outputs for node, row in rows.items()} == {0: small, 1: large}
        taken = await store.read(lambda db: dispatch_rows.select_outcome(db, second, 1))
        assert taken is not None
        assert taken.outputs == large
        uses = await store.read(
            lambda db: db.execute("SELECT digest, key FROM blob_uses ORDER BY key, digest").fetchall()
        )
        assert uses == [(digests[0], first), (digests[1], first), (digests[0], second)]
        attempts = await store.read(lambda db: dispatch_rows.select_attempts(db, first, 1))
        assert attempts == {1: [attempt]}

    asyncio.run(all_of_it())


def test_a_dispatch_that_has_not_ended_is_not_deleted(store: Store) -> None:
    """Not even when nobody knows it any more; one that has ended goes with everything, and tells its lonely blobs."""
    mine, shared = (Value(100_000, "x", "", None, Digest(letter * 64)) for letter in "ab")

    async def both() -> None:
        await store.write(insert("running", values=(shared,)))
        await store.write(insert("ended", "completed", values=(mine, shared)))
        assert await store.write(lambda db: delete_dispatch(db, DispatchId("running"))) is None
        gone = await store.write(lambda db: delete_dispatch(db, DispatchId("ended")))
        assert gone == Deleted([DispatchId("ended")], 1, [Digest(str(mine.digest))])
        assert await store.write(lambda db: delete_dispatch(db, DispatchId("ended"))) == Deleted([], 0, [])
        assert await store.read(count) == 1

    asyncio.run(both())


def test_a_full_disk_in_the_middle_of_a_group_keeps_what_fits(store: Store) -> None:
    """Who does not fit hears of the full disk; the others of the group are recorded."""
    asyncio.run(store.write(insert("before")))

    async def write() -> list[Any]:
        pages = store._writer.pragma("page_count")
        assert isinstance(pages, int)
        store._writer.pragma("max_page_count", pages + 8)
        large = Value(100, "x", "y" * 1_000_000)
        jobs = [insert("a"), insert("huge", values=(large,)), insert("b")]
        return await asyncio.gather(*(store.write(job) for job in jobs), return_exceptions=True)

    one, error, two = asyncio.run(write())

    assert isinstance(error, DataFolderError)
    assert "the disk is full" in str(error)
    assert (one > 0, two > 0, asyncio.run(store.read(count))) == (True, True, 3)


def test_a_database_that_another_program_locks_is_waited_for(tmp_path: Path) -> None:
    """Reads go on meanwhile; what was to be written is, when the lock is gone."""

    async def scenario() -> None:
        store = Store(tmp_path / "covalab.db")
        await store.write(insert("before"))
        outsider = apsw.Connection(str(tmp_path / "covalab.db"))
        outsider.execute("BEGIN IMMEDIATE")
        writes = [asyncio.create_task(store.write(insert(f"during {number}"))) for number in range(20)]
        for _ in range(10):
            await asyncio.sleep(0.02)
            assert len(await store.read(lambda db: dispatch_rows.select_dispatches(db, SummaryQuery()))) == 1
        assert not any(write.done() for write in writes)
        outsider.execute("ROLLBACK")
        await asyncio.gather(*writes)
        assert len(await store.read(lambda db: dispatch_rows.select_dispatches(db, SummaryQuery()))) == 21
        outsider.close()
        store.close()

    asyncio.run(scenario())
