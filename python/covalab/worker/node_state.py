"""State of the process between nodes: what a node changed is put back, so that the next one finds a clean process.

Every part compares before it acts, because nearly all nodes change nothing. Parts are put back in the thread that ran
the node; those that belong to the main thread (signals, event loops) only there. What is not covered is listed in
`process_settings`.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from covalab.worker.event_loops import EventLoops
from covalab.worker.library_state import LibraryState
from covalab.worker.logging_state import LoggingState
from covalab.worker.process_settings import ProcessSettings
from covalab.worker.random_state import RandomState
from covalab.worker.signal_state import SignalState

_T = TypeVar("_T")


class NodeState:
    """The state of this process, read when it is ready for its first node.

    Attributes
    ----------
    libraries
        Has `before_closing`, called before figures of a node are closed.
    """

    def __init__(self) -> None:
        self._settings = ProcessSettings()
        self._is_main = threading.current_thread() is threading.main_thread()
        self._signals = SignalState() if self._is_main else None
        self._loops = EventLoops() if self._is_main else None
        self._logging = LoggingState()
        self._random = RandomState()
        self.libraries = LibraryState()
        parts = [self._logging.put_back, self.libraries.put_back, self._random.put_back, _forget_classes]
        if self._loops is not None:
            parts.append(self._loops.put_back)
        self._parts: tuple[Callable[[], object], ...] = (*parts, self._settings.put_back)

    def begin_process(self) -> None:
        """Go on in a fork of the process in which this was made: its generators would draw the same numbers."""
        self._random.put_back(is_start=True)

    def begin_batch(self) -> None:
        """Take the place, the variables and the built-in functions that a batch has set."""
        self._settings.take_builtins()
        self._settings.take_place()

    def run(self, call: Callable[..., _T], *args: object) -> _T:
        """Call something in a context of its own: context variables are put back without looking at them.

        Among them are the error and print settings of NumPy (since 2.1) and the context of `decimal`.
        """
        # An empty one: a copy would have the same objects, such as a decimal context that is changed in place.
        return contextvars.Context().run(call, *args)

    def put_back(self) -> None:
        """Put back what a node changed. Must come before its output is taken, since closing things may print."""
        self._settings.put_back_builtins()
        if self._signals is not None:
            try:
                self._signals.put_back()
            except BaseException:  # noqa: BLE001 - a handler of the task still ran in the middle of it, and raised
                self._signals.put_back()
        for put_back in self._parts:
            try:  # noqa: SIM105 - `suppress` costs more than most parts
                put_back()
            except Exception:  # noqa: BLE001, S110 - what is compared is the user's; the other parts come all the same
                pass


def _forget_classes() -> None:
    """Let the next node have classes of its own.

    Classes that travel by value are found again by an id that was sent with them, so that a function and its arguments
    share one; attributes that a node sets on it must not be there for the next.
    """
    cloudpickle: Any = sys.modules.get("cloudpickle.cloudpickle")
    if cloudpickle is not None and cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID:  # noqa: SLF001 - it has no public name
        with cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK:  # noqa: SLF001
            cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()  # noqa: SLF001
            cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()  # noqa: SLF001
