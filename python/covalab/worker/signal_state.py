"""Signal handlers, timers and the mask of blocked signals: put back after a node. Only for the main thread."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # without the conversion to enums, which costs ten times as much
import signal
from contextlib import suppress
from typing import Any, Final

_SIGNALS: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
    signal.SIGPIPE,
    signal.SIGXCPU,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGWINCH,
    signal.SIGIO,
    signal.SIGABRT,
    signal.SIGSEGV,
    signal.SIGFPE,
)
"""Those that programs handle. To read the handlers of all 64 would cost what half of the other parts do together."""


class SignalState:
    """The handlers of this process at one moment."""

    def __init__(self) -> None:
        self._handlers = _handlers()
        self._mask = _mask()

    def put_back(self) -> None:
        """Stop the timers that a task left, and put its handlers back."""
        signal.setitimer(signal.ITIMER_REAL, 0)  # of `signal.alarm`, too
        if _mask() != self._mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        now = _handlers()
        if now == self._handlers:
            return
        # A task that uses these timers has set their handlers: without one they end the process.
        for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        signal.set_wakeup_fd(-1)
        for number, handler, before in zip(_SIGNALS, now, self._handlers, strict=True):
            if handler is not before and before is not None:  # None: set by C code, which Python cannot put back
                with suppress(OSError, ValueError):
                    signal.signal(number, before)


def _handlers() -> list[Any]:
    return [*map(_signal.getsignal, _SIGNALS)]


def _mask() -> set[int]:
    blocked: set[int] = _signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return blocked
