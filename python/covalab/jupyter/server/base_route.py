"""Base of the REST routes: authorisation, the form of errors, checks of what a request says."""

from __future__ import annotations

import re
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.iostream import StreamClosedError

from covalab.core import protocol
from covalab.core.errors import CovalabError
from covalab.core.model import Problem
from covalab.jupyter.server.relay import Relay

AUTH_RESOURCE: Final = "covalab"
"""Resource for Jupyter's authoriser: read for GET, write for every request that changes something."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_BODY: Final = 1024**2
_Query = TypeVar("_Query", bound=msgspec.Struct)


class Route(APIHandler):
    """Base class of the routes: authorisation and the form of errors. Verbs that a route lacks are refused."""

    auth_resource = AUTH_RESOURCE
    relay: Relay

    def initialize(self, relay: Relay) -> None:
        """Store the relay."""
        self.relay = relay

    def set_default_headers(self) -> None:
        """Send the version, so that the browser notices when page and server differ; forbid caching."""
        super().set_default_headers()
        self.set_header(protocol.HEADER, protocol.version_header())
        self.set_header("Cache-Control", "no-store")

    @web.authenticated
    @authorized
    async def get(self, *_: str) -> None:
        """Refuse."""
        raise web.HTTPError(405)

    @web.authenticated
    @authorized
    async def head(self, *_: str) -> None:
        """Refuse."""
        raise web.HTTPError(405)

    @web.authenticated
    @authorized
    async def post(self, *_: str) -> None:
        """Refuse."""
        raise web.HTTPError(405)

    @web.authenticated
    @authorized
    async def put(self, *_: str) -> None:
        """Refuse."""
        raise web.HTTPError(405)

    @web.authenticated
    @authorized
    async def patch(self, *_: str) -> None:
        """Refuse."""
        raise web.HTTPError(405)

    @web.authenticated
    @authorized
    async def delete(self, *_: str) -> None:
        """Refuse."""
        raise web.HTTPError(405)

    @web.authenticated
    @authorized
    async def options(self, *_: str) -> None:  # type: ignore[override] # as the other verbs, which may wait
        """Refuse: these routes are for pages of this server, so there is no CORS."""
        raise web.HTTPError(405)

    async def send(self, method: str, target: str, *, body: object = None, held: float = 0.0) -> None:
        """Relay a request that was checked, and send the answer."""
        try:
            answer = await self.relay.ask(method, target, body=body, held=held)
        except CovalabError as error:
            self.problem(HTTPStatus.SERVICE_UNAVAILABLE, type(error).__name__, str(error))
            return
        self.set_status(answer.status)
        await self.finish_if_open(answer.body or None)

    async def read(self, *targets: str) -> list[bytes] | None:
        """Return what the dispatcher answers to several requests; None if one was refused, which is sent on."""
        found = []
        for target in targets:
            try:
                answer = await self.relay.ask("GET", target)
            except CovalabError as error:
                self.problem(HTTPStatus.SERVICE_UNAVAILABLE, type(error).__name__, str(error))
                return None
            if answer.status >= HTTPStatus.BAD_REQUEST:
                self.set_status(answer.status)
                await self.finish_if_open(answer.body)
                return None
            found.append(answer.body)
        return found

    async def finish_if_open(self, body: bytes | None, kind: str = "application/json") -> None:
        """Send the body of an answer, unless the page that asked was closed meanwhile, which is no error."""
        with suppress(StreamClosedError):
            await self.finish(body, set_content_type=kind)

    def problem(self, status: int, kind: str, message: str, subject: str = "") -> None:
        """Answer with a `Problem`."""
        self.set_status(status)
        self.finish(msgspec.json.encode(Problem(kind, message, subject)))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a raised error, without the details that are in the server's log."""
        phrase = HTTPStatus(status_code).phrase
        message = f"{phrase}: {self.request.method} {self.request.path}"
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, web.HTTPError) and error.log_message:
            message = error.log_message % error.args if error.args else error.log_message
        elif status_code >= 500:
            message = "covalab's server extension failed; the Jupyter server's log says how"
        self.problem(status_code, phrase.title().replace(" ", ""), message)

    def query(self, type_: type[_Query]) -> _Query:
        """Return the query, checked against a struct."""
        fields = [field.name for field in msgspec.structs.fields(type_)]
        given = {name: text for name in fields if (text := self.get_query_argument(name, None)) is not None}
        try:
            return msgspec.convert(given, type_, strict=False)
        except msgspec.ValidationError as error:
            raise web.HTTPError(400, f"the query is not one that covalab knows: {_escaped(error)}") from error

    def json_body(self, type_: Any, example: str, largest: int = _MAX_BODY) -> Any:
        """Return the body, checked against a struct or a union of structs. No body counts as ``{}``."""
        if len(self.request.body) > largest:
            raise web.HTTPError(
                413, f"a request may have {largest:,} bytes; save larger values to a file, send its path"
            )
        try:
            body = msgspec.json.decode(self.request.body or b"{}", type=type_)
            msgspec.msgpack.encode(body)  # JSON has numbers and depths that the dispatcher's format cannot have
        except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
            raise web.HTTPError(400, f"the body must be JSON like {example}: {_escaped(error)}") from error
        return body


def dispatch_of(path: tuple[str, ...]) -> str:
    """Return the id of the dispatch that a request names."""
    return id_of(path[0])


def id_of(text: str) -> str:
    """Return a text if it can be an id."""
    if not _ID.fullmatch(text):
        raise web.HTTPError(400, f"{text[:80]!r} is not the id of a dispatch; `covalab list` shows those there are")
    return text


def _escaped(error: Exception) -> str:
    return str(error).replace("%", "%%")  # tornado formats the message with `%`
