"""Words and numbers as people read them, for the pictures and texts of this package. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Final

from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Counts, DispatchSummary, Node, NodeKind, NodeState, Status

STATUSES: Final[tuple[Status, ...]] = ("completed", "running", "failed", "cancelled", "skipped", "pending")
"""In the order in which bars and sentences show them."""


def status_word(status: Status) -> str:
    """Return the word for a status."""
    return status.capitalize()


def waiting_word(state: NodeState) -> str:
    """Return what a node waits for that is put off until a time; a picture does not say how long, it would be old.

    Examples
    --------
    >>> waiting_word(NodeState(3, "pending", attempt=1, next_at=100.0))
    'Waits to run again'
    >>> waiting_word(NodeState(3, "pending", next_at=100.0))
    'Waits to start'
    """
    return "Waits to run again" if state.attempt > 0 else "Waits to start"


def summary_word(summary: DispatchSummary) -> str:
    """Return the word for where a dispatch stands."""
    if summary.held:
        return "Not started" if summary.starts_at is None else f"Starts at {moment_text(summary.starts_at)}"
    if summary.status in TERMINAL:
        return status_word(summary.status)
    # What waits for a person counts as running.
    is_waiting = 0 < summary.waiting >= summary.counts.running
    return "Paused" if summary.paused else "Waiting" if is_waiting else status_word(summary.status)


def pretty_name(node: Node) -> str:
    """Return a node's name without the marks that Covalent puts around it."""
    match node.kind:
        case NodeKind.PARAMETER:
            return node.name.removeprefix(":parameter:")
        case NodeKind.LIST | NodeKind.DICT | NodeKind.OUTPUT:
            return NodeKind(node.kind).name.lower()
        case NodeKind.PAUSE:
            return node.name.removeprefix(":pause_for:")
        case NodeKind.POINT:
            return node.name.removeprefix(":intervention_point:") or "intervention point"
        case _:
            return node.name.removeprefix(":").removeprefix("sublattice:") or node.name


def moment_text(seconds: float) -> str:
    """Return a moment as it is here, with the time zone: who looks at a picture may be elsewhere."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def duration_text(seconds: float) -> str:
    """Return a length of time in at most two units.

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
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    first = next(index for index, (size, _) in enumerate(units) if whole >= size)
    size, unit = units[first]
    text = f"{whole // size} {unit}"
    if first + 1 < len(units):
        small, small_unit = units[first + 1]
        more = whole % size // small
        text += f" {more} {small_unit}" if more else ""
    return text


def counts_text(counts: Counts) -> str:
    """Return how many of how many are done, and what the others do.

    Examples
    --------
    >>> counts_text(Counts(completed=3, running=1, pending=2))
    '3 of 6 done, 1 running, 2 pending'
    """
    total = sum(getattr(counts, status) for status in STATUSES)
    others = [f"{count} {status}" for status in STATUSES[1:] if (count := getattr(counts, status))]
    return ", ".join([f"{counts.completed} of {total} done", *others])
