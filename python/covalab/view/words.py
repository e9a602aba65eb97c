"""Labels and formatted numbers for the pictures and texts of this package. Pure.

The page's tables (`labextension/src/words.ts`) are generated from the tables here; a test compares the two.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Counts, DispatchSummary, Node, NodeKind, NodeState, Status

STATUSES: Final[tuple[Status, ...]] = ("completed", "running", "failed", "cancelled", "skipped", "pending")
"""Statuses in the order of bars and sentences."""

STATUS_LABELS: Final[Mapping[Status, str]] = {status: status.capitalize() for status in STATUSES}

SUMMARY_LABELS: Final[Mapping[str, str]] = {"held": "Not started", "paused": "Paused", "waiting": "Waiting"}
"""Labels of a dispatch that its status does not express."""

WAIT_LABELS: Final[Mapping[str, str]] = {"rerun": "Waits to run again", "start": "Waits to start"}
"""Labels of a node that waits for a time."""

NAME_PREFIXES: Final[Mapping[NodeKind, str]] = {
    NodeKind.PARAMETER: ":parameter:",
    NodeKind.PAUSE: ":pause_for:",
    NodeKind.POINT: ":intervention_point:",
}
"""Prefixes that Covalent gives to the names of some kinds of node."""

FIXED_NAMES: Final[Mapping[NodeKind, str]] = {
    NodeKind.LIST: "list",
    NodeKind.DICT: "dict",
    NodeKind.OUTPUT: "output",
}
"""Names of the kinds of node whose own name says nothing."""


NAME_LIMIT: Final = 120
ERROR_LIMIT: Final = 4_000


def short_name(name: str) -> str:
    r"""Return a name on one line, and cut: a function may be called anything.

    Examples
    --------
    >>> short_name("a\nb"), len(short_name("x" * 1_000_000))
    ('a b', 120)
    """
    line = " ".join(name[: 10 * NAME_LIMIT].splitlines())
    return line if len(line) <= NAME_LIMIT else f"{line[: NAME_LIMIT - 1]}…"


def short_error(text: str) -> str:
    """Return the text of an error, cut in the middle if it is very long."""
    half = ERROR_LIMIT // 2
    return text if len(text) <= ERROR_LIMIT else f"{text[:half]}\n…\n{text[-half:]}"


def status_word(status: Status) -> str:
    """Return the label of a status."""
    return STATUS_LABELS[status]


def waiting_word(state: NodeState) -> str:
    """Return the label of a node that waits for a time, without the time: in a saved picture it would be out of date.

    Examples
    --------
    >>> waiting_word(NodeState(3, "pending", attempt=1, next_at=100.0))
    'Waits to run again'
    >>> waiting_word(NodeState(3, "pending", next_at=100.0))
    'Waits to start'
    """
    return WAIT_LABELS["rerun" if state.attempt > 0 else "start"]


def summary_word(summary: DispatchSummary) -> str:
    """Return the label of a dispatch: its status, unless it is held, paused or waiting."""
    if summary.held:
        return SUMMARY_LABELS["held"] if summary.starts_at is None else f"Starts at {moment_text(summary.starts_at)}"
    if summary.status in TERMINAL:
        return status_word(summary.status)
    # A node that waits for a person counts as running.
    is_waiting = 0 < summary.waiting >= summary.counts.running
    if summary.paused:
        return SUMMARY_LABELS["paused"]
    return SUMMARY_LABELS["waiting"] if is_waiting else status_word(summary.status)


def pretty_name(node: Node) -> str:
    """Return a node's name without the marks that Covalent puts around it."""
    if node.kind in FIXED_NAMES:
        return FIXED_NAMES[node.kind]
    if node.kind in NAME_PREFIXES:
        name = node.name.removeprefix(NAME_PREFIXES[node.kind])
        return name or ("intervention point" if node.kind == NodeKind.POINT else "")
    return node.name.removeprefix(":").removeprefix("sublattice:") or node.name


def moment_text(seconds: float) -> str:
    """Return a moment in local time with its time zone, since a saved picture may be read in another one."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def counts_text(counts: Counts) -> str:
    """Return the number of completed nodes out of all, and the number of the others by status.

    Examples
    --------
    >>> counts_text(Counts(completed=3, running=1, pending=2))
    '3 of 6 done, 1 running, 2 pending'
    """
    total = sum(getattr(counts, status) for status in STATUSES)
    others = [f"{count} {status}" for status in STATUSES[1:] if (count := getattr(counts, status))]
    return ", ".join([f"{counts.completed} of {total} done", *others])
