"""Durations as text: those of a configuration, and those that people read. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

_UNITS: Final[Mapping[str, float]] = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
}
DURATION_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""Seconds and name of each unit, the largest first."""
_SPAN: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_duration(span: str | float) -> float:
    """Return the seconds of a duration above zero: a number of seconds, or text with a unit.

    Raises
    ------
    ValueError
        If the span is no duration.

    Examples
    --------
    >>> parse_duration(90), parse_duration("1.5 min"), parse_duration("30 days"), parse_duration("2w")
    (90.0, 90.0, 2592000.0, 1209600.0)
    """
    seconds = math.nan
    if isinstance(span, str):
        found = _SPAN.fullmatch(span)
        unit = _NAMES.get(found[2].lower()) if found else None
        if found and unit is not None:
            seconds = float(found[1]) * _UNITS[unit]
    elif not isinstance(span, bool):
        seconds = float(span)
    if not 0 < seconds < math.inf:
        message = f"{span!r} is no length of time above zero; write seconds, or e.g. '12 h' or '30 days'"
        raise ValueError(message)
    return seconds


def duration_text(seconds: float) -> str:
    """Return a duration in at most two units.

    Examples
    --------
    >>> duration_text(0.34), duration_text(2.44), duration_text(200), duration_text(3900)
    ('340 ms', '2.4 s', '3 min 20 s', '1 h 5 min')
    """
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    first = next(index for index, (size, _) in enumerate(DURATION_UNITS) if whole >= size)
    size, unit = DURATION_UNITS[first]
    text = f"{whole // size} {unit}"
    if first + 1 < len(DURATION_UNITS):
        small, small_unit = DURATION_UNITS[first + 1]
        more = whole % size // small
        text += f" {more} {small_unit}" if more else ""
    return text
