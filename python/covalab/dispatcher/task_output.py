"""Output of running tasks, read from the files that their workers write."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from covalab.blobs import BlobStore
from covalab.core.errors import DataFolderError
from covalab.core.model import DispatchId, Failure, Value
from covalab.core.outputs import Event, Output, Outputs, StreamText, derived, encode, error_output, fold, read_frames
from covalab.core.run_log import Printed, text_times
from covalab.dispatcher.pools import SentBatch
from covalab.worker.capture import read_stream, read_text

_SUFFIXES: Final = (".out", ".err")
_KEPT: Final = 32
_NOTHING: Final = StreamText(b"")


class Spool:
    """The folder in which tasks leave what they print and display while they run.

    Parameters
    ----------
    folder
        The folder.
    blobs
        Where the outputs of a task that was stopped are stored.
    """

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self.folder = folder
        self._blobs = blobs
        self._lock = threading.Lock()
        self._views: OrderedDict[tuple[DispatchId, int], _View] = OrderedDict()

    def printed(self, batch: SentBatch | None, node: int) -> tuple[str, str]:
        """Return what a task has printed so far, or before it was stopped: stdout, stderr."""
        stem = self._stem(batch, node)
        if stem is None:
            return "", ""
        texts = []
        for suffix in _SUFFIXES:
            with _opened(f"{stem}{suffix}") as fd:
                texts.append("" if fd < 0 else read_text(fd, os.fstat(fd).st_size))
        return texts[0], texts[1]

    def timed(self, batch: SentBatch | None, node: int) -> Printed:
        """Return what a task has printed so far, and when. May be called in any thread."""
        stem = self._stem(batch, node)
        if stem is None:
            return Printed("", "")
        texts = _texts(stem)  # first: what is printed meanwhile has the last time
        events = _DisplayFile(f"{stem}.display").read()
        return Printed(texts[0].whole(), texts[1].whole(), text_times(events, *texts))

    def last_outputs(self, batch: SentBatch | None, node: int, failure: Failure) -> Value | None:
        """Store what a task displayed before it was stopped; None if it is no more than what it printed."""
        stem = self._stem(batch, node)
        events = [] if stem is None else _DisplayFile(f"{stem}.display").read()
        if stem is None or not events:
            return None
        stdout, stderr = _texts(stem)
        outputs = fold(events, stdout, stderr)
        if outputs == derived(stdout.whole(), stderr.whole(), None):
            return None
        with suppress(DataFolderError):  # what it printed is kept in any case
            return self._blobs.store(encode([*outputs, error_output(failure)]), "outputs")
        return None

    def live_outputs(self, batch: SentBatch | None, node: int, since: int) -> Outputs:
        """Return those outputs of a running task that changed after a number. May be called in any thread."""
        stem = self._stem(batch, node)
        if stem is None or batch is None:
            return Outputs([], 0, _now(), is_final=False)
        key = DispatchId(batch.dispatch), node
        with self._lock:
            view = self._views.get(key)
            if view is None or (view.batch, view.stem) != (batch.id, stem):
                view = self._views[key] = _View(batch.id, stem)
            self._views.move_to_end(key)
            if len(self._views) > _KEPT:
                self._views.popitem(last=False)
            return view.read(since)

    def _stem(self, batch: SentBatch | None, node: int) -> Path | None:
        if batch is None or batch.begun is None or batch.begun.node != node:
            return None
        return self.folder / batch.begun.spool


class _View:
    """The outputs of one run of a node, and when each of them changed.

    Numbers are microseconds of the clock, so that those of a later run, or of another dispatcher, are larger. They are
    even, so that none is the number of a node that has ended.
    """

    def __init__(self, batch: int, stem: Path) -> None:
        self.batch, self.stem = batch, stem
        self._file = _DisplayFile(f"{stem}.display")
        self._outputs: list[Output] = []
        self._changed_at: list[int] = []
        self._number = _now()

    def read(self, since: int) -> Outputs:
        outputs = fold(self._file.read(), *_texts(self.stem))
        first = _first_difference(self._outputs, outputs)
        if first < len(outputs) or len(outputs) < len(self._outputs):
            self._number = max(self._number + 2, _now())
            self._changed_at[first:] = [self._number] * (len(outputs) - first)
            self._outputs = outputs
        changed = (position for position, number in enumerate(self._changed_at) if number > since)
        start = next(changed, len(outputs))
        return Outputs(outputs[start:], start, self._number, is_final=False)


def ended_number(ended_at: float | None) -> int:
    """Return the number of the outputs of a node that has ended: no number of one that runs."""
    return 2 * int((ended_at or 0.0) * 1e6) + 1


def _now() -> int:
    return 2 * (time.monotonic_ns() // 1000)


def _first_difference(before: list[Output], now: list[Output]) -> int:
    for position, (one, other) in enumerate(zip(before, now, strict=False)):
        if one != other:
            return position
    return min(len(before), len(now))


class _DisplayFile:
    """The file of a task's events, read on from where it was read to the last time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._position = 0
        self._events: list[Event] = []

    def read(self) -> list[Event]:
        """Return all events so far."""
        with _opened(self._path) as fd:
            if fd < 0:
                return []
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != self._identity or found.st_size < self._position:
                self._identity, self._position, self._events = (found.st_dev, found.st_ino), 0, []
            data = bytearray()
            while part := os.pread(fd, found.st_size - self._position - len(data), self._position + len(data)):
                data += part
            events, n_read = read_frames(bytes(data))
            self._events += events
            self._position += n_read
        return self._events


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open a file to read; a descriptor of -1 where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        yield -1
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _texts(stem: Path) -> tuple[StreamText, StreamText]:
    texts = []
    for suffix in _SUFFIXES:
        with _opened(f"{stem}{suffix}") as fd:
            texts.append(_NOTHING if fd < 0 else read_stream(fd, os.fstat(fd).st_size))
    return texts[0], texts[1]
