"""Host cache: the folder in which a host without the data folder keeps values, for all workers of a user there.

`blobs` has values under their digests; they can be fetched again, so the least recently used go first. `offered` has a
second name for each value that is on its way to the data folder, which keeps it. `spool` is for output.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.carriage import CacheSettings, Part
from covalab.core.errors import DataFolderError
from covalab.core.model import Digest

_LOCK: Final = "lock"
_ID: Final = "id"
_LOOK_SHARE: Final = 8
"""The cache is looked at after each eighth of its size that came in."""
_LEFT_SHARE: Final = 0.9
_UNFINISHED_SECONDS: Final = 600.0
_TRIES: Final = 100
_END_SECONDS: Final = 2.0
"""The time that a process takes to end whose channel is closed already; its lock is released last."""
_WAIT_SECONDS: Final = 0.05


class HostCache:
    """Cache folder of a host, as one worker process uses it. Its lock is held while the process lives.

    Parameters
    ----------
    beside
        The folder of the worker, beside which the cache is unless the settings name one.
    settings
        The settings of the pool that needed it first.

    Raises
    ------
    OSError
        If the folder cannot be made, or is somebody else's.
    """

    def __init__(self, beside: Path, settings: CacheSettings) -> None:
        parent = Path(settings.folder).expanduser() if settings.folder else beside
        self.folder = parent / f"covalab-cache-{os.getuid()}"
        self._limit = settings.size
        self.stays = settings.stays
        self.blobs = BlobStore(self.folder / "blobs")
        self._came_in = settings.size  # so that the first value has it looked at
        self._looking = threading.Lock()
        for _ in range(_TRIES):
            _make_private(self.folder)
            self._lock = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if _is_locked(self._lock):
                for name in ("offered", "spool"):  # left by workers that were killed
                    shutil.rmtree(self.folder / name, ignore_errors=True)
                _new_id(self.folder / _ID)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            with suppress(OSError):
                if os.path.samestat(os.fstat(self._lock), (self.folder / _LOCK).stat()):
                    break
            os.close(self._lock)  # it was just removed
        for name in ("blobs", "offered", "spool", "packages"):
            _make_private(self.folder / name)
        self.id = (self.folder / _ID).read_text()
        """What no other host's cache has."""

    def read(self, parts: Sequence[Part]) -> bytes:
        """Return pieces of values, one after the other. Raises `FileNotFoundError` for what is not there."""
        found = bytearray()
        for part in parts:
            with self._opened(part.digest) as fd:
                before = len(found)
                while len(found) - before < part.length:
                    data = os.pread(fd, part.length - (len(found) - before), part.offset + len(found) - before)
                    if not data:
                        message = f"{part.digest} is shorter than it was"
                        raise FileNotFoundError(message)
                    found += data
        return bytes(found)

    def file(self, digest: Digest) -> Path:
        """Return the file of a value, if it is there."""
        path = self.blobs.path(digest)  # refuses what is no digest
        offered = self.folder / "offered" / digest
        return offered if offered.exists() else path

    def _opened(self, digest: Digest) -> _Opened:
        return _Opened(self.file(digest))

    def kept(self, digests: Sequence[Digest]) -> None:
        """Note that the data folder has values: they may be removed here when there is need."""
        for digest in digests:
            self.blobs.path(digest)
            with suppress(OSError):
                (self.folder / "offered" / digest).unlink()

    def write(self, owner: str, part: Part, data: bytes) -> None:
        """Take a piece of a value; with the last one it is there. Pieces of one come in order."""
        path = self.blobs.path(part.digest)
        temporary = path.with_name(f".{part.digest}.{owner}")
        if part.offset == 0:
            _make_private(path.parent)
            temporary.unlink(missing_ok=True)
        try:
            fd = os.open(temporary, os.O_WRONLY | (0 if part.offset else os.O_CREAT), 0o600)
            try:
                is_next = os.fstat(fd).st_size >= part.offset
                view = memoryview(data)
                at = part.offset
                while view:
                    n = os.pwrite(fd, view, at)
                    view, at = view[n:], at + n
            finally:
                os.close(fd)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._unwritten(part.size, error) from error
        if not is_next:
            temporary.unlink()
            message = f"pieces of {part.digest} are missing"
            raise DataFolderError(message)
        if part.offset + part.length == part.size:
            temporary.rename(path)
            self.grow(part.size)

    @contextmanager
    def incoming(self, owner: str, digest: Digest, size: int) -> Iterator[Path]:
        """Give a path for a file that comes whole; at the end of the block it is there, if it is what it is named.

        Raises
        ------
        BlobDamaged
            If it is not.
        DataFolderError
            If it cannot be written.
        """
        path = self.blobs.path(digest)
        temporary = path.with_name(f".{digest}.{owner}.{secrets.token_hex(4)}")
        try:
            _make_private(path.parent)
            yield temporary
            self.blobs.adopt_whole(temporary, digest, size, is_durable=False)
            self.grow(size)
        except OSError as error:
            raise self._unwritten(size, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _unwritten(self, size: int, error: OSError) -> DataFolderError:
        where = f"{self.folder} of {os.uname().nodename}"
        return DataFolderError(f"cannot write a value of {size:,} bytes to {where}: {error.strerror}")

    def grow(self, size: int) -> None:
        """Note that so many bytes came in; make room when there is need."""
        self._came_in += size
        if self._came_in > self._limit // _LOOK_SHARE and self._looking.acquire(blocking=False):
            self._came_in = 0
            threading.Thread(target=self._make_room, name="covalab-cache", daemon=True).start()

    def _make_room(self) -> None:
        try:
            make_room(self.folder / "blobs", self._limit)
        finally:
            self._looking.release()


class _Opened:
    """An open file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def make_room(blobs: Path, limit: int) -> None:
    """Remove the least recently used values until no more than nine tenths of the limit are left.

    The limit is also half of what the disk has for it: others need that, too.
    """
    found: list[tuple[float, int, Path]] = []
    total = 0
    for path in blobs.glob("??/*"):
        with suppress(OSError):
            status = path.stat()
            if path.name.startswith("."):
                if time.time() - status.st_mtime > _UNFINISHED_SECONDS:
                    path.unlink()
                continue
            found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
            total += status.st_size
    shutil.rmtree(blobs.parent / "damaged", ignore_errors=True)
    limit = min(limit, (total + shutil.disk_usage(blobs).free) // 2)
    if total <= limit:
        return
    for _, size, path in sorted(found):
        if total <= limit * _LEFT_SHARE:
            break
        with suppress(OSError):
            path.unlink()
            total -= size


def remove_unused(folder: Path) -> None:
    """Remove the cache folder of this host if no worker uses it."""
    try:
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        deadline = time.monotonic() + _END_SECONDS
        while not _is_locked(fd):
            if time.monotonic() > deadline:
                return
            time.sleep(_WAIT_SECONDS)
        aside = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(fd)


def localized(payload: bytes, folder: Path) -> bytes:
    """Return an encoded batch with the folders of a cache instead of the data folder's."""
    fields = msgspec.msgpack.decode(payload, type=dict[str, msgspec.Raw])
    for name in ("blobs", "spool", "packages"):
        fields[name] = msgspec.Raw(msgspec.msgpack.encode(str(folder / name)))
    fields["is_carried"] = msgspec.Raw(msgspec.msgpack.encode(True))
    return msgspec.msgpack.encode(fields)


def _is_locked(fd: int) -> bool:
    """Lock a file for this process alone. Return False if others use it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _new_id(path: Path) -> None:
    path.write_text(secrets.token_hex(16))
    path.chmod(0o600)


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can enter. Raises `PermissionError` if it is somebody else's."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        message = f"{folder} is not a folder of this user"
        raise PermissionError(message)
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
