"""Rows of tasks: every node that does work, of all dispatches, listed and counted in the database.

Each answer is one query. It costs as much as the rows it returns, or one pass over the narrow table of nodes. No value
is deserialized for it, and no graph, but those of dispatches that are not started.

Indexes are forced, because nothing gathers statistics: those that are named hold what is rare (`nodes_not_completed`,
`nodes_by_error`, `nodes_run_again`, `dispatches_held`), and SQLite cannot know that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from covalab.core.model import (
    Counts,
    DispatchId,
    Failure,
    TaskQuery,
    TaskRow,
    TaskStatusName,
    Value,
    does_work,
)
from covalab.store.dispatch_rows import decode_graph

_WORD: Final = "iif(n.status <> 'skipped', n.status, iif(n.error_type IS 'dependency', 'failed', 'cancelled'))"
"""`core.lifecycle.task_word` in SQL."""


class KeyedTask(NamedTuple):
    """A task and its position in the order of all: by dispatch, then by node."""

    key: int
    row: TaskRow

    @property
    def place(self) -> tuple[int, int]:
        """The key by which lists are sorted."""
        return self.key, self.row.node


def select_tasks(connection: apsw.Connection, query: TaskQuery) -> list[KeyedTask]:
    """Return the tasks that have ended and that a query asks for, newest first."""
    words = [word for word in query.status.split(",") if word]
    where = ["n.status NOT IN ('pending', 'running')"]
    values: list[Any] = []
    index = ""
    if query.min_attempts > 1:
        index = "INDEXED BY nodes_run_again"
        where.append("n.attempt > 1 AND n.attempt >= ?")
        values.append(query.min_attempts)
    if words:
        where.append(f"{_WORD} IN ({','.join('?' * len(words))})")
        values += words
        if "completed" not in words:
            index = "INDEXED BY nodes_not_completed"
            where.append("n.status <> 'completed'")
    if query.error_type:
        index = "INDEXED BY nodes_by_error"
        where.append("n.error_type = ?")
        values.append(query.error_type)
    if query.dispatch:
        index = ""
        where.append("n.key = (SELECT key FROM dispatches WHERE id = ?)")
        values.append(query.dispatch)
    if query.since:
        where.append("coalesce(n.ended_at, d.created_at) >= ?")
        values.append(query.since)
    found = connection.execute(
        f"SELECT n.key, d.id, n.node, {_WORD}, n.attempt, d.created_at, n.started_at, n.ended_at, "
        f"n.error_type, o.failure, o.value, d.starts_at, d.schedule_id "
        f"FROM nodes AS n {index} CROSS JOIN dispatches AS d ON d.key = n.key "
        "LEFT JOIN outcomes AS o ON o.key = n.key AND o.node = n.node "
        f"WHERE {' AND '.join(where)} ORDER BY n.key DESC, n.node DESC LIMIT ?",
        (*values, query.limit),
    )
    return [_task(row) for row in found]


def _task(row: Any) -> KeyedTask:
    key, dispatch, node, word, attempts, enqueued_at, started_at, ended_at, error_type, failure, value, *when = row
    starts_at, schedule_id = when
    why: Failure | None = None
    if failure is not None:
        why = msgspec.structs.replace(msgspec.msgpack.decode(failure, type=Failure), original=None)
    elif error_type is not None:
        why = Failure(error_type, "never started: what it needs did not complete")
    of_value: Value | None = None
    if value is not None:
        of_value = msgspec.structs.replace(msgspec.msgpack.decode(value, type=Value), data=None)
    task = TaskRow(
        dispatch=DispatchId(dispatch),
        node=node,
        status=word,
        attempts=attempts,
        enqueued_at=enqueued_at,
        started_at=started_at,
        ended_at=ended_at,
        failure=why,
        value=of_value,
        starts_at=starts_at,
        schedule_id=schedule_id,
    )
    return KeyedTask(key, task)


def select_held_tasks(connection: apsw.Connection, dispatch: str, limit: int) -> list[KeyedTask]:
    """Return the tasks of dispatches that are recorded and not started, newest first; they are all pending."""
    found = connection.execute(
        "SELECT key, id, created_at, submission, graph, starts_at, schedule_id "
        "FROM dispatches INDEXED BY dispatches_held JOIN submissions USING (key) "
        "WHERE held <> 0 AND ?1 IN ('', id) ORDER BY key DESC LIMIT ?2",
        (dispatch, limit),
    )
    tasks: list[KeyedTask] = []
    for key, its_id, created_at, submission, graph, starts_at, schedule_id in found:
        nodes = decode_graph(submission, graph).nodes
        working = [node for node in range(len(nodes) - 1, -1, -1) if does_work(nodes[node])]
        tasks += [
            KeyedTask(
                key, TaskRow(its_id, node, "pending", 0, created_at, starts_at=starts_at, schedule_id=schedule_id)
            )
            for node in working
        ]
    return tasks


def count_tasks(connection: apsw.Connection, without: Iterable[int]) -> dict[TaskStatusName, int]:
    """Count the tasks of all dispatches but some (by key), by status."""
    keys = msgspec.json.encode(list(without)).decode()
    # Most tasks complete: they are what is left of all when the others are counted, and no row of theirs is read.
    (n_left,) = connection.execute(
        "SELECT (SELECT count(*) FROM nodes) - "
        "(SELECT count(*) FROM json_each(?) AS one JOIN nodes ON nodes.key = one.value)",
        (keys,),
    ).fetchone() or (0,)
    counts: dict[TaskStatusName, int] = {"completed": int(n_left), "failed": 0, "cancelled": 0}
    others = connection.execute(
        f"SELECT {_WORD}, count(*) FROM nodes AS n INDEXED BY nodes_not_completed WHERE n.status <> 'completed' "
        "AND n.key NOT IN (SELECT value FROM json_each(?)) GROUP BY 1",
        (keys,),
    )
    for word, number in others:
        counts["completed"] -= int(number)
        if word in counts:  # one that has not ended is counted where it runs
            counts[word] += int(number)
    return counts


def count_errors(connection: apsw.Connection) -> dict[str, int]:
    """Count the tasks that have failed, by type of error, the most frequent first."""
    found = connection.execute(
        "SELECT error_type, count(*) FROM nodes INDEXED BY nodes_by_error WHERE error_type IS NOT NULL "
        "AND error_type <> 'cancelled' GROUP BY error_type ORDER BY 2 DESC, 1"
    )
    return {str(error_type): int(number) for error_type, number in found}


def count_held(connection: apsw.Connection) -> int:
    """Count the tasks of dispatches that are recorded and not started."""
    held = connection.execute("SELECT counts FROM dispatches INDEXED BY dispatches_held WHERE held <> 0")
    return sum(msgspec.msgpack.decode(counts, type=Counts).pending for (counts,) in held)
