"""Event loops: `asyncio.get_event_loop()` has a usable loop in every node, and what a node left is closed after it."""

from __future__ import annotations

import asyncio
import threading
import warnings
from contextlib import suppress
from weakref import WeakSet

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.14 announces the end of policies
    from asyncio import DefaultEventLoopPolicy, set_event_loop_policy


class NodeLoopPolicy(DefaultEventLoopPolicy):
    """Event loop policy that makes a loop for the main thread whenever it has none, and knows the loops it made.

    Python's own makes one only until `asyncio.run` was called, which an earlier node may have done.
    """

    def __init__(self) -> None:
        super().__init__()
        self._current: asyncio.AbstractEventLoop | None = None
        self._made: WeakSet[asyncio.AbstractEventLoop] = WeakSet()

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of this thread."""
        if threading.current_thread() is not threading.main_thread():
            loop: asyncio.AbstractEventLoop = super().get_event_loop()
            return loop
        if self._current is None:
            self.set_event_loop(self.new_event_loop())
        assert self._current is not None
        return self._current

    def set_event_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Set the loop of this thread."""
        super().set_event_loop(loop)
        if threading.current_thread() is threading.main_thread():
            self._current = loop

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return a new loop."""
        loop: asyncio.AbstractEventLoop = super().new_event_loop()
        self._made.add(loop)
        return loop

    def close_all(self) -> None:
        """Close the loops that a node left, except those that run in threads of it."""
        if self._current is None and not self._made:
            return
        loops = {*self._made, *([] if self._current is None else [self._current])}
        self._made.clear()
        self.set_event_loop(None)
        for loop in loops:
            with suppress(Exception):  # it may be a loop of the user's own kind
                if loop.is_closed() or loop.is_running():
                    continue
                for task in asyncio.all_tasks(loop):
                    # It is nobody's mistake, and the message would come in the middle of a later node.
                    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
                loop.close()


class EventLoops:
    """The event loops of the nodes of this process."""

    def __init__(self) -> None:
        self._policy = NodeLoopPolicy()
        self._install()

    def put_back(self) -> None:
        """Close the loops of the node that ended."""
        self._policy.close_all()
        if asyncio.get_event_loop_policy() is not self._policy:
            self._install()

    def _install(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            set_event_loop_policy(self._policy)
