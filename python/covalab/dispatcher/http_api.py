"""The dispatcher's door: HTTP on a private Unix socket. Handlers parse, ask, and encode; they decide nothing.

The table of routes is at the end of the file.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar, cast, get_args

import msgspec
from tornado import web
from tornado.httputil import HTTPServerRequest

from covalab.client.client import EventsPage
from covalab.core import protocol
from covalab.core.browser_views import execution_view, node_view, stream_view
from covalab.core.errors import (
    AnsweredDifferently,
    CovalabError,
    DataFolderError,
    ExecutionClosed,
    MissingLatticeRecordError,
    NoSuchInterrupt,
    TriggerError,
    VersionMismatch,
)
from covalab.core.journal import Command, ExecutionSnapshot, JournalPage
from covalab.core.model import (
    DispatchId,
    Environment,
    Firing,
    NodeDetail,
    Problem,
    PurgeResult,
    RedispatchRequest,
    Status,
    Submission,
    TaskQuery,
    Trigger,
    TriggerReport,
    TriggerWatches,
)
from covalab.dispatcher import commands, task_views, views
from covalab.dispatcher.service import Service

_T = TypeVar("_T")
_log = logging.getLogger("covalab.http")
_STATUSES: Final = frozenset(get_args(Status))
_LONGEST_WAIT: Final = 24 * 3600.0
_COUNT_LIMIT: Final = 10_000
_OUTPUTS: Final = re.compile(r"result|all|none|[0-9]{1,9}(,[0-9]{1,9})*")
_REMEDY: Final = "run `covalab stop` with the version that started it, then try again"


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which nodes to cancel; None: all."""

    nodes: list[int] | None = None


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which triggers to stop, by id; None: all."""

    triggers: list[str] | None = None


class BadRequest(CovalabError, ValueError):
    """The request is not one that this dispatcher understands."""


class Handler(web.RequestHandler):
    """Answers in msgpack or JSON, as asked; every error is a `Problem`."""

    service: Service
    open_to_all_versions = False

    def initialize(self, service: Service) -> None:
        """Take the service."""
        self.service = service
        self._held: asyncio.Task[Any] | None = None

    async def held(self, wait: Coroutine[Any, Any, Any]) -> None:
        """Hold the request open; ends early when whoever asked is gone, so that nobody is kept alive for them."""
        self._held = asyncio.create_task(wait)
        with suppress(asyncio.CancelledError):
            await self._held

    def on_connection_close(self) -> None:
        """Stop waiting for somebody who is gone."""
        if self._held is not None:
            self._held.cancel()

    def set_default_headers(self) -> None:
        """Say who answers, in errors too."""
        self.set_header(protocol.HEADER, protocol.version_header())

    def prepare(self) -> None:
        """Note that somebody is there, and that we understand each other."""
        self.service.last_asked = time.monotonic()
        said = self.request.headers.get(protocol.HEADER, "")
        if not self.open_to_all_versions:
            protocol.check_version(said, "what asks it", _REMEDY)

    def answer(self, body: Any, status: int = 200) -> None:
        """Send a struct."""
        self.set_status(status)
        if self.wants_json:
            self.set_header("Content-Type", "application/json")
            self.finish(msgspec.json.encode(body))
        else:
            self.set_header("Content-Type", protocol.MSGPACK)
            self.finish(msgspec.msgpack.encode(body))

    @property
    def wants_json(self) -> bool:
        """Whether the reader may be a browser, which gets values described, not included."""
        return protocol.MSGPACK not in self.request.headers.get("Accept", "")

    def body(self, kind: Any) -> Any:
        """Decode the request's body."""
        data = self.request.body
        json = "json" in self.request.headers.get("Content-Type", "")
        return (msgspec.json if json else msgspec.msgpack).decode(data, type=kind)

    def query(self, kind: type[_T]) -> _T:
        """Check the query against a struct."""
        names = [field.name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
        given = {name: text for name in names if (text := self.get_query_argument(name, None)) is not None}
        return msgspec.convert(given, kind, strict=False)

    def number(self, name: str, default: float, most: float) -> float:
        """Return a number from the query."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value <= most and value > -math.inf):
            message = f"{name}={text!r} is not a number up to {most:g}"
            raise BadRequest(message)
        return value

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what went wrong."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, MissingLatticeRecordError):
            status, problem = 404, Problem("MissingLatticeRecordError", str(error), error.dispatch)
        elif isinstance(error, DataFolderError):
            status, problem = 507, Problem("DataFolderError", str(error))
        elif isinstance(error, NoSuchInterrupt):
            status, problem = 404, Problem("NoSuchInterrupt", str(error))
        elif isinstance(error, TriggerError | AnsweredDifferently | ExecutionClosed):
            status, problem = 409, Problem(type(error).__name__, str(error))
        elif isinstance(error, VersionMismatch):
            status, problem = 409, Problem("VersionMismatch", str(error))
        elif isinstance(error, CovalabError | msgspec.MsgspecError):
            status, problem = 400, Problem(type(error).__name__, str(error))
        elif isinstance(error, web.HTTPError):
            message = error.log_message or f"there is no {self.request.method} {self.request.path}"
            status, problem = error.status_code, Problem("DispatcherError", message)
        else:
            status = status_code
            problem = Problem("DispatcherError", f"{type(error).__name__}: {error}; see `covalab logs`")
        self.answer(problem, status)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log only what is our own fault."""
        if not isinstance(value, CovalabError | web.HTTPError | msgspec.MsgspecError):
            super().log_exception(typ, value, tb)


class StatusHandler(Handler):
    """`GET /status`."""

    open_to_all_versions = True

    def get(self) -> None:
        """Say how the dispatcher is."""
        self.answer(self.service.status())


class StopHandler(Handler):
    """`POST /stop`."""

    open_to_all_versions = True

    def initialize(self, service: Service, stop: asyncio.Event) -> None:  # type: ignore[override]
        """Take the event that ends the process."""
        super().initialize(service)
        self._stop = stop

    def post(self) -> None:
        """End after this answer."""
        self.answer({}, 202)
        self._stop.set()


class EnvironmentsHandler(Handler):
    """`POST /environments`."""

    def post(self) -> None:
        """Start the workers of an environment."""
        self.service.warm(self.body(Environment))
        self.answer({}, 202)


class DispatchesHandler(Handler):
    """`GET /dispatches`, `POST /dispatches`, `DELETE /dispatches`."""

    async def get(self) -> None:
        """List the outermost dispatches, or those below `root`, newest first."""
        statuses = [status for status in self.get_query_argument("status", "").split(",") if status]
        if not _STATUSES.issuperset(statuses):
            message = f"status must be of {', '.join(sorted(_STATUSES))}; got {','.join(statuses)!r}"
            raise BadRequest(message)
        name = self.get_query_argument("name", None)
        offset = int(self.number("offset", 0, 1e15))
        count = int(self.number("count", 50, _COUNT_LIMIT))
        chosen = cast("list[Status]", statuses)
        root = self.get_query_argument("root", None) or None
        since = self.number("since", 0, 1e15)
        oldest = bool(self.get_query_argument("oldest", None))
        schedule = self.get_query_argument("schedule", None) or None
        part = (max(0, offset), max(0, count))
        self.answer(
            await views.dispatches(
                self.service, chosen, name, *part, root=root, since=since, oldest=oldest, schedule=schedule
            )
        )

    async def post(self) -> None:
        """Record a dispatch and start it."""
        summary, is_new = await self.service.submit(self.body(Submission))
        self.answer(summary, 201 if is_new else 200)

    async def delete(self) -> None:
        """Forget all that ended before a moment."""
        before = self.number("ended_before", math.nan, 1e15)
        if math.isnan(before):
            message = "say with ended_before, in seconds since the epoch, what is to be forgotten"
            raise BadRequest(message)
        self.answer(PurgeResult(await self.service.retention.purge(before)))


class DispatchHandler(Handler):
    """`GET /dispatches/{id}`, `DELETE /dispatches/{id}`."""

    async def get(self, dispatch: str) -> None:
        """Say where a dispatch stands."""
        self.answer(await self.service.summary(DispatchId(dispatch)))

    async def delete(self, dispatch: str) -> None:
        """Forget a dispatch that has ended, with all below it."""
        why_not = await self.service.delete(DispatchId(dispatch))
        if why_not:
            raise web.HTTPError(409, why_not)
        self.set_status(204)
        await self.finish()


class RecordHandler(Handler):
    """`GET /dispatches/{id}/record`."""

    async def get(self, dispatch: str) -> None:
        """Return a dispatch with outputs, when it has ended if `wait` is given."""
        outputs = self.get_query_argument("outputs", "result")
        if not _OUTPUTS.fullmatch(outputs):
            message = f"outputs must be result, all, none or node numbers; got {outputs!r}"
            raise BadRequest(message)
        if self.get_query_argument("wait", None):
            await self.service.recorded(DispatchId(dispatch))
            timeout = self.number("timeout", math.inf, math.inf)
            # Of one that nobody has started the answer comes at once, unless the reader knows that and wants to wait.
            is_held = (
                dispatch in self.service.held
                and not self.service.schedules.is_waiting(DispatchId(dispatch))
                and not self.get_query_argument("held", None)
            )
            await self.held(
                self.service.ended(
                    DispatchId(dispatch), 0.0 if is_held else None if math.isinf(timeout) else max(0.0, timeout)
                )
            )
        self.answer(await views.record(self.service, DispatchId(dispatch), outputs))


class GraphHandler(Handler):
    """`GET /dispatches/{id}/graph`."""

    async def get(self, dispatch: str) -> None:
        """Return the transport graph."""
        self.answer(await views.graph(self.service, DispatchId(dispatch)))


class ChangesHandler(Handler):
    """`GET /dispatches/{id}/changes`."""

    async def get(self, dispatch: str) -> None:
        """Return the nodes that changed after a version, waiting for one if asked."""
        since = int(self.number("since", 0, 1e15))
        wait = max(0.0, self.number("wait", 0, _LONGEST_WAIT))
        if wait:
            await self.held(views.changed(self.service, DispatchId(dispatch), since, wait))
        self.answer(await views.changes(self.service, DispatchId(dispatch), since))


class NodeHandler(Handler):
    """`GET /dispatches/{id}/nodes/{n}`."""

    async def get(self, dispatch: str, number: str) -> None:
        """Return everything known about one node; JSON readers get the value described, not included."""
        detail: NodeDetail = await views.node(self.service, DispatchId(dispatch), int(number))
        self.answer(node_view(detail) if self.wants_json else detail)


class CancelHandler(Handler):
    """`POST /dispatches/{id}/cancel`."""

    async def post(self, dispatch: str) -> None:
        """Cancel a dispatch or some of its nodes."""
        nodes = self.body(CancelRequest).nodes if self.request.body else None
        if nodes is not None:
            graph = await views.graph(self.service, DispatchId(dispatch))
            strangers = [node for node in nodes if not 0 <= node < len(graph.nodes)]
            if strangers:
                message = f"dispatch {dispatch!r} has no node {strangers[0]}; its nodes are 0 to {len(graph.nodes) - 1}"
                raise BadRequest(message)
        self.answer(await self.service.cancel(DispatchId(dispatch), nodes), 202)


class SubmissionHandler(Handler):
    """`GET /dispatches/{id}/submission`."""

    async def get(self, dispatch: str) -> None:
        """Return what was submitted."""
        self.answer(await self.service.submission(DispatchId(dispatch)))


class StartHandler(Handler):
    """`POST /dispatches/{id}/start`."""

    async def post(self, dispatch: str) -> None:
        """Start a dispatch that was held."""
        self.answer(await self.service.start(DispatchId(dispatch)), 202)


class RedispatchHandler(Handler):
    """`POST /dispatches/{id}/redispatch`."""

    async def post(self, dispatch: str) -> None:
        """Run the stored graph once more, under a new id."""
        again = self.body(RedispatchRequest) if self.request.body else RedispatchRequest()
        summary, is_new = await self.service.redispatch(DispatchId(dispatch), again)
        self.answer(summary, 201 if is_new else 200)


class TriggersHandler(Handler):
    """`GET /dispatches/{id}/triggers`, `POST /dispatches/{id}/triggers`."""

    async def get(self, dispatch: str) -> None:
        """Say how the triggers of a dispatch stand."""
        self.answer(await self.service.triggers.states(DispatchId(dispatch)))

    async def post(self, dispatch: str) -> None:
        """Attach triggers."""
        self.answer(await self.service.triggers.register(DispatchId(dispatch), self.body(list[Trigger])), 201)


class StopTriggersHandler(Handler):
    """`POST /dispatches/{id}/triggers/stop`."""

    async def post(self, dispatch: str) -> None:
        """Stop the triggers of a dispatch, or those that are named."""
        chosen = self.body(StopRequest).triggers if self.request.body else None
        self.answer(await self.service.triggers.stop_watching(DispatchId(dispatch), chosen), 202)


class FireHandler(Handler):
    """`POST /triggers/{id}/fire`."""

    async def post(self, trigger: str) -> None:
        """Start the dispatch of a trigger, or run it once more."""
        self.answer(_of_ours(await self.service.triggers.fire(trigger, self.body(Firing))), 202)


class TriggerNewsHandler(Handler):
    """`POST /triggers/{id}/state`."""

    async def post(self, trigger: str) -> None:
        """Take down how a trigger stands."""
        self.answer(
            {"known": _of_ours(await self.service.triggers.tell(trigger, self.body(TriggerReport)) or None)}, 202
        )


class WatchesHandler(Handler):
    """`GET /hosts/{number}/watches`. A trigger host holds it open."""

    async def get(self, host: str) -> None:
        """Return what a host is to watch, when that changed after `since`."""
        since = int(self.number("since", 0, 1e15))
        wait = max(0.0, self.number("wait", 30, _LONGEST_WAIT))
        found: TriggerWatches | None = None

        async def news() -> None:
            nonlocal found
            found = _of_ours(await self.service.triggers.watched(int(host), since, wait))

        await self.held(news())
        self.answer(found)


def _of_ours(answer: _T | None) -> _T:
    """Let a trigger host that another dispatcher has started know that it must go."""
    if answer is None:
        raise web.HTTPError(410, "this trigger host belongs to a dispatcher that is gone")
    return answer


class TasksHandler(Handler):
    """`GET /tasks`."""

    async def get(self) -> None:
        """List the tasks of all dispatches, or those that are asked for, newest first."""
        self.answer(await task_views.listed(self.service, self.query(TaskQuery)))


class SummaryHandler(Handler):
    """`GET /summary`."""

    async def get(self) -> None:
        """Count the tasks of all dispatches."""
        self.answer(await task_views.summary(self.service))


class SnapshotHandler(Handler):
    """Answers how things stand beside the graph."""

    def stand(self, standing: ExecutionSnapshot) -> None:
        """Send it; JSON readers get it described, and what is large cut."""
        self.answer(execution_view(standing) if self.wants_json else standing)


class ExecutionHandler(SnapshotHandler):
    """`GET /dispatches/{id}/execution`."""

    async def get(self, dispatch: str) -> None:
        """Return what happened beside the graph; `wait` for the end, or with `until=final` for the final result."""
        wait = max(0.0, self.number("wait", 0, _LONGEST_WAIT))
        if wait:
            final = self.get_query_argument("until", "") == "final"
            await self.service.recorded(DispatchId(dispatch))
            await self.held(views.until(self.service, DispatchId(dispatch), wait, final=final))
        self.stand(await views.standing(self.service, DispatchId(dispatch)))


class JournalHandler(SnapshotHandler):
    """`GET /dispatches/{id}/journal`, `POST /dispatches/{id}/journal`."""

    async def get(self, dispatch: str) -> None:
        """Return a piece of the stream, waiting for one if asked; with `last`, only so many of the newest entries."""
        since, read = int(self.number("since", 0, 1e15)), int(self.number("read", 0, 1e15))
        wait = max(0.0, self.number("wait", 0, _LONGEST_WAIT))
        last = max(0, int(self.number("last", 0, _COUNT_LIMIT)))
        page: list[JournalPage] = []

        async def look() -> None:
            page.append(await views.stream(self.service, DispatchId(dispatch), since, read, wait, last=last))

        await self.held(look())
        if page:
            self.answer(stream_view(page[0]) if self.wants_json else page[0])

    async def post(self, dispatch: str) -> None:
        """Do what somebody wishes of a running dispatch."""
        self.stand(await commands.apply_command(self.service, DispatchId(dispatch), self.body(Command)))


class EventsHandler(Handler):
    """`GET /events`. Whoever holds it open keeps the dispatcher alive."""

    async def get(self) -> None:
        """Return the dispatches that changed after a number, waiting for one if there is none."""
        feed = self.service.feed
        since = int(self.number("since", -1, 1e15))
        wait = max(0.0, self.number("wait", 30, _LONGEST_WAIT))
        if since < 0:
            self.answer(EventsPage(feed.number, []))
            return
        self.service.attached += 1
        try:
            if feed.number == since:
                await self.held(feed.wait(None, wait))
        finally:
            self.service.attached -= 1
            self.service.last_asked = time.monotonic()
        self.answer(EventsPage(feed.number, feed.since(since)))


class NothingHandler(Handler):
    """Everything else."""

    open_to_all_versions = True

    def prepare(self) -> None:
        """Say that there is no such thing."""
        super().prepare()
        raise web.HTTPError(404)


def application(service: Service, stop: asyncio.Event) -> web.Application:
    """Return the routes of a dispatcher."""
    whose = {"service": service}
    dispatch = r"/dispatches/([^/]+)"
    return web.Application(
        [
            (r"/status", StatusHandler, whose),
            (r"/stop", StopHandler, {**whose, "stop": stop}),
            (r"/environments", EnvironmentsHandler, whose),
            (r"/events", EventsHandler, whose),
            (r"/tasks", TasksHandler, whose),
            (r"/summary", SummaryHandler, whose),
            (r"/dispatches", DispatchesHandler, whose),
            (dispatch, DispatchHandler, whose),
            (rf"{dispatch}/record", RecordHandler, whose),
            (rf"{dispatch}/graph", GraphHandler, whose),
            (rf"{dispatch}/changes", ChangesHandler, whose),
            (rf"{dispatch}/cancel", CancelHandler, whose),
            (rf"{dispatch}/submission", SubmissionHandler, whose),
            (rf"{dispatch}/start", StartHandler, whose),
            (rf"{dispatch}/redispatch", RedispatchHandler, whose),
            (rf"{dispatch}/triggers", TriggersHandler, whose),
            (rf"{dispatch}/triggers/stop", StopTriggersHandler, whose),
            (r"/triggers/([^/]+)/fire", FireHandler, whose),
            (r"/triggers/([^/]+)/state", TriggerNewsHandler, whose),
            (r"/hosts/([0-9]{1,15})/watches", WatchesHandler, whose),
            (rf"{dispatch}/execution", ExecutionHandler, whose),
            (rf"{dispatch}/journal", JournalHandler, whose),
            (rf"{dispatch}/nodes/([0-9]{{1,9}})", NodeHandler, whose),
            (r".*", NothingHandler, whose),
        ],
        log_function=_log_request,
    )


def _log_request(handler: web.RequestHandler) -> None:
    request: HTTPServerRequest = handler.request
    if handler.get_status() >= 500:
        _log.warning("%s %s: %d", request.method, request.path, handler.get_status())
