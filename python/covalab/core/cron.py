"""Times of a timetable in cron's notation, in a named time zone."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Final

from cronsim import CronSim, CronSimError

from covalab.core.errors import GraphError

_NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def checked_cron(where: str, text: str, zone: str) -> str:
    """Return a timetable in its usual form, if it has a next time.

    Raises
    ------
    GraphError
        If it is none, has no time in the next 50 years, or the time zone is not known.

    Examples
    --------
    >>> checked_cron("run", "@daily", "UTC"), checked_cron("run", "0  6 * * mon-fri", "Europe/Berlin")
    ('0 0 * * *', '0 6 * * MON-FRI')
    """
    usual = _NICKNAMES.get(text.strip().lower(), " ".join(text.split())).upper()
    known = zone_of(where, zone)
    fields = len(usual.split())
    if fields != 5:
        message = (
            f"{where}: the timetable {text!r} has {fields} fields, not 5: minute, hour, day of the month, month, day "
            "of the week, such as '0 6 * * 1-5'"
        )
        raise GraphError(message)
    try:
        next(CronSim(usual, dt.datetime(2000, 1, 1, tzinfo=known)))
    except CronSimError as error:
        message = (
            f"{where}: the timetable {text!r} is not one that cron knows: {error}; '0 6 * * 1-5' is six on weekdays"
        )
        raise GraphError(message) from error
    except StopIteration:
        message = f"{where}: the timetable {text!r} has no time in the next 50 years"
        raise GraphError(message) from None
    return usual


def zone_of(where: str, zone: str) -> zoneinfo.ZoneInfo:
    """Return a time zone by its name.

    Raises
    ------
    GraphError
        If there is none.
    """
    try:
        return zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{where}: there is no time zone {zone!r} here; names are like Europe/Berlin, America/New_York, UTC"
        raise GraphError(message) from error


def next_time(cron: str, zone: str, after: float) -> float:
    """Return the first moment of a timetable after another, in seconds since the epoch.

    Examples
    --------
    >>> moment = next_time("0 6 * * 1-5", "Europe/Berlin", 1767398400.0)
    >>> dt.datetime.fromtimestamp(moment, zoneinfo.ZoneInfo("Europe/Berlin")).isoformat()
    '2026-01-05T06:00:00+01:00'
    """
    return next(CronSim(cron, dt.datetime.fromtimestamp(after, zoneinfo.ZoneInfo(zone)))).timestamp()
