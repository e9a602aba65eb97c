"""Output streams of executors, one pair per task, in a process that runs many at once.

Where the host has put a `Switch` in place of `sys.stdout` and `sys.stderr`, each task writes to a buffer of its own;
anywhere else the streams are redirected the ordinary way.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

_targets: ContextVar[tuple[TextIO, TextIO] | None] = ContextVar("covalab_streams", default=None)


class Switch(io.TextIOBase):
    """Stream that writes to the buffer of the current task; outside of tasks, to the usual stream."""

    def __init__(self, usual: TextIO, number: int) -> None:
        self.usual = usual
        self._number = number

    def _target(self) -> TextIO:
        targets = _targets.get()
        return self.usual if targets is None else targets[self._number]

    def writable(self) -> bool:
        """Return True: `io.TextIOBase` says no."""
        return True

    def write(self, text: str) -> int:
        """Write to the task's buffer."""
        return self._target().write(text)

    def flush(self) -> None:
        """Flush the task's buffer."""
        self._target().flush()

    def fileno(self) -> int:
        """Return the file descriptor of the usual stream."""
        return self.usual.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the text."""
        return "utf-8"


def install() -> None:
    """Replace `sys.stdout` and `sys.stderr` by switches, so that every task has streams of its own."""
    sys.stdout, sys.stderr = Switch(sys.stdout, 0), Switch(sys.stderr, 1)


@contextmanager
def printing_to(stdout: TextIO, stderr: TextIO) -> Iterator[None]:
    """Redirect the output of this task to two buffers."""
    if isinstance(sys.stdout, Switch):
        token = _targets.set((stdout, stderr))
        try:
            yield
        finally:
            _targets.reset(token)
        return
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(stdout))
        stack.enter_context(redirect_stderr(stderr))
        yield


class Spooled(io.StringIO):
    """A buffer whose text also goes to a file as it comes, so that a running task's output can be read."""

    def __init__(self, folder: str, name: str) -> None:
        super().__init__()
        self._path = Path(folder, name)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)

    def write(self, text: str) -> int:
        """Write to the buffer and to the file."""
        if not self._file.closed:
            self._file.write(text)
            self._file.flush()
        return super().write(text)

    def remove_file(self) -> None:
        """Close and remove the file; the text stays in the buffer."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return io.StringIO, (self.getvalue(),)
