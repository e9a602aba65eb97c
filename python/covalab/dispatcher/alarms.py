"""Alarms: when which dispatch has something to do that no event announces."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final

from covalab.core.model import DispatchId
from covalab.dispatcher.clock import Clock

_LONGEST_SLEEP: Final = 60.0


class _Alarm:
    """One alarm: a time of day, and whether it has gone off."""

    __slots__ = ("at", "dispatch", "is_over")

    def __init__(self, at: float, dispatch: DispatchId) -> None:
        self.at = at
        self.dispatch = dispatch
        self.is_over = False


class Alarms:
    """The alarms of all dispatches.

    Parameters
    ----------
    clock
        The clock.
    wake
        Is called when an alarm may be due.
    """

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        # Heaps. The number keeps alarms of one moment in the order in which they were set.
        self._by_time: list[tuple[float, int, _Alarm]] = []
        self._by_elapsed: list[tuple[float, int, _Alarm]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def set_alarm(self, at: float, dispatch: DispatchId, *, is_delay: bool = False) -> None:
        """Set an alarm for a time of day.

        With `is_delay` it stands for a number of seconds from now, and is due when these have passed, too: a clock that
        is set back a day must not delay a retry by a day. Either is enough: a machine that sleeps lets no time elapse.
        """
        alarm = _Alarm(at, dispatch)
        number = next(self._numbers)
        heapq.heappush(self._by_time, (at, number, alarm))
        if is_delay:
            deadline = self._clock.elapsed() + at - self._clock.now()
            heapq.heappush(self._by_elapsed, (deadline, number, alarm))
        self._wake()

    def take_due(self) -> list[tuple[DispatchId, float]]:
        """Return the dispatches whose alarms are due, and the time of day that each was set for."""
        due = []
        for heap, now in ((self._by_time, self._clock.now()), (self._by_elapsed, self._clock.elapsed())):
            while heap and heap[0][0] <= now:
                alarm = heapq.heappop(heap)[2]
                if not alarm.is_over:  # it may be in both heaps
                    alarm.is_over = True
                    due.append((alarm.dispatch, alarm.at))
        return due

    def sleep_until_next(self, other: float | None) -> None:
        """Arrange to be woken for the next alarm, or at another time of day."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock.now()
        left = [
            heap[0][0] - at for heap, at in ((self._by_time, now), (self._by_elapsed, self._clock.elapsed())) if heap
        ]
        if other is not None:
            left.append(other - now)
        if left:
            # Not for longer than a minute: the clock of the wall may be set meanwhile, or the machine have slept.
            seconds = min(max(0.0, min(left)), _LONGEST_SLEEP)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._wake)
