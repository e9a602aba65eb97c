"""Recorder: the events of a node's outputs, written to a file beside the two of its streams while it runs.

A node that displays nothing writes nothing. What is written is bounded: when there is more, later outputs are left out
and one says so; what an update or `clear_output` has replaced is taken out of the file when that has grown.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec

from covalab.core.outputs import Event, EventKind, compact, frame, read_frames
from covalab.open_files import is_scarcity

OUTPUTS_LIMIT: Final = 1_000
BYTES_LIMIT: Final = 32 * 1024 * 1024
"""Outputs kept of a node, and their bytes as JSON."""
_MARKS_LIMIT: Final = 10_000
_TIME_STEP: Final = 0.1
"""Seconds between two times that are recorded of what is printed; later a thousandth of how long the node has run."""
_FILE_LIMIT: Final = 2 * BYTES_LIMIT
_PLAIN: Final = "text/plain"


class Recorder:
    """The events of the node that runs.

    Attributes
    ----------
    error
        The exception that was recorded last.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._path = ""
        self._fd = -1
        self._streams: tuple[int, int] | None = None
        self._pid = os.getpid()
        self.is_late: Callable[[], bool] = _never
        self._started = self._next_time = 0.0
        self._in_memory = bytearray()
        self._begin()

    def _begin(self) -> None:
        self.n_events = 0
        self.error: BaseException | None = None
        self._size = 0
        self._compacted_size = 0
        self._n_marks = 0
        self._out_at_mark = -1
        self._ids: set[str] = set()
        self._missed: set[str] = set()
        self._clear()
        self._n_left_out = self._bytes_left_out = 0

    def _clear(self) -> None:
        self._n_outputs = self._n_bytes = 0
        self._sizes: dict[str, int] = {}
        self._clears = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was recorded since the last call of `take`, not even when something was printed."""
        return self._size == 0

    def start(self, at: float) -> None:
        """Note when a node starts: what it prints at once has that time."""
        self._started, self._next_time = at, at + _TIME_STEP

    def has_displayed(self, display_id: str) -> bool:
        """Return whether the node has displayed something under an id."""
        return display_id in self._ids

    def misses(self, display_id: str) -> bool:
        """Note an update of what the node has not displayed; return whether it is known already, or nobody sees it."""
        is_known = display_id in self._missed or self.is_late()
        self._missed.add(display_id)
        return is_known

    def open(self, path: str, streams: tuple[int, int]) -> None:
        """Record in a file from here on; `streams` are descriptors of the files with what is printed."""
        self.close()
        self._path, self._streams, self._pid = path, streams, os.getpid()
        self._in_memory.clear()
        self._begin()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._path, self._streams = -1, "", None

    def take(self) -> list[Event]:
        """Return the events since the last call, and make ready for the next node."""
        with self._lock:
            if self.is_empty:
                return []
            events, _ = read_frames(self._content())
            if self._fd >= 0:
                os.ftruncate(self._fd, 0)
            self._in_memory.clear()
            self._begin()
        return events

    def copy(self, frames: bytes) -> None:
        """Put events of another process at the end, for those who look on."""
        with self._lock:
            self._put(frames)

    def display(self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None, display_id: str = "") -> None:
        """Record what `display` shows."""
        output = {"output_type": "display_data", "data": data, "metadata": metadata or {}}
        self._record("display", output, display_id)

    def update(self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None, display_id: str) -> None:
        """Record new content of what was displayed under an id."""
        output = {"output_type": "display_data", "data": data, "metadata": metadata or {}}
        self._record("update", output, display_id)

    def result(self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None, count: int) -> None:
        """Record the value of the last expression of a cell."""
        output = {"output_type": "execute_result", "data": data, "metadata": metadata or {}, "execution_count": count}
        self._record("result", output)

    def failure(self, error: BaseException | None, name: str, message: str, traceback: list[str]) -> None:
        """Record an error."""
        self._record("error", {"output_type": "error", "ename": name, "evalue": message, "traceback": traceback})
        self.error = error

    def clear(self, *, wait: bool) -> None:
        """Record that the outputs so far are taken away, with `wait` when the next one comes."""
        with self._lock:
            if self._is_recording():
                self._write("clear", b"true" if wait else b"false")
                if wait:
                    self._clears = True
                else:
                    self._clear()

    def mark(self) -> None:
        """Record that from here on standard error is written, if standard output or time went on since the last."""
        if self._streams is None or not self._lock.acquire(blocking=False):
            return
        try:
            with suppress(OSError):  # the task has closed the file
                out = os.fstat(self._streams[0]).st_size
                now = time.time()
                is_new = out != self._out_at_mark and self._n_marks < _MARKS_LIMIT
                if (is_new or now >= self._next_time) and self._is_recording():
                    self._n_marks += is_new
                    self._write_time("mark", now)
                    self._out_at_mark = out
        finally:
            self._lock.release()

    def note_time(self) -> None:
        """Record when standard output is written, unless that was recorded a moment ago."""
        now = time.time()
        if self._streams is None or now < self._next_time or not self._lock.acquire(blocking=False):
            return
        try:
            if self._is_recording():
                self._write_time("time", now)
        finally:
            self._lock.release()

    def _write_time(self, kind: Literal["mark", "time"], now: float) -> None:
        # So that one that prints for days records thousands of times, and no millions.
        self._next_time = now + max(_TIME_STEP, (now - self._started) / 1000)
        self._write(kind, b"%.3f" % now)

    def _record(self, kind: EventKind, output: dict[str, Any], display_id: str = "") -> None:
        content = to_json(output)
        with self._lock:
            if not self._is_recording():
                return
            if self._clears and kind != "update":
                self._clear()
            if kind == "update" and display_id not in self._sizes:
                return
            before = self._sizes.get(display_id, 0) if kind == "update" else 0
            allowed = BYTES_LIMIT - self._n_bytes + before
            n_more = 0 if kind == "update" else 1
            if len(content) > allowed or self._n_outputs + n_more > OUTPUTS_LIMIT:
                self._leave_out(len(content))
                content = _shortened(output, allowed)
                if not content or self._n_outputs + n_more > OUTPUTS_LIMIT:
                    return
            self._n_outputs += n_more
            self._n_bytes += len(content) - before
            if display_id:
                self._ids.add(display_id)
                self._sizes[display_id] = len(content)
            self._write(kind, content, display_id)

    def _leave_out(self, size: int) -> None:
        self._n_left_out += 1
        self._bytes_left_out += size
        n = self._n_left_out
        if n & (n - 1) == 0 or n % 1000 == 0:  # not for each of a million
            some = "1 output" if n == 1 else f"{n:,} outputs"
            limit = f"a task keeps {OUTPUTS_LIMIT:,} of {BYTES_LIMIT >> 20} MB"
            text = f"… {some} ({self._bytes_left_out:,} bytes) left out: {limit} …\n"
            self._write("left_out", msgspec.json.encode(text))

    def _is_recording(self) -> bool:
        # A process that the task has forked would write at the same place; a kernel does not show its outputs either.
        return os.getpid() == self._pid and not self.is_late()

    def _write(self, kind: EventKind, content: bytes = b"null", display_id: str = "") -> None:
        out, err = self._positions()
        self._out_at_mark = -1
        data = frame(Event(kind, out, err, content, display_id))
        self.n_events += kind != "time"
        self._put(data)

    def _put(self, data: bytes) -> None:
        self._size += len(data)
        if not self._path or (self._fd < 0 and not self._open_file()):
            self._in_memory += data
            return
        _write_all(self._fd, data)
        if self._size > _FILE_LIMIT + self._compacted_size:
            self._compact()

    def _open_file(self) -> bool:
        """Open the file. Return whether that was possible: a task that has opened all files it may goes on printing."""
        try:
            self._fd = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if not is_scarcity(error):
                raise
            return False
        _write_all(self._fd, bytes(self._in_memory))
        self._in_memory.clear()
        return True

    def _positions(self) -> tuple[int, int]:
        if self._streams is None:
            return 0, 0
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the task may have closed or replaced it
                stream.flush()
        with suppress(OSError):
            return os.fstat(self._streams[0]).st_size, os.fstat(self._streams[1]).st_size
        return 0, 0

    def _content(self) -> bytes:
        if self._fd < 0:
            return bytes(self._in_memory)
        size = os.fstat(self._fd).st_size
        parts = []
        position = 0
        while position < size and (part := os.pread(self._fd, size - position, position)):
            parts.append(part)
            position += len(part)
        return b"".join(parts)

    def _compact(self) -> None:
        """Write the file anew, without what was replaced. A reader sees that it is another file."""
        events, _ = read_frames(self._content())
        data = b"".join(map(frame, compact(events)))
        fd = os.open(f"{self._path}.new", os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        _write_all(fd, data)
        os.replace(f"{self._path}.new", self._path)  # noqa: PTH105 - its name is a text
        os.close(self._fd)
        self._fd = fd
        self._size = self._compacted_size = len(data)


def _never() -> bool:
    return False


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _shortened(output: dict[str, Any], allowed: int) -> bytes:
    """Return an output that is too large with its text only, if that is small enough; otherwise nothing."""
    data = output.get("data", {})
    if _PLAIN in data:
        content = to_json({**output, "data": {_PLAIN: data[_PLAIN]}, "metadata": {}})
        if len(content) <= min(allowed, BYTES_LIMIT // 32):
            return content
    return b""


def to_json(output: object) -> bytes:
    """Return JSON of an output; what JSON does not know becomes what it is nearest to."""
    try:
        return msgspec.json.encode(output, enc_hook=_plain)
    except Exception:  # noqa: BLE001 - keys and values are of any kind, and `_plain` runs their code
        return msgspec.json.encode(_simple(output, 0))


def _plain(value: Any) -> Any:
    for method in ("item", "tolist"):
        if hasattr(value, method):
            with suppress(Exception):
                return getattr(value, method)()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "__iter__"):
        return list(value)
    return str(value)


def _simple(value: Any, depth: int) -> Any:
    if isinstance(value, dict) and depth < 100:
        return {_text(key): _simple(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and depth < 100:
        return [_simple(item, depth + 1) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    try:
        msgspec.json.encode(value, enc_hook=_plain)
    except Exception:  # noqa: BLE001 - as above
        return _text(value)
    return value


def _text(value: Any) -> str:
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - `__str__` is the user's code
        return f"<{type(value).__name__}>"


recorder: Final = Recorder()
"""The recorder of this process."""
