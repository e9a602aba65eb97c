"""Which status may follow which, and Covalent's words for them.

Pure tables. Whoever changes a status asks `may_follow` first; whoever shows one to a user of the Covalent API asks
`covalent_text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from covalab.core.model import Counts, Status, TaskStatusName

NEXT: Final[Mapping[Status, frozenset[Status]]] = {
    "pending": frozenset({"running", "completed", "failed", "cancelled", "skipped"}),
    # Back to pending: the worker was lost, the batch's time was up, or the node is to be tried again.
    "running": frozenset({"pending", "completed", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
    "skipped": frozenset(),
}

TERMINAL: Final[frozenset[Status]] = frozenset(status for status, following in NEXT.items() if not following)

COVALENT_TEXT: Final[Mapping[Status, str]] = {
    "pending": "NEW_OBJECT",
    "running": "RUNNING",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "skipped": "NEW_OBJECT",  # what Covalent calls a node that will never start
}


def may_follow(status: Status, following: Status) -> bool:
    """Tell whether a node or dispatch in `status` may move to `following`. A terminal status never changes.

    Examples
    --------
    >>> may_follow("running", "completed"), may_follow("completed", "running")
    (True, False)
    """
    return following in NEXT[status]


def covalent_text(status: Status) -> str:
    """Return the text that Covalent's API shows for a status (covalent/_shared_files/util_classes.py)."""
    return COVALENT_TEXT[status]


def task_status(status: Status, error_type: str | None) -> TaskStatusName:
    """Return where a node stands as a task: every task ends as completed, failed or cancelled.

    Examples
    --------
    >>> task_status("running", None), task_status("skipped", "dependency"), task_status("skipped", "cancelled")
    ('running', 'failed', 'cancelled')
    """
    if status != "skipped":
        return status
    return "failed" if error_type == "dependency" else "cancelled"


def has_come_to_its_end(counts: Counts) -> bool:
    """Tell whether all nodes have completed: the value is there, although the dispatch may be kept open.

    Examples
    --------
    >>> has_come_to_its_end(Counts(completed=3)), has_come_to_its_end(Counts(completed=3, failed=1))
    (True, False)
    """
    return counts == Counts(completed=counts.completed)
