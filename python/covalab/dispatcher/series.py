"""Series: the rows of runs that follow from the start or the end of another, written in the same transaction."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from covalab.core import schedule as rules
from covalab.core.model import DispatchSummary, Submission
from covalab.dispatcher.recovery import next_run
from covalab.dispatcher.running import RunningDispatch, summary_of
from covalab.store import dispatch_rows


def after_end(run: RunningDispatch, summary: DispatchSummary, now: float) -> Iterator[Submission]:
    """Yield the run that follows from the end of another, to be recorded together with that."""
    cancelled = run.closing == "cancelled"
    at = rules.after_end(run.submission.schedule, now, summary.status, cancelled=cancelled)
    if at is not None:
        yield next_run(run.submission, at)


def record_after_start(connection: apsw.Connection, submission: Submission, now: float) -> DispatchSummary | None:
    """Record the run that follows from the start of a dispatch, in the transaction of that; None if none does."""
    at = rules.after_start(submission.schedule, now)
    return None if at is None else record_waiting(connection, next_run(submission, at), now)


def record_waiting(connection: apsw.Connection, submission: Submission, now: float) -> DispatchSummary | None:
    """Record a dispatch that waits. Returns its summary, also if it was recorded before and waits; else None."""
    dispatch_rows.insert_dispatch(connection, submission, summary_of(submission, now))
    found = dispatch_rows.select_dispatch(connection, submission.id)
    return found[1] if found is not None and found[1].held else None
