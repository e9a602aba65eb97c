"""Notices: what dispatches wait for that may not come by itself, kept up to date for readers."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec.structs import replace

from covalab.core.model import DispatchId, DispatchSummary
from covalab.core.pool_notice import notice
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.pools import Pools
from covalab.dispatcher.registry import Registry

_TICK_SECONDS: Final = 2.0


class Notices:
    """Notices of the dispatches of one data folder.

    Parameters
    ----------
    registry
        The dispatches.
    pools
        The pools that they need.
    clock
        The clock.
    """

    def __init__(self, registry: Registry, pools: Pools, clock: Clock) -> None:
        self._registry = registry
        self._pools = pools
        self._clock = clock
        self._texts: dict[DispatchId, str] = {}

    def of(self, dispatch: DispatchId) -> str:
        """Return what a dispatch, or one below it, waits for; empty if nothing."""
        return self._texts.get(dispatch, "")

    def added_to(self, summary: DispatchSummary) -> DispatchSummary:
        """Return a summary with the notice of its dispatch."""
        text = self._texts.get(summary.id, "")
        return replace(summary, notice=text) if text and summary.id in self._registry.runs else summary

    async def watch(self) -> None:
        """Look at the pools from time to time, and publish the dispatches whose notice has changed."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            texts = self._now() if self._registry.runs else {}
            before, self._texts = self._texts, texts
            for dispatch in before.keys() | texts.keys():
                run = self._registry.runs.get(dispatch)
                if run is not None and before.get(dispatch) != texts.get(dispatch):
                    # Wakes those who wait for a change; the version stays, since nothing that is stored has changed.
                    self._registry.feed.publish(self.added_to(run.committed_summary()))

    def _now(self) -> dict[DispatchId, str]:
        now = self._clock.now()
        lacking = {pool.key: text for pool in self._pools if (text := notice(pool.status, now))}
        found: dict[DispatchId, str] = {}
        for run in self._registry.runs.values() if lacking else ():
            for key, queue in run.queues.items():
                if key in lacking and run.progress.queues[queue] and not run.paused:
                    found[run.id] = found[run.created.root or run.id] = lacking[key]
        return found
