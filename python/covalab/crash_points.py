"""Crash points: named moments at which a test ends the process, as a kill or a power cut would.

A point does nothing unless `COVALAB_CRASH_POINTS` named a folder when the process began. Then the first process that
passes a point for which there is a file of its name removes that file and kills itself; a number in the file is how
often the point is passed before.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final

_FOLDER: Final = os.environ.get("COVALAB_CRASH_POINTS", "")


def crash_point(name: str) -> None:
    """Pass a point."""
    if _FOLDER:
        _pass(f"{_FOLDER}/{name}")


def _pass(path: str) -> None:
    with suppress(FileNotFoundError):
        with open(path, "r+", encoding="ascii") as file:  # noqa: PTH123 - pathlib is not needed by a task otherwise
            left = int(file.read() or 0)
            file.seek(0)
            file.truncate()
            file.write(str(left - 1))
        if left <= 0:
            os.unlink(path)  # noqa: PTH108 - whoever removes it is the one that dies
            os.kill(os.getpid(), signal.SIGKILL)
