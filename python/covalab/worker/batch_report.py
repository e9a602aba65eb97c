"""Report of a running batch: outcomes together while they come fast, ten times a second when it takes longer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from covalab.core.model import Outcome
from covalab.core.protocol import Outcomes, TaskProgress, TaskStarted
from covalab.worker.capture import Capture
from covalab.worker.process_tree import block_signals
from covalab.worker.progress import board

Emit: TypeAlias = Callable[[bytes], None]
"""Sends an encoded `TaskStarted`, `TaskMessage` or `Outcomes` towards the dispatcher, in order, from any thread."""

_REPORT_SECONDS: Final = 0.1  # a page draws no faster, and a message costs what a quick task does
_LONG_SECONDS: Final = 0.01  # such a task is worth a message: the next one may end the process, and it would run again
_ENCODER: Final = msgspec.msgpack.Encoder()


class BatchReports:
    """Reports of the batches of this process, one at a time, and the thread that sends them while tasks run."""

    def __init__(self) -> None:
        self._report: BatchReport | None = None
        self._is_running = threading.Event()
        self._is_closed = False
        # A thread, because the task has this one: it may sleep, or be in C code that releases the interpreter's lock.
        self._thread: threading.Thread | None = None

    def begin(self, batch: int, capture: Capture, emit: Emit) -> BatchReport:
        """Begin the report of a batch."""
        board.begin()
        self._report = BatchReport(batch, capture, emit, self._is_running)
        if self._thread is None:
            self._thread = threading.Thread(target=self._report_periodically, name="covalab-report", daemon=True)
            self._thread.start()
        self._is_running.set()
        return self._report

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._is_running.set()
        if self._thread is not None:
            self._thread.join()

    def _report_periodically(self) -> None:
        """Report every tenth of a second, while a batch lasts, which tasks ended and which one runs."""
        block_signals()
        while True:
            self._is_running.wait()
            if self._is_closed:
                return
            time.sleep(_REPORT_SECONDS)
            if self._report is not None:
                self._report.report_progress()


class BatchReport:
    """Report of one batch."""

    def __init__(self, batch: int, capture: Capture, emit: Emit, is_running: threading.Event) -> None:
        self._batch = batch
        self._capture = capture
        self._emit = emit
        self._is_running = is_running
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = []
        self._node = -1
        self._started_at = 0.0
        self._is_reported = True
        self._is_first = True

    def begin(self, node: int) -> None:
        """Begin a node."""
        with self._lock:
            self._node, self._started_at, self._is_reported = node, time.time(), False
            if self._is_first:
                # Reported at once: the user sees it move.
                self._is_first = False
                self._report_start()

    def end(self, outcome: Outcome) -> None:
        """End the node that runs."""
        with self._lock:
            self._is_reported = True  # an outcome says enough
            self._outcomes.append(outcome)
            if outcome.ended_at - outcome.started_at > _LONG_SECONDS:
                self._flush()

    def close(self) -> None:
        """Report all that is left. After it, under the lock, the thread finds nothing more to send."""
        self._is_running.clear()
        with self._lock:
            self._is_reported = True
            self._flush()

    def report_progress(self) -> None:
        """Report what ended since the last time, and what runs."""
        with self._lock:
            self._flush()
            # A task that started just now has likely ended before the report would arrive.
            if not self._is_reported and time.time() - self._started_at > _REPORT_SECONDS / 2:
                self._report_start()
            progress = board.take(self._node)
            if progress is not None and self._is_reported:
                self._emit(_ENCODER.encode(TaskProgress(self._batch, progress)))

    def _report_start(self) -> None:
        self._is_reported = True
        started = TaskStarted(self._batch, self._node, self._started_at, os.getpid(), self._capture.stem)
        self._emit(_ENCODER.encode(started))

    def _flush(self) -> None:
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            self._emit(_ENCODER.encode(Outcomes(self._batch, _ENCODER.encode(outcomes))))
