"""Lists and counts of tasks: right over all rows, and without looking at what they do not need."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from covalab.core.model import TaskQuery
from covalab.store import Store, task_rows

N_DISPATCHES, N_NODES = 20, 50


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a store with a thousand tasks: each tenth failed, half of those at the third run."""
    store = Store(tmp_path / "covalab.db")

    def fill(db: apsw.Connection) -> None:
        for key in range(1, N_DISPATCHES + 1):
            db.execute(
                "INSERT INTO dispatches (key, id, name, status, version, created_at, counts, notebook, cell, "
                "parent_node, error) VALUES (?, ?, 'many', 'failed', 1, ?, x'90', '', '', -1, '')",
                (key, f"d{key}", float(key)),
            )
            for node in range(N_NODES):
                failed = node % 10 == 0
                values = (key, node, "failed" if failed else "completed", float(key), 3 if node % 20 == 0 else 1)
                db.execute(
                    "INSERT INTO nodes VALUES (?1, ?2, ?3, ?4, ?4, ?5, iif(?3 = 'failed', 'runtime', NULL))", values
                )

    asyncio.run(store.write(fill))
    yield store
    store.close()


@pytest.mark.parametrize(
    ("query", "n_all"),
    [
        (TaskQuery(), 1000),
        (TaskQuery(status="failed"), 100),
        (TaskQuery(status="failed,completed"), 1000),
        (TaskQuery(status="cancelled"), 0),
        (TaskQuery(error_type="runtime"), 100),
        (TaskQuery(error_type="timeout"), 0),
        (TaskQuery(min_attempts=2), 60),
        (TaskQuery(min_attempts=2, status="failed"), 60),
        (TaskQuery(dispatch="d7"), 50),
        (TaskQuery(since=19.0), 100),
    ],
)
def test_a_list_has_what_was_asked_for_newest_first(store: Store, query: TaskQuery, n_all: int) -> None:
    """All of it, or the newest part; each way through the indexes finds the same."""
    everything = TaskQuery(query.dispatch, query.status, query.error_type, query.min_attempts, query.since, limit=-1)

    found = asyncio.run(store.read(lambda db: task_rows.select_tasks(db, everything)))
    newest = asyncio.run(store.read(lambda db: task_rows.select_tasks(db, query)))

    assert len(found) == n_all
    assert [it.place for it in found] == sorted((it.place for it in found), reverse=True)
    assert newest == found[:25]


def test_every_row_is_counted(store: Store) -> None:
    """Also without those of some dispatches, which are counted elsewhere."""
    counts, errors = asyncio.run(store.read(lambda db: (task_rows.count_tasks(db, []), task_rows.count_errors(db))))

    assert counts == {"completed": 900, "failed": 100, "cancelled": 0}
    assert errors == {"runtime": 100}
    assert asyncio.run(store.read(lambda db: task_rows.count_tasks(db, [1, 2]))) == {
        "completed": 810,
        "failed": 90,
        "cancelled": 0,
    }


@pytest.mark.parametrize(
    "query", [TaskQuery(), TaskQuery(status="failed"), TaskQuery(error_type="runtime"), TaskQuery(min_attempts=3)]
)
def test_a_list_is_read_in_its_order(store: Store, query: TaskQuery) -> None:
    """Nothing is sorted, so a list costs what it returns, however many tasks there are."""

    def plan(db: apsw.Connection) -> list[str]:
        statements: list[tuple[str, object]] = []

        def note(_: apsw.Cursor, sql: str, bindings: object) -> bool:
            statements.append((sql, bindings))
            return True

        db.exec_trace = note
        task_rows.select_tasks(db, query)
        db.exec_trace = None
        ((sql, bindings),) = statements
        return [str(row[3]) for row in db.execute("EXPLAIN QUERY PLAN " + sql, bindings)]  # type: ignore[arg-type]

    steps = asyncio.run(store.read(plan))

    assert steps
    assert not [step for step in steps if "TEMP B-TREE" in step], steps
