"""Channel: frames between a worker and one of its processes, over a socket, in order, from any thread."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from covalab.open_files import identity

_HEAD: Final = 5  # one byte of kind, four of length
_INTERRUPT: Final = (signal.SIGINT,)

BATCH: Final = b"B"
"""To a task process: run this encoded `Batch`."""
PREPARE: Final = b"P"
"""To a spare task process: its output will go to this folder."""
CANCEL: Final = b"C"
"""To a task process: interrupt nodes of a batch (an encoded `Cancel`)."""
RETURN: Final = b"U"
"""To a task process: end the batch with this number (8 bytes) after the node that runs."""
EXIT: Final = b"X"
"""To a task process: end as a script ends."""
MESSAGE: Final = b"M"
"""To the worker: an encoded message for the dispatcher."""
ENDED: Final = b"E"
"""To the worker: the batch ended (an encoded `BatchEnd`)."""
ANEW: Final = b"N"
"""To the worker: the process replaces itself, because its packages were imported under other variables than these."""
AGAIN: Final = b"A"
"""To the worker: the process has replaced itself and has no batch; send it once more."""
STOPPED: Final = b"S"
"""To the worker: the nodes of the last `CANCEL` run no more."""
WAITS: Final = b"W"
"""To the worker: the task waits for another dispatch, its place is free."""
RESUMED: Final = b"R"
"""To the worker: the task goes on."""

OFFER: Final = b"O"
"""To the worker: the task has written a blob into the cache (32 bytes of digest, its size)."""
ASK: Final = b"Q"
"""To the worker: a question for the pool (4 bytes of number, an encoded question)."""
ANSWER: Final = b"Y"
"""To a task process: the answer (4 bytes of number, an encoded `carriage.Reply`)."""


class Channel:
    """Frames over a connected socket; every frame has a kind of one byte.

    Parameters
    ----------
    connection
        The socket; it is closed with the channel.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = connection.makefile("rb")
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._identity = identity(connection.fileno())

    @property
    def is_open(self) -> bool:
        """Whether our descriptor is still this socket: a task may close all, and open others under their numbers."""
        return identity(self._socket.fileno()) == self._identity

    def send(self, kind: bytes, data: bytes = b"") -> None:
        """Send one frame.

        Raises
        ------
        OSError
            If the other side is gone, or the socket was closed, or this is another process, which was forked.
        """
        if os.getpid() != self._pid:
            message = "only the process of a task reaches covalab, not one that the task forked"
            raise OSError(message)
        if not self.is_open:
            message = "the descriptor of the channel was closed"
            raise OSError(message)
        frame = kind + len(data).to_bytes(_HEAD - 1, "big") + data
        with _uninterrupted(), self._lock:
            self._socket.sendall(frame)

    def receive(self) -> tuple[bytes, bytes] | None:
        """Return kind and content of the next frame; None when the other side is gone."""
        try:
            head = self._reader.read(_HEAD)
            if len(head) < _HEAD:
                return None
            length = int.from_bytes(head[1:], "big")
            data = self._reader.read(length) if length else b""
        except (OSError, ValueError):  # closed at this side
            return None
        return (head[:1], data) if len(data) == length else None

    def is_ready(self, seconds: float) -> bool:
        """Return whether a frame, or the end, has begun to come within some seconds; for who has it alone."""
        self._socket.setblocking(False)
        try:
            if self._reader.peek(1):  # also what came with the frame before
                return True
        except (OSError, ValueError):  # closed
            return True
        finally:
            self._socket.setblocking(True)
        return bool(select.select([self._socket], [], [], seconds)[0])

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def shut(self) -> None:
        """End what comes in: `receive` returns None after what has come already."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close the socket."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.close()
        self._socket.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back SIGINT: an exception in the middle of a frame would spoil all that follow."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
