"""Times on the command line: `--at` and `--every`."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final

import click

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?", re.IGNORECASE)
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def timing_options(at: str | None, every: str | None, zone: str | None) -> dict[str, Any]:
    """Return the arguments of `covalab.run_notebook` for `--at`, `--every` and `--time-zone`.

    Examples
    --------
    >>> timing_options(None, "90m", None), timing_options(None, "0 6 * * 1-5", "Europe/Berlin")
    ({'interval': 5400.0}, {'cron': '0 6 * * 1-5', 'time_zone': 'Europe/Berlin'})
    """
    found: dict[str, Any] = {}
    if at is not None:
        found["eta"] = _moment(at, dt.datetime.now().astimezone())
    span = None if every is None else _SPAN.fullmatch(every.strip())
    if span is not None:
        found["interval"] = float(span[1]) * _SECONDS[(span[2] or "s").lower()]
    elif every is not None:
        found["cron"] = every
    if zone is not None:
        found["time_zone"] = zone
    return found


def _moment(text: str, now: dt.datetime) -> dt.datetime:
    """Return the moment that a text names: a date with a time, or the next time of day."""
    try:
        found = dt.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        pass
    else:
        return found.astimezone()
    try:
        time = dt.time.fromisoformat(text.strip())
    except ValueError:
        message = f"--at {text}: write a date and a time, such as 2026-01-31T18:30, or a time of day, such as 18:30"
        raise click.UsageError(message) from None
    today = dt.datetime.combine(now.date(), time).astimezone()
    tomorrow = dt.datetime.combine(now.date() + dt.timedelta(days=1), time).astimezone()
    return today if today > now else tomorrow
