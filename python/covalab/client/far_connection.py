"""HTTP to a Jupyter server with a token, for kernels that are not on its host. Decodes no body."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from covalab.client.whole_response import WholeResponse
from covalab.core import protocol
from covalab.core.errors import ConfigError

PATH: Final = "/covalab/kernel"
"""The place of the routes below the server's base URL."""
TOKEN_NAMES: Final = ("COVALAB_TOKEN", "JUPYTERHUB_API_TOKEN", "JUPYTER_TOKEN")
"""Environment variables that may have the token, the first that is set counts."""
_PAGES: Final = ("lab", "tree", "notebooks", "doc")
"""First parts of the addresses of pages, which somebody copied from the browser."""
_CONNECT_SECONDS: Final = 20.0
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds and tries until a connection is over of which the other end has vanished; macOS has its own first name."""


class Server(NamedTuple):
    """Jupyter server: its address, which ends with the base URL and has no slash at the end, and a token for it."""

    url: str
    token: str
    ca_file: str = ""

    def __repr__(self) -> str:
        return f"<Jupyter server {self.url}>"  # without the token


def server_of(url: str, token: str | None = None, ca_file: str | None = None) -> Server:
    """Return the server of an address, as it is in the browser or in the server's log.

    Raises
    ------
    ConfigError
        If that is no address, or there is no token.

    Examples
    --------
    >>> server_of("https://hub.example.org/user/ada/lab?token=secret").url
    'https://hub.example.org/user/ada'
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        where = "the address of a Jupyter server"
        message = f"{where} is like https://hub.example.org/user/ada/ or http://host:8888/, not {url!r}"
        raise ConfigError(message)
    of_address = parse_qs(parts.query).get("token", [""])[0]
    found = token or of_address or next((os.environ[name] for name in TOKEN_NAMES if os.environ.get(name)), "")
    folders = [one for one in parts.path.split("/") if one]
    for number, one in enumerate(folders):
        if one in _PAGES and folders[number - 1 : number] != ["user"]:
            folders = folders[:number]
            break
    address = "/".join((f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", *folders))
    if not found:
        message = (
            f"there is no token for {address}: give it to ct.connect(url, token), or set COVALAB_TOKEN; a token of "
            "your own comes from the hub's page Token, or from `jupyter server list` on the server's host"
        )
        raise ConfigError(message)
    return Server(address, found, ca_file or "")


class FarReply(NamedTuple):
    """Answer to one request."""

    status: int
    headers: http.client.HTTPMessage
    data: bytes

    @property
    def version(self) -> str:
        """Version header of covalab; empty if somebody else answered."""
        return self.headers.get(protocol.HEADER, "")


class FarConnection:
    """A kept-open connection to a Jupyter server. Never follows a redirection: the token is for this server only."""

    def __init__(self, server: Server) -> None:
        self._server = server
        parts = urlsplit(server.url)
        assert parts.hostname is not None
        self._base = parts.path
        self._http: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=server.ca_file or None)
            self._http = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
        else:
            self._http = http.client.HTTPConnection(parts.hostname, parts.port)
        self._http.response_class = WholeResponse
        self._http.timeout = _CONNECT_SECONDS

    def __del__(self) -> None:
        self.close()  # there is one per thread, and it goes with its thread

    def close(self) -> None:
        """Close it; the next request opens another."""
        if hasattr(self, "_http"):
            self._http.close()

    def exchange(
        self, method: str, target: str, body: bytes | memoryview | None, seconds: float, more: Mapping[str, str] = {}
    ) -> FarReply:
        """Send one request and return the answer, for which each wait may take so many seconds.

        An interrupt (the notebook's stop button) or an error closes the connection, so that the answer to this
        request is never taken for the answer to the next.
        """
        headers = {
            "Accept": protocol.MSGPACK,
            "Authorization": f"token {self._server.token}",
            protocol.HEADER: protocol.version_header(),
            **more,
        }
        if body is not None:
            headers.setdefault("Content-Type", protocol.MSGPACK)
        try:
            if self._http.sock is None:
                self._http.timeout = _CONNECT_SECONDS
                self._http.connect()
                _watch(self._http)
            self._http.sock.settimeout(seconds)
            self._http.request(method, f"{self._base}{PATH}{target}", body, headers)
            response = self._http.getresponse()
            return FarReply(response.status, response.headers, response.read())
        except BaseException:
            self.close()
            raise


def _watch(connection: http.client.HTTPConnection) -> None:
    """Let the system ask whether the other end is there while an answer is waited for.

    A server that lost its power, or an address translation that forgot the connection, says nothing.
    """
    sock: socket.socket = connection.sock
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
