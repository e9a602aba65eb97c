"""Silence: when a process that does not answer is taken for lost, and when a caller is informed.

Counted in ticks of the process that waits, never by a clock. A laptop that sleeps for a night stops both sides alike:
no tick passes, and nothing is lost.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping
from typing import Final

import msgspec

# -- processes that run batches ------------------------------------------------------------------------------------

LIMIT_TICKS: Final = 12
"""The limit in ticks: a process is asked so often before it is taken for lost."""


def tick_seconds(limit: float) -> float:
    """Return the time between two ticks for a limit in seconds.

    Examples
    --------
    >>> tick_seconds(60)
    5.0
    """
    return limit / LIMIT_TICKS


def count_tick(silent: Mapping[str, int], watched: Iterable[str], answered: Container[str]) -> dict[str, int]:
    """Return for how many ticks each watched process has not answered, after one more tick.

    One that is watched for the first time begins at zero: it had no tick to answer in.

    Examples
    --------
    >>> count_tick({"a": 3, "b": 3}, ["a", "b", "c"], answered={"a"})
    {'a': 0, 'b': 4, 'c': 0}
    """
    return {name: 0 if name in answered or name not in silent else silent[name] + 1 for name in watched}


def lost(silent: Mapping[str, int]) -> list[str]:
    """Return the processes that have been silent for the limit.

    Examples
    --------
    >>> lost({"a": 11, "b": 12, "c": 0})
    ['b']
    """
    return [name for name, ticks in silent.items() if ticks >= LIMIT_TICKS]


# -- callers of the dispatcher -------------------------------------------------------------------------------------

CALLER_TICK_SECONDS: Final = 0.5
PROBE_TICKS: Final = 4
"""Ticks without a sign of life after which a caller sends a probe, a request that is answered at once."""
REPORT_TICKS: Final = 10
"""Ticks without a sign of life after which a caller is informed: five seconds."""
_DOUBT_TICKS: Final = 6
"""Ticks without a sign of life that make a caller whose time is up stop waiting for the answer."""
_LATE_SECONDS: Final = 10.0
"""The time by which an answer may be late as long as there are signs of life: reading a large record takes a while."""


class Waiting(msgspec.Struct, frozen=True):
    """A request that waits for its answer, in ticks: since it was sent, and since the last sign of life."""

    asked: int = 0
    quiet: int = 0

    def after_tick(self, *, heard: bool) -> Waiting:
        """Return the request one tick later. `heard`: the dispatcher answered something meanwhile."""
        if not heard:
            return Waiting(self.asked + 1, self.quiet + 1)
        # The time of a silence is not counted: now the request may take as long as if it had just been sent.
        return Waiting(0 if self.is_silent else self.asked + 1, 0)

    @property
    def wants_probe(self) -> bool:
        """Whether it is time for a probe."""
        return self.quiet >= PROBE_TICKS

    @property
    def is_silent(self) -> bool:
        """Whether the dispatcher is to be reported as silent."""
        return self.quiet >= REPORT_TICKS

    @property
    def is_slow(self) -> bool:
        """Whether the request takes long although the dispatcher answers others."""
        return self.asked >= REPORT_TICKS and self.quiet < PROBE_TICKS

    def gives_up(self, past_deadline: float) -> bool:
        """Whether a caller stops waiting whose deadline passed so many seconds ago.

        The answer to a wait with a time limit is sent when the limit is reached, so it comes a little later.
        """
        return past_deadline >= 0 and (self.quiet >= _DOUBT_TICKS or past_deadline >= _LATE_SECONDS)


def since_text(since: float, now: float) -> str:
    """Return a point in time in local time, with its date unless that is today's."""
    moment, today = time.localtime(since), time.localtime(now)
    return time.strftime("%H:%M:%S" if moment[:3] == today[:3] else "%Y-%m-%d %H:%M:%S", moment)


def silence_text(pid: int, since: str) -> str:
    """Return the fact and the ways out of a dispatcher that does not answer.

    Examples
    --------
    >>> print(silence_text(123, "12:00:05"))
    the dispatcher (pid 123) does not answer since 12:00:05; nothing is lost: `kill -CONT 123` if it was stopped, \
`covalab stop` to end it (the next call starts another)
    """
    return (
        f"the dispatcher (pid {pid}) does not answer since {since}; nothing is lost: `kill -CONT {pid}` if it was "
        "stopped, `covalab stop` to end it (the next call starts another)"
    )


def slow_text(pid: int, since: str, request: str) -> str:
    """Return the fact that a dispatcher answers others but not this request."""
    return (
        f"the dispatcher (pid {pid}) answers, but not the request {request} of {since}: it has much to do, or its disk "
        "does not answer; `covalab logs` shows more"
    )
