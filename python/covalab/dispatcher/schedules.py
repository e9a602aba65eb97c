"""Schedules: dispatches that wait for their time, and series that run again and again.

A dispatch that waits is one that is held and has a time. The rules are those of `core.schedule`; the row of a run that
comes next is written in the transaction of what it follows from (`series`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import apsw
import msgspec

from covalab.core.errors import DataFolderError, MissingLatticeRecordError
from covalab.core.model import DispatchId, DispatchSummary
from covalab.core.schedule import next_start
from covalab.dispatcher import series
from covalab.dispatcher.alarms import Alarms
from covalab.dispatcher.background import Background
from covalab.dispatcher.cancellation import Cancellation
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.commits import RETRY_SECONDS, Commits
from covalab.dispatcher.recovery import load_running, next_run, recorded_submission
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.running import RunningDispatch
from covalab.store import dispatch_rows

_log = logging.getLogger("covalab.dispatcher")


class Schedules:
    """The dispatches that wait for their time.

    Parameters
    ----------
    registry
        The dispatches.
    commits
        Records the rows of runs that follow.
    cancellation
        Cancels a run that waits, and the rest of its series.
    alarms, clock
        The alarms, and the clock.
    background
        Runs what no request waits for.
    start
        Starts a dispatch that is held.
    """

    def __init__(
        self,
        registry: Registry,
        commits: Commits,
        cancellation: Cancellation,
        *,
        alarms: Alarms,
        clock: Clock,
        background: Background,
        start: Callable[[DispatchId], Awaitable[object]],
    ) -> None:
        self._registry = registry
        self._alarms = alarms
        self._clock = clock
        self._commits = commits
        self._cancellation = cancellation
        self._background = background
        self._start_held = start
        self._waiting: dict[DispatchId, DispatchSummary] = {}
        self._starting: set[DispatchId] = set()

    @property
    def n_waiting(self) -> int:
        """How many dispatches wait for their time."""
        return len(self._waiting)

    def is_waiting(self, dispatch: DispatchId) -> bool:
        """Whether a dispatch waits for its time, and not for a request or a trigger to start it."""
        return dispatch in self._waiting

    def wait_for(self, summary: DispatchSummary) -> None:
        """Let a dispatch that is recorded and held wait for its time."""
        assert summary.starts_at is not None
        self._waiting[summary.id] = summary
        self._registry.held.add(summary.id)
        self._alarms.set_alarm(summary.starts_at, summary.id)

    def forget(self, dispatch: DispatchId) -> None:
        """A dispatch waits no longer: it was started, cancelled or deleted."""
        self._waiting.pop(dispatch, None)

    def on_due(self, dispatch: DispatchId) -> None:
        """Start a dispatch whose time has come, unless it waits no longer."""
        if dispatch in self._waiting and dispatch not in self._starting:
            self._starting.add(dispatch)
            self._background.start(self._start(dispatch))

    async def _start(self, dispatch: DispatchId) -> None:
        try:
            await self._start_held(dispatch)
        except MissingLatticeRecordError:
            self.forget(dispatch)  # deleted meanwhile
        except DataFolderError as error:
            _log.error("%s; starting dispatch %s again in %g s", error, dispatch, RETRY_SECONDS)
            self._alarms.set_alarm(self._clock.now() + RETRY_SECONDS, dispatch, is_delay=True)
        except Exception as error:  # noqa: BLE001 - logged, and reported as the dispatch's error
            await self._give_up(dispatch, error)
        finally:
            self._starting.discard(dispatch)

    async def _give_up(self, dispatch: DispatchId, error: Exception) -> None:
        """One that cannot be read must not keep all others from running."""
        _log.exception("cannot start dispatch %s", dispatch)
        why = f"it could not be started: {type(error).__name__}: {error}; see `covalab logs`, then dispatch it again"
        with suppress(DataFolderError):  # then it is tried again at the next start
            await self.fail(dispatch, why)
        self.forget(dispatch)
        self._registry.held.discard(dispatch)
        self._registry.feed.publish((await self._registry.recorded(dispatch))[1])

    async def fail(self, dispatch: DispatchId, why: str) -> None:
        """Fail a dispatch that cannot be resumed; the next run of its series comes all the same, if it can be read."""
        now = self._clock.now()

        def job(connection: apsw.Connection) -> DispatchSummary | None:
            dispatch_rows.fail_dispatch(connection, dispatch, now, why)
            try:
                submission = recorded_submission(connection, dispatch)
            except msgspec.MsgspecError:
                return None
            if submission is None or submission.schedule is None:
                return None
            return series.record_waiting(connection, next_run(submission, next_start(submission.schedule, now)), now)

        following = await self._commits.write(job)
        if following is not None:
            self.wait_for(following)

    # -- the end of a series -------------------------------------------------------------------------------------

    async def end(self, dispatch: DispatchId) -> list[RunningDispatch]:
        """Let nothing come after a run of a series, and not begin what waits for its time. Returns what it cancelled.

        A run that goes on is left to the caller to cancel, except where `dispatch` itself has ended.
        """
        run = self._registry.runs.get(dispatch)
        summary = run.created if run is not None else (await self._registry.recorded(dispatch))[1]
        series_id = summary.schedule_id
        async with self._registry.starting:
            # Nothing is between waiting and running now.
            wanted = [one for one, it in self._waiting.items() if series_id is not None and it.schedule_id == series_id]
            if dispatch in self._registry.held and dispatch not in wanted and (series_id or self.is_waiting(dispatch)):
                wanted.append(dispatch)
            cancelled = [run for one in wanted if (run := await self._cancel_held(one)) is not None]
        if series_id is None or dispatch in self._registry.runs or dispatch in wanted:
            return cancelled
        for other in list(self._registry.runs.values()):
            schedule = other.submission.schedule
            if schedule is not None and schedule.id == series_id and not schedule.allow_overlap:
                self._cancellation.cancel_nodes(other, None)
                cancelled.append(other)
        return cancelled

    async def _cancel_held(self, dispatch: DispatchId) -> RunningDispatch | None:
        try:
            _, summary = await self._registry.recorded(dispatch)
            run = await self._registry.store.read(
                partial(load_running, summary=msgspec.structs.replace(summary, held=False), blobs=self._registry.blobs)
            )
        except MissingLatticeRecordError:
            return None
        if dispatch not in self._registry.held:
            return None
        self._registry.held.discard(dispatch)
        self.forget(dispatch)
        self._registry.runs[dispatch] = run
        self._cancellation.cancel_nodes(run, None)  # it is recorded as one that never began
        return run
