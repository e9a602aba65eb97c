"""HTTP over a Unix socket with the standard library. Decodes no body."""

from __future__ import annotations

import http.client
import select
import socket
import time
from typing import Any, Final

from covalab.client.silence import AnswerWait, Liveness
from covalab.client.whole_response import WholeResponse
from covalab.core import protocol, silence

_FULL_QUEUE_SECONDS: Final = 0.01


class _WatchedSocket(socket.socket):
    """Socket of a request: whoever would wait in it waits in `AnswerWait`."""

    wait: AnswerWait

    def recv_into(self, *args: Any) -> int:
        """Receive, as every read of a response does."""
        self.wait.until_ready(self, select.POLLIN)
        return super().recv_into(*args)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything, as every part of a request is sent."""
        left = memoryview(data).cast("B")
        while left:
            try:
                left = left[self.send(left, flags | socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self.wait.until_ready(self, select.POLLOUT)


class UnixConnection(http.client.HTTPConnection):
    """A kept-open connection to the Unix socket of a process."""

    sock: _WatchedSocket | None
    response_class = WholeResponse

    def __init__(self, path: str, pid: int) -> None:
        super().__init__("localhost")
        self.path = path
        self.pid = pid
        self.wait = AnswerWait(Liveness(), path, pid, "", is_held=True, deadline=None)  # for the request that is next

    def __del__(self) -> None:
        # There is one per thread, and it goes with its thread.
        self.close()

    def connect(self) -> None:
        """Connect; it takes as long as it takes."""
        sock = self.sock = _WatchedSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.wait = self.wait
        try:
            self._connect(sock)
        except BaseException:  # also an interrupt: a half open socket must not be kept
            sock.close()
            self.sock = None
            raise

    def _connect(self, sock: _WatchedSocket) -> None:
        # The queue of the listening socket may be full, and stays so when its process is stopped: a blocking call would
        # wait in the system, where nobody is informed.
        sock.setblocking(False)
        ticked_at = time.monotonic()
        while True:
            try:
                sock.connect(self.path)
            except BlockingIOError:
                time.sleep(_FULL_QUEUE_SECONDS)
            else:
                sock.setblocking(True)
                return
            if time.monotonic() - ticked_at >= silence.CALLER_TICK_SECONDS:
                ticked_at = time.monotonic()
                self.wait.tick()

    def exchange(self, method: str, target: str, body: bytes | None, accept: str) -> tuple[int, str, bytes]:
        """Send one request and return status, the other side's version and the body.

        An interrupt (the notebook's stop button) or an error closes the connection, so that the answer to this
        request is never taken for the answer to the next.
        """
        headers = {"Accept": accept, protocol.HEADER: protocol.version_header()}
        if body is not None:
            headers["Content-Type"] = protocol.MSGPACK
        if self.sock is not None:
            self.sock.wait = self.wait
        is_answered = False
        try:
            self.request(method, target, body, headers)
            response = self.getresponse()
            answer = response.status, response.headers.get(protocol.HEADER, ""), response.read()
            is_answered = True
        except BaseException:  # an interrupt too, as said above
            self.close()
            raise
        finally:
            self.wait.end(is_answered=is_answered)
        return answer
