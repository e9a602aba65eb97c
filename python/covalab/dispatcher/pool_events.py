"""Pool events: nodes began and ended, batches and whole pools were lost, and what follows for the nodes.

Outcomes are put into the inbox of their dispatch; the next turn of the loop applies and records them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from covalab.core.journal import Entry
from covalab.core.model import DispatchId, Failure, NodeProgress, Outcome
from covalab.core.protocol import BatchEnded, TaskStarted
from covalab.dispatcher import interactions, worker_loss
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.pools import Pool, SentBatch
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.task_output import Spool

_PROGRESS_SECONDS: Final = 0.2  # between two publications of the progress of one dispatch


class PoolEvents:
    """Handles the events of pools (`pools.Listener`).

    Parameters
    ----------
    registry
        The dispatches.
    clock
        The clock.
    spool
        What running tasks have printed and displayed.
    """

    def __init__(self, registry: Registry, clock: Clock, spool: Spool) -> None:
        self._registry = registry
        self._clock = clock
        self._spool = spool
        self._outcomes = msgspec.msgpack.Decoder(list[Outcome])
        self._entries = msgspec.msgpack.Decoder(Entry)
        self._stream_items = interactions.stream_items()
        self._unpublished: set[DispatchId] = set()  # whose progress is about to be
        self.cancelled: set[int] = set()
        """Batches that were stopped because some of their nodes were cancelled."""

    def on_task_started(self, batch: SentBatch, begun: TaskStarted) -> None:
        """A worker began a node."""
        run = self._registry.runs.get(DispatchId(batch.dispatch))
        if run is not None:
            run.progress.record_start(begun.node, begun.at)
            self._registry.mark_changed(run)

    def on_outcomes(self, batch: SentBatch, payload: bytes) -> None:
        """Nodes ended."""
        outcomes = self._outcomes.decode(payload)
        batch.open.difference_update(outcome.node for outcome in outcomes)
        run = self._registry.runs.get(DispatchId(batch.dispatch))
        if run is not None:
            for outcome in outcomes:
                if run.node_progress:
                    run.node_progress.pop(outcome.node, None)
                run.progress.record_producer(outcome, batch.worker)
            run.inbox += outcomes
            self._registry.mark_changed(run)

    def on_task_message(self, batch: SentBatch, payload: bytes) -> None:
        """A running task sent an entry of the journal; it is on the disk no later than the task's outcome."""
        run = self._registry.runs.get(DispatchId(batch.dispatch))
        if run is not None:
            interactions.record_entry(run, self._entries.decode(payload))
            interactions.drop_oldest(run, self._stream_items)
            self._registry.mark_changed(run)

    def on_task_progress(self, batch: SentBatch, progress: NodeProgress) -> None:
        """A running node said how far it is; readers see that soon, and it is not recorded."""
        run = self._registry.runs.get(DispatchId(batch.dispatch))
        if run is not None and progress.node in batch.open:
            run.node_progress[progress.node] = progress
            if run.id not in self._unpublished:
                self._unpublished.add(run.id)
                asyncio.get_running_loop().call_later(_PROGRESS_SECONDS, self._publish_progress, run.id)

    def _publish_progress(self, dispatch: DispatchId) -> None:
        self._unpublished.discard(dispatch)
        run = self._registry.runs.get(dispatch)
        if run is not None:
            run.committed.summary = msgspec.structs.replace(run.committed.summary, progress=run.share_done())
            self._registry.feed.publish(run.committed.summary)

    def on_task_waits(self, batch: SentBatch, returned: list[int]) -> None:
        """A running node waits for another dispatch; some nodes of its batch will not begin."""
        run = self._registry.runs.get(DispatchId(batch.dispatch))
        given_up = [node for node in returned if node in batch.open]
        batch.nodes = [node for node in batch.nodes if node not in given_up]
        batch.open.difference_update(given_up)
        if run is not None:
            run.progress.return_unstarted(given_up)
            self._registry.mark_changed(run)

    def on_batch_ended(self, batch: SentBatch, ended: BatchEnded) -> None:
        """A batch ended: nodes without an outcome are ready again, or end here."""
        was_cancelled = batch.id in self.cancelled
        self.cancelled.discard(batch.id)
        run = self._registry.runs.get(DispatchId(batch.dispatch))
        if run is None:
            self._registry.wake()
            return
        for node in batch.nodes if run.node_progress else ():
            run.node_progress.pop(node, None)
        now = self._clock.now()
        worker_loss.end_unfinished(run, batch, ended, was_cancelled=was_cancelled, now=now, spool=self._spool)
        self._registry.mark_changed(run)

    def on_pool_lost(self, batches: Iterable[SentBatch]) -> None:
        """A pool's process is gone, and with it its batches: their nodes are ready again, or end here."""
        now = self._clock.now()
        for batch in batches:
            self.cancelled.discard(batch.id)
            run = self._registry.runs.get(DispatchId(batch.dispatch))
            if run is None:
                continue
            worker_loss.end_with_pool(run, batch, now=now, spool=self._spool)
            self._registry.mark_changed(run)

    def on_pool_failed(self, pool: Pool) -> None:
        """A pool cannot be started at all: nodes that need it fail. Called again when more become ready.

        Where only the version of covalab is another, work that was taken up after a restart waits for an upgrade.
        """
        now = self._clock.now()
        for run in self._registry.runs.values():
            queue = run.queues.get(pool.key)
            if queue is None or not run.progress.queues[queue]:
                continue
            if pool.waits_for_upgrade and run.created.recovered:
                continue
            failure = Failure("executor", pool.message)
            for node in run.progress.queues[queue]:
                run.inbox.append(Outcome(node, "failed", now, now, None, failure, "", f"{pool.message}\n"))
            run.progress.queues[queue].clear()
            self._registry.mark_changed(run)

    def on_workers_changed(self) -> None:
        """Workers came or went."""
        self._registry.wake()
