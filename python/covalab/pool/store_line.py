"""Line of values between the data folder and one worker through the object store, where both can use it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from covalab.core.model import Digest
from covalab.pool import host_calls
from covalab.pool.host_calls import Transfer
from covalab.pool.object_store import StoreUnusable
from covalab.pool.route import NoAnswer, Route
from covalab.pool.shared_store import Access, SharedStore, Spawn, limit_of


class StoreLine:
    """Line of values through the object store.

    Parameters
    ----------
    store
        The store.
    route
        The way to the worker, for what is said about values.
    name
        The name of the worker.
    spawn
        Runs a coroutine in the background.
    """

    def __init__(self, store: SharedStore, route: Route, name: str, spawn: Spawn) -> None:
        self._store = store
        self._route = route
        self.access = Access(f"worker {name}", self._look, spawn, store.on_change)

    async def open(self) -> None:
        """Find out whether both sides can use the store."""
        if await self._store.open():
            await self.access.look()

    async def _look(self) -> None:
        try:
            trouble = await self._route.call(host_calls.join_store, self._store.place)
        except (NoAnswer, RuntimeError) as error:  # it is gone, or the function there raised it
            raise StoreUnusable(str(error)) from error
        if trouble:
            raise StoreUnusable(trouble)

    @property
    def is_usable(self) -> bool:
        """Whether values can go this way now."""
        return self._store.home.is_there and self.access.is_there

    async def pull(self, values: Sequence[tuple[Digest, int]], kept: Sequence[Digest]) -> set[Digest]:
        """Bring values from the worker to the data folder. Return those for which that worked."""
        digests = [digest for digest, _ in values]
        self._store.expect(digests)
        total = sum(size for _, size in values)
        answer = await self._ask(total, host_calls.put_into_store, self._store.place, digests, kept)
        if answer is None:
            return set()
        ends = msgspec.msgpack.decode(answer, type=list[Transfer])
        self._note(ends)
        put = [value for value, end in zip(values, ends, strict=True) if not end.trouble]
        for digest, _ in put:
            self._store.came(digest)
        return await self._store.fetch(put) if put else set()

    async def push(self, owner: str, digest: Digest, size: int) -> bool:
        """Bring a value of the data folder into the worker's cache. Return False if that did not work."""
        if not await self._store.put(digest, size):
            return False
        answer = await self._ask(size, host_calls.take_from_store, self._store.place, owner, digest, size)
        if answer is None:
            return False
        end = msgspec.msgpack.decode(answer, type=Transfer)
        self._note([end])
        if end.blame == "value":
            self._store.spoilt(digest, end.trouble)
        return not end.trouble

    async def _ask(self, size: int, function: object, *args: object) -> bytes | None:
        try:
            found: bytes = await asyncio.wait_for(self._route.call(function, *args), limit_of(size))  # type: ignore[arg-type]
        except asyncio.TimeoutError:
            self.access.lose(f"{size:,} bytes were not transferred within {limit_of(size):.0f} s")
            return None
        except RuntimeError as error:  # raised by the function there
            self.access.lose(str(error))
            return None
        return found

    def _note(self, ends: Sequence[Transfer]) -> None:
        trouble = next((end.trouble for end in ends if end.blame == "source"), "")
        if trouble:
            self.access.lose(trouble)
