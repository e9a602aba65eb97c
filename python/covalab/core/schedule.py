"""Rules of schedules: the time and the id of the next run of a series, and its end. Pure: the time is an argument.

A run that comes next is recorded together with what it follows from: the end of the run before it, or, where runs may
overlap, its start. So no crash loses one, and since its id follows from the series and its number, none is made twice.
Times follow from what happened, also those of a timetable: runs that nobody was there to start collapse to one.
"""

from __future__ import annotations

import math
import uuid
from typing import Final

from covalab.core.cron import next_time
from covalab.core.errors import GraphError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchId, Schedule, Status, Submission

LONGEST_INTERVAL: Final = 100 * 366 * 86_400.0
"""A hundred years: a longer one is a mistake in the unit."""

LAST_MOMENT: Final = 253_402_300_799.0
"""The last second of the year 9999: later ones have no date."""


def run_id(series: DispatchId, number: int) -> DispatchId:
    """Return the id of a run of a series, from 1 on. The first has the id of the series.

    Examples
    --------
    >>> run_id("a", 1)
    'a'
    >>> run_id("a", 2) == run_id("a", 2), run_id("a", 2) == run_id("a", 3)
    (True, False)
    """
    if number == 1:
        return series
    return DispatchId(str(uuid.uuid5(uuid.NAMESPACE_URL, f"covalab:{series}:run:{number}")))


def next_start(schedule: Schedule, at: float) -> float:
    """Return when the next run begins that follows from a moment.

    Examples
    --------
    >>> next_start(Schedule("a", 60.0), 1000.0), next_start(Schedule("a", 3600.0, cron="0 * * * *", zone="UTC"), 1000.0)
    (1060.0, 3600.0)
    """
    return next_time(schedule.cron, schedule.zone, at) if schedule.cron else at + schedule.interval


def after_start(schedule: Schedule | None, at: float) -> float | None:
    """Return when the run after one that starts now begins, if that follows from its start: runs may overlap.

    Examples
    --------
    >>> after_start(Schedule("a", 60.0, allow_overlap=True), 1000.0), after_start(Schedule("a", 60.0), 1000.0)
    (1060.0, None)
    """
    return next_start(schedule, at) if schedule is not None and schedule.allow_overlap else None


def after_end(schedule: Schedule | None, at: float, status: Status, *, cancelled: bool = False) -> float | None:
    """Return when the run after one that ends now begins, if that follows from its end. A failure changes nothing.

    `cancelled`: it was asked to be cancelled, although it may have completed before that was done.

    Examples
    --------
    >>> after_end(Schedule("a", 60.0), 1000.0, "completed"), after_end(Schedule("a", 60.0), 1000.0, "failed")
    (1060.0, 1060.0)
    >>> after_end(Schedule("a", 60.0), 1000.0, "cancelled")
    >>> after_end(Schedule("a", 60.0, allow_overlap=True), 1000.0, "completed")
    """
    if schedule is None or schedule.allow_overlap or cancelled or status == "cancelled" or status not in TERMINAL:
        return None
    return next_start(schedule, at)


def is_waiting(starts_at: float | None, now: float) -> bool:
    """Whether a dispatch waits for its time; a time in the past is now.

    Examples
    --------
    >>> is_waiting(None, 10.0), is_waiting(9.0, 10.0), is_waiting(10.0, 10.0), is_waiting(11.0, 10.0)
    (False, False, False, True)
    """
    return starts_at is not None and starts_at > now


def checked_interval(where: str, seconds: float) -> float:
    """Return the seconds between two runs, if a series can have them.

    Raises
    ------
    GraphError
        If it is not above zero, no number, or longer than a hundred years.
    """
    if not 0 < seconds <= LONGEST_INTERVAL:
        message = f"{where}: interval must be above 0 and at most 100 years, not {seconds:g} s"
        raise GraphError(message)
    return float(seconds)


def checked_moment(where: str, seconds: float) -> float:
    """Return seconds since the epoch, if there is a date for them.

    Raises
    ------
    GraphError
        If they are no number, or later than the year 9999.
    """
    if math.isnan(seconds) or seconds > LAST_MOMENT:
        message = f"{where}: eta must be a moment up to the year 9999, not {seconds:g} s after 1970"
        raise GraphError(message)
    return max(0.0, float(seconds))


def check(submission: Submission) -> None:
    """Refuse what cannot be meant: two ways to be started at once, or a series that does not begin with its first run.

    Raises
    ------
    GraphError
        If it is so.
    """
    schedule, name = submission.schedule, submission.graph.name
    if schedule is not None and (schedule.id, schedule.number) != (submission.id, 1):
        message = f"dispatch {submission.id} of {name!r} must be the first run of its own series"
        raise GraphError(message)
    if submission.triggers and (schedule is not None or submission.starts_at is not None):
        message = f"{name!r} has triggers, which start it and run it again; leave out eta and interval, or the triggers"
        raise GraphError(message)
    if submission.hold and submission.starts_at is not None:
        message = f"{name!r} cannot both wait for its eta and not be started (disable_run); leave one out"
        raise GraphError(message)
