"""Clock of a dispatcher: the only place in this package that reads the time of day."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Time of day and elapsed time. Tests give functions of their own, and so decide when it is.

    Parameters
    ----------
    now
        Returns the time in seconds since the epoch. It may jump: people, NTP and time zones set it.
    elapsed
        Returns seconds since some moment. It never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.time, elapsed: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.elapsed = elapsed
