"""Late output: what is printed by a thread that an earlier node left behind is dropped.

Unless it works for the node that runs: what that schedules in an event loop of another thread has its context, which is
how IPython runs `%%script`. A kernel sorts output in the same way.

Without such threads nothing is done when a task prints. What they write to a file descriptor by its number cannot be
told apart, so no later electron runs in a process where one of them could (`LateOutput.may_write`). The cells of a
session share their process; there such bytes are, as in a kernel, in the output of the cell that runs.
"""

from __future__ import annotations

import _thread
import io
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from types import FrameType, FunctionType
from typing import Any, Final
from weakref import WeakSet

from covalab.worker.outputs.recorder import recorder


class _SpoolFile(io.FileIO):
    """File below a text stream of this process: when it is written is recorded."""

    def write(self, data: Any, /) -> int:
        """Write."""
        recorder.note_time()
        return super().write(data)


class _FilteredFile(io.FileIO):
    """The same, while threads of earlier nodes are alive."""

    def write(self, data: Any, /) -> int:
        """Write, unless the thread is of an earlier node."""
        if drops():
            return memoryview(data).nbytes
        recorder.note_time()
        return super().write(data)


class _ErrorFile(_SpoolFile):
    """File below standard error: where output changes to it is recorded, so that the order of both is known."""

    def write(self, data: Any, /) -> int:
        """Write."""
        recorder.mark()
        return super().write(data)


class _FilteredErrorFile(_FilteredFile):
    """The same, while threads of earlier nodes are alive."""

    def write(self, data: Any, /) -> int:
        """Write, unless the thread is of an earlier node."""
        recorder.mark()
        return super().write(data)


class _Late:
    """The threads of earlier nodes."""

    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()
        self.idents: set[int] = set()  # of threads that were started without a `Thread`
        self.node = 0  # the number of the node that runs
        self.dropped: dict[str, None] = {}  # names of threads of which output was dropped


_late: Final = _Late()
_node: Final[ContextVar[int]] = ContextVar("covalab_node", default=-1)
"""The number of the node in whose context code runs; a new thread has none."""


def is_late() -> bool:
    """Whether this thread is one that an earlier node left behind."""
    if not _late.threads and not _late.idents:
        return False
    is_of_another = threading.current_thread() in _late.threads or threading.get_ident() in _late.idents
    return is_of_another and _node.get() != _late.node


def drops() -> bool:
    """Return whether what this thread shows is dropped, and note that it was."""
    found = is_late()
    if found:
        _late.dropped[threading.current_thread().name] = None
    return found


def dropped_notice() -> str:
    """Return for people what was dropped since the last call; nothing if nothing was."""
    names, _late.dropped = [*_late.dropped], {}
    if not names:
        return ""
    return (
        f"covalab: what {', '.join(names)} shows is lost here: a thread that an earlier cell started shows its output "
        "only as long as that cell runs. Let the cell that starts it wait for it (`thread.join()`).\n"
    )


_SILENT_THREADS: Final = {
    "tqdm._monitor.TMonitor",
    *(
        f"{package}._ExecutorManagerThread"
        for package in ("concurrent.futures.process", "loky.process_executor", "joblib.externals.loky.process_executor")
    ),
}
"""Classes of threads that packages keep, and that run no code of their users."""
_SILENT_TARGETS: Final = {
    f"{package}.Queue._feed"
    for package in ("multiprocessing.queues", "loky.backend.queues", "joblib.externals.loky.backend.queues")
}
"""Functions that such threads run."""
_STDERR: Final = 2
_streams: Final[WeakSet[io.TextIOWrapper]] = WeakSet()


def text_stream(fd: int) -> io.TextIOWrapper:
    """Return a text stream over a file descriptor, which `LateOutput` can filter."""
    file = (_ErrorFile if fd == _STDERR else _SpoolFile)(fd, "w", closefd=False)
    stream = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    _streams.add(stream)
    return stream


class LateOutput:
    """The threads of this process: which of them the nodes that ended have left."""

    def __init__(self) -> None:
        self._n_threads = -1
        self._known: set[threading.Thread] = set()
        self._idents: set[int] = set()

    def enter(self) -> None:
        """Begin a node: the threads that run now are this process's own, or were left before."""
        if _thread._count() != self._n_threads:  # noqa: SLF001 - `threading` counts under a lock
            self._n_threads = _thread._count()  # noqa: SLF001
            self._known = set(threading.enumerate())
            self._idents = {*sys._current_frames()}  # noqa: SLF001

    def mark(self) -> None:
        """Note the node in the context in which it will run."""
        _late.node += 1
        _node.set(_late.node)

    def leftovers(self) -> list[threading.Thread]:
        """Return the threads that the node left; from here on their output is dropped."""
        # Counts are no proof while others may end at the same time.
        if _thread._count() <= self._n_threads and not _late.threads and not _late.idents:  # noqa: SLF001
            return []
        threads = threading.enumerate()
        new = [thread for thread in threads if thread not in self._known]
        with_thread = {thread.ident for thread in threads}
        running = {*sys._current_frames()}  # noqa: SLF001
        _late.threads = {*(_late.threads & {*threads}), *new}
        _late.idents = (_late.idents | (running - self._idents - with_thread)) & running
        for stream in [*_streams]:
            _filter(stream, is_on=bool(_late.threads or _late.idents))
        self._n_threads = -1
        return new

    def may_write(self, own: str) -> bool:
        """Whether a thread that a node left may write to a descriptor by its number.

        Parameters
        ----------
        own
            The beginning of the names of threads that no task started.
        """
        self.leftovers()  # again: a thread may have needed a moment to begin
        if not _late.threads and not _late.idents:
            return False
        frames = sys._current_frames()  # noqa: SLF001
        others = [one for one in _late.threads if one.is_alive() and not one.name.startswith(own)]
        return bool(_late.idents) or not all(_is_silent(one, frames.get(one.ident or 0)) for one in others)


def _is_silent(thread: threading.Thread, frame: FrameType | None) -> bool:
    """Whether a thread only serves a package, or waits for work that nobody but a later node could give it.

    Many packages keep such threads, and a new process for each node that uses one would cost more than the node.
    """
    kind = type(thread)
    target = getattr(thread, "_target", None)
    if f"{kind.__module__}.{kind.__qualname__}" in _SILENT_THREADS:
        return True
    if f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}" in _SILENT_TARGETS:
        return True
    serves = getattr(sys.modules.get("concurrent.futures.thread"), "_worker", None)
    if frame is None or not isinstance(serves, FunctionType) or target != serves:
        return False
    if frame.f_code is not serves.__code__:
        return False
    names = frame.f_locals
    return "work_item" not in names and not names["work_queue"].qsize()


def _filter(stream: io.TextIOWrapper, *, is_on: bool) -> None:
    """Switch the filter of a stream on or off. A thread may have kept the stream, so that it stays the same object."""
    with suppress(ValueError):  # the task detached or closed it
        file: Any = stream.buffer
        if isinstance(file, _FilteredFile) != is_on:
            # Otherwise part of a line would wait in the stream, and be written by another thread.
            stream.reconfigure(write_through=is_on)
            if isinstance(file, (_ErrorFile, _FilteredErrorFile)):
                file.__class__ = _FilteredErrorFile if is_on else _ErrorFile
            else:
                file.__class__ = _FilteredFile if is_on else _SpoolFile
