"""Rows of triggers: each with its state, and the dispatches that it has started."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from covalab.core.model import DispatchId, Trigger
from covalab.core.trigger_states import TriggerState, TriggerStatus
from covalab.store.seals import seal_of

_SHOWN: Final = 10_000
"""How many of the dispatches that a trigger has started are listed: the newest."""


class TriggerRow(NamedTuple):
    """A trigger as it is recorded, with the key and the id of its dispatch."""

    key: int
    dispatch: DispatchId
    trigger: Trigger
    state: TriggerStatus
    error: str


def insert_triggers(connection: apsw.Connection, key: int, triggers: Iterable[Trigger]) -> None:
    """Record triggers of a dispatch; those that are there already stay as they are."""
    for trigger in triggers:
        data = msgspec.msgpack.encode(trigger)
        connection.execute(
            "INSERT OR IGNORE INTO triggers VALUES (?,?,?,'watching','',?)",
            (trigger.id, key, data, seal_of(connection)("t", key, trigger.id, data)),
        )
        if trigger.code.digest:
            connection.execute("INSERT OR IGNORE INTO blob_uses VALUES (?,?)", (trigger.code.digest, key))


def select_triggers(
    connection: apsw.Connection, *, dispatch: DispatchId | None = None, state: TriggerStatus | None = None
) -> list[TriggerRow]:
    """Return the triggers of a dispatch (None: of all) in a state (None: in any), oldest first."""
    found = connection.execute(
        "SELECT t.key, d.id, t.trigger, t.state, t.error FROM triggers AS t JOIN dispatches AS d USING (key) "
        "WHERE (?1 IS NULL OR d.id = ?1) AND (?2 IS NULL OR t.state = ?2) ORDER BY t.rowid",
        (dispatch, state),
    )
    return [_row(row) for row in found]


def select_trigger(connection: apsw.Connection, trigger: str) -> TriggerRow | None:
    """Return one trigger, or None."""
    row = connection.execute(
        "SELECT t.key, d.id, t.trigger, t.state, t.error FROM triggers AS t JOIN dispatches AS d USING (key) "
        "WHERE t.id = ?",
        (trigger,),
    ).fetchone()
    return None if row is None else _row(row)


def _row(row: Sequence[Any]) -> TriggerRow:
    key, dispatch, trigger, state, error = row
    return TriggerRow(int(key), DispatchId(dispatch), msgspec.msgpack.decode(trigger, type=Trigger), state, error)


def select_states(connection: apsw.Connection, dispatch: DispatchId) -> list[TriggerState]:
    """Return the states of a dispatch's triggers."""
    return [
        TriggerState(
            id=row.trigger.id,
            dispatch=row.dispatch,
            name=row.trigger.name,
            state=row.state,
            error=row.error,
            fired=fired(connection, row),
        )
        for row in select_triggers(connection, dispatch=dispatch)
    ]


def fired(connection: apsw.Connection, row: TriggerRow) -> list[DispatchId]:
    """Return the dispatches that a trigger has started, oldest first."""
    newest = connection.execute(
        "SELECT dispatch FROM firings WHERE trigger = ? ORDER BY rowid DESC LIMIT ?", (row.trigger.id, _SHOWN)
    )
    return [DispatchId(dispatch) for (dispatch,) in newest][::-1]


def update_state(connection: apsw.Connection, trigger: str, state: TriggerStatus, error: str) -> None:
    """Record the state of a trigger; one that watches no longer stays as it ended."""
    connection.execute(
        "UPDATE triggers SET state = ?, error = ? WHERE id = ? AND state = 'watching'", (state, error, trigger)
    )


def insert_firing(connection: apsw.Connection, trigger: str, request: DispatchId, dispatch: DispatchId) -> None:
    """Record that a trigger has started a dispatch."""
    connection.execute("INSERT OR IGNORE INTO firings VALUES (?,?,?)", (request, trigger, dispatch))


def select_firing(connection: apsw.Connection, request: DispatchId) -> DispatchId | None:
    """Return the dispatch that was started for a request, or None."""
    row = connection.execute("SELECT dispatch FROM firings WHERE request = ?", (request,)).fetchone()
    return None if row is None else DispatchId(row[0])
