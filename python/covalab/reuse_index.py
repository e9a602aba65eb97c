"""Index of what cells and electrons have done, by a key of what they are: where to look before one runs again.

A folder beside the blobs, which task processes read and write. A file under a key holds the last few runs of that key.
A run counts while the marker of its dispatch is there; the dispatcher removes markers of dispatches that it deletes.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from covalab.carrier import Carrier, carriers
from covalab.core.codec import digest_of

_KEPT: Final = 4
"""Runs kept for each key: a change that is taken back finds its run again."""
_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REST: Final = 600.0


class _Entry(msgspec.Struct, array_like=True):
    """A run, its dispatch, and the digest of it, by which a damaged file is known."""

    dispatch: str
    data: bytes
    digest: str


_DECODER: Final = msgspec.msgpack.Decoder(list[_Entry])


class ReuseIndex:
    """Index of one data folder.

    Parameters
    ----------
    folder
        Its folder.
    carrier
        The way to it, where this process does not see it.
    """

    def __init__(self, folder: str | os.PathLike[str], carrier: Carrier | None = None) -> None:
        self._carrier = carrier
        self._folder = Path(folder)
        self._markers = self._folder / "dispatches"

    @classmethod
    def beside(cls, blobs: str | os.PathLike[str]) -> ReuseIndex:
        """Return the index that belongs to a blob folder."""
        return cls(Path(blobs).parent / "reuse", carriers.get(str(blobs)))

    def runs(self, key: str) -> list[bytes]:
        """Return the runs of a key, the newest first; those of dispatches that were deleted are left out."""
        if self._carrier is not None:
            return self._carrier.runs(key)
        return [entry.data for entry in reversed(self._read(key)) if self._counts(entry)]

    def add(self, key: str, dispatch: str, data: bytes) -> None:
        """Add a run. Raises `OSError` if the folder cannot be written."""
        if self._carrier is not None:
            self._carrier.add_run(key, dispatch, data)
            return
        self._mark(dispatch)
        entry = _Entry(dispatch, data, digest_of([data]))
        kept = [one for one in self._read(key) if one.digest != entry.digest and self._counts(one)]
        self._write(self._path(key), msgspec.msgpack.encode([*kept[1 - _KEPT :], entry]))

    def forget(self, dispatches: Iterable[str]) -> None:
        """Let no run of some dispatches count any more."""
        if self._markers.is_dir():
            for dispatch in dispatches:
                if _SAFE.fullmatch(dispatch):
                    with suppress(OSError):
                        (self._markers / dispatch).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the files of keys of which no run counts, and what writers that were killed have left."""
        for path in self._folder.glob("??/*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _REST and not any(map(self._counts, self._read(path.name))):
                    path.unlink()

    def _counts(self, entry: _Entry) -> bool:
        is_safe = _SAFE.fullmatch(entry.dispatch) is not None
        return is_safe and (self._markers / entry.dispatch).exists() and digest_of([entry.data]) == entry.digest

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _read(self, key: str) -> list[_Entry]:
        try:
            return _DECODER.decode(self._path(key).read_bytes())
        except (OSError, msgspec.DecodeError):
            return []

    def _mark(self, dispatch: str) -> None:
        path = self._markers / dispatch
        if _SAFE.fullmatch(dispatch) and not path.exists():
            _make_private(self._markers)
            path.touch(mode=0o600)

    def _write(self, path: Path, data: bytes) -> None:
        """Put a file in place at once, so that a reader finds it whole. A lost one costs a run, so it is not synced."""
        _make_private(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _make_private(folder: Path) -> None:
    """Make a folder of an index and what is above it in the data folder; `parents` would follow the umask of a task."""
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
