"""Output of the commands: console, tables, texts of statuses and durations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from covalab.core.lifecycle import covalent_text
from covalab.core.model import Counts, Status

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_COLOURS: Final[dict[Status, str]] = {
    "pending": "default",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "skipped": "bright_black",
}
_PIPE_WIDTH: Final = 200  # a pipe has no width of its own, and an id that is wrapped cannot be copied


def console() -> Console:
    """Return a console for standard output, wide enough for ids where that is not a terminal."""
    from rich.console import Console

    found = Console(highlight=False, emoji=False)
    return found if found.is_terminal else Console(highlight=False, emoji=False, width=_PIPE_WIDTH)


def plain_text(text: str, style: str = "default") -> Text:
    """Return text that is printed as it is: no markup, and no control characters that a terminal would obey."""
    from rich.text import Text

    return Text(
        "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text), style
    )


def table(*columns: str) -> Table:
    """Return an empty table with these column headers."""
    from rich import box
    from rich.table import Table

    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        found.add_column(column, overflow="fold", no_wrap=column == "id")
    return found


def fact_table() -> Table:
    """Return an empty table of two columns: the name of a fact, and the fact."""
    from rich.table import Table

    found = Table.grid(padding=(0, 2))
    found.add_column(style="bold")
    found.add_column(overflow="fold")
    return found


def status_text(status: Status) -> Text:
    """Return a status in Covalent's word and in its colour."""
    return plain_text(covalent_text(status), _COLOURS[status])


def progress_text(counts: Counts) -> str:
    """Return how many of how many nodes are done."""
    total = counts.pending + counts.running + counts.completed + counts.failed + counts.cancelled + counts.skipped
    return f"{counts.completed}/{total}"


def time_text(seconds: float | None) -> str:
    """Return a point in time in local time; nothing for None."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def elapsed(seconds: float) -> float:
    """Return how many seconds ago a point in time was."""
    return max(0.0, time.time() - seconds)  # a clock that was set back gives no negative duration


def run_time_text(started: float | None, ended: float | None) -> str:
    """Return how long something ran, or has run until now; nothing if it has not started."""
    if started is None:
        return ""
    return duration_text(ended - started if ended is not None else elapsed(started))


def duration_text(seconds: float) -> str:
    """Return a duration in at most two units.

    Examples
    --------
    >>> duration_text(0.25), duration_text(3.14), duration_text(61.4), duration_text(3 * 3600 + 120)
    ('250 ms', '3.1 s', '1 min 1 s', '3 h 2 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def echo_json(data: object) -> None:
    """Print data as indented JSON."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2))
