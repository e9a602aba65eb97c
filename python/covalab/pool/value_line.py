"""Line of values between the data folder and one worker that does not see it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from blake3 import blake3

from covalab.blobs import BlobStore
from covalab.core.carriage import LEAST_BYTES, MOST_BYTES, Part, part_bytes
from covalab.core.codec import Encoded
from covalab.core.errors import CovalabError
from covalab.core.model import Digest
from covalab.pool import host_calls
from covalab.pool.host_calls import Transfer
from covalab.pool.route import NoAnswer, Route
from covalab.pool.store_line import StoreLine

_log = logging.getLogger("covalab.pool")
_AT_ONCE: Final = 2
"""Calls for values at one worker: while one is on the line, another is written to the disk."""
_REST_SECONDS: Final = 0.1

Wanted = tuple[Digest, int, Callable[[], None]]
"""A value that a worker has, its size, and what to call when nothing more is to be waited for."""


class ValueLine:
    """Line of values to and from one worker.

    Parameters
    ----------
    route
        The way to the worker.
    cache
        The id of its host's cache.
    blobs
        The data folder's blobs.
    spawn
        Runs a coroutine in the background.
    store
        The line through the object store, if there is one.
    """

    def __init__(
        self,
        route: Route,
        cache: str,
        blobs: BlobStore,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        store: StoreLine | None = None,
    ) -> None:
        self.route = route
        self.unreached: set[str] = set()
        """Caches of other hosts that are not reached from there."""
        self._by_store = store
        self.cache = cache
        self._blobs = blobs
        self._spawn = spawn
        self._wanted: deque[Wanted] = deque()
        self._kept: list[Digest] = []
        self._n_pulling = 0
        self._part = MOST_BYTES // 4

    def close(self) -> None:
        """Wait for nothing more: the worker is gone."""
        self.route.is_open = False
        self._wanted.clear()

    # -- from the worker -------------------------------------------------------------------------------------------

    def pull(self, digest: Digest, size: int, on_end: Callable[[], None]) -> None:
        """Bring a value to the data folder; call `on_end` when it is on the disk, or can never be."""
        if self._blobs.keep_blob(digest, size):
            self._kept.append(digest)
            on_end()
        else:
            self._wanted.append((digest, size, on_end))
        if self._n_pulling < _AT_ONCE:
            self._n_pulling += 1
            self._spawn(self._pull_all())

    async def _pull_all(self) -> None:
        try:
            while self._wanted:
                group = self._next_group()
                try:
                    await self._pull_group(group)
                except (OSError, CovalabError, RuntimeError) as error:
                    # The dispatcher finds that the value is not there, and fails its node with type "storage".
                    _log.error("a value of %s cannot be brought to %s: %s", self.cache[:8], self._blobs.folder, error)
                for one in group:
                    one[2]()
                if not self._wanted:
                    await self._say_kept()
        except NoAnswer:
            pass
        finally:
            self._n_pulling -= 1

    async def _pull_group(self, group: list[Wanted]) -> None:
        if self._by_store is not None and self.uses_store:
            came = await self._by_store.pull([one[:2] for one in group], self._take_kept())
            self._kept += came
            group = [one for one in group if one[0] not in came]
        if group:
            await (self._pull_small(group) if group[0][1] <= self._part else self._pull_large(*group[0][:2]))

    async def _say_kept(self) -> None:
        await asyncio.sleep(_REST_SECONDS)
        if self._kept and not self._wanted:
            await self.route.call(host_calls.read_parts, msgspec.msgpack.encode([]), self._take_kept())

    def _take_kept(self) -> list[Digest]:
        kept, self._kept = self._kept, []
        return kept

    def _next_group(self) -> list[Wanted]:
        """Take the next values that travel together: one that is large, or some that are not."""
        group = [self._wanted.popleft()]
        total = group[0][1]
        while self._wanted and total + self._wanted[0][1] <= self._part:
            group.append(self._wanted.popleft())
            total += group[-1][1]
        return group

    async def _pull_small(self, group: list[Wanted]) -> None:
        parts = [Part(digest, size, 0, size) for digest, size, _ in group]
        try:
            data = await self._read(parts)
        except FileNotFoundError:
            if len(group) == 1:
                raise
            for one in group:  # the others are there
                with suppress(FileNotFoundError):
                    await self._pull_small([one])
            return
        kept = await asyncio.to_thread(self._store, parts, data)
        self._kept += kept  # not before: the list is another one after an await

    async def _read(self, parts: list[Part]) -> memoryview:
        """Return pieces of values from the worker. Raises `FileNotFoundError` if it has them no more."""
        begun = time.monotonic()
        found = await self.route.call(host_calls.read_parts, msgspec.msgpack.encode(parts), self._take_kept())
        if isinstance(found, str):
            raise FileNotFoundError(found)
        if sum(part.length for part in parts) >= self._part // 2:
            self._part = part_bytes(self._part, time.monotonic() - begun)
        return memoryview(found)

    def _store(self, parts: list[Part], data: memoryview) -> list[Digest]:
        """Write values that came whole. Return those that are what they are named."""
        kept, at = [], 0
        for part in parts:
            piece, at = data[at : at + part.length], at + part.length
            if self._blobs.put(Encoded([piece], part.size)) == part.digest:
                kept.append(part.digest)
            else:
                _log.error("value %s was damaged on its host", part.digest[:12])
        return kept

    async def _pull_large(self, digest: Digest, size: int) -> None:
        """Bring a value in pieces: one is written while the next is on the line."""
        file = await asyncio.to_thread(_Incoming, self._blobs, digest)
        writing: asyncio.Task[None] | None = None
        offset = 0
        try:
            while offset < size:
                length = min(max(self._part, LEAST_BYTES), size - offset)
                data = await self._read([Part(digest, size, offset, length)])
                if writing is not None:
                    await writing
                writing = asyncio.create_task(asyncio.to_thread(file.write, data))
                offset += length
            if writing is not None:
                await writing
            if await asyncio.to_thread(file.finish):
                self._kept.append(digest)
            else:
                _log.error("value %s was damaged on its host", digest[:12])
        finally:
            file.close()

    # -- to the worker ---------------------------------------------------------------------------------------------

    async def push(self, owner: str, digest: Digest) -> None:
        """Bring a value into the worker's cache.

        Raises
        ------
        BlobNotFound, BlobDamaged, DataFolderError
            If the data folder does not have it.
        OSError
            If its host cannot keep it.
        NoAnswer
            If the worker is gone.
        """
        data = await asyncio.to_thread(self._blobs.read, digest)
        if self._by_store is not None and self.uses_store and await self._by_store.push(owner, digest, len(data)):
            return
        offset = 0
        while offset < len(data):
            length = min(self._part, len(data) - offset)
            part = Part(digest, len(data), offset, length)
            begun = time.monotonic()
            piece = bytes(data[offset : offset + length])
            trouble = await self.route.call(host_calls.take, owner, msgspec.msgpack.encode(part), piece, [])
            if trouble:
                raise OSError(trouble)
            if length == self._part:
                self._part = part_bytes(self._part, time.monotonic() - begun)
            offset += length

    async def push_from(self, peer: str, cache: str, owner: str, digest: Digest, size: int) -> Transfer:
        """Bring a value into the worker's cache from another host's, of which a worker is named."""
        answer = await self.route.call(host_calls.take_from_peer, peer, owner, digest, size)
        end = msgspec.msgpack.decode(answer, type=Transfer)
        if end.blame == "source":
            self.unreached.add(cache)
            _log.warning("hosts do not give each other values, which go through this machine: %s", end.trouble)
        return end

    @property
    def store_trouble(self) -> str:
        """Why the worker cannot use the object store; nothing if it can, or there is none."""
        return "" if self._by_store is None else self._by_store.access.trouble

    @property
    def uses_store(self) -> bool:
        """Whether values go through the object store now."""
        return self._by_store is not None and self._by_store.is_usable

    async def say(self, message: bytes) -> None:
        """Send a message to the worker."""
        await self.route.call(host_calls.take, "", b"", b"", [message])


class _Incoming:
    """File of a value that comes in pieces."""

    def __init__(self, blobs: BlobStore, digest: Digest) -> None:
        self._blobs = blobs
        self._digest = digest
        self._path: Path = blobs.unfinished(digest, secrets.token_hex(4))
        self._fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._hash = blake3()

    def write(self, data: memoryview) -> None:
        """Write the next piece."""
        self._hash.update(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def finish(self) -> bool:
        """Put the value in place, durably. Return False if it is not what it is named."""
        if self._hash.hexdigest() != self._digest:
            return False
        os.fsync(self._fd)
        self._blobs.adopt(self._path, self._digest)
        return True

    def close(self) -> None:
        """Remove what is unfinished."""
        os.close(self._fd)
        with suppress(OSError):
            self._path.unlink()
