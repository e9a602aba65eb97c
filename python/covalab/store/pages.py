"""Pages of the database file: each has a checksum, so that no flipped bit is read as data.

SQLite's own `cksumvfs` writes the checksums and compares them at each read; it comes with `apsw`. Where it does not (a
build without it), pages are not checked. Whoever writes to the file must open it by `connect`, or the checksums of what
it wrote are wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

import apsw

_log = logging.getLogger("covalab.dispatcher")

PAGE_SIZE: Final = 4096
_CHECKSUM_BYTES: Final = 8
_RESERVED: Final = slice(20, 21)  # of the header: how many bytes at the end of each page are no data
_N_PAGES: Final = slice(28, 32)
_LOOKED_AT: Final = 100
_CONVERTED_UP_TO: Final = 256 * 1024**2
"""Larger files of earlier versions keep their pages without checksums: writing them anew would take too long."""


@cache
def _vfs() -> str | None:
    """Register the file system that checks pages; None where there is none."""
    # Not by `apsw.sqlite_extra`, whose import takes longer than all else that a start of the dispatcher does here.
    found = [*Path(apsw.__file__).parent.glob("sqlite_extra_binaries/cksumvfs.*")]
    try:
        with closing(apsw.Connection(":memory:")) as connection:
            connection.enable_load_extension(True)
            connection.load_extension(str(found[0]))
    except (IndexError, AttributeError, apsw.Error):
        _log.warning("pages of the database are not checked: this build of apsw has no cksumvfs")
        return None
    return "cksmvfs"


def connect(path: Path | str, *, read_only: bool = False) -> apsw.Connection:
    """Open a database of which every page is checked that has a checksum; a new one gets them."""
    if read_only:
        return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=_vfs())
    connection = apsw.Connection(str(path), vfs=_vfs())
    if _vfs() is not None and not Path(path).stat().st_size:
        connection.reserve_bytes(None, _CHECKSUM_BYTES)
    return connection


def add_checksums(connection: apsw.Connection, path: Path) -> None:
    """Write a file of an earlier version anew, with checksums, unless it is very large or there is no room."""
    with path.open("rb") as file:
        header = file.read(PAGE_SIZE)
    if _vfs() is None or header[_RESERVED] == bytes([_CHECKSUM_BYTES]) or path.stat().st_size > _CONVERTED_UP_TO:
        return
    connection.reserve_bytes(None, _CHECKSUM_BYTES)
    try:
        connection.execute("VACUUM")
    except apsw.Error as error:
        _log.warning("pages of the database stay unchecked: %s", error)


class PageCheck:
    """Check of single pages."""

    def __init__(self) -> None:
        self._connection = apsw.Connection(":memory:", vfs=_vfs())

    def is_whole(self, content: bytes) -> bool:
        """Whether a page is what was written."""
        (found,) = self._connection.execute("SELECT verify_checksum(?)", (content,)).fetchone() or (0,)
        return bool(found)


def pages(path: Path) -> Iterator[bytes]:
    """Yield the pages of a file, in order; the last may be cut."""
    with path.open("rb") as file:
        while content := file.read(PAGE_SIZE):
            yield content


def damaged_pages(path: Path) -> list[int]:
    """Return the numbers of the pages of a file, from 1 on, that are not what was written, or are missing.

    Empty for a file without checksums: nothing is known of its pages.
    """
    if _vfs() is None or not path.exists() or not path.stat().st_size:
        return []
    check = PageCheck()
    first, *others = islice(pages(path), _LOOKED_AT)
    is_first_whole = check.is_whole(first)
    # A first page that is not whole may be one of an earlier version; the others, or what is left of it, show that.
    if not is_first_whole and first[_RESERVED] != bytes([_CHECKSUM_BYTES]) and not any(map(check.is_whole, others)):
        return []
    found = [number for number, content in enumerate(pages(path), 1) if not check.is_whole(content)]
    n_pages = -(-path.stat().st_size // PAGE_SIZE)
    n_expected = int.from_bytes(first[_N_PAGES], "big") if is_first_whole else n_pages
    return [*found, *range(n_pages + 1, n_expected + 1)]
