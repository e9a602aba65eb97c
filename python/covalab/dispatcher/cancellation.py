"""Cancelling and pausing: a dispatch, some of its nodes, and the child dispatches below them."""

from __future__ import annotations

from collections.abc import Collection

from covalab.core.journal import Entry
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Failure, Outcome
from covalab.dispatcher import interactions
from covalab.dispatcher.batch_scheduler import BatchScheduler
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.outcomes import OutcomeHandler
from covalab.dispatcher.pool_events import PoolEvents
from covalab.dispatcher.pools import Pools
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.running import RunningDispatch
from covalab.dispatcher.task_output import Spool


class Cancellation:
    """Cancels and pauses.

    Parameters
    ----------
    registry
        The dispatches.
    outcomes
        Applies what has ended before something is cancelled.
    scheduler
        Sends nothing of what is paused.
    pools, pool_events
        Where batches are stopped, and what has to know which of them were.
    clock
        The clock.
    spool
        What running tasks have printed and displayed.
    """

    def __init__(
        self,
        registry: Registry,
        outcomes: OutcomeHandler,
        scheduler: BatchScheduler,
        *,
        pools: Pools,
        pool_events: PoolEvents,
        clock: Clock,
        spool: Spool,
    ) -> None:
        self._registry = registry
        self._outcomes = outcomes
        self._scheduler = scheduler
        self._pools = pools
        self._pool_events = pool_events
        self._clock = clock
        self._spool = spool

    def cancel_nodes(self, run: RunningDispatch, nodes: list[int] | None) -> None:
        """Cancel a dispatch (None) or some of its nodes, and what those have become."""
        self._outcomes.apply(run)  # what has ended stays as it ended, also when it came in a moment ago
        now = self._clock.now()
        cancelled = run.progress.cancel(now, nodes)
        self._record_outcomes(run, cancelled, now)
        self._stop_batches(run)
        interactions.withdraw(run, cancelled, now)
        if nodes is None:
            run.closing = run.closing or "cancelled"
        self._registry.mark_changed(run)
        for node in cancelled:
            child = self._registry.runs.get(run.children[node]) if node in run.children else None
            if child is not None:
                self.cancel_nodes(child, None)

    def _record_outcomes(self, run: RunningDispatch, cancelled: Collection[int], now: float) -> None:
        batches = list(self._pools.batches_of(run.id))
        failure = Failure("cancelled", "cancelled by request")
        for node in cancelled:
            batch = next((batch for batch in batches if node in batch.open), None)
            stdout, stderr, times = self._spool.timed(batch, node)
            outputs = self._spool.last_outputs(batch, node, failure)
            started = run.progress.started_at[node]
            run.outcomes.append(
                Outcome(
                    node, "cancelled", started or now, now, None, failure, stdout, stderr, outputs=outputs, times=times
                )
            )

    def _stop_batches(self, run: RunningDispatch) -> None:
        status = run.progress.status
        for pool in self._pools:
            for batch in list(pool.batches.values()):
                if batch.dispatch == run.id and any(status[node] in TERMINAL for node in batch.open):
                    self._pool_events.cancelled.add(batch.id)
                    pool.cancel_batch(batch.id, [node for node in batch.open if status[node] in TERMINAL])

    def pause(self, run: RunningDispatch, *, wanted: bool) -> None:
        """Let a dispatch, with all below it, start nothing new, or go on."""
        if run.paused != wanted:
            interactions.record_entry(run, Entry("pause" if wanted else "resume", self._clock.now()))
            self._scheduler.forget(run)
            self._scheduler.mark_changed(run)
            self._registry.mark_changed(run)
        if wanted:
            self._return_unstarted(run)
        for child in run.children.values():
            if child in self._registry.runs:
                self.pause(self._registry.runs[child], wanted=wanted)

    def _return_unstarted(self, run: RunningDispatch) -> None:
        """Take back the nodes at workers that have not begun: a batch of a session may be a whole notebook."""
        for pool in self._pools:
            for batch in pool.batches.values():
                if batch.dispatch == run.id and len(batch.open) > 1:
                    pool.return_unstarted(batch.id)
