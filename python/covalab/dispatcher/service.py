"""Dispatcher service: submits, starts, cancels, deletes and recovers dispatches; makes all that these need."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import apsw
import msgspec

from covalab._version import __version__
from covalab.client import paths
from covalab.core import schedule
from covalab.core.dispatcher_status import DispatcherStatus
from covalab.core.errors import DataFolderError, GraphError, MissingLatticeRecordError
from covalab.core.model import DispatchId, DispatchSummary, Environment, Settings, Submission
from covalab.core.outputs import Outputs
from covalab.core.placement import pool_key
from covalab.core.requests import RedispatchRequest, TagsRequest
from covalab.core.run_log import Printed
from covalab.core.runtime_stats import RuntimeStats
from covalab.core.validation import validate_graph
from covalab.crash_points import crash_point
from covalab.dispatcher import series
from covalab.dispatcher.alarms import Alarms
from covalab.dispatcher.archives import Archives
from covalab.dispatcher.background import Background
from covalab.dispatcher.batch_scheduler import BatchScheduler
from covalab.dispatcher.blob_gc import BlobCollector
from covalab.dispatcher.cancellation import Cancellation
from covalab.dispatcher.children import Children
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.commits import RETRY_SECONDS, Commits
from covalab.dispatcher.feed import Feed
from covalab.dispatcher.loop import Loop
from covalab.dispatcher.lost_values import LostValues
from covalab.dispatcher.notices import Notices
from covalab.dispatcher.outcomes import OutcomeHandler
from covalab.dispatcher.pool_events import PoolEvents
from covalab.dispatcher.pools import Pools, SentBatch
from covalab.dispatcher.previews import Previews
from covalab.dispatcher.recovery import count_recovery, load_running, recorded_submission, resubmission
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.retention import Retention, ttl
from covalab.dispatcher.running import RunningDispatch, summary_of
from covalab.dispatcher.schedules import Schedules
from covalab.dispatcher.task_output import Spool
from covalab.dispatcher.trigger_hosts import Triggers
from covalab.store import Store, dispatch_rows
from covalab.store.purging import delete_dispatch
from covalab.store.repair import kept_copies

_log = logging.getLogger("covalab.dispatcher")


class Service:
    """The dispatcher of one data folder. Everything here runs on one event loop.

    Parameters
    ----------
    folder
        The data folder.
    store
        Its database.
    clock
        The clock.
    """

    def __init__(self, folder: Path, store: Store, clock: Clock | None = None) -> None:
        self.folder = folder
        self.store = store
        self.clock = clock = clock or Clock()
        self.over = asyncio.Event()
        """Set when this process must end."""
        self.attached = 0
        self.last_asked = time.monotonic()
        self._started_at = clock.now()
        self._background = background = Background()
        # Numbers of the feed only grow, also over a restart.
        self.registry = registry = Registry(folder, store, Feed(int(clock.now() * 1000)))
        self.blobs = registry.blobs
        self._spool = spool = Spool(paths.spool_folder(folder), self.blobs)
        self.runs, self.held, self.feed, self.finished = registry.runs, registry.held, registry.feed, registry.finished
        self.summary, self.recorded, self.ended = registry.summary, registry.recorded, registry.ended

        pool_events = PoolEvents(registry, clock, spool)
        self._pools = pools = Pools(paths.socket_folder(folder), folder / "logs", pool_events, clock, epoch=store.epoch)
        alarms = Alarms(clock, registry.wake)
        stats = RuntimeStats()
        self._commits = commits = Commits(store, clock, stats, self.over)
        self._collector = collector = BlobCollector(store, self.blobs, background.start)
        packages = paths.packages_folder(folder)
        self._scheduler = scheduler = BatchScheduler(
            pools, clock, stats, blobs=self.blobs.folder, spool=spool.folder, packages=packages
        )
        self.notices = Notices(registry, pools, scheduler, clock)
        self.previews = Previews(folder, str(self.blobs.folder))
        self._children = children = Children(registry, self.blobs, collector, background)
        outcomes = OutcomeHandler(clock, alarms, scheduler, children, LostValues(registry, background))
        self.cancellation = Cancellation(
            registry, outcomes, scheduler, pools=pools, pool_events=pool_events, clock=clock, spool=spool
        )
        self.schedules = Schedules(
            registry,
            commits,
            self.cancellation,
            alarms=alarms,
            clock=clock,
            background=background,
            start=self.start,
        )
        self.triggers = Triggers(registry, commits, self.start, self.submit)
        self.archives = Archives(registry, commits)
        self.retention = Retention(
            store, commits, collector, clock=clock, background=background, forget=self._forget, ttl=ttl()
        )
        self._loop = Loop(
            registry,
            outcomes,
            commits,
            children=children,
            cancellation=self.cancellation,
            scheduler=scheduler,
            pools=pools,
            pool_events=pool_events,
            clock=clock,
            alarms=alarms,
            schedules=self.schedules,
            retention=self.retention,
        )

    # -- requests ------------------------------------------------------------------------------------------------

    async def submit(
        self,
        submission: Submission,
        *,
        encoded: bytes | None = None,
        also: Callable[[apsw.Connection], None] | None = None,
    ) -> tuple[DispatchSummary, bool]:
        """Record a submission and start it, unless it is to be held. Returns its summary, and whether it is new.

        `encoded` is the submission as it came in msgpack, if it did. `also` is recorded with it, or not at all.

        Raises
        ------
        GraphError
            If its graph cannot run; nothing is recorded.
        MissingLatticeRecordError
            If there is no such dispatch as it wants to reuse; nothing is recorded.
        """
        validate_graph(submission.graph, len(submission.values))
        schedule.check(submission)
        now = self.clock.now()
        if schedule.is_waiting(submission.starts_at, now):
            submission = msgspec.structs.replace(submission, hold=True)
        summary = summary_of(submission, now)

        if submission.reuse is not None:
            with suppress(MissingLatticeRecordError):  # what is recorded under this id may have reused what is deleted
                await self.registry.trust.check(submission.reuse)
        crash_point("submission.arrived")
        job = partial(self._commits.insert, submission=submission, summary=summary, encoded=encoded, also=also)
        key, its_id, following = await self._commits.write(job, [submission.id])
        crash_point("submission.recorded")
        if key is None:
            return await self.summary(its_id), False
        self.registry.trust.add(its_id)
        self.triggers.watch(summary.id, submission.triggers)
        if following is not None:
            self.schedules.wait_for(following)
        if submission.hold:
            self.held.add(summary.id)
            if submission.starts_at is not None:
                self.schedules.wait_for(summary)
            self.feed.publish(summary)
        elif submission.reuse is not None:
            self._loop.begin(await self.store.read(partial(load_running, summary=summary, blobs=self.blobs)))
        else:
            self._loop.begin(RunningDispatch(key, summary, submission))
        crash_point("submission.begun")
        return summary, True

    async def submission(self, dispatch: DispatchId) -> Submission:
        """Return what was submitted, from which the same can be submitted again.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        found = await self.store.read(partial(recorded_submission, dispatch=dispatch))
        if found is None:
            raise MissingLatticeRecordError(dispatch, str(self.folder))
        return found

    async def redispatch(self, dispatch: DispatchId, again: RedispatchRequest) -> tuple[DispatchSummary, bool]:
        """Run a recorded graph once more. Returns the summary of the new dispatch, and whether it is new.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        new_id = again.id or DispatchId(str(uuid.uuid4()))
        recorded = await self.submission(dispatch)
        strangers = [node for node in again.nodes if node >= len(recorded.graph.nodes)]
        if strangers:
            message = f"dispatch {dispatch!r} has no node {strangers[0]}"
            raise GraphError(message)
        nodes = again.nodes
        return await self.submit(
            resubmission(recorded, new_id, reuse=again.reuse or bool(nodes), strict=again.strict, nodes=nodes)
        )

    async def tag(self, dispatch: DispatchId, change: TagsRequest) -> DispatchSummary:
        """Add tags to a dispatch and remove some. Returns its summary.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        key, _ = await self.recorded(dispatch)
        tags = await self._commits.write(partial(dispatch_rows.change_tags, key=key, change=change), [dispatch])
        self.finished.forget(dispatch)
        run = self.runs.get(dispatch)
        if run is None:
            summary = await self.summary(dispatch)
            self.feed.publish(summary)
            return summary
        run.created = msgspec.structs.replace(run.created, tags=tags)
        run.progress.version += 1
        self.registry.mark_changed(run)
        await self.registry.committed([run], RETRY_SECONDS)
        return msgspec.structs.replace(await self.summary(dispatch), tags=tags)

    async def start(
        self, dispatch: DispatchId, *, also: Callable[[apsw.Connection], None] | None = None
    ) -> DispatchSummary:
        """Start a dispatch that was held, or waits for its time; one that was started before goes on as it is.

        `also` is recorded with it, or not at all.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        await self.registry.trust.check(dispatch)
        async with self.registry.starting:
            if dispatch in self.held:

                def job(connection: apsw.Connection) -> DispatchSummary | None:
                    dispatch_rows.release(connection, dispatch)
                    if also is not None:
                        also(connection)
                    submission = recorded_submission(connection, dispatch)
                    if submission is None:
                        return None
                    return series.record_after_start(connection, submission, self.clock.now())

                following = await self._commits.write(job)
                if following is not None:
                    self.schedules.wait_for(following)
                _, summary = await self.recorded(dispatch)
                self._loop.begin(await self.store.read(partial(load_running, summary=summary, blobs=self.blobs)))
                self.held.discard(dispatch)
                self.schedules.forget(dispatch)
        return await self.summary(dispatch)

    def warm(self, environment: Environment) -> None:
        """Start the workers of an environment before they are needed."""
        self._pools.of(pool_key(environment, Settings()), environment)

    async def cancel(self, dispatch: DispatchId, nodes: list[int] | None) -> DispatchSummary:
        """Cancel a dispatch or some of its nodes; what has ended stays as it is. Of a series nothing more comes.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        GraphError
            If it waits for its time, and only some of its nodes are to be cancelled.
        """
        await self.registry.running(dispatch, 2 * RETRY_SECONDS)
        cancelled: list[RunningDispatch] = []
        if nodes is None:
            cancelled = await self.schedules.end(dispatch)
        elif self.schedules.is_waiting(dispatch):
            message = (
                f"dispatch {dispatch!r} has not started; it can only be cancelled as a whole: ct.cancel({dispatch!r})"
            )
            raise GraphError(message)
        run = self.runs.get(dispatch)
        if run is not None:
            self.cancellation.cancel_nodes(run, nodes)
            cancelled.append(run)
        # The answer, and what the caller reads after it, show that it is cancelled: readers see what is committed.
        await self.registry.committed(cancelled, 3 * RETRY_SECONDS)
        return await self.summary(dispatch)

    async def delete(self, dispatch: DispatchId) -> str:
        """Delete a dispatch that has ended, with all below it. Returns why that cannot be done, else an empty text."""
        running = f"dispatch {dispatch!r} is still running; cancel it first"
        if any(dispatch in (run.id, run.created.root) for run in self.runs.values()):
            return running
        _, summary = await self.recorded(dispatch)
        if summary.root is not None:
            return f"dispatch {dispatch!r} is part of dispatch {summary.root!r}; delete that one, and both are gone"
        if dispatch not in self.held and self.triggers.is_watching(dispatch):
            return f"triggers still run dispatch {dispatch!r} again; stop them first: ct.stop_triggers({dispatch!r})"
        watching = [state.id for state in await self.triggers.states(dispatch)]
        deleted = await self._commits.write(lambda connection: delete_dispatch(connection, dispatch))
        if deleted is None:
            return running
        self.held.discard(dispatch)
        self.schedules.forget(dispatch)
        self.triggers.forget(watching)
        self._forget(deleted.ids)
        await self._collector.remove(deleted.unused)
        return ""

    def _forget(self, deleted: Iterable[DispatchId]) -> None:
        self.registry.forget(deleted)
        self.previews.clear()

    def status(self) -> DispatcherStatus:
        """Return the state of this dispatcher."""
        pools = [pool.status for pool in self._pools]
        return DispatcherStatus(
            __version__,
            os.getpid(),
            self.store.epoch,
            str(self.folder),
            self._started_at,
            len(self.runs),
            pools,
            self.schedules.n_waiting,
        )

    def read_output(self, dispatch: DispatchId, node: int) -> tuple[str, str]:
        """Return what a running node has printed so far."""
        return self._spool.printed(self._batch_of(dispatch, node), node)

    def live_text(self, dispatch: DispatchId, node: int) -> Callable[[], Printed]:
        """Return what reads what a running node has printed so far, in any thread."""
        return partial(self._spool.timed, self._batch_of(dispatch, node), node)

    async def live_outputs(self, dispatch: DispatchId, node: int, since: int) -> Outputs:
        """Return the outputs of a running node that changed after a number."""
        return await asyncio.to_thread(self._spool.live_outputs, self._batch_of(dispatch, node), node, since)

    def _batch_of(self, dispatch: DispatchId, node: int) -> SentBatch | None:
        return next((batch for batch in self._pools.batches_of(dispatch) if node in batch.open), None)

    def workers_of(self, dispatch: DispatchId) -> dict[int, str]:
        """Return the workers of the nodes of a dispatch that were sent to one and have not ended."""
        return {node: batch.worker for batch in self._pools.batches_of(dispatch) for node in batch.open}

    @property
    def taken_over(self) -> bool:
        """Whether another dispatcher has taken over the data folder."""
        return self._commits.taken_over

    async def check_epoch(self) -> None:
        """Let this process end if another dispatcher has taken over."""
        await self._commits.check_epoch()

    # -- life ----------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Resume every dispatch that had not ended when the last dispatcher did."""
        self._scheduler.stats.load(await self.store.read(dispatch_rows.select_durations))
        await self._commits.write(count_recovery)
        crash_point("recovery.counted")
        await self._resume(await self.store.read(dispatch_rows.select_unfinished))
        crash_point("recovery.begun")
        await self.triggers.recover()
        self.retention.begin()
        self.registry.wake()
        # Of a damaged database, the uses of some blobs may be among what is lost: all stay as long as it is kept.
        if not kept_copies(self.store.path):
            self._background.start(self._collector.remove_orphans())
        self._background.start(self.notices.watch())

    async def _resume(self, unfinished: Iterable[DispatchSummary]) -> None:
        """Resume dispatches that have not ended; of another account's nothing runs before they are trusted."""
        begun: list[RunningDispatch] = []
        for summary in unfinished:
            if summary.held:
                self.held.add(summary.id)
            if not await self.registry.trust.is_own(summary.id):
                _log.warning("dispatch %s (%s) waits until it is trusted: `covalab trust`", summary.id, summary.name)
                self.registry.trust.waiting.add(summary.id)
                continue
            if summary.held:
                if summary.starts_at is not None:
                    self.schedules.wait_for(summary)
                continue
            try:
                run = await self.store.read(partial(load_running, summary=summary, blobs=self.blobs))
            except DataFolderError:
                raise
            except Exception as error:  # noqa: BLE001 - logged, and reported as the dispatch's error
                # One that cannot be read must not keep all others from running.
                _log.exception("cannot resume dispatch %s (%s)", summary.id, summary.name)
                why = f"it could not be resumed: {type(error).__name__}: {error}; see `covalab logs`, then run it again"
                await self.schedules.fail(summary.id, why)
                continue
            self._loop.begin(run)
            begun.append(run)
            crash_point("recovery.dispatch")
            _log.info("resumed dispatch %s (%s)", summary.id, summary.name)
        # Only now: parents and children are resumed in any order.
        for run in begun:
            if self._children.is_orphan(run):
                self.cancellation.cancel_nodes(run, None)
            await self._children.reconnect(run)

    async def trust(self, dispatch: DispatchId | None) -> int:
        """Trust a dispatch with all that belong together with it, or all (None). Returns how many were not before.

        Those that had not ended go on.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        found = set(await self.registry.trust.trust(dispatch))
        unfinished = await self.store.read(dispatch_rows.select_unfinished)
        await self._resume(it for it in unfinished if it.id in found and it.id not in self.runs)
        await self.triggers.recover(found)
        self.registry.wake()
        return len(found)

    async def stop(self) -> None:
        """End the pools and commit what is queued."""
        await self.previews.stop()
        await self.triggers.stop()
        await self._pools.stop()
        await self._loop.stop()
        await self._background.stop()
        if not self.taken_over:
            await self._loop.commit()
