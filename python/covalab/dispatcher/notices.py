"""Notices: what dispatches wait for that may not come by itself, kept up to date for readers."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from msgspec.structs import replace

from covalab.core.batching import settings_of
from covalab.core.model import DispatchId, DispatchSummary
from covalab.core.pool_notice import lack_notice, notice, short_notice, trust_notice
from covalab.dispatcher.batch_scheduler import BatchScheduler
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.pools import Pool, Pools
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.running import RunningDispatch

_TICK_SECONDS: Final = 2.0
_LOOKS: Final = 512


class Notices:
    """Notices of the dispatches of one data folder.

    Parameters
    ----------
    registry
        The dispatches.
    pools
        The pools that they need.
    scheduler
        Knows how much waits for each pool.
    clock
        The clock.
    """

    def __init__(self, registry: Registry, pools: Pools, scheduler: BatchScheduler, clock: Clock) -> None:
        self._registry = registry
        self._pools = pools
        self._scheduler = scheduler
        self._clock = clock
        self._texts: dict[DispatchId, str] = {}

    def of(self, dispatch: DispatchId) -> str:
        """Return what a dispatch, or one below it, waits for; empty if nothing."""
        return self._texts.get(dispatch, "")

    def added_to(self, summary: DispatchSummary) -> DispatchSummary:
        """Return a summary with the notice of its dispatch."""
        if summary.id in self._registry.trust.waiting:
            return replace(summary, notice=trust_notice(summary.root or summary.id))
        text = self._texts.get(summary.id, "")
        return replace(summary, notice=text) if text and summary.id in self._registry.runs else summary

    async def watch(self) -> None:
        """Look at the pools from time to time, and publish the dispatches whose notice has changed."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._ask_for_workers()
            texts = self._now() if self._registry.runs else {}
            before, self._texts = self._texts, texts
            for dispatch in before.keys() | texts.keys():
                run = self._registry.runs.get(dispatch)
                if run is not None and before.get(dispatch) != texts.get(dispatch):
                    # Wakes those who wait for a change; the version stays, since nothing that is stored has changed.
                    self._registry.feed.publish(self.added_to(run.committed_summary()))

    def _ask_for_workers(self) -> None:
        """Let clusters that grow know how much waits for them."""
        for pool in self._pools:
            pool.ask_for_workers(self._scheduler.waiting_cores(pool))

    def _now(self) -> dict[DispatchId, str]:
        now = self._clock.now()
        lacking = {pool.key: text for pool in self._pools if (text := notice(pool.status, now))}
        found: dict[DispatchId, str] = {}
        up = {pool.key: pool for pool in self._pools if pool.state == "up"}
        for run in self._registry.runs.values():
            for key, queue in run.queues.items() if not run.paused else ():
                text = lacking.get(key, "") if run.progress.queues[queue] else ""
                if key in up and run.may_lack:
                    text = _lack_text(run, queue, up[key], now) or text
                if text:
                    found[run.id] = found[run.created.root or run.id] = text
        return found


def _lack_text(run: RunningDispatch, queue: int, pool: Pool, now: float) -> str:
    """Return what of the needs of ready nodes no worker of their pool offers; nothing if there is a worker for each."""
    seen: set[int] = set()
    for node in islice(run.progress.queues[queue], _LOOKS):
        it = run.graph.nodes[node]
        if it.settings in seen:
            continue
        seen.add(it.settings)
        settings = settings_of(run.graph, node)
        if lack := pool.load.lack(settings.needs, settings.time_limit):
            return lack_notice(pool.status, it.name, lack)
        if settings.time_limit is not None and pool.load.ends:
            last_end = pool.load.ends_before(settings.time_limit, now)
            if last_end is not None:
                return short_notice(pool.status, it.name, settings.time_limit, last_end)
    return ""
