"""HTTP over a Unix socket with the standard library. Knows no route and decodes no body."""

from __future__ import annotations

import http.client
import socket
import time
from typing import Final

from covalab.core import protocol

_CONNECT_TIMEOUT: Final = 10.0


class UnixConnection(http.client.HTTPConnection):
    """A kept-open connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def __del__(self) -> None:
        # There is one per thread, and it goes with its thread.
        self.close()

    def connect(self) -> None:
        """Connect; answers may then take as long as they take."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(_CONNECT_TIMEOUT)
            self._connect(self.sock)
            self.sock.settimeout(None)
        except BaseException:  # also an interrupt: a half open socket must not be kept
            self.sock.close()
            self.sock = None
            raise

    def _connect(self, sock: socket.socket) -> None:
        deadline = time.monotonic() + _CONNECT_TIMEOUT
        while True:
            try:
                sock.connect(self._path)
            except BlockingIOError as error:
                # The queue of the listening socket is full; connecting with a timeout does not wait for room in it.
                if time.monotonic() > deadline:
                    raise ConnectionRefusedError(error.errno, "too many connect at once") from error
                time.sleep(0.01)
            else:
                return

    def exchange(self, method: str, target: str, body: bytes | None, accept: str) -> tuple[int, str, bytes]:
        """Send one request and return status, the other side's version and the body.

        An interrupt (the notebook's stop button) or an error closes the connection, so that the answer to this
        request is never taken for the answer to the next.
        """
        headers = {"Accept": accept, protocol.HEADER: protocol.version_header()}
        if body is not None:
            headers["Content-Type"] = protocol.MSGPACK
        try:
            self.request(method, target, body, headers)
            response = self.getresponse()
            return response.status, response.headers.get(protocol.HEADER, ""), response.read()
        except BaseException:  # an interrupt too, as said above
            self.close()
            raise
