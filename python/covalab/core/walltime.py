"""Wall times of batch jobs, as batch systems write them. Pure."""

from __future__ import annotations

import re
from typing import Final

from covalab.core.duration_text import parse_duration

_CLOCK: Final = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


def parse_walltime(text: str) -> float | None:
    """Return the seconds of a wall time; None if it is not understood, as ``UNLIMITED``.

    Examples
    --------
    >>> parse_walltime("01:30:00"), parse_walltime("2-12"), parse_walltime("90"), parse_walltime("05:30")
    (5400.0, 216000.0, 5400.0, 330.0)
    >>> parse_walltime("1 h"), parse_walltime("UNLIMITED"), parse_walltime("")
    (3600.0, None, None)
    """
    found = _CLOCK.fullmatch(text.strip())
    if found is not None:
        days, first, second, third = (None if part is None else int(part) for part in found.groups())
        if days is not None:  # days-hours:minutes:seconds
            seconds = ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
        elif third is not None:  # hours:minutes:seconds
            seconds = ((first or 0) * 60 + (second or 0)) * 60 + third
        else:  # minutes:seconds, or minutes
            seconds = (first or 0) * 60 + (second or 0)
        return float(seconds) or None
    try:
        return parse_duration(text)
    except ValueError:
        return None
