"""Log of commits, outside the database: shows at the next start which commits the database has lost.

SQLite stops reading its write-ahead log at the first frame that is damaged, and says nothing of what came after it.
A line is written after each commit and before anybody is told of it. It is not synced: after a power loss the log may
end early, which hides a loss and never invents one.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_LIMIT: Final = 4 * 1024**2


class Lost(NamedTuple):
    """Commits that are in the log and not in the database: how many, and the ids of the dispatches in them."""

    n_commits: int
    ids: list[str]


class CommitLog:
    """The log beside one database; a log that cannot be written is no reason not to commit."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}-commits")
        self._fd = -1
        self._size = 0

    def open(self) -> None:
        """Open the log for appending."""
        with suppress(OSError):
            self._fd = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._fd).st_size

    def lost(self, number: int) -> Lost:
        """Return what is in the log after the last commit of the database."""
        newest = number
        ids: dict[str, None] = {}
        content = self.path.read_bytes() if self.path.exists() else b""
        for line in content.splitlines():
            check, _, text = line.partition(b" ")
            if check != _check(text):
                continue  # damaged itself, or cut
            its_number, *its_ids = text.decode().split(" ")
            if int(its_number) > number:
                newest = max(newest, int(its_number))
                ids.update(dict.fromkeys(its_ids))
        return Lost(newest - number, list(ids))

    def add(self, number: int, ids: Iterable[str]) -> None:
        """Append a commit."""
        if self._size > _LIMIT:
            self.restart(number)
        self._write(" ".join((str(number), *ids)).encode())

    def restart(self, number: int) -> None:
        """Forget all commits but the last: they are in the database file, and synced."""
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
        self._size = 0
        self._write(str(number).encode())

    def _write(self, text: bytes) -> None:
        line = b"%b %b\n" % (_check(text), text)
        with suppress(OSError):
            self._size += os.write(self._fd, line)

    def close(self) -> None:
        """Close the log."""
        if self._fd >= 0:
            with suppress(OSError):
                os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1


def _check(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)
