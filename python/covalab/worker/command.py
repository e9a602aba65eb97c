"""Running a command as part of a task: what it prints is the task's output, and an error can quote the end of it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

_TAIL_BYTES: Final = 2_000


class Ended(msgspec.Struct, frozen=True):
    """How a command ended: the command as text, its exit code, and the end of what it printed."""

    command: str
    code: int
    tail: str


def run_command(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a command without input and wait for it; it prints where this process does.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    before = [_size(fd) for fd in (1, 2)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False)
    tail = "\n".join(filter(None, map(_since, (1, 2), before)))
    return Ended(shlex.join(command), done.returncode, tail or "it printed nothing")


def _size(fd: int) -> int:
    with suppress(OSError):
        return os.fstat(fd).st_size
    return 0


def _since(fd: int, before: int) -> str:
    """Return the end of what was written to a stream that is a file, as it is while a task runs."""
    with suppress(OSError):  # a terminal or a pipe, which showed it already
        size = os.fstat(fd).st_size
        start = max(before, size - _TAIL_BYTES)
        return os.pread(fd, size - start, start).decode("utf-8", "replace").strip()
    return ""
