"""Route of values for kernels on other hosts: `<base_url>/covalab/kernel/blobs/{digest}`, in parts.

A value that arrives is a file beside those of the blob folder until it is whole; it gets its name when its bytes have
that digest. So a part that was lost or changed on the way is found out, and an upload that was cut off goes on.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import re
import weakref
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from tornado import web

from covalab.blobs import MAX_VALUE_BYTES, BlobStore
from covalab.client.paths import blob_folder, ensure_private
from covalab.core import protocol
from covalab.core.codec import digest_of
from covalab.core.errors import CovalabError, DataFolderError, ValueTooLarge
from covalab.core.far_kernels import PIECE_BYTES, StoredPart
from covalab.core.model import Digest
from covalab.jupyter.server.base_route import Route
from covalab.jupyter.server.kernel_routes import KernelRoute
from covalab.jupyter.server.relay import Relay

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class BlobParts:
    """Parts of the values of one data folder. Its methods block.

    Parameters
    ----------
    folder
        The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._data_folder = folder
        self._blobs = BlobStore(blob_folder(folder))

    def read(self, digest: Digest, offset: int, length: int) -> tuple[bytes, int] | None:
        """Return a part of a value and the size of the whole; None if it is not there."""
        try:
            with self._blobs.path(digest).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(offset)
                return file.read(length), size
        except FileNotFoundError:
            return None

    def begin(self, digest: Digest, size: int) -> StoredPart:
        """Return how much of a value is there. One that is whole counts as just used, and is not removed.

        Raises
        ------
        ValueTooLarge
            If it is above the limit.
        DataFolderError
            If the folder cannot be used.
        """
        limit = int(os.environ.get("COVALAB_MAX_VALUE_BYTES", MAX_VALUE_BYTES))
        if size > limit:
            what = "the value"
            raise ValueTooLarge(what, size, limit)
        ensure_private(self._data_folder)
        path = self._blobs.path(digest)
        with suppress(OSError):
            if path.stat().st_size == size:
                os.utime(path)
                return StoredPart(size, is_whole=True)
        try:
            unfinished = self._unfinished(digest)
            os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY, 0o600))
            arrived = unfinished.stat().st_size
        except OSError as error:
            raise self._folder_error(size, error) from error
        if arrived >= size:  # of an upload that ended before it was compared, or of another size
            unfinished.unlink()
            return self.begin(digest, size)
        return StoredPart(arrived, is_whole=False)

    def add(self, digest: Digest, offset: int, size: int, data: bytes) -> StoredPart:
        """Add a part of a value. Return how much of it is there then: 0 if it was not what its digest says."""
        now = self.begin(digest, size)
        if now.is_whole or now.offset != offset or offset + len(data) > size:
            return now
        unfinished = self._unfinished(digest)
        try:
            with unfinished.open("ab") as file:
                file.write(data)
                file.flush()
                if offset + len(data) < size:
                    return StoredPart(offset + len(data), is_whole=False)
                os.fsync(file.fileno())
            return self._finish(digest, unfinished, size)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise self._folder_error(size, error) from error

    def _finish(self, digest: Digest, unfinished: Path, size: int) -> StoredPart:
        """Give a value its name, if it is what was sent."""
        with unfinished.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            is_whole = digest_of([data]) == digest
        if not is_whole:
            unfinished.unlink()
            return StoredPart(0, is_whole=False)
        self._blobs.adopt(unfinished, digest)
        return StoredPart(size, is_whole=True)

    def _unfinished(self, digest: Digest) -> Path:
        """Return the file of a value that arrives; `BlobStore.remove_unfinished` removes it if it is left."""
        return self._blobs.unfinished(digest, "arriving")

    def _folder_error(self, size: int, error: OSError) -> DataFolderError:
        return DataFolderError(
            f"the Jupyter server cannot write a value of {size:,} bytes to its data folder: {error.strerror}; free "
            "some space there, or make it writable"
        )


class BlobRoute(KernelRoute):
    """One value, in parts."""

    _locks: ClassVar[weakref.WeakValueDictionary[str, asyncio.Lock]] = weakref.WeakValueDictionary()

    def initialize(self, relay: Relay, parts: BlobParts) -> None:  # type: ignore[override] # each route has its own
        """Store the values."""
        super().initialize(relay)
        self._parts = parts

    @property
    def target_verbs(self) -> frozenset[str]:
        """Read a part; begin or go on with one that is sent; send a part."""
        return frozenset({"GET", "POST", "PUT"})

    async def serve(self, *path: str) -> None:
        """Answer with bytes (GET), or with a `StoredPart`."""
        if not _DIGEST.fullmatch(path[0]):
            raise web.HTTPError(400, f"{path[0][:80]!r} is not the digest of a value")
        digest = Digest(path[0])
        try:
            if self.request.method == "GET":
                await self._send(digest)
            else:
                await self._receive(digest)
        except DataFolderError as error:
            self.problem(507, "DataFolderError", str(error))
        except CovalabError as error:
            self.problem(400, type(error).__name__, str(error))

    async def _send(self, digest: Digest) -> None:
        offset, length = self._number("offset"), min(self._number("length"), 2 * PIECE_BYTES)
        found = await asyncio.to_thread(self._parts.read, digest, offset, length)
        if found is None:
            message = f"the value {digest[:12]}… is no longer there; run the dispatch again to make it anew"
            self.problem(HTTPStatus.NOT_FOUND, "BlobNotFound", message)
            return
        data, size = found
        self.set_header("Covalab-Size", str(size))
        await self.finish_if_open(data, "application/octet-stream")

    async def _receive(self, digest: Digest) -> None:
        size = self._number("size")
        lock = self._locks.setdefault(digest, asyncio.Lock())
        async with lock:  # two senders of the same value send the same bytes, one after the other
            if self.request.method == "POST":
                part = await asyncio.to_thread(self._parts.begin, digest, size)
            else:
                offset = self._number("offset")
                part = await asyncio.to_thread(self._parts.add, digest, offset, size, self.request.body)
        await self.finish_if_open(msgspec.msgpack.encode(part), protocol.MSGPACK)

    def _number(self, name: str) -> int:
        text = self.get_query_argument(name, "")
        if not re.fullmatch(r"[0-9]{1,15}", text):
            raise web.HTTPError(400, f"{name} is a number of bytes")
        return int(text)


def blob_routes(relay: Relay) -> list[tuple[str, type[Route], dict[str, Any]]]:
    """Return the route in tornado's form."""
    return [(r"/covalab/kernel/blobs/([^/]+)", BlobRoute, {"relay": relay, "parts": BlobParts(relay.folder)})]
