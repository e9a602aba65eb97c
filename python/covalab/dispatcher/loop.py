"""Loop: turns outcomes into progress.

Each turn applies what came in, commits it, publishes it, and only then sends what has become ready. What arrives
meanwhile waits for the next turn, and so shares a commit.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from covalab.core.errors import DataFolderError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchId
from covalab.crash_points import crash_point
from covalab.dispatcher.alarms import Alarms
from covalab.dispatcher.batch_scheduler import BatchScheduler
from covalab.dispatcher.cancellation import Cancellation
from covalab.dispatcher.children import Children
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.commits import RETRY_SECONDS, Changes, Commits
from covalab.dispatcher.outcomes import OutcomeHandler
from covalab.dispatcher.pool_events import PoolEvents
from covalab.dispatcher.pools import Pools
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.retention import Retention
from covalab.dispatcher.running import RunningDispatch
from covalab.dispatcher.schedules import Schedules

_log = logging.getLogger("covalab.dispatcher")

_START_SECONDS: Final = 0.05
"""How long the start of a dispatch waits for the next commit: a short one has ended by then, and saves one."""


class Loop:
    """The loop of a dispatcher; it runs from when it is made.

    Parameters
    ----------
    registry, outcomes, commits
        The dispatches that changed, what applies their outcomes, and what commits them.
    children, cancellation
        The children that are started after their commit, and what cancels those that came too late.
    scheduler, pools, pool_events
        What sends batches, where to, and what follows when a pool cannot be had.
    clock, alarms, schedules, retention
        What is due, and what is done then.
    """

    def __init__(
        self,
        registry: Registry,
        outcomes: OutcomeHandler,
        commits: Commits,
        *,
        children: Children,
        cancellation: Cancellation,
        scheduler: BatchScheduler,
        pools: Pools,
        pool_events: PoolEvents,
        clock: Clock,
        alarms: Alarms,
        schedules: Schedules,
        retention: Retention,
    ) -> None:
        self._registry = registry
        self._outcomes = outcomes
        self._commits = commits
        self._children = children
        self._cancellation = cancellation
        self._scheduler = scheduler
        self._pools = pools
        self._pool_events = pool_events
        self._clock = clock
        self._alarms = alarms
        self._schedules = schedules
        self._retention = retention
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the loop."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def commit(self) -> None:
        """Commit what is left, if the disk takes it."""
        with suppress(asyncio.TimeoutError, DataFolderError):
            await asyncio.wait_for(self._apply_and_commit(), 2 * RETRY_SECONDS)

    def begin(self, run: RunningDispatch) -> None:
        """Let a dispatch run that is recorded."""
        self._registry.runs[run.id] = run
        for at in run.progress.delayed.values():
            self._alarms.set_alarm(at, run.id, is_delay=True)
        if not run.progress.version:
            run.progress.start(run.created.created_at)
            run.show_loaded()
        for place in run.places:
            self._pools.of(place, run.submission.environment)
        self._registry.mark_changed(run)

    async def _run(self) -> None:
        while True:
            await self._registry.next_turn()
            try:
                await self._apply_and_commit()
                self._handle_alarms()
                self._send_ready()
                crash_point("turn.sent")
            except Exception:  # noqa: BLE001 - the loop must outlive any one dispatch's trouble
                _log.exception("a turn failed")
                await asyncio.sleep(RETRY_SECONDS)

    async def _apply_and_commit(self) -> None:
        """Apply what came in, commit it, then publish it."""
        collected: list[Changes] = []
        for run in self._registry.take_changed():
            try:
                self._outcomes.apply(run)
                self._scheduler.mark_changed(run)
                if not self._waits_with_start(run):
                    collected.append(self._commits.collect(run))
            except Exception:  # noqa: BLE001 - it is a bug, and must not keep the others of this turn from running
                _log.exception("cannot go on with dispatch %s (%s)", run.id, run.created.name)
        crash_point("turn.applied")
        # No reader gets in between the commit and the end of this method.
        keys = await self._commits.commit(collected)
        crash_point("turn.committed")
        for changes in collected:
            self._publish(changes)
        crash_point("turn.published")
        for changes in collected:
            self._start_new_children(changes, keys)

    def _waits_with_start(self, run: RunningDispatch) -> bool:
        """Whether the start of a dispatch, and nothing else of it, is kept for a later commit.

        A restart starts it again, recorded or not; so nothing is lost, and nobody sees what is not on the disk.
        """
        # A child's parent already says that it was handed over.
        if run.start_is_due or run.created.parent is not None or not run.has_only_started:
            return False
        if run.start_is_due is False:
            return True
        run.start_is_due = False

        def record() -> None:
            run.start_is_due = True
            self._registry.mark_changed(run)

        asyncio.get_running_loop().call_later(_START_SECONDS, record)
        return True

    def _publish(self, changes: Changes) -> None:
        run = changes.run
        if changes.summary.status in TERMINAL:
            self._registry.runs.pop(run.id, None)
            _log.info("dispatch %s ended: %s", run.id, changes.summary.status)
            self._scheduler.forget(run)
            if run.submission.root in (None, run.id):
                self._pools.end_dispatch(run.id)
            if run.created.parent is not None:
                self._children.propagate(run.key, changes.summary)
        self._registry.feed.publish(run.committed.summary)

    def _start_new_children(self, changes: Changes, keys: dict[DispatchId, int]) -> None:
        for submission, summary in changes.new_children:
            key = keys.get(submission.id)
            if key is None:
                self._children.reject_child(submission)
            elif submission.schedule is not None:
                self._schedules.wait_for(summary)
                self._registry.feed.publish(summary)
            else:
                crash_point("child.recorded")
                run = self._children.start_child(submission, summary, key)
                self.begin(run)
                if self._children.is_paused(run):
                    self._cancellation.pause(run, wanted=True)
                if self._children.is_orphan(run):  # its node was cancelled while the child was recorded
                    self._cancellation.cancel_nodes(run, None)

    def _handle_alarms(self) -> None:
        """Start what waited for this moment, make nodes ready that did, and wait for the next one."""
        now = self._clock.now()
        self._retention.check(now)
        for dispatch, at in self._alarms.take_due():
            self._schedules.on_due(dispatch)
            run = self._registry.runs.get(dispatch)
            if run is not None:
                run.progress.release_due(max(at, now))  # a clock that was set back says that it is too early
                self._scheduler.mark_changed(run)
                self._registry.mark_changed(run)
        self._alarms.sleep_until_next(self._retention.next_at)

    def _send_ready(self) -> None:
        for pool in self._pools:
            if pool.state == "failed":
                self._pool_events.on_pool_failed(pool)
        for run in self._scheduler.fill():
            self._registry.mark_changed(run)
