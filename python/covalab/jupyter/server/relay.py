"""Relay from the Jupyter server to the dispatcher: asynchronous requests over its private socket.

Nothing here blocks the server's event loop, and a request that is held open costs a socket, not a thread. Starts the
dispatcher when there is none, but with growing pauses when it cannot start, and not when a user has stopped it.
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

from covalab.client import Client
from covalab.client.launcher import Address, find, start_dispatcher
from covalab.client.paths import address_file
from covalab.core import protocol
from covalab.core.errors import CovalabError, DispatcherSilent, DispatcherUnavailable
from covalab.jupyter.server.silence import RelaySilence

_CONNECT_LIMIT: Final = 10.0  # seconds
_ANSWER_LIMIT: Final = 60.0  # seconds, on top of the time that a request asks to be held open
_MAX_OPEN: Final = 1_000  # requests held open at once, by all pages of one user
_MAX_ANSWER: Final = 512 * 1024**2  # the graph of a million nodes
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_REMEDY: Final = "run `covalab stop` with that version, or install the same version on both sides, then try again"


class Answer(msgspec.Struct, frozen=True):
    """An answer of the dispatcher: HTTP status, body (JSON, or as asked, or empty), epoch of the dispatcher."""

    status: int
    body: bytes
    epoch: int


class _SocketResolver(Resolver):
    """Resolver of every host name to the current Unix socket."""

    path = ""

    async def resolve(self, host: str, port: int, family: int = 0) -> list[tuple[int, Any]]:
        return [(int(socket.AF_UNIX), self.path)]


class Relay:
    """Requests to the dispatcher of one data folder, for one event loop.

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
        self._was_found = False  # whether there was a dispatcher since this server began
        self._failure: CovalabError | None = None
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._finding = asyncio.Lock()
        self._resolver = _SocketResolver()
        self._silence = RelaySilence(self._forget)

    @cached_property
    def _http(self) -> SimpleAsyncHTTPClient:
        # Made at the first request: it belongs to the event loop, which does not run before.
        return SimpleAsyncHTTPClient(
            force_instance=True, resolver=self._resolver, max_clients=_MAX_OPEN, max_body_size=_MAX_ANSWER
        )

    def close(self) -> None:
        """Drop every open request."""
        self._http.close()

    async def ask(
        self,
        method: str,
        target: str,
        *,
        body: object = None,
        held: float = 0.0,
        repeat: bool = True,
        accept: str = "application/json",
    ) -> Answer:
        """Send a request to the dispatcher and return its answer.

        Parameters
        ----------
        method, target
            As in HTTP. `target` is sent as it is, so its parts must have been checked.
        body
            The body, or None. Bytes are sent as they are, everything else in msgpack.
        held
            Number of seconds for which the request asks to be held open.
        repeat
            Whether to send it again, once, if the connection breaks.
        accept
            The format of the answer.

        Raises
        ------
        DispatcherSilent
            If there is one that has not answered anything for five seconds.
        DispatcherUnavailable, DataFolderError
            If there is no dispatcher and none could be started, or it does not answer this.
        VersionMismatch
            If the dispatcher is of an incompatible version.
        """
        self._silence.check()
        for last in (False, True) if repeat else (True,):
            address = await self.find()
            self._resolver.path = address.socket
            request = HTTPRequest(
                f"http://localhost{target}",
                method,
                {
                    "Accept": accept,
                    "Content-Type": protocol.MSGPACK,
                    protocol.HEADER: protocol.version_header(),
                },
                body=None if method != "POST" else body if isinstance(body, bytes) else msgspec.msgpack.encode(body),
                connect_timeout=_CONNECT_LIMIT,
                request_timeout=held + _ANSWER_LIMIT,
                follow_redirects=False,
            )
            try:
                sending = self._http.fetch(request, raise_error=False)
                response = await self._silence.answer(sending, address)
                break
            except HTTPTimeoutError as error:
                message = (
                    f"the dispatcher of {self.folder} (process {address.pid}) did not answer in time "
                    f"({error.message}); `covalab logs` shows what it is doing"
                )
                raise DispatcherUnavailable(message) from error
            except DispatcherSilent:  # it may still be carried out, when it goes on
                raise
            except (OSError, HTTPClientError) as error:
                # Whether the request was handled is not known. Nearly all may be handled twice: reading, cancelling,
                # deleting, answering (an answer has an id). A redispatch could run twice, which is the lesser evil.
                self._forget()
                if last:
                    message = (
                        f"the dispatcher of {self.folder} does not answer ({type(error).__name__}: {error}); "
                        "see `covalab logs`, then try again"
                    )
                    raise DispatcherUnavailable(message) from error
        version = response.headers.get(protocol.HEADER, "")
        protocol.check_version(version, f"the dispatcher of {self.folder}", _REMEDY)
        return Answer(response.code, response.body, address.epoch)

    def _forget(self) -> None:
        self._address = None

    async def find(self) -> Address:
        """Return the address of the dispatcher; start one if there is none and `start` is set.

        Raises
        ------
        DispatcherUnavailable, DataFolderError
            If there is none. After a start that failed, the same error is raised for a while, because each open page
            sends requests, and each would try another start.
        """
        if self._address is not None:
            return self._address
        async with self._finding:
            if self._address is None:  # another request may have found it meanwhile
                self._address = await asyncio.to_thread(find, self.folder) or await self._start_dispatcher()
                self._was_found = True
            return self._address

    async def _start_dispatcher(self) -> Address:
        if not self._start:
            message = f"no dispatcher is running for {self.folder}; `covalab start` or any dispatch starts one"
            raise DispatcherUnavailable(message)
        if self._was_found and not address_file(self.folder).exists():
            # A dispatcher that is stopped removes this file; one that dies leaves it, and is started again.
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

    def allow_start(self) -> None:
        """Let the next request start a dispatcher that a user had stopped, as any dispatch does."""
        if self._address is None:
            self._was_found = False

    async def restart(self) -> None:
        """Stop the dispatcher and its workers, and start it again; raises as `find` does."""
        async with self._finding:
            self._address = None
            await asyncio.to_thread(Client(self.folder, start=False).stop)
            self._address = await asyncio.to_thread(start_dispatcher, self.folder)

    def settle(self) -> None:
        """Reset the pause before the next start: the dispatcher has been up for a while."""
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
