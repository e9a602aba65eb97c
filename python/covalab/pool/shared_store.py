"""Shared store: the object store of a pool, with what lies there, and who cannot use it at the moment.

Each pool has a folder of its own in it, `URL/covalab-ID`. The folder goes when the pool ends. That of one that was
killed is removed by the next: a file in the data folder says which it was, and is locked while its pool lives.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.errors import BlobDamaged, CovalabError
from covalab.core.model import Digest
from covalab.core.store_place import StorePlace
from covalab.pool.object_store import ObjectGone, ObjectStore, StoreUnusable, each

_log = logging.getLogger("covalab.pool")
_AGAIN_SECONDS: Final = 30.0
"""The interval at which a store that could not be used is tried again."""
_TRY_SECONDS: Final = 30.0
_LEAST_RATE: Final = 200_000
"""Bytes per second: a store that is slower is taken for one that does not answer."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]


def limit_of(size: int) -> float:
    """Return how many seconds a transfer may take."""
    return _TRY_SECONDS + size / _LEAST_RATE


class Access:
    """Access of this process, or of a worker, to the store. Without it values travel over Dask's connection.

    Parameters
    ----------
    who
        Whose it is.
    look
        Raises `StoreUnusable` if there is none.
    spawn
        Runs a coroutine in the background.
    on_change
        Called when `trouble` has changed.
    """

    def __init__(
        self, who: str, look: Callable[[], Awaitable[None]], spawn: Spawn, on_change: Callable[[], None]
    ) -> None:
        self.trouble = ""
        self._who = who
        self._look = look
        self._spawn = spawn
        self._on_change = on_change
        self._again_at = 0.0
        self._is_looking = False
        self._has_looked = False

    async def look(self) -> None:
        """Find out whether there is access."""
        self._is_looking = True
        try:
            await asyncio.wait_for(self._look(), _TRY_SECONDS)
        except asyncio.TimeoutError:
            self.lose(f"it does not answer within {_TRY_SECONDS:g} s")
        except StoreUnusable as error:
            self.lose(str(error))
        else:
            self._has_looked = True
            if self.trouble:
                _log.warning("%s can use the object store again", self._who)
                self.trouble = ""
                self._on_change()
        finally:
            self._is_looking = False

    def lose(self, why: str) -> None:
        """Do without the store for a while. Said once, until there is access again."""
        self._again_at = time.monotonic() + _AGAIN_SECONDS
        if not self.trouble:
            _log.warning("%s cannot use the object store; values travel over Dask's connection. %s", self._who, why)
            self.trouble = f"{self._who}: {why}"
            self._on_change()

    @property
    def is_there(self) -> bool:
        """Whether values can go this way now. If not for long, that is looked at again, in the background."""
        if self._has_looked and not self.trouble:
            return True
        if time.monotonic() > self._again_at and not self._is_looking:
            self._is_looking = True
            self._spawn(self.look())
        return False


class SharedStore:
    """Object store of a pool.

    Parameters
    ----------
    place
        Where it is, in the configuration.
    data
        The data folder.
    blobs
        Its blobs.
    spawn
        Runs a coroutine in the background.
    on_change
        Called when it can be used no more, or again.
    """

    def __init__(
        self, place: StorePlace, data: Path, blobs: BlobStore, spawn: Spawn, on_change: Callable[[], None]
    ) -> None:
        self._id = f"covalab-{secrets.token_hex(8)}"
        self._root = place
        self._folder = place.below(self._id, secrets.token_hex(32))
        self.place = msgspec.msgpack.encode(self._folder)
        """The folder of this pool, for workers."""
        self._data = data
        self._blobs = blobs
        self._spawn = spawn
        self.on_change = on_change
        self.home = Access(f"the pool on {os.uname().nodename}", self._open, spawn, on_change)
        self._store: ObjectStore | None = None
        self._opening = asyncio.Lock()
        self._is_opened = False
        self._lease = -1
        self._there: set[Digest] = set()
        self._maybe_there: set[Digest] = set()
        self._puts: dict[Digest, asyncio.Task[None]] = {}

    # -- beginning and end -----------------------------------------------------------------------------------------

    async def open(self) -> bool:
        """Make the folder, the first time that this is called. Return whether the store can be used."""
        async with self._opening:
            if not self._is_opened:
                self._is_opened = True
                await self.home.look()
                if self._store is not None:
                    self._spawn(asyncio.to_thread(self._sweep))
        return not self.home.trouble

    async def _open(self) -> None:
        await asyncio.to_thread(self._open_now)

    def _open_now(self) -> None:
        store = self._store or ObjectStore(self._folder)
        if self._lease < 0:
            self._lease = _new_lease(self._leases / self._id, self._root.url)
        store.open()
        self._store = store

    @property
    def _leases(self) -> Path:
        return self._data / "logs" / "stores"

    def _sweep(self) -> None:
        """Remove what pools have left that were killed."""
        for path in self._leases.iterdir():
            if path.name == self._id:
                continue
            with suppress(OSError, StoreUnusable):  # it is locked, or the next pool will see to it
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if path.read_text() == self._root.url:
                        ObjectStore(self._root.below(path.name)).clear()
                        path.unlink()
                finally:
                    os.close(fd)

    async def close(self) -> None:
        """Remove the folder, and everything in it."""
        if self._lease < 0:
            return
        if self._store is not None:
            try:
                await asyncio.to_thread(self._store.clear)
            except StoreUnusable as error:
                _log.warning("what lies in the object store stays until the next pool starts: %s", error)
                return
        if not self._puts:
            (self._leases / self._id).unlink(missing_ok=True)

    # -- values ----------------------------------------------------------------------------------------------------

    def is_there(self, digest: Digest) -> bool:
        """Whether a value was put into the store."""
        return digest in self._there

    def expect(self, digests: Collection[Digest]) -> None:
        """Note that a worker is about to put values there."""
        self._maybe_there.update(digests)

    def came(self, digest: Digest) -> None:
        """Note that a worker has put a value there."""
        self._there.add(digest)

    async def put(self, digest: Digest, size: int) -> bool:
        """Put a value of the data folder there, once, however many ask. Return False if that does not work."""
        if digest in self._there:
            return True
        put = self._puts.get(digest)
        if put is None:
            put = self._puts[digest] = asyncio.create_task(self._put(digest, size))
            put.add_done_callback(lambda _: self._puts.pop(digest, None))
        await asyncio.shield(put)
        return digest in self._there

    async def _put(self, digest: Digest, size: int) -> None:
        assert self._store is not None
        self._maybe_there.add(digest)
        try:
            putting = asyncio.to_thread(self._store.put, digest, self._blobs.path(digest))
            await asyncio.wait_for(putting, limit_of(size))
            self._there.add(digest)
        except StoreUnusable as error:
            self.home.lose(str(error))
        except asyncio.TimeoutError:
            self.home.lose(f"{size:,} bytes were not written within {limit_of(size):.0f} s")
        except OSError as error:
            _log.warning("value %s cannot be put into the object store: %s", digest[:12], error)

    async def fetch(self, values: Sequence[tuple[Digest, int]]) -> set[Digest]:
        """Bring values from there to the data folder, durably. Return those for which that worked."""
        total = sum(size for _, size in values)
        fetching = asyncio.to_thread(each, lambda one: self._fetch(*one), values)
        try:
            troubles = await asyncio.wait_for(fetching, limit_of(total))
        except asyncio.TimeoutError:
            self.home.lose(f"{total:,} bytes were not read within {limit_of(total):.0f} s")
            return set()
        for (digest, _), trouble in zip(values, troubles, strict=True):
            if isinstance(trouble, StoreUnusable):
                self.home.lose(str(trouble))
            elif trouble is not None:
                self.spoilt(digest, str(trouble))
        return {digest for (digest, _), trouble in zip(values, troubles, strict=True) if trouble is None}

    def _fetch(self, digest: Digest, size: int) -> Exception | None:
        assert self._store is not None
        path = self._blobs.unfinished(digest, secrets.token_hex(4))
        try:
            self._store.get(digest, path)
            self._blobs.adopt_whole(path, digest, size)
        except (StoreUnusable, ObjectGone, BlobDamaged, OSError) as error:
            return error
        finally:
            path.unlink(missing_ok=True)
        return None

    def spoilt(self, digest: Digest, why: str) -> None:
        """Note that what lies there is not what was put there."""
        self._there.discard(digest)
        _log.warning("a value in the object store is of no use, and comes over Dask's connection: %s", why)

    def forget(self, digests: Collection[Digest]) -> None:
        """Remove values that nobody needs any more, in the background."""
        gone = self._maybe_there.intersection(digests)
        self._maybe_there -= gone
        self._there -= gone
        if gone and self._store is not None:
            self._spawn(self._remove(gone))

    async def _remove(self, digests: Collection[Digest]) -> None:
        assert self._store is not None
        try:
            await asyncio.to_thread(self._store.remove, digests)
        except CovalabError as error:
            _log.info("values stay in the object store until the pool ends: %s", error)


def _new_lease(path: Path, url: str) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, url.encode())
    return fd
