"""Server: the connections of clients, as many at once as leave room for the files of the dispatcher itself.

Whoever comes beyond that waits in the queue of the socket, and connections give way that can be made again without a
loss: those without a request first, then those at which somebody waits for news for long.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import time
from typing import Any, Final, Literal, TypeAlias

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream
from tornado.netutil import bind_unix_socket
from tornado.web import Application

from covalab import open_files

_log = logging.getLogger("covalab.dispatcher")
_BODY_LIMIT: Final = 1 << 30
_AT_ONCE: Final = 128
_RESERVE: Final = 64
"""How many files the dispatcher keeps for itself: values, processes that it starts, their lines."""
_PAUSE_SECONDS: Final = 0.1
_GIVE_WAY: Final = 16
"""How many connections give way at once."""
_IDLE_SECONDS: Final = 0.5
_HELD_SECONDS: Final = 1.0


_State: TypeAlias = Literal["idle", "sending", "asking", "held"]


class _Client:
    """A connection: what it is about, and since when."""

    def __init__(self, stream: IOStream) -> None:
        self.stream = stream
        self.enter("idle")

    def enter(self, state: _State) -> None:
        """Change the state, or note that it goes on."""
        self.state = state
        self.since = time.monotonic()

    def age_to_give_way(self, now: float) -> float | None:
        """Return for how long it could have given way; None if it may not."""
        if self.state == "asking":
            return None
        age = now - self.since - (_IDLE_SECONDS if self.state == "idle" else _HELD_SECONDS)
        return age if age >= 0 else None


class Server(HTTPServer):
    """The HTTP server of a dispatcher, at its Unix socket."""

    def initialize(self, application: Application) -> None:  # type: ignore[override]
        """Serve an application, of which handlers find this server in the settings."""
        super().initialize(application, max_buffer_size=_BODY_LIMIT, max_body_size=_BODY_LIMIT)
        application.settings["server"] = self
        self._clients: dict[object, _Client] = {}  # by the context, which server and request share
        self._socket: socket.socket | None = None
        self._paused: asyncio.TimerHandle | None = None

    def listen_at(self, path: str) -> None:
        """Serve a path, which only this account may use."""
        self._socket = bind_unix_socket(path, mode=0o600)
        self._resume()

    def stop(self) -> None:
        """Take no more connections."""
        super().stop()
        if self._socket is not None:
            if self._paused is not None:
                self._paused.cancel()
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def hold(self, connection: HTTPConnection) -> None:
        """Note that the request of a connection waits for news."""
        client = self._clients.get(_context_of(connection))
        if client is not None:
            client.enter("held")

    # -- connections -----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._socket is not None
        for _ in range(_AT_ONCE):
            if not self._has_room():
                self._wait_for_room()
                return
            try:
                connection, address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("a client cannot be taken yet: %s", error)
                self._pause()
                return
            self.handle_stream(IOStream(connection, max_buffer_size=_BODY_LIMIT), address)

    def _has_room(self) -> bool:
        """Whether one more connection leaves the dispatcher its reserve: a new file gets the lowest free number."""
        assert self._socket is not None
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY:
            return True
        try:
            number = os.dup(self._socket.fileno())
        except OSError as error:
            if open_files.is_scarcity(error):
                return False
            raise
        os.close(number)
        return number < limit - min(_RESERVE, limit // 3)

    def _wait_for_room(self) -> None:
        open_files.warn(_log, "clients wait until others have given way")
        now = time.monotonic()
        ages = [(client, age) for client in self._clients.values() if (age := client.age_to_give_way(now)) is not None]
        ages.sort(key=lambda it: (it[0].state == "idle", it[1]), reverse=True)
        for client, _ in ages[:_GIVE_WAY]:
            client.stream.close()  # whoever has it asks again, as when a dispatcher was killed
        self._pause()

    def _pause(self) -> None:
        """Look for new connections no more for a moment: the socket stays ready, and would be looked at for ever."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)  # type: ignore[arg-type]
        self._paused = loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._paused = None
        asyncio.get_running_loop().add_reader(self._socket, self._accept)  # type: ignore[arg-type]

    # -- requests, as the server has them --------------------------------------------------------------------------

    def start_request(self, server_conn: Any, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Begin to wait for a request of a connection."""
        delegate = super().start_request(server_conn, request_conn)
        context = _context_of(request_conn)
        client = self._clients.get(context)
        if client is None:
            client = self._clients[context] = _Client(server_conn.stream)
        client.enter("idle")
        return _Noted(delegate, client)

    def on_close(self, server_conn: Any) -> None:
        """Forget a connection."""
        self._clients.pop(_context_of(server_conn), None)
        super().on_close(server_conn)


def _context_of(connection: Any) -> object:
    return connection.context


class _Noted(HTTPMessageDelegate):
    """A request on its way to the application; it is noted how far it is."""

    def __init__(self, delegate: HTTPMessageDelegate, client: _Client) -> None:
        self._delegate = delegate
        self._client = client

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> Any:
        """Pass the head on."""
        self._client.enter("sending")
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        """Pass a part of the body on."""
        self._client.enter("sending")
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        """Let the application answer."""
        self._client.enter("asking")
        self._delegate.finish()

    def on_connection_close(self) -> None:
        """Pass it on."""
        self._delegate.on_connection_close()
