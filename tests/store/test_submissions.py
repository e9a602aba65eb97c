"""Submissions as they are stored: whole, as they were sent; and as schema 10 stored them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from msgspec.structs import replace

from covalab.core.codec import serialize_small
from covalab.core.model import (
    Digest,
    DispatchId,
    Environment,
    Function,
    Graph,
    Node,
    NodeKind,
    Origin,
    Schedule,
    Settings,
    Submission,
    Trigger,
    Value,
)
from covalab.core.notebook_run import NotebookRun
from covalab.dispatcher.recovery import count_recovery, resubmission
from covalab.dispatcher.running import summary_of
from covalab.store import Store, dispatch_rows
from covalab.store.schema import MIGRATIONS
from covalab.store.task_rows import select_held_tasks

HERE = Environment(sys.executable, sys.prefix, "/", ["/lib"], {"python": "3.11"}, {"PATH": "/bin"})
GRAPH = Graph(
    "g", [Node("f", NodeKind.ELECTRON, 0, -1, 0)], [], [Function("f", Digest("f" * 64), "def f")], [Settings()], 0
)
OLD_BODY = (
    "values",
    "code",
    "environment",
    "origin",
    "inputs",
    "lattice",
    "source",
    "doc",
    "priority",
    "interventions",
    "auto_close",
    "schedule",
)
"""The fields of a submission that schema 10 stored beside the graph."""

WHOLE = Submission(
    id=DispatchId("a"),
    graph=GRAPH,
    values=[serialize_small(3), Value(100_000, "bytes", "", None, Digest("e" * 64))],
    code={Digest("f" * 64): b"code"},
    environment=HERE,
    origin=Origin("a.ipynb", "cell", 7),
    inputs=serialize_small(1),
    lattice=Digest("f" * 64),
    source="def g",
    doc="A workflow.",
    root=DispatchId("r"),
    parent_node=4,
    priority=3,
    hold=True,
    reuse=DispatchId("earlier"),
    reuse_strict=True,
    replaced=[0],
    parent=DispatchId("p"),
    triggers=[Trigger("t", "Watch", serialize_small(2), HERE)],
    interventions="auto",
    auto_close=False,
    starts_at=5.0,
    schedule=Schedule(DispatchId("a"), 60.0, number=2),
    variables=b"packed",
    local_modules=Digest("d" * 64),
    notebook=NotebookRun("a.ipynb", "f" * 64, (), {"n": 1}),
    again=DispatchId("before"),
)
"""A submission none of whose fields has its default."""


def stored(database: Path, key: int) -> bytes:
    """Return the column of a submission."""
    connection = apsw.Connection(str(database))
    row: Any = connection.execute("SELECT submission FROM submissions WHERE key = ?", (key,)).fetchone()
    connection.close()
    assert isinstance(row[0], bytes)
    return row[0]


@pytest.mark.parametrize("is_msgpack", [True, False])
def test_everything_that_was_submitted_comes_back(tmp_path: Path, *, is_msgpack: bool) -> None:
    """Every field; a submission that came in msgpack is not encoded again."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Submission)}
    assert [name for name, default in defaults.items() if getattr(WHOLE, name) == default] == []
    encoded = msgspec.msgpack.encode({"of a later version": 1, **msgspec.structs.asdict(WHOLE)})
    store = Store(tmp_path / "covalab.db")

    async def both() -> Submission:
        job = {"encoded": encoded} if is_msgpack else {}
        key, is_new = await store.write(
            lambda db: dispatch_rows.insert_dispatch(db, WHOLE, summary_of(WHOLE, 1.0), **job)
        )
        assert is_new
        assert await store.read(lambda db: dispatch_rows.select_graph(db, key)) == GRAPH
        return await store.read(lambda db: dispatch_rows.select_submission(db, key))

    try:
        assert asyncio.run(both()) == WHOLE
        assert (stored(tmp_path / "covalab.db", 1) == encoded) is is_msgpack
    finally:
        store.close()


def test_what_changed_before_it_was_recorded_is_the_rows(tmp_path: Path) -> None:
    """A request is stored as it came: whether it is held, when it starts and where it belongs is in other columns."""
    sent = replace(WHOLE, hold=False, root=None, parent=None, parent_node=-1, starts_at=None)
    store = Store(tmp_path / "covalab.db")
    row = summary_of(WHOLE, 1.0)

    async def both() -> tuple[Submission, Submission]:
        key, _ = await store.write(
            lambda db: dispatch_rows.insert_dispatch(db, WHOLE, row, encoded=msgspec.msgpack.encode(sent))
        )
        recorded = await store.read(lambda db: dispatch_rows.select_submission(db, key))
        await store.write(lambda db: dispatch_rows.release(db, WHOLE.id))
        return recorded, await store.read(lambda db: dispatch_rows.select_submission(db, key))

    recorded, released = asyncio.run(both())
    store.close()

    assert recorded == WHOLE
    assert released == replace(WHOLE, hold=False)


def test_a_graph_that_runs_again_leaves_behind_what_was_of_the_first_run() -> None:
    """Its triggers, its series, and what was replaced in it: that is what it is made of by now. It knows the first."""
    again = resubmission(WHOLE, DispatchId("b"), reuse=True, strict=False)

    assert again == replace(
        WHOLE,
        id=DispatchId("b"),
        root=None,
        parent=None,
        parent_node=-1,
        hold=False,
        reuse=WHOLE.id,
        reuse_strict=False,
        replaced=[],
        triggers=[],
        starts_at=None,
        schedule=None,
        again=WHOLE.id,
    )


def old_folder(path: Path, *versions: int, n_runs: int = 0) -> None:
    """Write a database of schema 10: dispatches with these versions, the first of them held, with `n_runs` in each."""
    connection = apsw.Connection(str(path))
    for statements in MIGRATIONS[:10]:
        connection.execute(statements)
    connection.pragma("user_version", 10)
    encode = msgspec.msgpack.encode
    body = {name: getattr(WHOLE, name) for name in OLD_BODY}
    for key, version in enumerate(versions, 1):
        connection.execute(
            "INSERT INTO dispatches VALUES (?, ?, 'g', ?, ?, 1, NULL, NULL, ?, '', '', 'r', 4, '', ?, 'p', 5, 'a', 60)",
            (key, f"d{key}", "pending" if key == 1 else "completed", version, encode(dict[str, int]()), key == 1),
        )
        connection.execute("INSERT INTO submissions VALUES (?, ?, ?)", (key, encode(GRAPH), encode(body)))
        if n_runs:
            connection.execute("INSERT INTO nodes VALUES (?, 0, 'completed', 1, 2, ?, NULL)", (key, n_runs))
    connection.close()


def test_what_schema_10_stored_is_read(tmp_path: Path) -> None:
    """Both shapes are read, and the old rows are not rewritten."""
    database = tmp_path / "covalab.db"
    old_folder(database, 1)

    store = Store(database)
    try:
        graph = asyncio.run(store.read(lambda db: dispatch_rows.select_graph(db, 1)))
        submission = asyncio.run(store.read(lambda db: dispatch_rows.select_submission(db, 1)))
        held = asyncio.run(store.read(lambda db: select_held_tasks(db, "", 10)))
        bodies = asyncio.run(store.read(lambda db: db.execute("SELECT submission FROM submissions").fetchall()))
    finally:
        store.close()

    assert graph == GRAPH
    forgotten: dict[str, Any] = {"reuse": None, "reuse_strict": False, "replaced": [], "triggers": [], "again": None}
    forgotten |= {"variables": b"", "local_modules": "", "notebook": None}
    assert submission == replace(WHOLE, id=DispatchId("d1"), **forgotten)
    assert [task.row.node for task in held] == [0]
    assert bodies == [(None,)]


def test_many_changes_are_no_recovery(tmp_path: Path) -> None:
    """600,000 runs change a dispatch 1,200,001 times; what restarts added to a version beside that is counted."""
    database = tmp_path / "covalab.db"
    old_folder(database, 1_200_001, 2_200_005, 3_199_990, n_runs=600_000)

    store = Store(database)
    try:
        found = asyncio.run(
            store.read(lambda db: [dispatch_rows.select_dispatch(db, name) for name in ("d1", "d2", "d3")])
        )
    finally:
        store.close()

    assert [row[1].recovered for row in found if row is not None] == [0, 1, 2]


def test_each_restart_counts_once_for_what_runs(tmp_path: Path) -> None:
    """And leaves a gap in its versions, also if nothing else is recorded before the next."""
    store = Store(tmp_path / "covalab.db")
    names = {"runs": replace(WHOLE, hold=False), "waits": WHOLE, "over": replace(WHOLE, hold=False)}

    def job(db: apsw.Connection) -> None:
        for name, submission in names.items():
            named = replace(submission, id=DispatchId(name), triggers=[])
            summary = summary_of(named, 1.0)
            key, _ = dispatch_rows.insert_dispatch(db, named, summary)
            if name == "over":
                dispatch_rows.update_dispatch(db, key, replace(summary, status="completed"), [], [])
        count_recovery(db)
        count_recovery(db)

    try:
        asyncio.run(store.write(job))
        found = asyncio.run(store.read(lambda db: [dispatch_rows.select_dispatch(db, name) for name in names]))
    finally:
        store.close()

    summaries = [row[1] for row in found if row is not None]
    assert [summary.recovered for summary in summaries] == [2, 0, 0]
    assert [summary.version for summary in summaries] == [2_000_001, 1, 1]
