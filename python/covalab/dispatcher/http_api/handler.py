"""Base of all handlers: decodes requests, encodes answers as asked for, and turns errors into `Problem`s."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from tornado import web

from covalab import open_files
from covalab.core import protocol
from covalab.core.errors import (
    AnsweredDifferently,
    ArchiveExists,
    CovalabError,
    DataFolderError,
    ExecutionClosed,
    MissingLatticeRecordError,
    NoSuchInterrupt,
    NotTrusted,
    TriggerError,
    VersionMismatch,
)
from covalab.core.model import DispatchId, Problem
from covalab.dispatcher.service import Service

_log = logging.getLogger("covalab.dispatcher")
LONGEST_WAIT: Final = 24 * 3600.0
"""Seconds for which a request may be held open."""
MOST_ENTRIES: Final = 10_000
"""How many rows or entries one answer may have."""
LARGEST_NUMBER: Final = 1e15
"""Of versions, offsets and times; exact as a float."""

_ANSWERS: Final = (CovalabError, web.HTTPError, msgspec.MsgspecError, OverflowError)
"""Errors that are an answer to what was asked."""

_T = TypeVar("_T")
_REMEDY: Final = "run `covalab stop` with the version that started it, then try again"


class BadRequest(CovalabError, ValueError):
    """The request is not one that this dispatcher understands."""


class Handler(web.RequestHandler):
    """Base handler: answers in msgpack or JSON, as asked; every error is a `Problem`."""

    open_to_all_versions = False
    opens_values = False
    """Whether values of the dispatch of the path are opened by who asks, or code of it runs."""

    is_of_a_client = True
    """Whether somebody waits who needs this dispatcher, and not a process of its own."""

    def initialize(self, service: Service, stop: asyncio.Event) -> None:
        """Take the service, and the event that ends the process."""
        self.service = service
        self.stop = stop
        self._poll: asyncio.Task[Any] | None = None

    async def long_poll(self, wait: Coroutine[Any, Any, Any]) -> None:
        """Hold the request open until `wait` is done, or the connection is closed.

        Meanwhile the client is attached: a dispatcher at which somebody waits is not idle. One that is gone would keep
        it alive for ever.
        """
        self._poll = asyncio.create_task(wait)
        if (server := self.settings.get("server")) is not None and self.request.connection is not None:
            server.hold(self.request.connection)
        self.service.attached += self.is_of_a_client
        try:
            with suppress(asyncio.CancelledError):
                await self._poll
        finally:
            self.service.attached -= self.is_of_a_client
            self.service.last_asked = time.monotonic()

    def on_connection_close(self) -> None:
        """End a long poll."""
        if self._poll is not None:
            self._poll.cancel()

    def set_default_headers(self) -> None:
        """Add our version to all answers, errors too."""
        self.set_header(protocol.HEADER, protocol.version_header())

    async def prepare(self) -> None:
        """Note the time, for idleness; check the version of the client, and who wrote the dispatch."""
        self.service.last_asked = time.monotonic()
        said = self.request.headers.get(protocol.HEADER, "")
        if not self.open_to_all_versions:
            protocol.check_version(said, "what asks it", _REMEDY)
        if self.opens_values:
            await self.service.registry.trust.check(DispatchId(self.path_args[0]))

    def answer(self, body: Any, status: int = 200) -> None:
        """Send a struct as the answer."""
        self.set_status(status)
        if self.wants_json:
            self.set_header("Content-Type", "application/json")
            self.finish(msgspec.json.encode(body))
        else:
            self.set_header("Content-Type", protocol.MSGPACK)
            self.finish(msgspec.msgpack.encode(body))

    @property
    def wants_json(self) -> bool:
        """Whether the client may be a browser, which gets values described, not included."""
        return protocol.MSGPACK not in self.request.headers.get("Accept", "")

    def body(self, kind: Any) -> Any:
        """Return the body of the request, decoded and checked."""
        return (msgspec.json if self.is_json else msgspec.msgpack).decode(self.request.body, type=kind)

    @property
    def is_json(self) -> bool:
        """Whether the request's body is JSON, and not msgpack."""
        return "json" in self.request.headers.get("Content-Type", "")

    def query(self, kind: type[_T]) -> _T:
        """Return the query as a struct, checked; the struct decides whether it refuses what it does not have."""
        given = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        return msgspec.convert(given, kind, strict=False)

    def number(self, name: str, default: float, most: float) -> float:
        """Return a number of the query."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value <= most and value > -math.inf):  # so that not-a-number is refused, too
            message = f"{name}={text!r} is not a number up to {most:g}"
            raise BadRequest(message)
        return value

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send the `Problem` that an exception is for clients."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if self._is_of_the_end(error):
            self.detach().close()  # whoever gets no answer asks the next dispatcher
        else:
            self._answer_error(status_code, error)

    def _is_of_the_end(self, error: BaseException | None) -> bool:
        """Return whether an error is one of a process that is ending: the database may be closed by now."""
        return self.stop.is_set() and not isinstance(error, _ANSWERS)

    def _answer_error(self, status_code: int, error: BaseException | None) -> None:
        if isinstance(error, MissingLatticeRecordError):
            status, problem = 404, Problem("MissingLatticeRecordError", str(error), error.dispatch)
        elif isinstance(error, DataFolderError):
            status, problem = 507, Problem("DataFolderError", str(error))
        elif isinstance(error, NoSuchInterrupt):
            status, problem = 404, Problem("NoSuchInterrupt", str(error))
        elif isinstance(error, TriggerError | AnsweredDifferently | ArchiveExists | ExecutionClosed):
            status, problem = 409, Problem(type(error).__name__, str(error))
        elif isinstance(error, NotTrusted):
            status, problem = 403, Problem("NotTrusted", str(error))
        elif isinstance(error, VersionMismatch):
            status, problem = 409, Problem("VersionMismatch", str(error))
        elif isinstance(error, CovalabError | msgspec.MsgspecError):
            status, problem = 400, Problem(type(error).__name__, str(error))
        elif isinstance(error, OverflowError):  # JSON has numbers that msgpack has not
            status, problem = 400, Problem("ValidationError", f"a number of the request is too large: {error}")
        elif isinstance(error, web.HTTPError):
            message = error.log_message or f"there is no {self.request.method} {self.request.path}"
            status, problem = error.status_code, Problem("DispatcherError", message)
        else:
            status = status_code
            what = open_files.explained(error, f"{type(error).__name__}: {error}; see `covalab logs`")
            problem = Problem("DispatcherError", what)
        self.answer(problem, status)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log an exception, unless it is an answer: clients that ask wrongly must not fill the log."""
        if open_files.is_scarcity(value):
            open_files.warn(_log, "requests are refused")
        elif not isinstance(value, _ANSWERS) and not self._is_of_the_end(value):
            super().log_exception(typ, value, tb)
