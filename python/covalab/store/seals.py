"""Seals of rows: a keyed hash beside everything that is ever unpickled, which only this account can make.

A row whose seal does not fit was written by somebody else, or changed since. The key is not in the data folder, so that
it does not go along when the folder is given away. What is in files is named by its digest in a row, and so is sealed.

Rows of versions that made no seals have none. Those of a folder that this account used then are `adopted`: their number
is kept, sealed together with the place of the folder.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import apsw
import msgspec
from blake3 import blake3

from covalab.core.model import DispatchId, Failure, Submission

_BYTES: Final = 16
_encode: Final = msgspec.msgpack.encode

Seal = Callable[..., "bytes | None"]

_seals: Final[WeakKeyDictionary[apsw.Connection, Seal]] = WeakKeyDictionary()


class _Table(NamedTuple):
    """Rows that are sealed: the kind in the seal, and the columns in its order."""

    kind: str
    columns: str
    which: str
    place: tuple[str, ...]


_TABLES: Final = {
    "submissions": _Table("s", "id, submission, graph, rest", "submissions JOIN dispatches USING (key)", ("key",)),
    "outcomes": _Table("o", "node, value, failure, outputs", "outcomes", ("key", "node")),
    "attempts": _Table("a", "node, attempt, outcome", "attempts", ("key", "node", "attempt")),
    "journal": _Table("j", "version, entry", "journal", ("key", "version")),
    "triggers": _Table("t", "triggers.id, trigger", "triggers", ("id",)),
}


def sealer(key: bytes) -> Seal:
    """Return the function that seals the columns of a row: numbers, texts, bytes, null."""

    def seal(kind: str, *columns: object) -> bytes:
        # Lengths first: no two rows have the same text, wherever one column ends.
        head = [len(it) if isinstance(it, bytes) else it for it in columns]
        parts = [it for it in columns if isinstance(it, bytes)]
        return blake3(b"".join([_encode((kind, head)), *parts]), key=key).digest(_BYTES)

    return seal


def seal_with(connection: apsw.Connection, key: bytes | None) -> None:
    """Let everything that is written by a connection be sealed."""
    if key is not None:
        _seals[connection] = sealer(key)


def seal_of(connection: apsw.Connection) -> Seal:
    """Return the function that seals rows that a connection writes; without a key they have no seal."""
    return _seals.get(connection, _no_seal)


def _no_seal(*_: object) -> None:
    return None


def is_own(connection: apsw.Connection, key: int, seal: Seal, adopted: int) -> bool:
    """Whether this account wrote all rows of a dispatch from which values are opened.

    Parameters
    ----------
    connection
        The database.
    key
        The key of the dispatch.
    seal
        Of `sealer`.
    adopted
        The last key of those dispatches of which rows need no seal.
    """
    try:
        return all(
            (found is None and key <= adopted) or _is_same(found, made) or _is_harmless(name, columns, found)
            for name in _TABLES
            for _, columns, found, made in _rows(connection, name, key, seal)
        )
    except (ValueError, TypeError, msgspec.MsgspecError):  # a column of another type, such as text that is no UTF-8
        return False


def _is_same(found: object, made: bytes | None) -> bool:
    return isinstance(found, bytes) and made is not None and hmac.compare_digest(found, made)


def _is_harmless(table: str, columns: Sequence[Any], seal: object) -> bool:
    """Whether nothing in a row is ever opened.

    What cannot be decoded is reported as that, to nobody's harm; rows of what a damaged database has lost have no seal.
    """
    if table == "submissions":
        return columns[1] is not None and not _can_be_decoded(columns[1])
    if table != "outcomes" or seal is not None:
        return False
    _, value, failure, outputs = columns
    if value is not None or outputs is not None:
        return False
    it = None if failure is None else msgspec.msgpack.decode(failure, type=Failure)
    return it is None or (it.original is None and it.left is None)


def _can_be_decoded(submission: bytes) -> bool:
    try:
        msgspec.msgpack.decode(submission, type=Submission)
    except msgspec.MsgspecError:
        return False
    return True


def _rows(
    connection: apsw.Connection, name: str, key: int, seal: Seal
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], object, bytes | None]]:
    """Yield for each row of a dispatch: what names it, the columns that are sealed, its seal, and the right one."""
    table = _TABLES[name]
    place = ", ".join(f"{name}.{column}" for column in table.place)
    rows = connection.execute(f"SELECT {place}, {table.columns}, seal FROM {table.which} WHERE key = ?", (key,))
    n = len(table.place)
    for row in rows:
        columns = row[n:-1]
        yield row[:n], columns, row[-1], seal(table.kind, key, *columns)


def seal_dispatch(connection: apsw.Connection, key: int) -> None:
    """Seal all rows of a dispatch: they are this account's own, or are trusted."""
    seal = seal_of(connection)
    for name, table in _TABLES.items():
        where = " AND ".join(f"{column} = ?" for column in table.place)
        found = [(made, *place) for place, _, old, made in _rows(connection, name, key, seal) if made != old]
        connection.executemany(f"UPDATE {name} SET seal = ? WHERE {where}", found)


def select_below(connection: apsw.Connection, dispatch: DispatchId) -> list[tuple[int, DispatchId]]:
    """Return key and id of all dispatches that belong together with one: the outermost, and all below that."""
    rows = connection.execute(
        "SELECT key, id FROM dispatches WHERE coalesce(root, id) = "
        "(SELECT coalesce(root, id) FROM dispatches WHERE id = ?) ORDER BY key",
        (dispatch,),
    )
    return [(int(key), DispatchId(found)) for key, found in rows]


def select_all(connection: apsw.Connection, after: int, count: int) -> list[tuple[int, DispatchId]]:
    """Return key and id of the next dispatches after a key."""
    rows = connection.execute("SELECT key, id FROM dispatches WHERE key > ? ORDER BY key LIMIT ?", (after, count))
    return [(int(key), DispatchId(found)) for key, found in rows]


# -- folders that were used before there were seals ---------------------------------------------------------------


def unsealed(connection: apsw.Connection) -> int:
    """Return the last key of the dispatches that were recorded before there were seals."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'unsealed'").fetchone()
    return 0 if row is None else int(row[0])


def adopt(connection: apsw.Connection, folder: Path) -> None:
    """Record that the rows without seals in a folder are this account's own."""
    number = unsealed(connection)
    mark = seal_of(connection)("f", number, *_place(folder))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('adopted', ?)", (mark,))


def adopted(connection: apsw.Connection, folder: Path, seal: Seal) -> int:
    """Return the last key of the dispatches of which rows need no seal; 0: all of them do."""
    number = unsealed(connection)
    row = connection.execute("SELECT value FROM meta WHERE key = 'adopted'").fetchone()
    return number if row is not None and _is_same(row[0], seal("f", number, *_place(folder))) else 0


def mark_of(folder: Path, seal: Seal) -> bytes | None:
    """Return the mark of a folder that this account uses, in this place."""
    return seal("c", *_place(folder))


def _place(folder: Path) -> Iterable[object]:
    # A copy, and what was packed and unpacked, has another number. Devices are numbered anew when a machine starts.
    return str(folder.resolve()), folder.stat().st_ino
