"""Timestamps as records have them: ISO-8601 text with a Z, that also compares with datetimes."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Final

from covalab.core.errors import GraphError
from covalab.core.schedule import checked_interval, checked_moment

if TYPE_CHECKING:
    from typing_extensions import Self


_NO_EPOCH: Final = 1e8
"""Seconds since the epoch before 1973: nobody wants to start something then, but in so many seconds from now."""


class Timestamp(str):
    """Moment as text, e.g. ``2025-12-01T10:00:02Z``. It orders with other moments and with aware datetimes.

    Examples
    --------
    >>> moment = Timestamp.at(1764583202)
    >>> moment
    '2025-12-01T10:00:02Z'
    >>> moment > dt.datetime(2025, 12, 1, 10, tzinfo=dt.timezone.utc)
    True
    """

    __slots__ = ()

    @classmethod
    def at(cls, seconds: float) -> Self:
        """Return the moment so many seconds after the epoch."""
        at = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
        return cls(at.isoformat().replace("+00:00", "Z"))

    @property
    def datetime(self) -> dt.datetime:
        """The moment as a datetime in UTC, with its time zone."""
        return dt.datetime.fromisoformat(self.replace("Z", "+00:00"))

    def __eq__(self, other: object) -> bool:
        return self.datetime == other if isinstance(other, dt.datetime) else str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __lt__(self, other: object) -> bool:
        return self.datetime < _instant(other)

    def __le__(self, other: object) -> bool:
        return self.datetime <= _instant(other)

    def __gt__(self, other: object) -> bool:
        return self.datetime > _instant(other)

    def __ge__(self, other: object) -> bool:
        return self.datetime >= _instant(other)


def _instant(other: object) -> dt.datetime:
    if isinstance(other, dt.datetime):
        return other
    if isinstance(other, str):
        return Timestamp(other).datetime
    message = f"a moment compares with datetimes and ISO-8601 texts, not with {other!r}"
    raise TypeError(message)


def timestamp(seconds: float | None) -> Timestamp | None:
    """Return the moment so many seconds after the epoch; None stays None."""
    return None if seconds is None else Timestamp.at(seconds)


def seconds_of(where: str, at: object) -> float:
    """Return seconds since the epoch for a datetime (without a time zone: local time), a moment, or seconds.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if isinstance(at, dt.datetime):
        return at.timestamp()
    if isinstance(at, str):
        return Timestamp(at).datetime.timestamp()
    if isinstance(at, bool) or not isinstance(at, int | float):
        message = f"{where} takes a datetime, an ISO-8601 text or seconds since the epoch, not {at!r}"
        raise TypeError(message)
    return float(at)


def plain_seconds(span: object) -> float | None:
    """Return the seconds of a timedelta, or of a number of seconds; None if it is neither.

    Examples
    --------
    >>> plain_seconds(dt.timedelta(minutes=1)), plain_seconds(5), plain_seconds(True), plain_seconds("5")
    (60.0, 5.0, None, None)
    """
    seconds = span.total_seconds() if isinstance(span, dt.timedelta) else span
    return None if isinstance(seconds, bool) or not isinstance(seconds, int | float) else float(seconds)


def eta_of(where: str, eta: object) -> float:
    """Return seconds since the epoch for the time at which something is to start.

    A datetime (without a time zone: local time), an ISO-8601 text, seconds since the epoch, or a timedelta from now.

    Raises
    ------
    TypeError
        If it is none of these.
    GraphError
        If it is no moment, or seconds that can only be meant from now.
    """
    if isinstance(eta, dt.timedelta):
        return checked_moment(where, time.time() + eta.total_seconds())
    if isinstance(eta, int | float) and not isinstance(eta, bool) and 0 <= eta < _NO_EPOCH:
        message = (
            f"{where}: eta={eta!r} would be seconds since 1970; for a time from now give a timedelta: "
            f"eta=timedelta(seconds={eta!r}). An argument of the function's own that is named eta is given by position"
        )
        raise GraphError(message)
    try:
        seconds = seconds_of(f"{where}: eta", eta)
    except (ValueError, OverflowError, OSError) as error:
        message = f"{where}: eta={eta!r} is no moment: {error}; give a datetime, or a text like 2026-01-31T18:30:00Z"
        raise GraphError(message) from error
    return checked_moment(where, seconds)


def interval_of(where: str, interval: object) -> float:
    """Return the seconds between two runs, from a timedelta or a number of seconds.

    Raises
    ------
    TypeError
        If it is neither.
    GraphError
        If it is not above zero, or longer than a hundred years.
    """
    return checked_interval(where, _seconds_in(f"{where}: interval", interval))


def span_of(where: str, span: object) -> float:
    """Return the seconds of a timedelta, or of a number of seconds.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it is negative.
    """
    seconds = _seconds_in(where, span)
    if not seconds >= 0:
        message = f"{where} cannot be negative, as {span!r} is"
        raise ValueError(message)
    return seconds


def _seconds_in(where: str, span: object) -> float:
    seconds = plain_seconds(span)
    if seconds is None:
        message = f"{where} takes a timedelta or seconds, not {span!r}"
        raise TypeError(message)
    return seconds
