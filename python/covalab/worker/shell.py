"""Shell commands of a task: their output is the task's output, and an error can quote the end of it."""

from __future__ import annotations

import contextvars
import os
import shlex
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

import msgspec

_TAIL_LINES: Final = 20
_LINGER_SECONDS: Final = 0.5
"""How long to wait for the last output of a command that left a process behind which may print for ever."""


class CommandResult(msgspec.Struct, frozen=True):
    """Result of a command: the command as text, its exit code, and the end of its output."""

    command: str
    code: int
    tail: str


def run_command(command: Sequence[str], environment: Mapping[str, str] | None = None) -> CommandResult:
    """Run a command without input and wait for it; its output is printed here, line by line.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ if environment is None else environment,
        text=True,
        errors="backslashreplace",
    )
    tails: list[deque[str]] = [deque(maxlen=_TAIL_LINES), deque(maxlen=_TAIL_LINES)]
    threads = []
    for stream, target, tail in zip((process.stdout, process.stderr), (sys.stdout, sys.stderr), tails, strict=True):
        here = contextvars.copy_context()  # where several tasks share a process, it says whose output this is
        thread = threading.Thread(target=here.run, args=(_pass_on, stream, target, tail), daemon=True)
        thread.start()
        threads.append(thread)
    try:
        code = process.wait()
    except BaseException:  # the task was interrupted
        process.kill()
        process.wait()
        raise
    for thread in threads:
        thread.join(_LINGER_SECONDS)
    printed = [*tails[0], *tails[1]]
    return CommandResult(shlex.join(command), code, "".join(printed).strip() or "it printed nothing")


def _pass_on(stream: IO[str], target: Any, tail: deque[str]) -> None:
    with stream:
        for line in stream:
            tail.append(line)
            target.write(line)
        target.flush()
