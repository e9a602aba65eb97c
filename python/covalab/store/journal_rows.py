"""Rows of journals: entries of `core.journal`, by dispatch and number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw
import msgspec

from covalab.core.journal import STREAMED, Entry, ExecutionState, StateNode, fold
from covalab.core.model import Value
from covalab.store.dispatch_rows import use_blobs
from covalab.store.seals import Seal, seal_of


def insert_entries(connection: apsw.Connection, key: int, entries: Sequence[tuple[int, Entry]]) -> None:
    """Append entries to the journal of a dispatch; an entry "lag" also drops the oldest items of its stream."""
    if not entries:
        return
    seal = seal_of(connection)
    connection.executemany(
        "INSERT INTO journal VALUES (?,?,?,?,?)", (_columns(key, number, entry, seal) for number, entry in entries)
    )
    digests = {value.digest for _, entry in entries for value in _values(entry.tree) if value.digest is not None}
    if digests:
        use_blobs(connection, key, digests)
    for _, entry in entries:
        if entry.kind == "lag":
            # An item loses its value. Other entries of the stream are state as well: they are only not shown again.
            nothing, dropped = msgspec.msgpack.encode(Entry("stream", entry.at)), entry.data["dropped"]
            connection.executemany(
                "UPDATE journal SET entry = ?, seal = ? WHERE key = ? AND version = ?",
                [(nothing, seal("j", key, it, nothing), key, it) for it in _items(connection, key, dropped)],
            )
            connection.execute(
                "UPDATE journal SET streamed = 0 WHERE key = ?1 AND version IN "
                "(SELECT version FROM journal WHERE key = ?1 AND streamed = 1 ORDER BY version LIMIT ?2)",
                (key, dropped),
            )


def _columns(key: int, number: int, entry: Entry, seal: Seal) -> tuple[Any, ...]:
    data = msgspec.msgpack.encode(entry)
    return key, number, entry.kind in STREAMED, data, seal("j", key, number, data)


def _items(connection: apsw.Connection, key: int, n: int) -> list[int]:
    """Return which of the oldest `n` rows of the stream are items of tasks and no state."""
    rows = connection.execute(
        "SELECT version, entry FROM journal WHERE key = ? AND streamed = 1 ORDER BY version LIMIT ?", (key, n)
    )
    decoder = msgspec.msgpack.Decoder(Entry)
    return [number for number, entry in rows if decoder.decode(entry).kind == "stream"]


def _values(tree: StateNode | None) -> Iterator[Value]:
    if tree is None:
        return
    if tree.value is not None:
        yield tree.value
    parts: Iterable[StateNode] = [*(tree.below or {}).values(), *tree.more]
    for part in parts:
        yield from _values(part)


def select_execution_state(connection: apsw.Connection, key: int) -> ExecutionState | None:
    """Return the execution state of a dispatch, None if its journal is empty."""
    state: ExecutionState | None = None
    decoder = msgspec.msgpack.Decoder(Entry)
    number: Any
    for number, data in connection.execute("SELECT version, entry FROM journal WHERE key = ? ORDER BY version", (key,)):
        state = state or ExecutionState()
        fold(state, decoder.decode(data))
        state.version = number
    return state


def select_stream(
    connection: apsw.Connection, key: int, since: int, count: int, *, last: bool = False
) -> list[tuple[int, Entry]]:
    """Return the next entries of the stream after a number, or the last of those that come after it."""
    decoder = msgspec.msgpack.Decoder(Entry)
    what = "SELECT version, entry FROM journal WHERE key = ? AND version > ? AND streamed = 1 ORDER BY version"
    rows = connection.execute(what + (" DESC LIMIT ?" if last else " LIMIT ?"), (key, since, count))
    found = [(int(number), decoder.decode(entry)) for number, entry in rows]
    return found[::-1] if last else found
