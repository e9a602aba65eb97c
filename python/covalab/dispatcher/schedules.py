"""What waits for its time, and what runs again and again: which dispatch is started when, and what follows it.

A dispatch that waits is one that is held and has a time. The rules are those of `core.schedule`; the row of a run that
comes next is written in the transaction of what it follows from, here or in `Service`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import apsw
import msgspec

from covalab.core import schedule as rules
from covalab.core.errors import DataFolderError, MissingLatticeRecordError
from covalab.core.model import DispatchId, DispatchSummary, Submission
from covalab.dispatcher.recovery import load_running, next_run, recorded_submission
from covalab.dispatcher.running import RunningDispatch, summary_of
from covalab.store import dispatch_rows

if TYPE_CHECKING:
    from covalab.dispatcher.service import Service

_log = logging.getLogger("covalab.dispatcher")
_RETRY_SECONDS: Final = 1.0


class Schedules:
    """Everything of a dispatcher that waits for its time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: dict[DispatchId, DispatchSummary] = {}
        self._starting: set[DispatchId] = set()

    @property
    def n_waiting(self) -> int:
        """How many dispatches wait for their time."""
        return len(self._waiting)

    def is_waiting(self, dispatch: DispatchId) -> bool:
        """Whether a dispatch waits for its time, and not for somebody to start it."""
        return dispatch in self._waiting

    def wait_for(self, summary: DispatchSummary) -> None:
        """Let a dispatch that is recorded and held wait for its time."""
        assert summary.starts_at is not None
        self._waiting[summary.id] = summary
        self._service.held.add(summary.id)
        self._service.wake_at(summary.starts_at, summary.id)

    def forget(self, dispatch: DispatchId) -> None:
        """A dispatch waits no longer: it was started, cancelled or deleted."""
        self._waiting.pop(dispatch, None)

    def due(self, dispatch: DispatchId) -> None:
        """Start a dispatch whose time has come, unless it waits no longer."""
        if dispatch in self._waiting and dispatch not in self._starting:
            self._starting.add(dispatch)
            self._service.in_background(self._start(dispatch))

    async def _start(self, dispatch: DispatchId) -> None:
        service = self._service
        try:
            await service.start(dispatch)
        except MissingLatticeRecordError:
            self.forget(dispatch)  # deleted meanwhile
        except DataFolderError as error:
            _log.error("%s; starting dispatch %s again in %g s", error, dispatch, _RETRY_SECONDS)
            service.wake_at(service.now() + _RETRY_SECONDS, dispatch)
        except Exception as error:  # noqa: BLE001 - logged, and told as the dispatch's error
            await self._give_up(dispatch, error)
        finally:
            self._starting.discard(dispatch)

    async def _give_up(self, dispatch: DispatchId, error: Exception) -> None:
        """One that cannot be read must not keep all others from running."""
        service = self._service
        _log.exception("cannot start dispatch %s", dispatch)
        why = f"it could not be started: {type(error).__name__}: {error}; see `covalab logs`, then dispatch it again"
        with suppress(DataFolderError):  # then it is tried again at the next start
            await self.fail(dispatch, why)
        self.forget(dispatch)
        service.held.discard(dispatch)
        service.feed.tell((await service.recorded(dispatch))[1])

    async def fail(self, dispatch: DispatchId, why: str) -> None:
        """End a dispatch that cannot be taken up; the next run of its series comes all the same, if it can be read."""
        now = self._service.now()

        def job(connection: apsw.Connection) -> DispatchSummary | None:
            dispatch_rows.fail_dispatch(connection, dispatch, time.time(), why)
            try:
                submission = recorded_submission(connection, dispatch)
            except msgspec.MsgspecError:
                return None
            if submission is None or submission.schedule is None:
                return None
            return _record_waiting(connection, next_run(submission, now + submission.schedule.interval))

        following = await self._service.write(job)
        if following is not None:
            self.wait_for(following)

    # -- what comes next -----------------------------------------------------------------------------------------

    def after_end(self, run: RunningDispatch, summary: DispatchSummary) -> Iterator[Submission]:
        """Yield the run that follows from the end of another, to be recorded together with that."""
        cancelled = run.closing == "cancelled"
        at = rules.after_end(run.submission.schedule, self._service.now(), summary.status, cancelled=cancelled)
        if at is not None:
            yield next_run(run.submission, at)

    def record_after_start(self, connection: apsw.Connection, submission: Submission) -> DispatchSummary | None:
        """Record the run that follows from the start of a dispatch, in the transaction of that; None if none does."""
        at = rules.after_start(submission.schedule, self._service.now())
        return None if at is None else _record_waiting(connection, next_run(submission, at))

    # -- the end of a series -------------------------------------------------------------------------------------

    async def end(self, dispatch: DispatchId) -> None:
        """Let nothing come after a run of a series, and not begin what waits for its time.

        What runs is cancelled by whoever asks, except the run that goes on while `dispatch` itself has ended.
        """
        service = self._service
        run = service.runs.get(dispatch)
        summary = run.created if run is not None else (await service.recorded(dispatch))[1]
        series = summary.schedule_id
        async with service.starting:
            # Nothing is between waiting and running now.
            wanted = [one for one, it in self._waiting.items() if series is not None and it.schedule_id == series]
            if dispatch in service.held and dispatch not in wanted and (series or self.is_waiting(dispatch)):
                wanted.append(dispatch)
            for one in wanted:
                await self._cancel_held(one)
        if series is None or dispatch in service.runs or dispatch in wanted:
            return
        for other in list(service.runs.values()):
            schedule = other.submission.schedule
            if schedule is not None and schedule.id == series and not schedule.allow_overlap:
                service.cancel_nodes(other, None)

    async def _cancel_held(self, dispatch: DispatchId) -> None:
        service = self._service
        try:
            _, summary = await service.recorded(dispatch)
            run = await service.store.read(partial(load_running, summary=msgspec.structs.replace(summary, held=False)))
        except MissingLatticeRecordError:
            return
        if dispatch in service.held:
            service.held.discard(dispatch)
            self.forget(dispatch)
            service.runs[dispatch] = run
            service.cancel_nodes(run, None)  # it is written down as one that never began


def _record_waiting(connection: apsw.Connection, submission: Submission) -> DispatchSummary | None:
    """Record a dispatch that waits. Returns its summary, also if it was recorded before and waits; else None."""
    dispatch_rows.insert_dispatch(connection, submission, summary_of(submission, time.time()))
    found = dispatch_rows.select_dispatch(connection, submission.id)
    return found[1] if found is not None and found[1].held else None
