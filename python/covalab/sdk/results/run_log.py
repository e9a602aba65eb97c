"""Log of a dispatch as text: read page by page, followed while it runs."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from covalab.core.errors import GraphError
from covalab.core.run_log import KINDS, MOST_LINES, LogLine, LogQuery, place_text

if TYPE_CHECKING:
    from covalab.client import Client

_POLL_SECONDS: Final = 0.5
_LATE_SECONDS: Final = 30.0
"""What is reported late has an earlier time than what was read: so much is read again."""


def checked_kinds(kinds: str | Iterable[str] | None) -> str:
    """Return kinds of lines as a query has them.

    Raises
    ------
    GraphError
        If there is no such kind.
    """
    wanted = [] if kinds is None else [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in wanted:
        if kind not in KINDS:
            message = f"a log has lines of the kinds {', '.join(KINDS)}, not {kind!r}"
            raise GraphError(message)
    return ",".join(wanted)


def log_lines(client: Client, dispatch: str, kinds: str = "", text: str = "") -> Iterator[LogLine]:
    """Yield the lines of a log that match, as far as it has come."""
    after = "start"
    while True:
        page = client.log(dispatch, LogQuery(after=after, count=MOST_LINES, kinds=kinds, text=text))
        yield from page.lines
        if not page.more:
            return
        after = page.reached


def last_lines(client: Client, dispatch: str, count: int, kinds: str = "", text: str = "") -> list[LogLine]:
    """Return the last lines of a log that match."""
    found: list[LogLine] = []
    before = ""
    while len(found) < count:
        wanted = min(count - len(found), MOST_LINES)
        page = client.log(dispatch, LogQuery(before=before, count=wanted, kinds=kinds, text=text))
        found[:0] = page.lines
        if not page.more:
            break
        before = page.reached
    return found


def followed_lines(
    client: Client, dispatch: str, kinds: str = "", text: str = "", shown: Sequence[LogLine] = ()
) -> Iterator[LogLine]:
    """Yield the lines of a log that match and come after those that were shown, until the dispatch has ended."""
    seen = {(line.node, line.attempt, line.number): line.at for line in shown}
    newest = max(seen.values(), default=0.0)
    oldest = min(seen.values(), default=0.0)
    while True:
        has_ended = True
        # Of what was not shown on purpose, nothing.
        after = place_text((max(oldest, newest - _LATE_SECONDS), -1, 0, 0))
        while True:
            page = client.log(dispatch, LogQuery(after=after, count=MOST_LINES, kinds=kinds, text=text))
            has_ended = has_ended and page.has_ended
            for line in page.lines:
                key = (line.node, line.attempt, line.number)
                if key not in seen:
                    seen[key] = line.at
                    newest = max(newest, line.at)
                    yield line
            if not page.more:
                break
            after = page.reached
        if has_ended:
            return
        seen = {key: at for key, at in seen.items() if at >= newest - 2 * _LATE_SECONDS}
        time.sleep(_POLL_SECONDS)


def line_text(line: LogLine) -> str:
    """Return a line as a terminal or a file has it: its local time, the name of its node, and its text."""
    at = dt.datetime.fromtimestamp(line.at, dt.timezone.utc).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}  {line.name}  {line.text}"
