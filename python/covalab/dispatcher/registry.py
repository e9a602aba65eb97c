"""Registry: the dispatches that have not ended, those that changed, and the requests that wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from covalab.blobs import BlobStore
from covalab.client import paths
from covalab.core.errors import MissingLatticeRecordError
from covalab.core.model import DispatchId, DispatchSummary
from covalab.dispatcher.cache import FinishedCache
from covalab.dispatcher.feed import Feed
from covalab.dispatcher.running import RunningDispatch
from covalab.dispatcher.trust import Trust
from covalab.reuse_index import ReuseIndex
from covalab.store import Store, dispatch_rows


class Registry:
    """The dispatches of one data folder.

    Parameters
    ----------
    folder
        The data folder.
    store
        Its database.
    feed
        The change feed.
    """

    def __init__(self, folder: Path, store: Store, feed: Feed) -> None:
        self.folder = folder
        self.store = store
        self.feed = feed
        self.runs: dict[DispatchId, RunningDispatch] = {}
        self.held: set[DispatchId] = set()
        """Dispatches that are recorded and wait for `start`."""
        self.starting = asyncio.Lock()
        """Held while a dispatch that is held becomes one that runs."""
        self.trust = Trust(folder, store)
        self.finished = FinishedCache()
        self.blobs = BlobStore(paths.blob_folder(folder))
        self.reuse_index = ReuseIndex.beside(paths.blob_folder(folder))
        self._changed: set[DispatchId] = set()
        self._wake = asyncio.Event()

    # -- changes -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let the next turn of the loop come: there may be something to send."""
        self._wake.set()

    def mark_changed(self, run: RunningDispatch) -> None:
        """Let the next turn of the loop apply and record what changed about a dispatch."""
        self._changed.add(run.id)
        self._wake.set()

    async def next_turn(self) -> None:
        """Wait until there is something to do."""
        await self._wake.wait()
        self._wake.clear()

    def take_changed(self) -> list[RunningDispatch]:
        """Return the dispatches that changed since this was called last."""
        changed, self._changed = self._changed, set()
        return [self.runs[dispatch] for dispatch in changed if dispatch in self.runs]

    # -- reading -------------------------------------------------------------------------------------------------

    async def summary(self, dispatch: DispatchId) -> DispatchSummary:
        """Return the committed summary of a dispatch.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        run = self.runs.get(dispatch)
        return (await self.recorded(dispatch))[1] if run is None else run.committed.summary

    async def recorded(self, dispatch: DispatchId) -> tuple[int, DispatchSummary]:
        """Return the key and the recorded summary of a dispatch; raises `MissingLatticeRecordError`."""
        found = await self.store.read(lambda connection: dispatch_rows.select_dispatch(connection, dispatch))
        if found is None:
            raise MissingLatticeRecordError(dispatch, str(self.folder))
        return found

    async def running(self, dispatch: DispatchId, timeout: float) -> RunningDispatch | None:
        """Return a dispatch that has not ended, or None.

        One whose end is on its way to the disk is waited for, at most `timeout` seconds: that end must not be reported
        before, in an error neither, and what is recorded with it (the next run of a series) must be known.
        """
        run = self.runs.get(dispatch)
        if run is not None and run.ended_at is not None:
            await self.ended(dispatch, timeout)
            run = self.runs.get(dispatch)
        return run

    async def ended(self, dispatch: DispatchId, timeout: float | None) -> None:
        """Wait until a dispatch has ended, at most `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while dispatch in self.runs or dispatch in self.held:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            await self.feed.wait(dispatch, left)

    async def committed(self, runs: Iterable[RunningDispatch], timeout: float) -> None:
        """Wait until everything that has changed about dispatches by now is committed, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for run, version in [(run, run.progress.version) for run in runs]:
            while run.committed.summary.version < version and run.id in self.runs:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                await self.feed.wait(run.id, left)

    def forget(self, dispatches: Iterable[DispatchId]) -> None:
        """Keep nothing of dispatches that were deleted in memory, or in the index of runs."""
        dispatches = list(dispatches)
        self.reuse_index.forget(dispatches)
        for dispatch in dispatches:
            self.trust.forget(dispatch)
            self.feed.forget(dispatch)
            self.finished.forget(dispatch)
