"""Progress of the running task: kept here, sent by the thread that reports for the batch, a few times a second."""

from __future__ import annotations

import math
import os
import time
from typing import Any, Final

from covalab.core.codec import printable
from covalab.core.model import NodeProgress
from covalab.worker.context import get_context
from covalab.worker.outputs import ipython

_INTERVAL: Final = 0.25
_TEXT_LIMIT: Final = 100


class Board:
    """Latest progress of the task that this process runs."""

    def __init__(self) -> None:
        self._latest: NodeProgress | None = None
        self._pid = os.getpid()
        self._sent_at = 0.0

    def put(self, progress: NodeProgress) -> None:
        """Replace what is to be sent next."""
        if os.getpid() == self._pid:  # a fork has a copy, and no thread that sends for it
            self._latest = progress

    def take(self, node: int) -> NodeProgress | None:
        """Return the progress of a node that was not sent yet; None for a moment after another was."""
        latest = self._latest
        if latest is None or time.monotonic() - self._sent_at < _INTERVAL:
            return None
        self._latest = None
        if latest.node != node:
            return None
        self._sent_at = time.monotonic()
        return latest

    def begin(self) -> None:
        """Begin in a process that was forked."""
        self._pid, self._latest = os.getpid(), None


board: Final = Board()


def set_progress(done: float, total: float | None = None, text: str = "") -> None:
    """Say how much of its work a task has done; its node shows a bar.

    Parameters
    ----------
    done
        What is done, in any unit.
    total
        What there is to do; None: not known.
    text
        A few words that are shown beside the bar.

    Raises
    ------
    TypeError
        If these are no numbers.

    Notes
    -----
    It may be called as often as one likes: a few of the values a second are sent. Outside of a task it does nothing,
    so that the same function can be called in the notebook. Bars of tqdm do the same by themselves.

    Examples
    --------
    >>> set_progress(3, 10, "epochs")
    """
    given: tuple[object, object] = done, total
    if not isinstance(given[0], int | float) or not isinstance(given[1], int | float | None):
        message = f"progress is two numbers, done and total, not {done!r} and {total!r}"
        raise TypeError(message)
    node = get_context().task_id
    if node is None or not math.isfinite(done):
        return
    whole = None if total is None or not math.isfinite(total) or total <= 0 else float(total)
    board.put(NodeProgress(node, float(done), whole, printable(str(text), _TEXT_LIMIT)))


def _follow_bars(module: Any) -> None:
    """Let the outermost bar of tqdm be the progress of the task."""
    kind = module.tqdm
    refresh, close = kind.refresh, kind.close

    def tell(bar: Any) -> None:
        if not getattr(bar, "disable", True) and getattr(bar, "pos", 1) == 0 and get_context().task_id is not None:
            set_progress(bar.n, bar.total, str(getattr(bar, "desc", "") or "").removesuffix(": "))

    def refresh_and_tell(self: Any, *args: Any, **options: Any) -> Any:
        tell(self)
        return refresh(self, *args, **options)

    def tell_and_close(self: Any) -> Any:
        tell(self)
        return close(self)

    kind.refresh, kind.close = refresh_and_tell, tell_and_close


ipython.after_import("tqdm.std", _follow_bars)
