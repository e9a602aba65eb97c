"""Pool events: nodes began and ended, batches and whole pools were lost, and what follows for the nodes.

Outcomes are put into the inbox of their dispatch; the next turn of the loop applies and records them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from covalab.core.graph_state import LOSSES_ALLOWED
from covalab.core.journal import Entry
from covalab.core.model import Attempt, DispatchId, Failure, Outcome
from covalab.core.protocol import BatchEnded, TaskStarted
from covalab.dispatcher import interactions
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.pools import Pool, SentBatch
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.running import RunningDispatch, lost_failure, timeout_failure
from covalab.dispatcher.task_output import read_output


class PoolEvents:
    """Handles the events of pools (`pools.Listener`).

    Parameters
    ----------
    registry
        The dispatches.
    clock
        The clock.
    spool
        The folder in which running tasks leave what they print.
    """

    def __init__(self, registry: Registry, clock: Clock, spool: Path) -> None:
        self._registry = registry
        self._clock = clock
        self._spool = spool
        self._outcomes = msgspec.msgpack.Decoder(list[Outcome])
        self._entries = msgspec.msgpack.Decoder(Entry)
        self._stream_items = interactions.stream_items()
        self.dropped: set[int] = set()
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
                run.progress.record_producer(outcome, batch.worker)
            run.inbox += outcomes
            self._registry.mark_changed(run)

    def on_task_message(self, batch: SentBatch, payload: bytes) -> None:
        """A running node has something to say; it is on the disk no later than how the node ended."""
        run = self._registry.runs.get(DispatchId(batch.dispatch))
        if run is not None:
            interactions.record_entry(run, self._entries.decode(payload))
            interactions.drop_oldest(run, self._stream_items)
            self._registry.mark_changed(run)

    def on_batch_ended(self, batch: SentBatch, ended: BatchEnded) -> None:
        """Nothing more will come of a batch: what it has not done is ready again, or ends here."""
        was_dropped = batch.id in self.dropped
        self.dropped.discard(batch.id)
        run = self._registry.runs.get(DispatchId(batch.dispatch))
        if run is None:
            self._registry.wake()
            return
        now = self._clock.now()
        unfinished = [node for node in batch.nodes if node in batch.open and node in run.progress.in_flight]
        if unfinished and ended.timeout:
            node = unfinished[0]
            self._fail(run, batch, node, timeout_failure(batch.time_limit), now)
            unfinished = unfinished[1:]
        elif unfinished and ended.trouble:
            message = f"the batch could not be run: {ended.trouble}; see `covalab logs`"
            for node in unfinished:
                self._fail(run, batch, node, Failure("executor", message), now)
            unfinished = []
        elif unfinished and was_dropped and ended.lost:
            # We killed the worker for what was cancelled; the others of its batch are no suspects.
            run.progress.return_to_queue(unfinished)
            unfinished = []
        elif unfinished and ended.lost and batch.begun is not None:
            self._suspect(run, batch, unfinished, now)
            unfinished = []
        elif unfinished and ended.lost and run.seems_to_begin(unfinished[0]):
            self._suspect(run, batch, unfinished[:1], now)
            unfinished = unfinished[1:]
        run.progress.return_unstarted(unfinished)
        self._registry.mark_changed(run)

    def on_pool_lost(self, batches: Iterable[SentBatch]) -> None:
        """A pool's process is gone, and with it what it was doing: that is ready again.

        Who was running is a suspect all the same, or a task that takes the pool down would do so for ever.
        """
        now = self._clock.now()
        for batch in batches:
            self.dropped.discard(batch.id)
            run = self._registry.runs.get(DispatchId(batch.dispatch))
            if run is None:
                continue
            unfinished = [node for node in batch.nodes if node in batch.open and node in run.progress.in_flight]
            if batch.begun is not None and batch.begun.node in unfinished:
                self._suspect(run, batch, [batch.begun.node], now)
                unfinished.remove(batch.begun.node)
            run.progress.return_unstarted(unfinished)
            self._registry.mark_changed(run)

    def _suspect(self, run: RunningDispatch, batch: SentBatch, nodes: list[int], now: float) -> None:
        """Let nodes that were there when their worker went run again, alone; blame the one that was there too often."""
        for node in nodes:
            may_go_on = run.progress.count_loss(node)
            failure = lost_failure(run.progress.losses[node])
            if not may_go_on:
                self._fail(run, batch, node, failure, now)
                continue
            started = run.progress.started_at[node] or now
            stdout, stderr = read_output(self._spool, batch, node)
            outcome = Outcome(node, "failed", started, now, None, failure, stdout, stderr, batch.worker)
            run.attempts.append(Attempt(run.progress.attempt[node], outcome))
        run.progress.return_to_queue(node for node in nodes if run.progress.losses[node] <= LOSSES_ALLOWED)

    def on_pool_failed(self, pool: Pool) -> None:
        """A pool cannot be had at all: what needs it fails. Called again when more of that has become ready."""
        now = self._clock.now()
        for run in self._registry.runs.values():
            queue = run.queues.get(pool.key)
            if queue is None or not run.progress.queues[queue]:
                continue
            failure = Failure("executor", pool.message)
            for node in run.progress.queues[queue]:
                run.inbox.append(Outcome(node, "failed", now, now, None, failure, "", f"{pool.message}\n"))
            run.progress.queues[queue].clear()
            self._registry.mark_changed(run)

    def on_workers_changed(self) -> None:
        """Workers came or went."""
        self._registry.wake()

    def _fail(self, run: RunningDispatch, batch: SentBatch, node: int, failure: Failure, now: float) -> None:
        stdout, stderr = read_output(self._spool, batch, node)
        started = run.progress.started_at[node] or now
        stderr += f"{failure.message}\n"
        run.inbox.append(Outcome(node, "failed", started, now, None, failure, stdout, stderr))
