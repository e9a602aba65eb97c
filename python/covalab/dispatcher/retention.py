"""Retention: deletes dispatches that ended long ago, on request, and by itself where a time to live is set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from covalab import config
from covalab.core.errors import ConfigError, DataFolderError
from covalab.core.model import Digest, DispatchId
from covalab.dispatcher.background import Background
from covalab.dispatcher.blob_gc import BlobCollector
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.commits import Commits
from covalab.store import Store
from covalab.store.purging import delete_ended, select_ended

_log = logging.getLogger("covalab.dispatcher")
_BATCH: Final = 500  # in one transaction, so that others get their turn in between
_SHORTEST_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 3600.0


def ttl() -> float | None:
    """Return how many seconds results are kept; for ever (None), if nothing is said about it or it cannot be read."""
    try:
        return config.results().seconds
    except ConfigError as error:
        _log.error("%s; nothing is forgotten by itself until this is mended and the dispatcher is restarted", error)
        return None


class Retention:
    """Deletes dispatches that ended long ago.

    Parameters
    ----------
    store
        The database.
    commits
        Deletes rows.
    collector
        Removes blobs.
    clock
        The clock.
    background
        Runs what no request waits for.
    forget
        Is called with the dispatches that were deleted.
    ttl
        How many seconds after its end a dispatch is deleted; None: never.
    """

    def __init__(
        self,
        store: Store,
        commits: Commits,
        collector: BlobCollector,
        *,
        clock: Clock,
        background: Background,
        forget: Callable[[Iterable[DispatchId]], None],
        ttl: float | None,
    ) -> None:
        self._store = store
        self._commits = commits
        self._collector = collector
        self._clock = clock
        self._background = background
        self._forget = forget
        self._ttl = ttl
        self.next_at: float | None = None
        """When to look again; None: never."""

    def begin(self) -> None:
        """Look for the first time, now that everything that had not ended is recovered."""
        if self._ttl is not None:
            self.next_at = self._clock.now()

    def check(self, now: float) -> None:
        """Delete what has ended too long ago, if it is time to look."""
        if self._ttl is not None and self.next_at is not None and self.next_at <= now:
            self.next_at = now + min(max(_SHORTEST_PAUSE, self._ttl / 10), _LONGEST_PAUSE)
            self._background.start(self._delete_older_than(now - self._ttl))

    async def _delete_older_than(self, before: float) -> None:
        try:
            gone = await self.purge(before)
        except DataFolderError as error:
            _log.error("%s; looking again later for what is older than results.ttl", error)
        else:
            if gone:
                _log.info("forgot %d dispatches: results.ttl is %g s", gone, self._ttl)

    async def due(self, before: float) -> list[DispatchId]:
        """Return the outermost dispatches that `purge` would delete."""
        found = await self._store.read(partial(select_ended, before=before, limit=-1))
        return [dispatch for _, dispatch in found]

    async def purge(self, before: float) -> int:
        """Delete every outermost dispatch that ended before a moment, with all below it; returns how many.

        What has not ended stays, and so does what a trigger that watches will run again.
        """
        gone, unused = 0, list[Digest]()
        while True:
            forgotten = await self._commits.write(partial(delete_ended, before=before, limit=_BATCH))
            self._forget(forgotten.ids)
            gone += forgotten.outermost
            unused += forgotten.unused
            if forgotten.outermost < _BATCH:
                await self._collector.remove(unused)
                return gone
