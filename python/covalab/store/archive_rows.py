"""Rows of a whole dispatch: read for an archive, and inserted from one."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from covalab.core.archive import ArchivedDispatch, JournalRow
from covalab.core.journal import Entry
from covalab.core.model import Digest, Outcome
from covalab.store import dispatch_rows, seals

_FOREIGN = b"\0"
"""The seal of rows that are not trusted: it fits nothing."""


def select_archived(connection: apsw.Connection, key: int) -> ArchivedDispatch:
    """Return all rows of a dispatch.

    Raises
    ------
    DataFolderError
        If what was submitted was in a part of the database that is damaged.
    """
    (summary,) = (summary for _, summary in dispatch_rows.select_summaries(connection, "WHERE key = ?", (key,)))
    states = dispatch_rows.select_states(connection, key)
    by_node = {state.node: state for state in states}
    rows: Any = connection.execute("SELECT node FROM outcomes WHERE key = ? ORDER BY node", (key,)).fetchall()
    outcomes: list[Outcome] = []
    for (node,) in rows:
        row, state = dispatch_rows.select_outcome(connection, key, node), by_node.get(node)
        assert row is not None
        outcomes.append(
            Outcome(
                node,
                summary.status if state is None else state.status,
                (state and state.started_at) or summary.created_at,
                (state and state.ended_at) or summary.created_at,
                value=row.value,
                failure=row.failure,
                stdout=row.stdout,
                stderr=row.stderr,
                worker=row.worker,
                outputs=row.outputs,
                reuse=row.reuse,
                times=row.times,
            )
        )
    attempts = [it for its in dispatch_rows.select_attempts(connection, key).values() for it in its]
    journal: Any = connection.execute(
        "SELECT version, streamed, entry FROM journal WHERE key = ? ORDER BY version", (key,)
    )
    blobs: Any = connection.execute("SELECT digest FROM blob_uses WHERE key = ? ORDER BY digest", (key,))
    entries = msgspec.msgpack.Decoder(Entry)
    return ArchivedDispatch(
        msgspec.structs.replace(summary, inner=0),
        dispatch_rows.select_submission(connection, key),
        states,
        outcomes,
        attempts,
        [JournalRow(version, bool(streamed), entries.decode(entry)) for version, streamed, entry in journal],
        [Digest(digest) for (digest,) in blobs],
    )


def insert_archived(connection: apsw.Connection, found: ArchivedDispatch, *, is_trusted: bool) -> None:
    """Record a dispatch from an archive. Its triggers do not watch here; without trust nothing of it is opened."""
    submission = msgspec.structs.replace(found.submission, triggers=[])
    key, is_new = dispatch_rows.insert_dispatch(connection, submission, found.summary)
    assert is_new, found.summary.id
    dispatch_rows.update_dispatch(connection, key, found.summary, found.states, found.outcomes, attempts=found.attempts)
    connection.executemany(
        "INSERT INTO journal (key, version, streamed, entry) VALUES (?,?,?,?)",
        ((key, row.version, row.is_streamed, msgspec.msgpack.encode(row.entry)) for row in found.journal),
    )
    dispatch_rows.use_blobs(connection, key, found.blobs)
    if is_trusted:
        seals.seal_dispatch(connection, key)
    else:
        for table in ("submissions", "outcomes", "attempts", "journal"):
            connection.execute(f"UPDATE {table} SET seal = ? WHERE key = ?", (_FOREIGN, key))
