"""State tables: the transitions of a node and of a dispatch, and Covalent's text for each status. Pure.

`GraphState` changes a status only by a row of `TRANSITIONS`, so an impossible change is an `AssertionError` and not a
wrong picture. `python/docs/states.md` shows the tables; a test keeps it up to date.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from covalab.core.model import Counts, Status, TaskStatusName

Event = Status | Literal["started", "handed_over", "returned", "retried"]
"""A cause of a transition: one of the words, or the status that an outcome has."""

TRANSITIONS: Final[Mapping[tuple[Status, Event], Status]] = {
    ("pending", "started"): "running",
    ("pending", "handed_over"): "running",
    # An outcome may come first: a worker reports only the tasks that take long enough to be seen running.
    ("pending", "completed"): "completed",
    ("pending", "failed"): "failed",
    ("pending", "cancelled"): "cancelled",
    ("pending", "skipped"): "skipped",
    ("running", "returned"): "pending",
    ("running", "retried"): "pending",
    ("running", "completed"): "completed",
    ("running", "failed"): "failed",
    ("running", "cancelled"): "cancelled",
    # A cell that is not shown to be independent of one that failed: the worker that has the session finds out.
    ("running", "skipped"): "skipped",
}
"""The status of a node after an event. A pair that is not here cannot happen; `GraphState.make_again` is no event."""

DISPATCH_TRANSITIONS: Final[Mapping[tuple[Status, Event], Status]] = {
    ("pending", "started"): "running",
    ("pending", "completed"): "completed",
    ("pending", "failed"): "failed",
    ("pending", "cancelled"): "cancelled",
    ("running", "completed"): "completed",
    ("running", "failed"): "failed",
    ("running", "cancelled"): "cancelled",
}
"""The status of a dispatch after an event, which is the first start of a node or the end of the last one."""

NODE_STATUS_TEXT: Final[Mapping[Status, str]] = {
    "pending": (
        "The node waits: for its inputs, for a worker, for its turn in a batch that is at a worker, or for the time of "
        "its retry. Only `GraphState` knows which; a reader sees `next_at` when a retry is scheduled."
    ),
    "running": (
        "A worker has started the node, or it was handed over: to a child dispatch (a sublattice), or to the "
        "dispatcher itself (a pause that a person ends). After a restart of the dispatcher only what was handed over "
        "is still running; the rest is pending again."
    ),
    "completed": (
        "The node has a value, which is recorded. Virtual nodes (lists, dicts) complete with the last input. When a "
        "node that needs the value finds it damaged or gone, it is made again: the node is pending once more."
    ),
    "failed": "The last attempt raised, ran out of time, lost its worker too often, or could not be run at all.",
    "cancelled": "A person cancelled the node, or its dispatch, before it ended.",
    "skipped": (
        "The node never ran: an input of it failed, was cancelled or was skipped; or it is a cell of a notebook run "
        "that is not shown to be independent of one that failed."
    ),
}
"""The meaning of each status of a node."""

DISPATCH_STATUS_TEXT: Final[Mapping[Status, str]] = {
    "pending": "No node has been sent to a worker: the dispatch is held, waits for its time, or for a worker.",
    "running": "A node was sent, and not all have ended; or all have ended and the dispatch is kept open as a service.",
    "completed": "All nodes completed.",
    "failed": "All nodes ended and one of them failed, whatever else was cancelled.",
    "cancelled": "All nodes ended, none failed, and one was cancelled.",
}
"""The meaning of each status of a dispatch. It is never skipped."""

EVENT_TEXT: Final[Mapping[Event, str]] = {
    "started": "a worker reports that the task runs",
    "handed_over": "the node goes on as a child dispatch, or in the dispatcher",
    "returned": "the batch ended without an outcome of the node: its time was up, or its worker was lost",
    "retried": "an attempt failed and another is scheduled",
    "completed": "the outcome has a value",
    "failed": "the last attempt failed",
    "cancelled": "a person cancelled it",
    "skipped": "an input will never have a value, or the worker found that the cell must not run",
}
"""The meaning of each event."""

NEXT: Final[Mapping[Status, frozenset[Status]]] = {
    status: frozenset(after for (before, _), after in TRANSITIONS.items() if before == status)
    for status in NODE_STATUS_TEXT
}

TERMINAL: Final[frozenset[Status]] = frozenset(status for status, following in NEXT.items() if not following)

COVALENT_TEXT: Final[Mapping[Status, str]] = {
    "pending": "NEW_OBJECT",
    "running": "RUNNING",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "skipped": "NEW_OBJECT",  # as Covalent calls a node that will never start
}


def covalent_text(status: Status) -> str:
    """Return the text that Covalent's API shows for a status (covalent/_shared_files/util_classes.py)."""
    return COVALENT_TEXT[status]


def task_status(status: Status, error_type: str | None) -> TaskStatusName:
    """Return the status of a node as a task: every task ends as completed, failed or cancelled.

    Examples
    --------
    >>> task_status("running", None), task_status("skipped", "dependency"), task_status("skipped", "cancelled")
    ('running', 'failed', 'cancelled')
    """
    if status != "skipped":
        return status
    return "failed" if error_type == "dependency" else "cancelled"


def all_completed(counts: Counts) -> bool:
    """Tell whether all nodes have completed: the value is there, although the dispatch may be kept open.

    Examples
    --------
    >>> all_completed(Counts(completed=3)), all_completed(Counts(completed=3, failed=1))
    (True, False)
    """
    return counts == Counts(completed=counts.completed)
