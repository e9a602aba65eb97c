"""Umask of this process: the mode bits that new files do not get."""

from __future__ import annotations

import os
from contextlib import suppress


def current() -> int:
    """Return the umask of this process.

    Examples
    --------
    >>> before = os.umask(0o027)
    >>> oct(current())
    '0o27'
    >>> _ = os.umask(before)
    """
    with suppress(OSError, ValueError, StopIteration), open("/proc/self/status", "rb") as status:  # noqa: PTH123 - it is quicker
        # Setting it is the only other way to read it, and another thread may make a file meanwhile.
        return int(next(line for line in status if line.startswith(b"Umask:")).split()[1], 8)
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
