"""Silence of the dispatcher: how a caller that waits for an answer notices it, and is informed.

A process that is stopped keeps its lock and its socket: connecting and sending succeed, and no answer comes. So whoever
waits sends a probe from time to time, a request that is answered at once by a dispatcher that runs.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from covalab.core import silence
from covalab.core.errors import DispatcherSilent

_PROBE: Final = b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Liveness:
    """Signs of life of one dispatcher, and what was reported about it; shared by the threads of a client."""

    def __init__(self) -> None:
        self.n_heard = 0
        self._is_reported = False
        self._n_slow = 0
        self._lock = threading.Lock()

    def on_heard(self, pid: int) -> None:
        """Count a sign of life; it ends a silence that was reported."""
        self.n_heard += 1
        if self._is_reported:  # without the lock: every answer comes here
            with self._lock:
                was_reported, self._is_reported = self._is_reported, False
            if was_reported:
                print_notice(f"the dispatcher (pid {pid}) answers again")

    def report_silence(self, text: str) -> None:
        """Print a line, once per silence."""
        with self._lock:
            was_reported, self._is_reported = self._is_reported, True
        if not was_reported:
            print_notice(f"{text}; waiting")

    def begin_slow(self, text: str) -> None:
        """Print a line about a request that takes long, unless there is another at this time."""
        with self._lock:
            self._n_slow += 1
            is_first = self._n_slow == 1
        if is_first:
            print_notice(f"{text}; waiting")

    def end_slow(self) -> None:
        """Count one request less that takes long."""
        with self._lock:
            self._n_slow -= 1


class AnswerWait:
    """Wait for the answer to one request, however long it takes, or until a deadline.

    Parameters
    ----------
    liveness
        What is known about the dispatcher.
    path, pid
        Its socket and its process.
    request
        The request as a text, for messages.
    is_held
        Whether the dispatcher may hold the request open: then only the answer to a probe is expected soon.
    deadline
        When to give up, by the monotonic clock; None: never.
    """

    def __init__(
        self, liveness: Liveness, path: str, pid: int, request: str, *, is_held: bool, deadline: float | None
    ) -> None:
        self._liveness = liveness
        self._path = path
        self._pid = pid
        self._request = request
        self._is_held = is_held
        self._deadline = deadline
        self._asked_at = self._heard_at = time.time()
        self._n_heard = liveness.n_heard
        self._waiting = silence.Waiting()
        self._probe: socket.socket | None = None
        self._is_slow = False

    def until_ready(self, sock: socket.socket, event: int) -> None:
        """Return when a socket can be read from or written to without waiting.

        Raises
        ------
        DispatcherSilent
            At the deadline.
        """
        poll = select.poll()
        poll.register(sock, event)
        while not poll.poll(silence.CALLER_TICK_SECONDS * 1000):
            self.tick()

    def tick(self) -> None:
        """Count a tick in which no answer came; send a probe, inform the caller or raise, as it is time to."""
        if heard := self._is_probe_answered() or self._liveness.n_heard != self._n_heard:
            self._n_heard = self._liveness.n_heard
            self._heard_at = time.time()
            self._close_probe()
        self._waiting = self._waiting.after_tick(heard=heard)
        if self._deadline is not None and self._waiting.gives_up(time.monotonic() - self._deadline):
            raise DispatcherSilent(self._slow_text() if self._waiting.is_slow else self._silence_text())
        if self._waiting.is_silent:
            self._liveness.report_silence(self._silence_text())
        elif self._waiting.is_slow and not self._is_held and not self._is_slow:
            self._is_slow = True
            self._liveness.begin_slow(self._slow_text())
        if self._waiting.wants_probe and self._probe is None:
            self._send_probe()

    def end(self, *, is_answered: bool) -> None:
        """End the wait; an answer is a sign of life."""
        self._close_probe()
        if self._is_slow:
            self._is_slow = False
            self._liveness.end_slow()
        if is_answered:
            self._liveness.on_heard(self._pid)

    def _silence_text(self) -> str:
        return silence.silence_text(self._pid, silence.since_text(self._heard_at, time.time()))

    def _slow_text(self) -> str:
        return silence.slow_text(self._pid, silence.since_text(self._asked_at, time.time()), self._request)

    def _send_probe(self) -> None:
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        probe.setblocking(False)
        try:
            probe.connect(self._path)
            probe.send(_PROBE)
        except OSError:  # its queue is full, or it is gone, which the request itself will notice
            probe.close()
        else:
            self._probe = probe

    def _is_probe_answered(self) -> bool:
        if self._probe is None:
            return False
        try:
            answer = self._probe.recv(16)
        except BlockingIOError:
            return False
        except OSError:
            answer = b""
        if not answer:  # it ended without an answer; the next tick sends another probe
            self._close_probe()
            return False
        self._liveness.on_heard(self._pid)
        return True

    def _close_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None


def print_notice(text: str) -> None:
    """Print a notice for people on standard error, if there is one."""
    with suppress(OSError, ValueError, AttributeError):  # there may be no standard error, or a closed one
        sys.stderr.write(f"covalab: {text}\n")
        sys.stderr.flush()
