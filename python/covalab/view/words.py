"""Texts for statuses, names, times and counts in pictures and outputs. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Final

from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Counts, DispatchSummary, Node, NodeKind, NodeState, Status

STATUSES: Final[tuple[Status, ...]] = ("completed", "running", "failed", "cancelled", "skipped", "pending")
"""Statuses in the order of bars and sentences."""


def status_word(status: Status) -> str:
    """Return the word for a status."""
    return status.capitalize()


def waiting_word(state: NodeState) -> str:
    """Return the word for a node that is scheduled to start later; without the time, because a picture gets old.

    Examples
    --------
    >>> waiting_word(NodeState(3, "pending", attempt=1, next_at=100.0))
    'Waits to run again'
    >>> waiting_word(NodeState(3, "pending", next_at=100.0))
    'Waits to start'
    """
    return "Waits to run again" if state.attempt > 0 else "Waits to start"


def summary_word(summary: DispatchSummary) -> str:
    """Return the word for the state of a dispatch."""
    if summary.held:
        return "Not started" if summary.starts_at is None else f"Starts at {moment_text(summary.starts_at)}"
    if summary.status in TERMINAL:
        return status_word(summary.status)
    # A node that waits for an answer counts as running, so "waiting" means that no other one runs.
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
    """Return a local time with its time zone, because a picture may be seen in another one."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M %Z")


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
    """Return how many of how many are done, and the number for each other status.

    Examples
    --------
    >>> counts_text(Counts(completed=3, running=1, pending=2))
    '3 of 6 done, 1 running, 2 pending'
    """
    total = sum(getattr(counts, status) for status in STATUSES)
    others = [f"{count} {status}" for status in STATUSES[1:] if (count := getattr(counts, status))]
    return ", ".join([f"{counts.completed} of {total} done", *others])
