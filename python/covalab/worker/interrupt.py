"""Interrupts: stopping the task that runs in this process.

A task is interrupted as by a notebook's stop button: SIGINT arrives in the main thread, where it raises
`KeyboardInterrupt`, and at the child processes of the task. If the task ignores that, the worker ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Final

from covalab.worker.process_tree import clock, descendants, signal_all, younger

_HURRY_SECONDS: Final = 1e-5
"""Switch interval after an interrupt: with 5 ms, threads of the task that compute on hold the main one up at every file
that it reads, and there are hundreds for the table of processes: it took seconds to end."""


class InterruptibleTask:
    """The running task of this process, which can be interrupted. `enter` and `leave` around a task are cheap.

    All methods but `enter` and `leave` may be called from any thread; those belong to the task's, the main one.
    """

    def __init__(self) -> None:
        self._handler = self._on_signal  # one object: others compare it with the handler that is installed
        self._lock = threading.Lock()
        self._batch = -1
        self._node = -1
        self._interrupted = False
        self._since = 0.0
        self._cancelled: set[int] | None = set()  # of this batch; None: all
        self.install()

    def install(self) -> None:
        """Handle SIGINT in this process."""
        signal.signal(signal.SIGINT, self._handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._node >= 0:  # else it came too late: the task has ended
            raise KeyboardInterrupt

    def begin(self, batch: int) -> None:
        """Begin a batch."""
        with self._lock:
            self._batch, self._cancelled = batch, set()

    def end(self) -> None:
        """End the batch."""
        with self._lock:
            self._batch = -1

    def enter(self, node: int) -> bool:
        """Begin a task. Return False if it was cancelled before."""
        with self._lock:
            if self._cancelled is None or node in self._cancelled:
                return False
            self._node, self._interrupted, self._since = node, False, clock()
        return True

    @property
    def interrupted(self) -> bool:
        """Whether the task that ended last was interrupted."""
        return self._interrupted

    @staticmethod
    def hurry() -> None:
        """Let the main thread have its turn among threads that compute."""
        sys.setswitchinterval(_HURRY_SECONDS)

    def leave(self) -> None:
        """End the task; from here on no interrupt can arrive. May be called again.

        One may arrive on the way into this method: then it raises, and must be called once more. Child processes of a
        task that was interrupted are ended.
        """
        node, self._node = self._node, -1
        if node >= 0 and self._interrupted:
            signal_all(younger(descendants(os.getpid()), self._since), signal.SIGKILL)

    def interrupt(self, batch: int, nodes: Sequence[int]) -> bool:
        """Interrupt nodes of a batch (none named: all). Return whether one of them is running."""
        with self._lock:
            if batch != self._batch:
                return False  # the request was on the way when the batch ended
            # Remembered for tasks of the batch that have not started.
            if not nodes:
                self._cancelled = None
            elif self._cancelled is not None:
                self._cancelled.update(nodes)
            if self._node < 0 or (nodes and self._node not in nodes):
                return False
            # Once: a second one would hit the task's own clean-up.
            if not self._interrupted:
                self._interrupted = True
                self.hurry()
                # A task that waits for a child process does not see its own interrupt before the child ends.
                signal_all(younger(descendants(os.getpid()), self._since), signal.SIGINT)
                signal.pthread_kill(_MAIN, signal.SIGINT)
            return True

    def is_at(self, batch: int, nodes: Sequence[int]) -> bool:
        """Whether one of these nodes (none named: any) of a batch is running."""
        with self._lock:
            return batch == self._batch and self._node >= 0 and (not nodes or self._node in nodes)


def _main_thread() -> int:
    identity = threading.main_thread().ident
    assert identity is not None
    return identity


_MAIN = _main_thread()
