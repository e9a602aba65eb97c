"""Whereabouts of values: which hosts have one in their caches, which of them give it to others, and who needs it.

A value that a host has goes from there to the next one, not from this machine once more. A host gives it to one other
at a time; as each that has it can give it, all have it after a number of rounds that grows with their logarithm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Final

from covalab.core.model import Digest

HOME: Final = ""
"""The source that is the data folder of this machine."""


class _Known:
    """A value: the dispatches that use it, the caches that have it, and which of them give it to somebody."""

    __slots__ = ("busy", "caches", "changed", "roots")

    def __init__(self) -> None:
        self.roots: set[str] = set()
        self.caches: dict[str, None] = {}
        self.busy: set[str] = set()
        self.changed = asyncio.Event()


class Whereabouts:
    """Whereabouts of the values of running dispatches."""

    def __init__(self) -> None:
        self._known: dict[Digest, _Known] = {}
        self._digests: dict[str, set[Digest]] = {}

    def use(self, digest: Digest, root: str) -> None:
        """Note that an outermost dispatch uses a value, or makes it."""
        self._digests.setdefault(root, set()).add(digest)
        self._known.setdefault(digest, _Known()).roots.add(root)

    def put(self, digest: Digest, cache: str) -> None:
        """Note that a cache has a value."""
        known = self._known.get(digest)
        if known is not None:
            known.caches[cache] = None
            known.changed.set()

    def end(self, roots: Iterable[str]) -> list[Digest]:
        """Forget the values of dispatches that have ended. Return those that no other one uses."""
        gone: list[Digest] = []
        for root in roots:
            for digest in self._digests.pop(root, ()):
                known = self._known[digest]
                known.roots.discard(root)
                if not known.roots:
                    del self._known[digest]
                    gone.append(digest)
        return gone

    @asynccontextmanager
    async def source(self, digest: Digest, cache: str, reached: Collection[str], seconds: float) -> AsyncIterator[str]:
        """Wait until a source of a value for a cache is free, and keep it for the block.

        Parameters
        ----------
        digest
            The value.
        cache
            The cache that needs it.
        reached
            The caches that are reached from there.
        seconds
            How long to wait at most; then the value comes from home, as those who have it may give it to a host that
            has just been cut off.
        """
        known = self._known.setdefault(digest, _Known())
        deadline = time.monotonic() + seconds
        while (found := _free_source(known, cache, reached)) is None:
            known.changed.clear()
            try:
                await asyncio.wait_for(known.changed.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                found = HOME
                break
        known.busy.add(found)
        try:
            yield found
        finally:
            known.busy.discard(found)
            known.changed.set()

    def lose(self, digest: Digest, cache: str) -> None:
        """Note that a cache does not have a value any more."""
        known = self._known.get(digest)
        if known is not None:
            known.caches.pop(cache, None)
            known.changed.set()


def _free_source(known: _Known, cache: str, reached: Collection[str]) -> str | None:
    """Return a source that is free; None if one is to be waited for."""
    others = [one for one in known.caches if one != cache and one in reached]
    free = [one for one in reversed(others) if one not in known.busy]
    if free:
        return free[0]
    return HOME if not others and HOME not in known.busy else None
