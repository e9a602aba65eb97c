"""Client in a kernel on another host: the requests go to the routes of a Jupyter server, with a token.

There is no data folder here and no dispatcher is started here. A server that is gone is waited for while something is
waited for, as a dispatcher that is stopped is; other requests end with an error.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from covalab.client.client import Client, EventsPage, exception_of
from covalab.client.far_blobs import FarBlobs, cache_folder
from covalab.client.far_connection import FarConnection, FarReply, Server
from covalab.client.silence import print_notice
from covalab.core import errors, protocol
from covalab.core.far_kernels import TaskEnvironment
from covalab.core.journal import ExecutionSnapshot, JournalPage
from covalab.core.model import DispatchChanges, DispatchRecord, DispatchSummary, Environment, Problem, Submission
from covalab.core.place import place
from covalab.core.trigger_states import TriggerState

_T = TypeVar("_T")
_HOLD: Final = 25.0  # seconds; proxies cut what is silent for 30 or 60
_ANSWER_SECONDS: Final = 100.0  # more than the server gives the dispatcher
_PAUSES: Final = (0.1, 0.5, 2.0)  # before a request is sent again
_LONGEST_PAUSE: Final = 5.0
_GONE: Final = (
    HTTPStatus.FAILED_DEPENDENCY,  # a hub's, whose user's server does not run
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
_REMEDY: Final = "install the same version on both sides, then start this kernel again"
_BROKEN: Final = (OSError, http.client.HTTPException)


class FarClient(Client):
    """Client of the dispatcher behind a Jupyter server. Safe to use from several threads.

    Parameters
    ----------
    server
        The server.

    Raises
    ------
    TokenRefused
        From any call, if the server does not accept the token.
    DispatcherUnavailable
        From any call, if the server does not answer, or has no covalab.
    VersionMismatch
        From any call, if the server has an incompatible version of covalab, or no Python like this one.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(cache_folder(server.url), start=False)
        self.server = server
        self.where = server.url
        self.blobs = FarBlobs(self.data_dir / "blobs", self.request, server.url)
        self._is_gone = False
        self._placed: dict[bytes, TaskEnvironment] = {}
        self._said: set[str] = set()

    def submit(self, submission: Submission) -> DispatchSummary:
        """Record a dispatch and start it. Return after it is on the disk of the server's host."""
        self.environment_of_tasks(submission.environment)
        return super().submit(submission)

    def environment_of_tasks(self, environment: Environment) -> TaskEnvironment:
        """Return the environment at the server in which tasks of a process run; a notice says once which, if another.

        Raises
        ------
        VersionMismatch
            If there is none with the same minor version of Python.
        """
        key = msgspec.msgpack.encode([environment.python, environment.prefix, environment.cwd])
        found = self._placed.get(key)
        if found is None:
            body = msgspec.msgpack.encode(environment)
            found = self._placed[key] = self._request("POST", "/environment", TaskEnvironment, body=body)
        if found.notice and found.notice not in self._said:
            self._said.add(found.notice)
            print_notice(f"{found.notice} ({self.where})")
        return found

    # -- waits, in pieces that proxies let through ----------------------------------------------------------------

    def _record(self, dispatch: str, query: Mapping[str, Any], *, held: bool = False) -> DispatchRecord:
        if not held:
            return super()._record(dispatch, query)
        longest = float(query.get("timeout", float("inf")))
        ask = super()._record
        return _in_pieces(longest, lambda seconds: ask(dispatch, {**query, "timeout": seconds}, held=True))

    def changes(self, dispatch: str, since: int = 0, wait: float = 0.0) -> DispatchChanges:
        """Fetch the nodes that changed after version `since`, waiting up to `wait` seconds for there to be one."""
        ask = super().changes
        return _in_pieces(wait, lambda seconds: ask(dispatch, since, seconds))

    def execution(self, dispatch: str, *, wait: float = 0.0, final: bool = False) -> ExecutionSnapshot:
        """Fetch the execution of a dispatch, after its end, its final result (`final`) or at most `wait` seconds."""
        ask = super().execution
        return _in_pieces(wait, lambda seconds: ask(dispatch, wait=seconds, final=final))

    def stream(self, dispatch: str, since: int = 0, read: int = 0, wait: float = 0.0, *, last: int = 0) -> JournalPage:
        """Fetch the next piece of the stream after number `since`, of which `read` items were read; or its `last`."""
        ask = super().stream
        return _in_pieces(wait, lambda seconds: ask(dispatch, since, read, seconds, last=last))

    def triggers(self, dispatch: str, wait: float = 0.0) -> list[TriggerState]:
        """Fetch the states of a dispatch's triggers, held open up to `wait` seconds while one is starting."""
        ask = super().triggers
        return _in_pieces(wait, lambda seconds: ask(dispatch, seconds))

    def events(self, since: int = -1, wait: float = 30.0) -> EventsPage:
        """Fetch the dispatches that changed after event `since` (-1: from now), held open up to `wait` seconds."""
        ask = super().events
        return _in_pieces(wait, lambda seconds: ask(since, seconds))

    def stop(self, *, ask: bool = True) -> NoReturn:
        """Refuse: the dispatcher belongs to the server's host."""
        del ask
        message = f"the dispatcher of {self.where} is stopped on the host of that server, with `covalab stop` there"
        raise errors.DispatcherError(message)

    def export(self, dispatch: str, path: Path) -> NoReturn:
        """Refuse: the file would be on the server's host."""
        del path
        message = (
            f"dispatch {dispatch} of {self.where} is written to a file on the host of that server, with "
            f"`covalab export {dispatch} -o run.covalab` there"
        )
        raise errors.DispatcherError(message)

    def bring_in(self, path: Path, *, as_new: bool = False, trusted: bool = False) -> NoReturn:
        """Refuse: the file would have to be on the server's host."""
        del as_new, trusted
        message = f"{path} is imported for {self.where} on the host of that server, with `covalab import` there"
        raise errors.DispatcherError(message)

    # -- one request ---------------------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        target: str,
        answer: Any,
        *,
        body: bytes | None = None,
        start: bool | None = None,
        check: bool = True,
        held: bool = False,
    ) -> Any:
        with place.given if held else nullcontext():
            reply = self.request(method, target, body, held=held)
        return msgspec.msgpack.decode(reply.data or b"\xc0", type=answer)

    def request(
        self,
        method: str,
        target: str,
        body: bytes | memoryview | None = None,
        *,
        held: bool = False,
        more: Mapping[str, str] = {},
    ) -> FarReply:
        """Send a request to a route for kernels, again if it is lost, and return the answer.

        Parameters
        ----------
        method, target, body, more
            As in HTTP; `target` is below ``covalab/kernel``, `more` are further headers.
        held
            Whether it waits for something: then a server that is gone is waited for, too.
        """
        attempt = 0
        while True:
            deadline: float | None = getattr(self._local, "deadline", None)
            seconds = _ANSWER_SECONDS + _HOLD * held
            if deadline is not None:
                seconds = min(seconds, max(0.1, deadline - time.monotonic()))
            try:
                reply = self._connection_to_server().exchange(method, target, body, seconds, more)
            except ssl.SSLCertVerificationError as error:
                message = (
                    f"the certificate of {self.where} cannot be verified ({error.verify_message}); name the file of "
                    "the authority that signed it by ct.connect(url, token, ca_file=...) or COVALAB_CA_FILE"
                )
                raise errors.DispatcherUnavailable(message) from error
            except _BROKEN as error:
                why = f"{type(error).__name__}: {error}"
            else:
                why = self._why_again(reply)
                if not why:
                    self._on_answer()
                    if attempt and method == "DELETE" and reply.status == HTTPStatus.NOT_FOUND:
                        return reply._replace(data=b"")  # the first request was carried out, its answer was lost
                    self._check(reply)
                    return reply
            self._pause(attempt, why, deadline, held=held)
            attempt += 1

    def _why_again(self, reply: FarReply) -> str:
        """Return why a request is to be sent again; empty if the answer stands."""
        if reply.status not in _GONE:
            return ""
        if not reply.version:
            return (
                f"{reply.status} {HTTPStatus(reply.status).phrase}: it does not run, or is behind a proxy that says so"
            )
        problem = _problem(reply)
        return problem.message if problem is not None and problem.kind == "DispatcherSilent" else ""

    def _pause(self, attempt: int, why: str, deadline: float | None, *, held: bool) -> None:
        """Wait before the next attempt, or raise if there is none."""
        pause = _PAUSES[attempt] if attempt < len(_PAUSES) else _LONGEST_PAUSE
        message = (
            f"the Jupyter server at {self.where} does not answer ({why}); start it, or connect to another with "
            "ct.connect(url, token)"
        )
        if deadline is not None and time.monotonic() + pause >= deadline:
            raise errors.DispatcherSilent(message)
        if attempt >= len(_PAUSES):
            if not held:
                raise errors.DispatcherUnavailable(message)
            if not self._is_gone:
                self._is_gone = True
                print_notice(f"the Jupyter server at {self.where} does not answer ({why}); waiting")
        time.sleep(pause)

    def _on_answer(self) -> None:
        if self._is_gone:
            self._is_gone = False
            print_notice(f"the Jupyter server at {self.where} answers again")

    def _check(self, reply: FarReply) -> None:
        """Raise what an answer says that is none of the dispatcher's good ones."""
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or _is_login(reply):
            problem = _problem(reply)
            why = "" if problem is None or problem.kind == "Forbidden" else f" ({problem.message})"
            message = (
                f"the Jupyter server at {self.where} does not accept the token{why}: it is wrong, has expired, or may "
                "not run code there. Take one from the hub's page Token, or from `jupyter server list` on the server's "
                "host, and give it to ct.connect(url, token) or COVALAB_TOKEN"
            )
            raise errors.TokenRefused(message)
        if not reply.version:
            raise errors.DispatcherUnavailable(self._stranger_text(reply))
        protocol.check_version(reply.version, f"the Jupyter server at {self.where}", _REMEDY)
        if reply.status >= HTTPStatus.BAD_REQUEST:
            problem = _problem(reply)
            data = b"" if problem is None else msgspec.msgpack.encode(problem)
            raise exception_of(reply.status, data or reply.data, self.where)

    def _stranger_text(self, reply: FarReply) -> str:
        if HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST:
            where = reply.headers.get("Location", "somewhere else").partition("?")[0]
            return f"{self.where} redirects to {where}; connect to the address of the Jupyter server itself"
        if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return (
                f"a proxy before {self.where} refuses requests of this size; raise its limit for bodies to 8 MB or more"
            )
        return (
            f"no covalab answers at {self.where} ({reply.status}): this is not the base URL of a Jupyter server "
            "(https://HUB/user/NAME/ or http://HOST:PORT/), or covalab is not installed in the server's environment; "
            "`jupyter server extension list` there shows whether it is"
        )

    def _connection_to_server(self) -> FarConnection:
        if self._pid != os.getpid():  # a forked child must not use its parent's connection
            self._local = threading.local()
            self._pid = os.getpid()
        connection: FarConnection | None = getattr(self._local, "far", None)
        if connection is None:
            connection = self._local.far = FarConnection(self.server)
        return connection

    def close(self) -> None:
        """Close the connection of this thread; the next call opens another."""
        connection: FarConnection | None = getattr(self._local, "far", None)
        if connection is not None:
            connection.close()


def _in_pieces(seconds: float, ask: Callable[[float], _T]) -> _T:
    """Return the answer of a request that may be held open for so long, asked for in pieces.

    `ask` is called with the seconds of a piece. An answer that came before its piece has ended says something.
    """
    end = time.monotonic() + seconds
    while True:
        piece = max(0.0, min(_HOLD, end - time.monotonic()))
        began = time.monotonic()
        answer = ask(piece)
        if time.monotonic() - began < piece * 0.95 or time.monotonic() >= end - 0.05:
            return answer


def _problem(reply: FarReply) -> Problem | None:
    decode = msgspec.json.decode if "json" in reply.headers.get("Content-Type", "") else msgspec.msgpack.decode
    try:
        return decode(reply.data, type=Problem)
    except msgspec.MsgspecError:
        return None


def _is_login(reply: FarReply) -> bool:
    where = reply.headers.get("Location", "")
    return reply.status == HTTPStatus.FOUND and ("/login" in where or "/oauth2/" in where)
