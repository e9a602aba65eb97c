"""Task context: the dispatch and node that `covalab.get_context` returns to the code of a task."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Context(NamedTuple):
    """The dispatch and the node that are running; both None outside of a task."""

    dispatch_id: str | None = None
    task_id: int | None = None

    @property
    def node_id(self) -> int | None:
        """Alias of `task_id`, Covalent's older name."""
        return self.task_id


OUTSIDE = Context()


class _Process:
    """The task of this process, for all of its threads: it runs one at a time."""

    task = OUTSIDE


process = _Process()

in_thread: ContextVar[Context] = ContextVar("covalab_context", default=OUTSIDE)
"""The task of this thread, in a process that runs several tasks at once."""


def get_context() -> Context:
    """Return the ids of the running task.

    Returns
    -------
    Context
        With ``dispatch_id`` (str) and ``task_id`` (int), both None outside of a task.

    Examples
    --------
    >>> get_context().dispatch_id is None
    True

    Notes
    -----
    Covalent, ``executor/utils/context.py``.
    """
    return in_thread.get() if in_thread.get() is not OUTSIDE else process.task
