"""Waiting for conditions: with a limit that only what never happens exceeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LONG = 120.0
"""Seconds within which everything happens, on a machine that does ten other things."""


def until(what: Callable[[], T], seconds: float = LONG) -> T:
    """Wait for something to become true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        time.sleep(0.01)
    return found
