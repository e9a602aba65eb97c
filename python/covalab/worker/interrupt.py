"""Interrupts: stopping the task that runs in this process.

A task is interrupted as by a notebook's stop button: `KeyboardInterrupt` is raised in its thread, and its child
processes get SIGINT. If the task ignores that, the pool ends the process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_HAS_PROC: Final = Path("/proc/self/stat").exists()
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CLOCK_SLACK: Final = 0.05
"""A process may seem this much older than it is: its start is counted in ticks."""

MARK: Final = "COVALAB_WORKER"
"""The environment variable that marks the processes of a worker's tasks, also when their parent is gone."""

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)


class InterruptibleTask:
    """The running task of this process, which can be interrupted. `enter` and `leave` around a task are cheap.

    All methods may be called from any thread; `enter` and `leave` belong to the task's.
    """

    def __init__(self) -> None:
        # Inherited by every process that a task starts.
        os.environ[MARK] = str(os.getpid())
        self._lock = threading.Lock()
        self._batch = -1
        self._node = -1
        self._thread = 0
        self._interrupted = False
        self._since = 0.0
        self._cancelled: set[int] | None = set()  # of this batch; None: all

    def begin(self, batch: int) -> None:
        """Begin a batch in this thread."""
        with self._lock:
            self._batch, self._cancelled, self._thread = batch, set(), threading.get_ident()

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

    def leave(self) -> None:
        """End the task; from here on no interrupt can arrive. May be called again.

        An interrupt that was sent and has not arrived is taken back. One may arrive on the way into this method: then
        it raises, and must be called once more.
        """
        # Under the lock, so that `interrupt` cannot raise after this has looked.
        with self._lock:
            if self._interrupted:
                _raise_in(self._thread, ctypes.py_object())  # NULL takes back one that has not arrived yet
            self._node = -1

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
                _raise_in(self._thread, ctypes.py_object(KeyboardInterrupt))
            return True

    def is_at(self, batch: int, nodes: Sequence[int]) -> bool:
        """Whether one of these nodes (none named: any) of a batch is running."""
        with self._lock:
            return batch == self._batch and self._node >= 0 and (not nodes or self._node in nodes)

    @property
    def since(self) -> float:
        """The start of the task, by `clock`."""
        return self._since


def clock() -> float:
    """Return the time in seconds, by the clock of process start times.

    On Linux since the start of the machine: processes know the time of day only to a second.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _HAS_PROC else time.time()


def family(pid: int, *, since: float = 0.0) -> Iterator[psutil.Process]:
    """Yield the processes that a worker's tasks started after `since` (by `clock`), descendants and orphans too."""
    mark = str(pid)
    seen = {pid}
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            seen.add(child.pid)
            if _is_younger(child, since):
                yield child
    # A daemon has left the tree of its parent, but not the environment that it inherited.
    for process in psutil.process_iter():
        if process.pid not in seen and process.pid != os.getpid() and _is_younger(process, since):
            with suppress(psutil.Error, OSError):  # another user's, or gone
                if process.environ().get(MARK) == mark:
                    yield process


def _is_younger(process: psutil.Process, since: float) -> bool:
    with suppress(psutil.Error, OSError):
        if _HAS_PROC:
            # psutil's `create_time` adds the time of boot, which is known only to a second.
            ticks = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()[19]
            return int(ticks) / _TICKS >= since - _CLOCK_SLACK
        return bool(process.create_time() >= since - _CLOCK_SLACK)
    return False


def signal_all(processes: Iterator[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to processes, except those that are gone."""
    for process in list(processes):
        with suppress(psutil.Error):
            process.send_signal(number)
