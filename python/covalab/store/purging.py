"""Deletion of dispatches: one, or all that ended long ago, each with everything below it.

What is left is whole: no row of a dispatch stays without the others, and no blob goes that another dispatch uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Digest, DispatchId
from covalab.store.dispatch_rows import select_unused

_OPEN: Final = f"status NOT IN ({','.join(repr(status) for status in sorted(TERMINAL))})"
_TABLES: Final = ("journal", "blob_uses", "attempts", "outcomes", "nodes", "submissions", "dispatches")


class Deleted(NamedTuple):
    """Deleted dispatches: their ids, how many of them were outermost ones, and the blobs that no other one uses."""

    ids: list[DispatchId]
    outermost: int
    unused: list[Digest]


def delete_dispatch(connection: apsw.Connection, dispatch: DispatchId) -> Deleted | None:
    """Delete a dispatch and all below it; None while some of it runs."""
    family: list[Any] = []
    for column in ("id", "root"):
        found = f"SELECT key, {_OPEN} AND held = 0 FROM dispatches WHERE {column} = ?"
        family += connection.execute(found, (dispatch,))
    if any(runs for _, runs in family):
        return None
    return _delete(connection, [key for key, _ in family])


def select_ended(connection: apsw.Connection, before: float, limit: int) -> list[tuple[int, DispatchId]]:
    """Return key and id of outermost dispatches that ended before a moment, at most `limit`, those that ended first.

    One of which something still runs, or that a trigger will run again, is left out. `limit` -1: all.
    """
    # The index is forced: it has the outermost dispatches in the order in which they ended, so that the search stops at
    # the moment. Without statistics, SQLite would take the index of all outermost ones, and sort those.
    found: list[Any] = connection.execute(
        "SELECT key, id FROM dispatches AS d INDEXED BY dispatches_by_end "
        "WHERE root IS NULL AND ended_at IS NOT NULL AND ended_at < ? AND held = 0 "
        f"AND NOT ({_OPEN}) "
        f"AND NOT EXISTS (SELECT 1 FROM dispatches AS below WHERE below.root = d.id AND below.{_OPEN}) "
        "AND d.id NOT IN (SELECT coalesce(one.root, one.id) FROM triggers JOIN dispatches AS one USING (key) "
        "WHERE state = 'watching') "
        "ORDER BY ended_at LIMIT ?",
        (before, limit),
    ).fetchall()
    return [(int(key), DispatchId(found_id)) for key, found_id in found]


def delete_ended(connection: apsw.Connection, before: float, limit: int) -> Deleted:
    """Delete the dispatches of `select_ended`."""
    found = select_ended(connection, before, limit)
    ids = msgspec.json.encode([one for _, one in found]).decode()
    # `CROSS JOIN` keeps the order of the tables: few ids, and for each a search in the index of roots.
    below: list[Any] = connection.execute(
        "SELECT d.key FROM json_each(?) AS roots CROSS JOIN dispatches AS d ON d.root = roots.value", (ids,)
    ).fetchall()
    return _delete(connection, [key for key, _ in found] + [key for (key,) in below])


def _delete(connection: apsw.Connection, keys: Sequence[int]) -> Deleted:
    chosen = (msgspec.json.encode(keys).decode(),)
    these = "key IN (SELECT value FROM json_each(?))"
    used: list[Any] = connection.execute(f"SELECT digest FROM blob_uses WHERE {these}", chosen).fetchall()
    known: list[Any] = connection.execute(f"SELECT id, root IS NULL FROM dispatches WHERE {these}", chosen).fetchall()
    connection.execute(f"DELETE FROM firings WHERE trigger IN (SELECT id FROM triggers WHERE {these})", chosen)
    for table in ("triggers", *_TABLES):
        connection.execute(f"DELETE FROM {table} WHERE {these}", chosen)
    unused = select_unused(connection, {Digest(digest) for (digest,) in used})
    return Deleted([DispatchId(one) for one, _ in known], sum(outermost for _, outermost in known), unused)
