"""The Jupyter server's way to the dispatcher: asynchronous requests over its private socket.

Nothing here blocks the server's loop, and a request that is held open costs a socket, not a thread. Starts the
dispatcher when there is none, but not again and again when it cannot start, and not when somebody stopped it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.netutil import Resolver
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from covalab.client.launcher import Address, find, start_dispatcher
from covalab.client.paths import address_file
from covalab.core import protocol
from covalab.core.errors import CovalabError, DispatcherUnavailable

_CONNECT_LIMIT: Final = 10.0  # seconds
_ANSWER_LIMIT: Final = 60.0  # seconds, on top of the time that a request asks to be held open
_MAX_OPEN: Final = 1_000  # requests held open at once, by all pages of one user
_MAX_ANSWER: Final = 512 * 1024**2  # the graph of a million nodes
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_REMEDY: Final = "run `covalab stop` with that version, or install the same version on both sides, then try again"


class Answer(msgspec.Struct, frozen=True):
    """What the dispatcher said: an HTTP status and a body (JSON unless it is empty); and which dispatcher it was."""

    status: int
    body: bytes
    epoch: int


class _OneSocket(Resolver):
    """Resolves every host to the Unix socket that is current."""

    path = ""

    async def resolve(self, host: str, port: int, family: int = 0) -> list[tuple[int, Any]]:  # noqa: ARG002
        return [(int(socket.AF_UNIX), self.path)]


class Relay:
    """A way to the dispatcher of one data folder, for one event loop.

    Parameters
    ----------
    folder
        The data folder.
    start
        Whether to start a dispatcher when none is running.
    """

    def __init__(self, folder: Path, *, start: bool = True) -> None:
        self.folder = folder
        self._start = start
        self._address: Address | None = None
        self._met = False  # whether there was a dispatcher since this server began
        self._failure: CovalabError | None = None
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._finding = asyncio.Lock()
        self._resolver = _OneSocket()

    @cached_property
    def _http(self) -> SimpleAsyncHTTPClient:
        # Made when the loop runs, which it belongs to.
        return SimpleAsyncHTTPClient(
            force_instance=True, resolver=self._resolver, max_clients=_MAX_OPEN, max_body_size=_MAX_ANSWER
        )

    def close(self) -> None:
        """Drop every open request."""
        self._http.close()

    async def ask(
        self, method: str, target: str, *, body: object = None, held: float = 0.0, repeat: bool = True
    ) -> Answer:
        """Ask the dispatcher.

        Parameters
        ----------
        method, target
            As in HTTP. Whatever is in `target` must have been checked: it is sent as it is.
        body
            What to send, or None for no body.
        held
            How many seconds the request asks to be held open.
        repeat
            Whether to ask again, once, if the dispatcher goes away in the middle.

        Raises
        ------
        DispatcherUnavailable, DataFolderError
            If there is no dispatcher and none could be started, or it does not answer.
        VersionMismatch
            If the dispatcher is of an incompatible version.
        """
        for last in (False, True) if repeat else (True,):
            address = await self.find()
            self._resolver.path = address.socket
            request = HTTPRequest(
                f"http://localhost{target}",
                method,
                {
                    "Accept": "application/json",
                    "Content-Type": protocol.MSGPACK,
                    protocol.HEADER: protocol.version_header(),
                },
                body=msgspec.msgpack.encode(body) if method == "POST" else None,
                connect_timeout=_CONNECT_LIMIT,
                request_timeout=held + _ANSWER_LIMIT,
                follow_redirects=False,
            )
            try:
                response = await self._http.fetch(request, raise_error=False)
                break
            except HTTPTimeoutError as error:
                message = (
                    f"the dispatcher of {self.folder} (process {address.pid}) did not answer in time "
                    f"({error.message}); `covalab logs` shows what it is doing"
                )
                raise DispatcherUnavailable(message) from error
            except (OSError, HTTPClientError) as error:
                # It went away. Every request that is relayed may be repeated: reading, cancelling, deleting.
                self._address = None
                if last:
                    message = (
                        f"the dispatcher of {self.folder} does not answer ({type(error).__name__}: {error}); "
                        "see `covalab logs`, then try again"
                    )
                    raise DispatcherUnavailable(message) from error
        said = response.headers.get(protocol.HEADER, "")
        protocol.check_version(said, f"the dispatcher of {self.folder}", _REMEDY)
        return Answer(response.code, response.body, address.epoch)

    async def find(self) -> Address:
        """Return where the dispatcher listens; starts one if there is none and this server may.

        Raises
        ------
        DispatcherUnavailable, DataFolderError
            If there is none. After a start that failed, the same error is given for a while, instead of a new start for
            every request of every open page.
        """
        if self._address is not None:
            return self._address
        async with self._finding:
            if self._address is None:
                self._address = await asyncio.to_thread(find, self.folder) or await self._begin()
                self._met = True
            return self._address

    async def _begin(self) -> Address:
        if not self._start:
            message = f"no dispatcher is running for {self.folder}; `covalab start` or any dispatch starts one"
            raise DispatcherUnavailable(message)
        if self._met and not address_file(self.folder).exists():
            # One that dies leaves its file behind; this one took leave.
            message = f"the dispatcher of {self.folder} was stopped; `covalab start` or any dispatch starts it again"
            raise DispatcherUnavailable(message)
        if self._failure is not None and time.monotonic() < self._not_before:
            raise self._failure
        try:
            address = await asyncio.to_thread(start_dispatcher, self.folder)
        except CovalabError as error:
            self._failure = error
            raise
        finally:
            # Also after a start that worked: one that dies at once must not be started in a tight loop.
            self._not_before = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._failure = DispatcherUnavailable(
            f"the dispatcher of {self.folder} was started and died; see `covalab logs`, or wait {self._pause:.0f} s"
        )
        return address

    def settle(self) -> None:
        """Note that the dispatcher has been up for a while: the next start need not wait."""
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
