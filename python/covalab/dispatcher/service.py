"""What the dispatcher does: record, then tell, then go on.

One loop turns facts into progress: it applies what came in, commits it, tells whoever waits, and only then sends what
has become ready. Facts that arrive meanwhile wait for the next turn, and so share a commit.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import os
import random
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import apsw
import msgspec

from covalab._version import __version__
from covalab.blobs import BlobStore
from covalab.client import paths
from covalab.core import batching, retries, schedule
from covalab.core.errors import (
    CovalabError,
    DataFolderError,
    DispatcherError,
    GraphError,
    MissingLatticeRecordError,
    TakenOver,
)
from covalab.core.journal import Entry
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import (
    Attempt,
    DispatcherStatus,
    DispatchId,
    DispatchSummary,
    Environment,
    Failure,
    NodeState,
    Outcome,
    RedispatchRequest,
    Settings,
    Submission,
)
from covalab.core.placement import pool_key
from covalab.core.validation import validate_graph
from covalab.dispatcher import children, interactions
from covalab.dispatcher.blob_gc import BlobCollector
from covalab.dispatcher.cache import FinishedCache
from covalab.dispatcher.feed import Feed
from covalab.dispatcher.pool_events import PoolEvents
from covalab.dispatcher.pools import Pools
from covalab.dispatcher.recovery import count_recovery, load_running, recorded_submission, resubmission, reuse
from covalab.dispatcher.retention import Retention, ttl
from covalab.dispatcher.running import RunningDispatch, summary_of
from covalab.dispatcher.scheduler import Scheduler
from covalab.dispatcher.schedules import Schedules
from covalab.dispatcher.task_output import read_output
from covalab.dispatcher.trigger_hosts import Triggers
from covalab.store import Store, dispatch_rows
from covalab.store.journal_rows import insert_entries
from covalab.store.purging import delete_dispatch

_log = logging.getLogger("covalab.dispatcher")
_RETRY_SECONDS: Final = 1.0
_LONGEST_SLEEP: Final = 60.0
_T = TypeVar("_T")


class _Write(NamedTuple):
    """What has become of one dispatch since it was last recorded."""

    key: int
    summary: DispatchSummary
    states: list[NodeState]
    outcomes: list[Outcome]
    attempts: list[Attempt]
    births: list[tuple[Submission, DispatchSummary]]  # what nodes of it have become
    entries: list[tuple[int, Entry]]  # what happened beside its graph


class Service:
    """The one that decides. Everything here runs on one event loop.

    Parameters
    ----------
    folder
        The data folder.
    store
        Its database.
    clock
        Tells the time, in seconds since the epoch.
    """

    def __init__(self, folder: Path, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        # A heap: when which dispatch has something to run. Of those of one moment, who came first is first.
        self._alarms: list[tuple[float, int, DispatchId]] = []
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self.store = store
        self.blobs = BlobStore(paths.blob_folder(folder))
        self._spool = paths.spool_folder(folder)
        self.feed = Feed(int(time.time() * 1000))
        self.runs: dict[DispatchId, RunningDispatch] = {}
        self.held: set[DispatchId] = set()
        """Dispatches that are recorded and wait for `start`."""
        self.starting = asyncio.Lock()
        """Held by whoever makes one that is held one that runs."""
        self.finished = FinishedCache()
        self.attached = 0
        self.over = asyncio.Event()
        """Set when this process must end."""
        self.last_asked = time.monotonic()
        self._arrivals = PoolEvents(self, self._spool)
        self._pools = Pools(paths.socket_folder(folder), folder / "logs", self._arrivals)
        self.triggers = Triggers(self)
        self.schedules = Schedules(self)
        self._frontier = Scheduler(self._pools, self.blobs.folder, self._spool, paths.packages_folder(folder))
        self._changed: set[DispatchId] = set()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._started_at = time.time()
        self.over_taken = False
        self._background: set[asyncio.Task[None]] = set()
        self._tidying = BlobCollector(store, self.blobs, self.in_background)
        self.retention = Retention(self, self._tidying, ttl())
        self._loop = asyncio.create_task(self._turn())

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
        if schedule.is_waiting(submission.starts_at, self.now()):
            submission = msgspec.structs.replace(submission, hold=True)
        summary = summary_of(submission, time.time())
        if submission.reuse is not None:
            await self.settled()  # what has ended is on the disk, and can be reused

        job = partial(self._insert, submission=submission, summary=summary, encoded=encoded, also=also)
        key, its_id, following = await self.write(job)
        if key is None:
            return await self.summary(its_id), False
        self.triggers.watch(summary.id, submission.triggers)
        if following is not None:
            self.schedules.wait_for(following)
        if submission.hold:
            self.held.add(summary.id)
            if submission.starts_at is not None:
                self.schedules.wait_for(summary)
            self.feed.tell(summary)
        elif submission.reuse is not None:
            self._begin(await self.store.read(partial(load_running, summary=summary)))
        else:
            self._begin(RunningDispatch(key, summary, submission))
        return summary, True

    def _insert(
        self,
        connection: apsw.Connection,
        submission: Submission,
        summary: DispatchSummary,
        encoded: bytes | None,
        also: Callable[[apsw.Connection], None] | None,
    ) -> tuple[int | None, DispatchId, DispatchSummary | None]:
        """Record a submission. Returns its key (None: it was there), its id, and the run that follows its start."""
        series = submission.schedule
        known = None if series is None else dispatch_rows.select_newest_run(connection, series.id)
        if known is not None:
            return None, known, None  # its first run may have been deleted: the series is there
        key, is_new = dispatch_rows.insert_dispatch(connection, submission, summary, encoded=encoded)
        if is_new and submission.reuse is not None:
            reuse(connection, key, submission, summary.created_at, str(self.folder))
        if also is not None:
            also(connection)
        following: DispatchSummary | None = None
        if is_new and not submission.hold:
            following = self.schedules.record_after_start(connection, submission)
        return key if is_new else None, submission.id, following

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
        return await self.submit(resubmission(recorded, new_id, reuse=again.reuse, strict=again.strict))

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
        async with self.starting:
            if dispatch in self.held:

                def job(connection: apsw.Connection) -> DispatchSummary | None:
                    dispatch_rows.release(connection, dispatch)
                    if also is not None:
                        also(connection)
                    submission = recorded_submission(connection, dispatch)
                    return None if submission is None else self.schedules.record_after_start(connection, submission)

                following = await self.write(job)
                if following is not None:
                    self.schedules.wait_for(following)
                _, summary = await self.recorded(dispatch)
                self._begin(await self.store.read(partial(load_running, summary=summary)))
                self.held.discard(dispatch)
                self.schedules.forget(dispatch)
        return await self.summary(dispatch)

    def warm(self, environment: Environment) -> None:
        """Start the workers of an environment before they are needed."""
        self._pools.of(pool_key(environment, Settings()), environment)

    async def summary(self, dispatch: DispatchId) -> DispatchSummary:
        """Return where a dispatch stands.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        await self.settled()
        run = self.runs.get(dispatch)
        if run is not None:
            return run.committed_summary()
        return (await self.recorded(dispatch))[1]

    async def recorded(self, dispatch: DispatchId) -> tuple[int, DispatchSummary]:
        """Return the key and the recorded summary of a dispatch; raises `MissingLatticeRecordError`."""
        found = await self.store.read(lambda connection: dispatch_rows.select_dispatch(connection, dispatch))
        if found is None:
            raise MissingLatticeRecordError(dispatch, str(self.folder))
        return found

    async def ended(self, dispatch: DispatchId, timeout: float | None) -> None:
        """Wait until a dispatch has ended, at most `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while dispatch in self.runs or dispatch in self.held:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            await self.feed.wait(dispatch, left)

    async def cancel(self, dispatch: DispatchId, nodes: list[int] | None) -> DispatchSummary:
        """Cancel a dispatch or some of its nodes; what has ended stays as it is. Of a series nothing more comes.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        GraphError
            If it waits for its time, and only some of its nodes are to be cancelled.
        """
        await self.settled()
        if nodes is None:
            await self.schedules.end(dispatch)
        elif self.schedules.is_waiting(dispatch):
            message = (
                f"dispatch {dispatch!r} has not started; it can only be cancelled as a whole: ct.cancel({dispatch!r})"
            )
            raise GraphError(message)
        run = self.runs.get(dispatch)
        if run is None:
            return (await self.recorded(dispatch))[1]
        self.cancel_nodes(run, nodes)
        await self.feed.wait(dispatch, _RETRY_SECONDS)
        return await self.summary(dispatch)

    def cancel_nodes(self, run: RunningDispatch, nodes: list[int] | None) -> None:
        """Cancel a dispatch or some of its nodes, and what those have become."""
        self._apply(run)  # what has ended stays as it ended, also when it came in a moment ago
        now = time.time()
        batches = [batch for pool in self._pools for batch in pool.batches.values() if batch.dispatch == run.id]
        cancelled = run.progress.cancel(now, nodes)
        for node in cancelled:
            batch = next((batch for batch in batches if node in batch.open), None)
            stdout, stderr = read_output(self._spool, batch, node)
            failure = Failure("cancelled", "cancelled by request")
            started = run.progress.started_at[node]
            run.outcomes.append(Outcome(node, "cancelled", started or now, now, None, failure, stdout, stderr))
        for pool in self._pools:
            for batch in list(pool.batches.values()):
                if batch.dispatch == run.id and any(run.progress.status[node] in TERMINAL for node in batch.open):
                    self._arrivals.dropped.add(batch.id)
                    pool.cancel_batch(batch.id, [node for node in batch.open if run.progress.status[node] in TERMINAL])
        interactions.withdraw(run, cancelled, now)
        if nodes is None:
            run.closing = run.closing or "cancelled"
        self.note(run)
        for node in cancelled:
            child = self.runs.get(run.children[node]) if node in run.children else None
            if child is not None:
                self.cancel_nodes(child, None)

    def pause(self, run: RunningDispatch, *, wanted: bool) -> None:
        """Let a dispatch, with all below it, send nothing new, or go on."""
        if run.paused != wanted:
            interactions.note(run, Entry("pause" if wanted else "resume", time.time()))
            self._frontier.forget(run)
            self._frontier.note(run)
            self.note(run)
        for child in run.children.values():
            if child in self.runs:
                self.pause(self.runs[child], wanted=wanted)

    async def delete(self, dispatch: DispatchId) -> str:
        """Forget a dispatch that has ended, with all below it. Returns why that cannot be done, else an empty text."""
        running = f"dispatch {dispatch!r} is still running; cancel it first"
        if any(dispatch in (run.id, run.created.root) for run in self.runs.values()):
            return running
        _, summary = await self.recorded(dispatch)
        if summary.root is not None:
            return f"dispatch {dispatch!r} is part of dispatch {summary.root!r}; delete that one, and both are gone"
        if dispatch not in self.held and self.triggers.is_watching(dispatch):
            return f"triggers still run dispatch {dispatch!r} again; stop them first: ct.stop_triggers({dispatch!r})"
        watching = [state.id for state in await self.triggers.states(dispatch)]
        forgotten = await self.write(lambda connection: delete_dispatch(connection, dispatch))
        if forgotten is None:
            return running
        self.held.discard(dispatch)
        self.schedules.forget(dispatch)
        self.triggers.forget(watching)
        self.forget(forgotten.ids)
        await self._tidying.remove(forgotten.unused)
        return ""

    def forget(self, dispatches: Iterable[DispatchId]) -> None:
        """Keep nothing at hand of dispatches that were deleted."""
        for dispatch in dispatches:
            self.feed.forget(dispatch)
            self.finished.forget(dispatch)

    async def write(self, job: Callable[[apsw.Connection], _T]) -> _T:
        """Run a job in the next transaction; when another dispatcher has taken over, this one ends."""
        try:
            return await self.store.write(job)
        except TakenOver:
            self.over_taken = True
            self.over.set()
            raise

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def status(self) -> DispatcherStatus:
        """Say how this dispatcher is."""
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
        for pool in self._pools:
            for batch in pool.batches.values():
                if batch.dispatch == dispatch and node in batch.open:
                    return read_output(self._spool, batch, node)
        return "", ""

    async def settled(self) -> None:
        """Wait until what has been applied is on the disk, so that nobody is told what a crash could take back."""
        with suppress(asyncio.TimeoutError):  # a full disk: then readers get what there is
            await asyncio.wait_for(self._settled.wait(), 2 * _RETRY_SECONDS)

    # -- life ----------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up every dispatch that had not ended when the last dispatcher did."""
        self._frontier.durations.load(await self.store.read(dispatch_rows.select_durations))
        await self.write(count_recovery)
        for summary in await self.store.read(dispatch_rows.select_unfinished):
            if summary.held:
                self.held.add(summary.id)
                if summary.starts_at is not None:
                    self.schedules.wait_for(summary)
                continue
            try:
                run = await self.store.read(partial(load_running, summary=summary))
            except DataFolderError:
                raise
            except Exception as error:  # noqa: BLE001 - logged, and told as the dispatch's error
                # One that cannot be read must not keep all others from running.
                _log.exception("cannot resume dispatch %s (%s)", summary.id, summary.name)
                why = f"it could not be resumed: {type(error).__name__}: {error}; see `covalab logs`, then run it again"
                await self.schedules.fail(summary.id, why)
                continue
            self._begin(run)
            _log.info("resumed dispatch %s (%s)", summary.id, summary.name)
        for run in list(self.runs.values()):
            await self._tie(run)
        await self.triggers.recover()
        self.retention.begin()
        self._wake.set()
        self.in_background(self._tidying.remove_orphans())

    async def _tie(self, run: RunningDispatch) -> None:
        """Tie a dispatch that was taken up again to its parent and its children, whatever of them has ended."""
        if self._is_orphan(run):
            self.cancel_nodes(run, None)
        for node, child in run.children.items():
            if child not in self.runs and run.progress.status[node] not in TERMINAL:
                key, summary = await self.recorded(child)
                self.in_background(self._hand_up(key, summary))

    def _is_orphan(self, run: RunningDispatch) -> bool:
        """Whether a dispatch stands for a node that has ended without it."""
        if run.created.parent is None:
            return False
        parent = self.runs.get(run.created.parent)
        return parent is None or parent.progress.status[run.created.parent_node] in TERMINAL

    async def _hand_up(self, key: int, child: DispatchSummary) -> None:
        """A dispatch that stands for a node of another has ended, and with it the node."""
        parent = self.runs.get(child.parent) if child.parent is not None else None
        if parent is None or parent.children.get(child.parent_node) != child.id:
            return
        built = parent.built[child.parent_node]
        while True:
            try:
                end = await self.store.read(partial(children.select_end, key=key, summary=child))
                break
            except DataFolderError as error:
                _log.error("%s; trying again in %g s", error, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - a node that waits for ever would be worse
                _log.exception("cannot read how dispatch %s ended", child.id)
                trouble = DispatcherError(f"the value of dispatch {child.id} cannot be read: {error}")
                parent.inbox.append(children.not_built(built, trouble))
                self.note(parent)
                return
        parent.inbox.append(children.outcome_of(built, end))
        self.note(parent)

    async def stop(self) -> None:
        """End the pools and commit what is queued."""
        await self.triggers.stop()
        await self._pools.stop()
        for task in (self._loop, *self._background):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if not self.over_taken:
            with suppress(asyncio.TimeoutError, DataFolderError):
                await asyncio.wait_for(self._settle(), 2 * _RETRY_SECONDS)

    def _begin(self, run: RunningDispatch) -> None:
        self.runs[run.id] = run
        for at in run.progress.delayed.values():
            self.wake_at(at, run.id)
        if not run.progress.version:
            run.progress.start(run.created.created_at)
        for place in run.places:
            self._pools.of(place, run.submission.environment)
        self.note(run)

    # -- the loop ------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._clock()

    def wake_at(self, at: float, dispatch: DispatchId) -> None:
        """See to a dispatch again at some time: it waits for that, or some of its nodes do."""
        heapq.heappush(self._alarms, (at, next(self._numbers), dispatch))
        self._wake.set()

    def wake(self) -> None:
        """Let the next turn come: there may be something to send."""
        self._wake.set()

    def note(self, run: RunningDispatch) -> None:
        """Take note of a dispatch that changed: the next turn writes it down."""
        self._changed.add(run.id)
        self._wake.set()

    async def _turn(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._settle()
                self._send_what_is_ready()
            except Exception:  # noqa: BLE001 - the loop must outlive any one dispatch's trouble
                _log.exception("a turn failed")
                await asyncio.sleep(_RETRY_SECONDS)

    def _send_what_is_ready(self) -> None:
        self._wake_the_delayed()
        for pool in self._pools:
            if pool.state == "failed":
                self._arrivals.on_pool_failed(pool)
        for run in self._frontier.fill():
            self.note(run)

    def _wake_the_delayed(self) -> None:
        """Make ready what was put off until now, and see to it that the next is not forgotten."""
        now = self.now()
        self.retention.look(now)
        while self._alarms and self._alarms[0][0] <= now:
            dispatch = heapq.heappop(self._alarms)[2]
            self.schedules.due(dispatch)
            run = self.runs.get(dispatch)
            if run is not None:
                run.progress.release_due(now)
                self._frontier.note(run)
                self.note(run)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        moments = [at for at, _, _ in self._alarms[:1]] + [at for at in (self.retention.next_at,) if at is not None]
        if moments:
            # Not for longer than a minute: the clock of the wall may be set meanwhile, or the machine have slept.
            left = min(max(0.0, min(moments) - now), _LONGEST_SLEEP)
            self._alarm = asyncio.get_running_loop().call_later(left, self._wake.set)

    async def _settle(self) -> None:
        """Apply what came in, commit it, then tell."""
        changed, self._changed = self._changed, set()
        runs = [run for dispatch in changed if (run := self.runs.get(dispatch)) is not None]
        if not runs:
            return
        self._settled.clear()
        try:
            writes: list[_Write] = []
            for run in runs:
                self._apply(run)
                self._frontier.note(run)
                writes += self._news_of(run)
            keys = await self._record(writes) if writes else {}
        finally:
            self._settled.set()
        for write in writes:
            del self.runs[write.summary.id].entries[: len(write.entries)]
        for run in runs:
            if run.told.status in TERMINAL:
                self.runs.pop(run.id, None)
                self._frontier.forget(run)
                if run.created.parent is not None:
                    self.in_background(self._hand_up(run.key, run.told))
            self.feed.tell(run.told)
        self._bring_up_born(writes, keys)

    def _bring_up_born(self, writes: list[_Write], keys: dict[DispatchId, int]) -> None:
        for write in writes:
            for submission, summary in write.births:
                key = keys.get(submission.id)
                if key is None:
                    self._not_recorded(submission)
                elif submission.schedule is not None:
                    self.schedules.wait_for(summary)
                    self.feed.tell(summary)
                else:
                    self._bring_up(submission, summary, key)

    def _news_of(self, run: RunningDispatch) -> Iterator[_Write]:
        """Yield what is to be recorded of a dispatch, if anything is; from now on that counts as told."""
        summary, progress = run.summary(), run.progress
        outcomes, run.outcomes = run.outcomes, []
        attempts, run.attempts = run.attempts, []
        states = [
            progress.node_state(node)
            for node in progress.changed
            if progress.working[node] and (progress.status[node] in TERMINAL or node in run.children)
        ]
        progress.changed.clear()
        births = [*run.births, *self.schedules.after_end(run, summary)]
        run.births = []
        entries = list(run.entries)
        if outcomes or states or attempts or entries or summary.status != run.told.status:
            born = [(submission, summary_of(submission, time.time())) for submission in births]
            yield _Write(run.key, summary, states, outcomes, attempts, born, entries)
        run.told = summary

    def _not_recorded(self, submission: Submission) -> None:
        """The dispatch of a node could not be written down, or another has its id: the node must not wait for it."""
        parent = self.runs.get(submission.parent) if submission.parent is not None else None
        if parent is not None:
            error = DispatcherError(f"dispatch {submission.id} could not be recorded; see `covalab logs`")
            parent.inbox.append(children.not_built(parent.built[submission.parent_node], error))
            self.note(parent)

    def _bring_up(self, submission: Submission, summary: DispatchSummary, key: int) -> None:
        """Start a dispatch that stands for a node, now that it is recorded."""
        run = RunningDispatch(key, summary, submission)
        root = self.runs.get(summary.root) if summary.root is not None else None
        if root is not None:
            root.inner += 1
            self.note(root)
        parent = self.runs.get(submission.parent) if submission.parent is not None else None
        if parent is not None and parent.paused:
            interactions.note(run, Entry("pause", time.time()))
        self._begin(run)
        if self._is_orphan(run):
            self.cancel_nodes(run, None)

    async def _record(self, writes: list[_Write]) -> dict[DispatchId, int]:
        """Write it down; returns the keys of the dispatches that are new."""
        durations = self._frontier.durations.take_changed()

        def job(connection: apsw.Connection) -> dict[DispatchId, int]:
            dispatch_rows.keep_durations(connection, durations)
            keys: dict[DispatchId, int] = {}
            for write in writes:
                dispatch_rows.update_dispatch(
                    connection, write.key, write.summary, write.states, write.outcomes, attempts=write.attempts
                )
                insert_entries(connection, write.key, write.entries)
                keys |= dispatch_rows.insert_dispatches(connection, write.births)
            return keys

        while True:
            try:
                return await self.write(job)
            except DataFolderError as error:
                # Nothing is lost: the outcomes wait here, and nothing new is started until they are on the disk.
                _log.error("%s; trying again in %g s", error, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)
            except TakenOver:
                raise
            except Exception:  # noqa: BLE001 - it is a bug, and must stay one dispatch's bug
                _log.exception("cannot record %s", ", ".join(write.summary.id for write in writes))
                if len(writes) == 1:
                    return {}
                # One dispatch's trouble must not keep the others' outcomes from the disk.
                keys: dict[DispatchId, int] = {}
                for write in writes:
                    keys |= await self._record([write])
                return keys

    def _apply(self, run: RunningDispatch) -> None:
        self._take_in(run)
        while run.progress.ready_interactions:
            interactions.arrive(run, time.time())
            self._take_in(run)
        if run.progress.is_terminal and run.ended_at is None and run.may_end:
            run.ended_at = max(time.time(), run.started_at or run.created.created_at)
            run.started_at = run.started_at or run.ended_at
            if run.journal is not None or run.closing:
                interactions.close(run, run.ended_at, run.closing or "auto_close")

    def _take_in(self, run: RunningDispatch) -> None:
        inbox, run.inbox = run.inbox, []
        progress = run.progress
        for received in inbox:
            outcome = received if received.submission is None else self._adopt(run, received)
            if outcome is None:
                continue
            node = outcome.node
            if outcome.status == "completed":
                self._frontier.learn(run, outcome)
            elif self._put_off(run, outcome):
                continue
            if progress.record_outcome(outcome):
                run.outcomes.append(outcome)
                if outcome.status == "failed":
                    run.failed.append(node)

    def _adopt(self, run: RunningDispatch, outcome: Outcome) -> Outcome | None:
        """A worker built a sublattice: its node becomes a dispatch of its own, or, if that cannot run, ends here."""
        assert outcome.submission is not None
        node = outcome.node
        try:
            submission = children.child_submission(run, outcome, self.blobs)
        except CovalabError as error:
            return children.not_built(outcome, error)
        if outcome.submission.digest is not None:
            self.in_background(self._tidying.remove([outcome.submission.digest]))
        if run.progress.mark_running(node, outcome.started_at):
            built = run.built[node] = msgspec.structs.replace(outcome, submission=None)
            run.outcomes.append(built)
            run.children[node] = submission.id
            run.births.append(submission)
        return None

    def _put_off(self, run: RunningDispatch, outcome: Outcome) -> bool:
        """Let a node that failed wait for its next run, if it may have one."""
        node, failure = outcome.node, outcome.failure
        if failure is None or run.progress.status[node] in TERMINAL:
            return False
        settings = batching.settings_of(run.graph, node)
        n_failed = run.failures[node] = run.failures.get(node, 0) + 1
        if not retries.may_retry(settings, failure, n_failed):
            return False
        next_at = self._clock() + retries.delay_before(settings.retry, n_failed, random.random())  # noqa: S311 - no secret
        run.attempts.append(Attempt(run.progress.attempt[node], outcome, next_at))
        run.progress.schedule_retry(node, next_at)
        run.children.pop(node, None)
        self.wake_at(next_at, run.id)
        return True
