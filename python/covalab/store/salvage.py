"""Rows of a damaged database: read from the pages that are whole. SQLite itself stops at the first that is not.

The trees of the tables are followed as far as they are whole. What hangs below a page that is not is found among the
pages that no tree reached, and told by its shape. A row of which any page is damaged is not read.
(SQLite's own `.recover` is in its shell only, and reads what is left of such rows.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from covalab.store.pages import PAGE_SIZE, PageCheck, pages

Fields: TypeAlias = "tuple[Any, ...]"

_USABLE: Final = PAGE_SIZE - 8
_TABLE_LEAF, _TABLE_INNER, _INDEX_LEAF, _INDEX_INNER = 13, 5, 10, 2
_FRAME: Final = 24
_WAL_HEADER: Final = 32
_HEX: Final = 64
_IDS: Final = "sqlite_autoindex_dispatches_1"
_WITHOUT_ROWID: Final = frozenset({"meta", "nodes", "blob_uses", "durations"})


class Row(NamedTuple):
    """A row: its number (0 in a table without), and its columns, as many as there were when it was written."""

    rowid: int
    fields: Fields


class Salvaged(NamedTuple):
    """Rows by table, ids of dispatches by key, and whether there may have been more of these."""

    tables: dict[str, list[Row]]
    ids: dict[int, str]
    may_miss_ids: bool


def salvage(path: Path) -> Salvaged:
    """Read all rows of a database that are whole."""
    return _Reader(path).read()


class _Reader:
    def __init__(self, path: Path) -> None:
        check = PageCheck()
        content = dict(enumerate(pages(path), 1))
        content.update(_of_wal(path.with_name(f"{path.name}-wal"), check))
        self._pages = {number: page for number, page in content.items() if check.is_whole(page)}
        self._reached: set[int] = {1}
        self._has_gaps = False

    def read(self) -> Salvaged:
        tables: dict[str, list[Row]] = {}
        ids: dict[int, str] = {}
        may_miss_ids = True
        for kind, name, _, root, _ in (row.fields for row in self._tree(1)):
            if kind == "table":
                tables[name] = list(self._tree(root))
            elif name == _IDS:
                before, self._has_gaps = self._has_gaps, False
                ids = {int(key): dispatch for dispatch, key in (row.fields for row in self._tree(root))}
                may_miss_ids, self._has_gaps = self._has_gaps, before or self._has_gaps
            elif kind == "index":
                list(self._tree(root))  # its pages are no orphans
        if self._has_gaps:
            for name, row in self._orphans():
                if name == _IDS:
                    ids.setdefault(int(row.fields[1]), row.fields[0])
                else:
                    tables.setdefault(name, []).append(row)
        return Salvaged(tables, ids, may_miss_ids)

    def _tree(self, root: int) -> Iterator[Row]:
        """Yield the rows below a page, in order."""
        stack = [root]
        while stack:
            number = stack.pop()
            page = self._pages.get(number)
            if page is None:
                self._has_gaps = True
                continue
            self._reached.add(number)
            yield from self._rows(number, page)
            stack += self._children(number, page)[::-1]

    def _children(self, number: int, page: bytes) -> list[int]:
        start = 100 if number == 1 else 0
        if page[start] not in (_TABLE_INNER, _INDEX_INNER):
            return []
        found = [int.from_bytes(page[at : at + 4], "big") for at in _cells(page, start, 12)]
        return [*found, int.from_bytes(page[start + 8 : start + 12], "big")]

    def _rows(self, number: int, page: bytes) -> Iterator[Row]:
        start = 100 if number == 1 else 0
        kind = page[start]
        if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER):
            return
        for at in _cells(page, start, 12 if kind == _INDEX_INNER else 8):
            position = at + 4 if kind == _INDEX_INNER else at
            size, position = _varint(page, position)
            rowid = 0
            if kind == _TABLE_LEAF:
                rowid, position = _varint(page, position)
            payload = self._payload(page, position, size, is_table=kind == _TABLE_LEAF)
            if payload is not None:
                yield Row(rowid, _record(payload))

    def _payload(self, page: bytes, at: int, size: int, *, is_table: bool) -> bytes | None:
        """Return the bytes of a row, those on further pages too; None if one of these is damaged."""
        most = _USABLE - 35 if is_table else (_USABLE - 12) * 64 // 255 - 23
        if size <= most:
            return page[at : at + size]
        least = (_USABLE - 12) * 32 // 255 - 23
        fitting = least + (size - least) % (_USABLE - 4)
        local = fitting if fitting <= most else least
        parts = [page[at : at + local]]
        left = size - local
        number = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            more = self._pages.get(number)
            if more is None:
                return None
            self._reached.add(number)
            parts.append(more[4 : 4 + min(left, _USABLE - 4)])
            left -= _USABLE - 4
            number = int.from_bytes(more[:4], "big")
        return b"".join(parts)

    def _orphans(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows of pages that no tree reached and that are not free."""
        for number in sorted(self._pages.keys() - self._reached - self._free()):
            page = self._pages[number]
            kind = page[0]
            for row in self._rows(number, page):
                name = _table_of(row.fields, is_table=kind == _TABLE_LEAF)
                if name:
                    yield name, row

    def _free(self) -> set[int]:
        """Return the pages that are not in use, as far as that is known."""
        found: set[int] = set()
        trunk = int.from_bytes(self._pages[1][32:36], "big") if 1 in self._pages else 0
        while trunk and trunk not in found and trunk in self._pages:
            found.add(trunk)
            page = self._pages[trunk]
            following, n = struct.unpack_from(">II", page)
            found.update(struct.unpack_from(f">{min(n, (_USABLE - 8) // 4)}I", page, 8))
            trunk = following
        return found


def _of_wal(path: Path, check: PageCheck) -> dict[int, bytes]:
    """Return the newest pages in a write-ahead log, up to the last commit before anything that is damaged."""
    found: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    content = path.read_bytes() if path.exists() else b""
    salt = content[16:24]
    for at in range(_WAL_HEADER, len(content) - _FRAME - PAGE_SIZE + 1, _FRAME + PAGE_SIZE):
        number, n_pages = struct.unpack_from(">II", content, at)
        page = content[at + _FRAME : at + _FRAME + PAGE_SIZE]
        if content[at + 8 : at + 16] != salt or not check.is_whole(page):
            break
        pending[number] = page
        if n_pages:
            found.update(pending)
            pending.clear()
    return found


def _cells(page: bytes, start: int, header: int) -> tuple[int, ...]:
    n = int.from_bytes(page[start + 3 : start + 5], "big")
    return struct.unpack_from(f">{n}H", page, start + header)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for position in range(8):
        byte = data[at + position]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + position + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_REAL: Final = 7
_FIRST_TEXT: Final = 12


def _record(payload: bytes) -> Fields:
    """Return the columns of a row (https://sqlite.org/fileformat2.html#record_format)."""
    header, at = _varint(payload, 0)
    kinds = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    at = header
    fields: list[Any] = []
    for kind in kinds:
        if kind in _INTEGERS:
            size = _INTEGERS[kind]
            fields.append(int.from_bytes(payload[at : at + size], "big", signed=True))
        elif kind == _REAL:
            size = 8
            fields.append(struct.unpack_from(">d", payload, at)[0])
        elif kind < _FIRST_TEXT:
            size = 0
            fields.append({0: None, 8: 0, 9: 1}[kind])
        else:
            size = (kind - _FIRST_TEXT) // 2
            data = payload[at : at + size]
            fields.append(data.decode("utf-8", "surrogateescape") if kind % 2 else data)
        at += size
    return tuple(fields)


_LETTERS: Final = {int: "i", float: "r", str: "t", bytes: "b", type(None): "n"}
_SHAPES: Final[dict[str, Callable[[str, Fields], bool]]] = {
    "dispatches": lambda shape, _: shape.startswith("nttti") and len(shape) >= 14,
    "submissions": lambda shape, _: shape.startswith("nbb") and len(shape) <= 5,
    "outcomes": lambda shape, _: shape.startswith("iit") and len(shape) >= 7,
    "attempts": lambda shape, _: shape[:5] in ("iiirb", "iiinb", "iiiib") and len(shape) <= 6,
    "journal": lambda shape, _: shape in ("iiib", "iiibb", "iiibn"),
    "triggers": lambda shape, _: shape in ("tibtt", "tibttb", "tibttn"),
    "firings": lambda shape, _: shape == "ttt",
}
_INDEX_SHAPES: Final[dict[str, Callable[[str, Fields], bool]]] = {
    "nodes": lambda shape, _: shape.startswith("iit") and len(shape) in (6, 7),
    "blob_uses": lambda shape, fields: shape == "ti" and len(fields[0]) == _HEX,
    "durations": lambda shape, fields: shape in ("tr", "ti") and len(fields[0]) == _HEX,
    "meta": lambda shape, fields: len(shape) == 2 and fields[0] in ("epoch", "commit", "unsealed", "adopted"),
    _IDS: lambda shape, _: shape == "ti",
}


def _table_of(fields: Fields, *, is_table: bool) -> str:
    """Return the table of a row, by its columns; empty where it is an entry of an index."""
    shape = "".join(_LETTERS[type(field)] for field in fields)
    shapes = _SHAPES if is_table else _INDEX_SHAPES
    return next((name for name, fits in shapes.items() if fits(shape, fields)), "")
