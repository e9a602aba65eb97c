"""Capture of output: everything a task prints, from Python, from C and from child processes, node by node.

During a batch, file descriptors 1 and 2 of the worker process are two files in the spool folder, emptied between
nodes. So the dispatcher can read a running task's output while it is being written, and a task that prints
nothing costs four `fstat` calls.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from covalab.core.outputs import StreamText
from covalab.open_files import identity
from covalab.worker.late_output import text_stream
from covalab.worker.outputs.recorder import recorder

OUTPUT_LIMIT: Final = 1024 * 1024
"""Bytes kept of each stream of a node; the middle of longer output is left out, and the text says so."""

_HOST: Final = socket.gethostname()
_LIBC: Final = ctypes.CDLL(None)
_BOUND: Final = 8 * OUTPUT_LIMIT
_BLOCK: Final = 512  # what `stat` counts in
_PUNCH_HOLE: Final = 0x03  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE


class Capture:
    """Capture of both output streams of this process, between `enter` and `leave`.

    The process may be another's Dask worker, so outside of batches its output goes where it always did.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.open(folder)
        self._before = [_duplicate(1), _duplicate(2)]
        self._process_streams = (sys.stdout, sys.stderr)
        # Streams of our own on descriptors 1 and 2: Python's may be buffered, or replaced.
        self._stdout: TextIO = text_stream(1)
        self._stderr: TextIO = text_stream(2)

    def open(self, folder: str | os.PathLike[str]) -> None:
        """Take new files in a folder, for this process; not those of the one it was forked from."""
        self.folder = Path(folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._numbers = itertools.count()
        self._open()

    def _open(self) -> None:
        self.stem = f"{_stem_of(os.getpid())}{next(self._numbers)}"
        self._out, self._err = (_spool_file(self.folder / f"{self.stem}.{suffix}") for suffix in ("out", "err"))
        self._out_id, self._err_id = identity(self._out), identity(self._err)
        recorder.open(str(self.folder / f"{self.stem}.display"), (self._out, self._err))

    def renew(self) -> None:
        """Take new files: child processes that a task left behind still print into the present ones."""
        self._replace(self._open)

    def move(self, folder: str | os.PathLike[str]) -> None:
        """Take new files in another folder: this process is a fork, and the present ones are not its own."""
        self._replace(lambda: self.open(folder))

    def _replace(self, open_others: Callable[[], None]) -> None:
        before = self._out, self._err
        open_others()
        self._restore()
        for fd in before:
            os.close(fd)

    def close(self) -> None:
        """Close the files."""
        recorder.close()
        for fd in (self._out, self._err):
            os.close(fd)

    def enter(self) -> None:
        """Point both streams at the spool files."""
        self._process_streams = (sys.stdout, sys.stderr)  # anew each time: the process may have replaced them
        self._restore()

    def leave(self) -> None:
        """Point them back. Output that was not taken is dropped."""
        self.take()
        recorder.take()
        sys.stdout, sys.stderr = self._process_streams
        for fd, before in enumerate(self._before, 1):
            os.dup2(before.fileno(), fd)

    def take(self) -> tuple[str, str]:
        """Return the output since the last call, and make both streams ready for the next task."""
        self.flush()
        n_out, n_err = self._restore()
        return _drain(self._out, n_out), _drain(self._err, n_err)

    def texts(self) -> tuple[StreamText, StreamText]:
        """Return the output since the last call of `take`, by position."""
        self.flush()
        return read_stream(self._out, os.fstat(self._out).st_size), read_stream(self._err, os.fstat(self._err).st_size)

    def copy(self, number: int, data: bytes) -> None:
        """Put text at the end of an output file: 0 for that of standard output, 1 for the other."""
        os.write((self._out, self._err)[number], data)

    def flush(self) -> None:
        """Write what is in the buffers of this process."""
        _LIBC.fflush(None)  # C keeps what it prints to a file until its buffer is full
        for stream in (sys.stdout, sys.stderr, self._stdout, self._stderr):
            # The task may have closed or replaced it; the file has what was flushed before.
            with suppress(Exception):  # a replacement is user code
                stream.flush()

    def _restore(self) -> list[int]:
        """Undo what a task did to the streams: closed, replaced, pointed elsewhere. Return how long the files are."""
        sizes = []
        for fd, file, wanted in ((1, self._out, self._out_id), (2, self._err, self._err_id)):
            if identity(fd) != wanted:  # the task did `os.dup2` or `os.close`, as test runners and daemons do
                os.dup2(file, fd)
            sizes.append(os.fstat(fd).st_size)
        # A closed stream cannot be opened again, and the next task must be able to print.
        if self._stdout.closed:
            self._stdout = text_stream(1)
        if self._stderr.closed:
            self._stderr = text_stream(2)
        sys.stdout, sys.stderr = self._stdout, self._stderr
        return sizes


def output_files(folder: str | os.PathLike[str], pid: int) -> Iterator[Path]:
    """Yield the files that take, or took, the streams of a process of this machine."""
    # By name: the folder may have thousands, and this is asked often.
    for number in itertools.count():
        out = Path(folder, f"{_stem_of(pid)}{number}.out")
        if not out.exists():
            return
        yield out
        yield out.with_suffix(".err")


def display_files(folder: str | os.PathLike[str], pid: int) -> Iterator[Path]:
    """Yield the files that have, or had, what a process of this machine displayed."""
    for out in output_files(folder, pid):
        if out.suffix == ".out":
            yield out.with_suffix(".display")


def folder_of_forks(folder: str | os.PathLike[str], pid: int) -> Path:
    """Return the folder for the output of forks of a process of this machine that run cells beside it."""
    return Path(folder, f"{_stem_of(pid)}forks")


def _stem_of(pid: int) -> str:
    return f"{_HOST}-{pid}."


def bound_output(path: Path) -> bool:
    """Give the middle of a long output file back to the disk; return whether there was one.

    So what is printed for ever does not fill it. The file keeps its length, so whoever writes to it needs not know;
    both ends stay as `read_text` shows them.
    """
    try:
        found = path.stat()
        if found.st_blocks * _BLOCK < _BOUND:
            return False
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False  # the process is gone, and its file
    try:
        half = OUTPUT_LIMIT // 2
        _fallocate(fd, _PUNCH_HOLE, half, found.st_size - OUTPUT_LIMIT - half)
    finally:
        os.close(fd)
    return True


def _fallocate(fd: int, mode: int, start: int, length: int) -> None:
    if hasattr(_LIBC, "fallocate"):  # Linux; a file system that cannot do this says so, and the file stays as it is
        _LIBC.fallocate(ctypes.c_int(fd), ctypes.c_int(mode), ctypes.c_int64(start), ctypes.c_int64(length))


def _spool_file(path: Path) -> int:
    # O_APPEND: after the file was cut, a child process that still prints goes on at its end, not behind a hole.
    return os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND, 0o600)


def _duplicate(fd: int) -> TextIO:
    """Return a copy of a stream as it is now. Log handlers move to it, so that Dask's warnings are no task's output."""
    before = os.fdopen(os.dup(fd), "w", buffering=1, errors="backslashreplace")
    for handler in _stream_handlers():
        if getattr(handler.stream, "fileno", None) and _fileno(handler.stream) == fd:
            handler.setStream(before)
    return before


def _fileno(stream: object) -> int:
    try:
        return int(stream.fileno())  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return -1


def _stream_handlers() -> list[logging.StreamHandler[io.TextIOBase]]:
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in list(logging.Logger.manager.loggerDict))]
    return [handler for logger in loggers for handler in logger.handlers if type(handler) is logging.StreamHandler]


def _drain(fd: int, size: int) -> str:
    if not size:
        return ""
    text = read_text(fd, size)
    os.ftruncate(fd, 0)  # cut, not replaced: child processes hold the same file
    return text


def read_text(fd: int, size: int) -> str:
    """Read a spool file of `size` bytes, leaving out the middle of one that is longer than `OUTPUT_LIMIT`."""
    if size <= OUTPUT_LIMIT:
        return os.pread(fd, size, 0).decode("utf-8", "replace")
    return read_stream(fd, size).whole()


def read_stream(fd: int, size: int) -> StreamText:
    """Read a spool file of `size` bytes as `read_text` does, so that pieces of it can be taken."""
    if size <= OUTPUT_LIMIT:
        return StreamText(os.pread(fd, size, 0))
    half = OUTPUT_LIMIT // 2  # the end has the error, the start says what was running
    return StreamText(os.pread(fd, half, 0), os.pread(fd, half, size - half), size)
