"""Rows of the list of dispatches: searched, filtered, sorted, grouped and cut to a page in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from covalab.core.dispatch_list import (
    MOST_TAGS,
    SPARK,
    DispatchGroup,
    DispatchPage,
    DispatchRow,
    GroupPage,
    ListQuery,
    Sort,
    SparkBar,
    short,
)
from covalab.core.model import DispatchId, DispatchSummary, Failure, Value
from covalab.store.dispatch_rows import HAS_TAG, select_summaries

_SECONDS: Final = "coalesce(ended_at, unixepoch('subsec')) - coalesce(started_at, created_at)"
"""How long a dispatch took, or has run so far."""
_ORDERS: Final[dict[Sort, str]] = {
    "newest": "key DESC",
    "oldest": "key",
    "longest": f"{_SECONDS} DESC, key DESC",
    "name": "name COLLATE NOCASE, key DESC",
}
_GROUP_ORDERS: Final[dict[Sort, str]] = {
    "newest": "max(key) DESC",
    "oldest": "min(key)",
    "longest": f"max({_SECONDS}) DESC",
    "name": "name COLLATE NOCASE, max(key) DESC",
}
_FAILED: Final = "status IN ('failed', 'cancelled')"
_TASKS: Final = (
    "EXISTS (SELECT 1 FROM nodes INDEXED BY nodes_not_completed WHERE nodes.key = dispatches.key AND nodes.status <> "
    "'completed' AND nodes.status IN ('{0}', 'skipped') AND (nodes.status = '{0}' OR nodes.error_type IS '{1}'))"
)
_ONLY: Final = {
    "": "",
    "active": "status IN ('pending', 'running') AND held = 0",
    "completed": "status = 'completed'",
    "failed": _FAILED,
    "failed_tasks": _TASKS.format("failed", "dependency"),
    "cancelled_tasks": _TASKS.format("cancelled", "cancelled"),
}


def _condition(query: ListQuery) -> tuple[str, list[Any]]:
    where = ["root IS NULL"]
    values: list[Any] = []
    if _ONLY[query.only]:
        where.append(_ONLY[query.only])
    for word in query.text.split():
        # `instr` of lowered texts, not LIKE: a search for "50%" is one for these three signs.
        where.append("instr(lower(name || ' ' || notebook || ' ' || inputs || ' ' || tags || ' ' || id), ?)")
        values.append(word.lower())
    if query.tag:
        where.append(HAS_TAG)
        values.append(query.tag)
    if query.name and not query.group:
        where += ["name = ?", "notebook = ?"]
        values += [query.name, query.notebook]
    return " AND ".join(where), values


def _count(connection: apsw.Connection, where: str, values: Sequence[Any]) -> int:
    return int(connection.execute(f"SELECT count(*) FROM dispatches WHERE {where}", values).get)


def select_page(connection: apsw.Connection, query: ListQuery) -> DispatchPage:
    """Return a page of rows."""
    where, values = _condition(query)
    rows = select_summaries(
        connection,
        f"WHERE {where} ORDER BY {_ORDERS[query.sort]} LIMIT ? OFFSET ?",
        (*values, query.count, query.offset),
    )
    return DispatchPage(
        [_row(connection, key, summary) for key, summary in rows],
        _count(connection, where, values),
        _count(connection, "root IS NULL", ()),
    )


def select_group_page(connection: apsw.Connection, query: ListQuery) -> GroupPage:
    """Return a page of groups; a group has only what matches."""
    where, values = _condition(query)
    grouped = f"FROM dispatches WHERE {where} GROUP BY name, notebook"
    found = list(
        connection.execute(
            f"SELECT name, notebook, count(*), sum(status = 'failed'), max(key) {grouped} "
            f"ORDER BY {_GROUP_ORDERS[query.sort]} LIMIT ? OFFSET ?",
            (*values, query.count, query.offset),
        )
    )
    groups = []
    for name, notebook, count, failed, newest in found:
        ((key, summary),) = select_summaries(connection, "WHERE key = ?", (newest,))
        spark = connection.execute(
            f"SELECT {_SECONDS}, status, id "
            f"FROM dispatches WHERE {where} AND name = ? AND notebook = ? ORDER BY key DESC LIMIT {SPARK}",
            (*values, name, notebook),
        )
        bars = [SparkBar(max(0.0, seconds), status, DispatchId(its_id)) for seconds, status, its_id in spark]
        groups.append(DispatchGroup(_row(connection, key, summary), int(count), int(failed), bars[::-1]))
    return GroupPage(
        groups,
        int(connection.execute(f"SELECT count(*) FROM (SELECT 1 {grouped})", values).get),
        _count(connection, where, values),
        _count(connection, "root IS NULL", ()),
        _tags(connection),
    )


def _tags(connection: apsw.Connection) -> list[str]:
    """Return the tags that there are, those of the newest dispatches first."""
    rows = connection.execute(
        "SELECT tag.value FROM "
        "(SELECT key AS newest, tags FROM dispatches WHERE root IS NULL AND tags <> '[]') AS tagged, "
        f"json_each(tagged.tags) AS tag GROUP BY tag.value ORDER BY max(newest) DESC, min(tag.key) LIMIT {MOST_TAGS}"
    )
    return [str(tag) for (tag,) in rows]


def select_newest_again(connection: apsw.Connection, dispatch: str) -> DispatchSummary | None:
    """Return the newest dispatch that runs another again, or None."""
    found = select_summaries(connection, "WHERE origin = ? ORDER BY key DESC LIMIT 1", (dispatch,))
    return found[0][1] if found else None


def _row(connection: apsw.Connection, key: int, summary: DispatchSummary) -> DispatchRow:
    if summary.status == "completed":
        row = connection.execute(
            "SELECT o.value FROM dispatches AS d JOIN outcomes AS o ON o.key = d.key AND o.node = d.value_node "
            "WHERE d.key = ? AND o.value IS NOT NULL",
            (key,),
        ).fetchone()
        return DispatchRow(
            summary, result="" if row is None else short(_text(msgspec.msgpack.decode(row[0], type=Value)))
        )
    if summary.status == "failed":
        row = connection.execute(
            "SELECT o.failure FROM nodes AS n INDEXED BY nodes_not_completed JOIN outcomes AS o USING (key, node) "
            "WHERE n.key = ? AND n.status <> 'completed' AND n.status = 'failed' AND o.failure IS NOT NULL LIMIT 1",
            (key,),
        ).fetchone()
        return DispatchRow(summary, why=short(summary.error) if row is None else _why(summary, row[0]))
    return DispatchRow(summary)


def _text(value: Value) -> str:
    """Return a value in a line; the rows of a table or an array say nothing when they are joined, so their type."""
    is_table = value.type != "str" and "\n" in value.text
    return value.type if is_table else value.text or value.type


def _why(summary: DispatchSummary, encoded: bytes) -> str:
    failure = msgspec.msgpack.decode(encoded, type=Failure)
    text = ": ".join(filter(None, (failure.exception, failure.message.strip().partition("\n")[0])))
    _, _, first = summary.error.partition("\n")
    _, _, name = first.partition("\n")[0].partition(": ")
    return short(f"{name}: {text}" if name and name != summary.name else text)
