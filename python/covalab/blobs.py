"""Blobs by digest: values too large for a message, as files that never change.

A blob is written to a temporary name, flushed to the disk, then renamed, so a file under its digest was whole once.
Whether it still is, each process looks when it reads it first: a disk may return other bits than were written. What is
not whole is moved to a folder of its own, so that the same value can be made again under its name.
Kernel, workers and dispatcher share the folder, so large values are in no message.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol

from covalab import open_files
from covalab.carrier import Carrier, carriers
from covalab.core.checks import is_whole
from covalab.core.codec import (
    Encoded,
    decode,
    digest_of,
    encode,
    has_digest,
    inline_value,
    preview,
    serialize_small,
    type_name,
    wrap_pickle,
)
from covalab.core.errors import BlobDamaged, BlobNotFound, DataFolderError, ValueTooLarge
from covalab.core.model import INLINE_LIMIT, Digest, Value
from covalab.crash_points import crash_point

MAX_VALUE_BYTES: Final = 16 * 1024**3
"""The default limit of one encoded value; `COVALAB_MAX_VALUE_BYTES` changes it."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_WRITE_CHUNK: Final = 64 * 1024**2
_verified: Final[dict[tuple[str, Digest], tuple[int, int]]] = {}
"""The blobs that this process has written or compared with their digest: inode and time of the last change."""


class Blobs(Protocol):
    """Place for values and code: `BlobStore`, or `InMemory` where nothing is to be written."""

    def serialize(self, obj: object, *, what: str = "value", text: str | None = None) -> Value:
        """Serialize a value of any size."""
        ...

    def put(self, encoded: Encoded) -> Digest:
        """Keep encoded bytes that are too long to travel inside a message."""
        ...

    def deserialize(self, value: Value, *, what: str = "value") -> Any:
        """Deserialize a value."""
        ...


class InMemory:
    """Place that writes nothing: each value carries its own bytes. For graphs that are looked at and never sent."""

    def serialize(self, obj: object, *, what: str = "value", text: str | None = None) -> Value:
        """Serialize a value, however large, into its own bytes."""
        return serialize_small(obj, what=what, text=text)

    def put(self, encoded: Encoded) -> Digest:
        """Return the digest of the bytes and keep nothing."""
        return digest_of(encoded.pieces)

    def deserialize(self, value: Value, *, what: str = "value") -> Any:
        """Deserialize a value that `serialize` made."""
        return decode(value.data or b"", what=what)


class BlobStore:
    """Blob store: the blob folder of one data folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def path(self, digest: Digest) -> Path:
        """Return the path of a blob. Refuse anything but a digest, so that no text from outside names a file."""
        if not _DIGEST.fullmatch(digest):
            message = f"{digest!r} is not the digest of a blob"
            raise BlobNotFound(message)
        return self.folder / digest[:2] / digest

    def __contains__(self, digest: Digest) -> bool:
        return self.path(digest).is_file()

    def digests(self) -> Iterator[Digest]:
        """Yield the digest of every blob."""
        for entry in self.folder.glob("??/*"):
            if _DIGEST.fullmatch(entry.name):
                yield Digest(entry.name)

    def put(self, encoded: Encoded) -> Digest:
        """Write a blob and return its digest; an existing one is not written again.

        Raises
        ------
        DataFolderError
            If the disk is full or the folder cannot be written; nothing of the blob remains.
        """
        digest = digest_of(encoded.pieces)
        path = self.path(digest)
        carrier = self._carrier
        if not self._reuse(path, encoded.size):
            self._write(digest, encoded, path, is_durable=carrier is None)
        if carrier is not None:  # whatever the cache has, the data folder may have lost it
            carrier.offer(digest, encoded.size)
        return digest

    @property
    def _carrier(self) -> Carrier | None:
        """The way to the data folder, where this folder is only a cache of it."""
        return carriers.get(str(self.folder)) if carriers else None

    def _write(self, digest: Digest, encoded: Encoded, path: Path, *, is_durable: bool) -> None:
        temporary = path.with_name(f".{digest}.{secrets.token_hex(4)}")
        try:
            _make_private(path.parent)
            fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                for piece in encoded.pieces:
                    view = memoryview(piece).cast("B")
                    while view:
                        view = view[os.write(fd, view[:_WRITE_CHUNK]) :]
                if is_durable:
                    os.fsync(fd)
                state = _state_of(fd)
            finally:
                os.close(fd)
            crash_point("blob.written")
            temporary.rename(path)
            crash_point("blob.renamed")
            _verified[str(self.folder), digest] = state
            if is_durable:
                _sync_folder(path.parent)
        except BaseException as error:  # also an interrupt: half a gigabyte must not stay behind
            with suppress(OSError):
                temporary.unlink()
            if not isinstance(error, OSError):
                raise
            remedy = "free some space or make it writable, or set COVALAB_DATA_DIR to another folder"
            why = open_files.explained(error, f"{error.strerror}; {remedy}")
            message = f"cannot write a value of {encoded.size:,} bytes to {self.folder}: {why}"
            raise DataFolderError(message) from error

    def unfinished(self, digest: Digest, name: str) -> Path:
        """Return where a blob can be written in pieces; `adopt` puts it in its place."""
        path = self.path(digest)
        _make_private(path.parent)
        return path.with_name(f".{digest}.{name}")

    def adopt(self, unfinished: Path, digest: Digest) -> None:
        """Put a file in place that is whole and on the disk."""
        path = self.path(digest)
        unfinished.rename(path)
        _sync_folder(path.parent)
        _sync_folder(self.folder)

    def adopt_whole(self, unfinished: Path, digest: Digest, size: int, *, is_durable: bool = True) -> None:
        """Put a file in place if it is what its digest names.

        Raises
        ------
        BlobDamaged
            If it is not.
        """
        with unfinished.open("rb") as file:
            os.fchmod(file.fileno(), 0o600)
            # `has_digest` also knows the digests of the first versions.
            if not size or os.fstat(file.fileno()).st_size != size or not has_digest(_mapped(file), digest):
                message = f"these are not the bytes of value {digest[:12]}…"
                raise BlobDamaged(message, digest)
            if is_durable:
                os.fsync(file.fileno())
        if is_durable:
            self.adopt(unfinished, digest)
        else:
            unfinished.rename(self.path(digest))

    def receive(self, digest: Digest, size: int, chunks: Iterable[bytes]) -> None:
        """Write a blob that comes from elsewhere in pieces; an existing one is not written again.

        Raises
        ------
        BlobDamaged
            If it is not what its digest names; nothing of it remains.
        DataFolderError
            If the disk is full or the folder cannot be written.
        """
        if self._reuse(self.path(digest), size):
            return
        temporary: Path | None = None
        try:
            temporary = self.unfinished(digest, secrets.token_hex(4))
            with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            self.adopt_whole(temporary, digest, size)
        except OSError as error:
            why = open_files.explained(error, f"{error.strerror}; free some space")
            message = f"cannot write a value of {size:,} bytes to {self.folder}: {why}"
            raise DataFolderError(message) from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    def has(self, value: Value) -> bool:
        """Whether the blob of a value is there, with its length."""
        try:
            return value.digest is not None and self.path(value.digest).stat().st_size == value.size
        except OSError:
            return False

    def keep(self, value: Value) -> bool:
        """Return whether the bytes of a value are there; its blob then counts as just used, and is not removed."""
        return value.digest is None or self.keep_blob(value.digest, value.size)

    def keep_blob(self, digest: Digest, size: int) -> bool:
        """Return whether a blob of this length is there; it then counts as just used."""
        carrier = self._carrier
        return self._reuse(self.path(digest), size) if carrier is None else carrier.keep(digest, size)

    @staticmethod
    def _reuse(path: Path, size: int) -> bool:
        """Whether a blob exists and is whole; mark it as just used, so that it is not removed meanwhile."""
        try:
            if path.stat().st_size != size:
                return False  # damaged: the rename puts a whole one in its place
            os.utime(path)
        except OSError:
            return False
        return True

    def read(self, digest: Digest) -> memoryview:
        """Map a blob. The map is private: writing to an array in it changes no other copy.

        Raises
        ------
        BlobNotFound
            If there is no such file.
        BlobDamaged
            If it is not what was written; the file is moved aside.
        DataFolderError
            If it cannot be read.
        """
        carrier = self._carrier
        if carrier is None:
            return self._read(digest)
        try:
            data = self._read(digest)
            carrier.touch(digest)
        except (BlobNotFound, BlobDamaged):
            carrier.fetch(digest)
            data = self._read(digest)
        return data

    def _read(self, digest: Digest) -> memoryview:
        try:
            with self.path(digest).open("rb") as file:
                state = _state_of(file.fileno())
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        except FileNotFoundError:
            message = f"the value {digest[:12]}… is no longer in {self.folder}; run the dispatch again to make it anew"
            raise BlobNotFound(message, digest) from None
        except ValueError as error:  # an empty file cannot be mapped
            raise self._damaged(digest, 0) from error
        except OSError as error:
            if error.errno != errno.EIO:  # not a sector that cannot be read: this process may not, or has no more files
                why = open_files.explained(error, str(error.strerror))
                message = f"the value {digest[:12]}… in {self.folder} cannot be read: {why}"
                raise DataFolderError(message) from error
            message = f"the value {digest[:12]}… in {self.folder} cannot be read: {error.strerror}; check the disk"
            raise BlobDamaged(message, digest) from error
        # Once per process: the digest of a large array takes as long as a few passes over it.
        if _verified.get((str(self.folder), digest)) != state:
            if not has_digest(data, digest):
                raise self._damaged(digest, state[0])
            _verified[str(self.folder), digest] = state
        return data

    def _damaged(self, digest: Digest, inode: int) -> BlobDamaged:
        """Move a blob aside that is not what was written. Return the error that says so."""
        aside = self.damaged_folder / f"{digest}.{secrets.token_hex(4)}"
        path = self.path(digest)
        kept = ""
        with suppress(OSError):
            # Another process may have moved it away meanwhile, and a third made it again.
            if inode in (0, path.stat().st_ino):
                aside.parent.parent.mkdir(mode=0o700, exist_ok=True)
                aside.parent.mkdir(mode=0o700, exist_ok=True)
                path.rename(aside)
                kept = f"; the file is kept as {aside}"
        message = (
            f"the file of value {digest[:12]}… is damaged: it is not what was written to it{kept}. Check the disk, and "
            "run the dispatch again: ct.redispatch(ID, reuse_previous_results=True) makes again what is missing"
        )
        return BlobDamaged(message, digest)

    @property
    def damaged_folder(self) -> Path:
        """The folder of the files that were found damaged."""
        return self.folder.with_name("damaged") / self.folder.name

    def remove(self, digest: Digest, *, unused_for: float) -> bool:
        """Remove a blob that was not written or reused in the last `unused_for` seconds. Return whether it is gone."""
        path = self.path(digest)
        aside = path.with_name(f".{digest}.{secrets.token_hex(4)}")
        try:
            if not _is_older(path, unused_for):
                return False
            # A writer that reuses it from here on finds nothing and writes it anew, or has just touched this file.
            path.rename(aside)
        except FileNotFoundError:
            return True
        if not _is_older(aside, unused_for):
            aside.rename(path)
            return False
        aside.unlink()
        return True

    def remove_unfinished(self, unused_for: float) -> None:
        """Remove files of killed writers, last written more than `unused_for` seconds ago."""
        for left in self.folder.glob("??/.*"):
            with suppress(OSError):
                if _is_older(left, unused_for):
                    left.unlink()

    def serialize(self, obj: object, *, what: str = "value", text: str | None = None) -> Value:
        """Serialize a value of any size: inline up to `INLINE_LIMIT` bytes, a blob above.

        Raises
        ------
        SerializationError
            If it cannot be pickled.
        ValueTooLarge
            If it is above `COVALAB_MAX_VALUE_BYTES`.
        DataFolderError
            If the blob cannot be written.
        """
        text_ = preview(obj) if text is None else text
        return self._stored(encode(obj, what=what), type_name(obj), text_, what)

    def _stored(self, encoded: Encoded, kind: str, text: str, what: str) -> Value:
        if encoded.size <= INLINE_LIMIT:
            return inline_value(encoded.join(), kind, text)
        limit = int(os.environ.get("COVALAB_MAX_VALUE_BYTES", MAX_VALUE_BYTES))
        if encoded.size > limit:
            raise ValueTooLarge(what, encoded.size, limit)
        return Value(encoded.size, kind, text, None, self.put(encoded))

    def store(self, data: bytes, kind: str) -> Value:
        """Return the value of bytes that are no pickle, such as JSON: `load` reads them."""
        return self._stored(Encoded([data], len(data)), kind, "", kind)

    def load(self, value: Value) -> bytes:
        """Return the bytes that `store` was given.

        Raises
        ------
        BlobNotFound, BlobDamaged
            If their file is missing or too short.
        """
        return bytes(self.content(value, value.type))

    def serialize_pickle(self, pickled: bytes, *, text: str, what: str = "value") -> Value:
        """Return the value of a pickle, without unpickling it; its type stays unknown."""
        return self._stored(wrap_pickle(pickled), "", text, what)

    def deserialize(self, value: Value, *, what: str = "value") -> Any:
        """Deserialize a value, inline or a blob.

        Raises
        ------
        BlobNotFound, BlobDamaged
            If its file is missing or too short.
        SerializationError
            If it cannot be unpickled here.
        """
        return decode(self.content(value, what), what=what)

    def code(self, digest: Digest, inline: Mapping[Digest, bytes], what: str = "code") -> bytes | memoryview:
        """Return encoded code: from `inline`, what is stored with its dispatch, or from its file.

        Raises
        ------
        BlobNotFound, BlobDamaged
            If it is not there, or not what was stored.
        """
        data = inline.get(digest)
        if data is None:
            return self.read(digest)
        if not has_digest(data, digest):
            message = f"{what} is damaged: these are not the bytes that were stored; dispatch it again from its source"
            raise BlobDamaged(message)
        return data

    def content(self, value: Value, what: str) -> bytes | memoryview:
        """Return the encoded bytes of a value.

        Raises
        ------
        BlobNotFound, BlobDamaged
            If they are not there, or not what was written.
        """
        if value.data is not None:
            if is_whole(value):
                return value.data
            message = f"{what} is damaged: these are not the bytes that were stored; run the dispatch again"
            raise BlobDamaged(message)
        if value.digest is None:
            message = f"{what} has no bytes: it was fetched without its value"
            raise BlobNotFound(message)
        try:
            data = self.read(value.digest)
        except DataFolderError as error:
            message = f"{what}: {error}"
            raise DataFolderError(message) from error.__cause__
        except (BlobNotFound, BlobDamaged) as error:
            message = f"{what}: {error}"
            raise type(error)(message, value.digest) from error.__cause__
        if len(data) != value.size:
            message = f"{what} is damaged: {value.size:,} bytes were written, {len(data):,} are there"
            raise BlobDamaged(message, value.digest)
        return data


def _mapped(file: IO[bytes]) -> memoryview:
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _make_private(folder: Path) -> None:
    """Make a folder of the blob folder."""
    if not folder.is_dir():
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the mode is not for parents
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)


def _state_of(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_ino, status.st_mtime_ns


def _is_older(path: Path, seconds: float) -> bool:
    return time.time() - path.stat().st_mtime >= seconds


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
