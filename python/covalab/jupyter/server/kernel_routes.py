"""Routes for kernels on other hosts, below `<base_url>/covalab/kernel/`: the dispatcher's own, in msgpack.

Whoever may use them may run code (the authorizer's action `execute` on `covalab`, for every verb), so they give what a
kernel on this host has. What is of this host, and ends or belongs to other processes of it, is not among them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from covalab.core import protocol
from covalab.core.errors import CovalabError, VersionMismatch
from covalab.core.model import Environment, Submission, Trigger
from covalab.jupyter.server.base_route import Route, id_of
from covalab.jupyter.server.relay import Relay
from covalab.jupyter.server.task_environments import TaskEnvironments

RELAYED: Final[Mapping[str, frozenset[str]]] = {
    "status": frozenset({"GET"}),
    "environments": frozenset({"POST"}),
    "tasks": frozenset({"GET"}),
    "summary": frozenset({"GET"}),
    "events": frozenset({"GET"}),
    "dispatches": frozenset({"GET", "POST", "DELETE"}),
    "dispatches/{id}": frozenset({"GET", "DELETE"}),
    "dispatches/{id}/record": frozenset({"GET"}),
    "dispatches/{id}/graph": frozenset({"GET"}),
    "dispatches/{id}/changes": frozenset({"GET"}),
    "dispatches/{id}/timeline": frozenset({"GET"}),
    "dispatches/{id}/log": frozenset({"GET"}),
    "dispatches/{id}/tags": frozenset({"POST"}),
    "dispatches/{id}/nodes/{node}": frozenset({"GET"}),
    "dispatches/{id}/nodes/{node}/outputs": frozenset({"GET"}),
    "dispatches/{id}/nodes/{node}/preview": frozenset({"GET"}),
    "dispatches/{id}/outputs": frozenset({"GET"}),
    "dispatches/{id}/cancel": frozenset({"POST"}),
    "dispatches/{id}/trust": frozenset({"POST"}),
    "dispatches/{id}/submission": frozenset({"GET"}),
    "dispatches/{id}/start": frozenset({"POST"}),
    "dispatches/{id}/redispatch": frozenset({"POST"}),
    "dispatches/{id}/execution": frozenset({"GET"}),
    "dispatches/{id}/journal": frozenset({"GET", "POST"}),
    "dispatches/{id}/triggers": frozenset({"GET", "POST"}),
    "dispatches/{id}/triggers/stop": frozenset({"POST"}),
    "triggers/{id}/fire": frozenset({"POST"}),
}
"""Paths of the dispatcher, and the verbs that are relayed."""

_PART: Final = re.compile(r"\{(?:id|node)\}")
_NODE: Final = re.compile(r"[0-9]{1,9}")
_LONGEST_HOLD: Final = 60.0
_PREVIEW_SECONDS: Final = 60.0
_RECORD: Final = "dispatches/{id}/record"


class KernelRoute(Route):
    """Base of the routes for kernels: every verb wants `execute`."""

    _track_activity = False

    async def serve(self, *path: str) -> None:
        """Answer a request of somebody who may run code."""
        del path
        raise web.HTTPError(405)

    @property
    def target_verbs(self) -> frozenset[str]:
        """Verbs that the route has."""
        return frozenset()

    async def _serve_if_known(self, *path: str) -> None:
        if self.request.method not in self.target_verbs:
            raise web.HTTPError(405)
        if self.request.method != "GET":
            self._track_activity = True
        try:
            version = self.request.headers.get(protocol.HEADER, "")
            protocol.check_version(version, "the kernel that asks it", "install the same version on both sides")
            await self.serve(*path)
        except VersionMismatch as error:
            self.problem(409, "VersionMismatch", str(error))

    _for_kernels: Any = web.authenticated(authorized(action="execute")(_serve_if_known))
    get = head = post = put = patch = delete = options = _for_kernels

    def whole_query(self) -> dict[str, str]:
        """Return the query."""
        return {name: self.get_query_argument(name) for name in self.request.query_arguments}


class RelayedRoute(KernelRoute):
    """A route of the dispatcher, for kernels."""

    def initialize(self, relay: Relay, template: str, environments: TaskEnvironments) -> None:  # type: ignore[override] # each route has its own
        """Store the relay, the path of the dispatcher, and the environments for tasks."""
        super().initialize(relay)
        self._template = template
        self._environments = environments

    @property
    def target_verbs(self) -> frozenset[str]:
        """Verbs that are relayed."""
        return RELAYED[self._template]

    async def serve(self, *path: str) -> None:
        """Relay a request, and answer as the dispatcher does."""
        target = "/" + _filled(self._template, path)
        query = self.whole_query()
        held = self._limit_wait(query)
        try:
            body = await self._body() if self.request.method == "POST" else None
            self.relay.allow_start()
            answer = await self.relay.ask(
                str(self.request.method),
                f"{target}?{urlencode(query)}" if query else target,
                body=body,
                held=held,
                accept=protocol.MSGPACK,
            )
        except VersionMismatch:
            raise
        except CovalabError as error:
            self.problem(503, type(error).__name__, str(error))
            return
        self.set_status(answer.status)
        await self.finish_if_open(answer.body or None, protocol.MSGPACK)

    def _limit_wait(self, query: dict[str, str]) -> float:
        """Limit how long the dispatcher holds the request open; return that time."""
        if self._template.endswith("/preview"):
            return _PREVIEW_SECONDS
        if "wait" not in query:
            return 0.0
        name = "timeout" if self._template == _RECORD else "wait"
        try:
            wanted = float(query.get(name, _LONGEST_HOLD))
        except ValueError:
            wanted = math.nan
        if math.isnan(wanted):
            raise web.HTTPError(400, f"{name} is a number of seconds")
        seconds = max(0.0, min(wanted, _LONGEST_HOLD))
        query[name] = f"{seconds:g}"
        return seconds

    async def _body(self) -> bytes:
        """Return the body; what names an environment names one of this host."""
        body = self.request.body
        environments = self._environments
        if self._template == "dispatches":
            return msgspec.msgpack.encode(await environments.placed(_decoded(body, Submission)))
        if self._template == "environments":
            return msgspec.msgpack.encode((await environments.of(_decoded(body, Environment))).environment)
        if self._template == "dispatches/{id}/triggers":
            given: list[Trigger] = _decoded(body, list[Trigger])
            return msgspec.msgpack.encode(
                [
                    msgspec.structs.replace(one, environment=(await environments.of(one.environment)).environment)
                    for one in given
                ]
            )
        return body


class EnvironmentRoute(KernelRoute):
    """The environment in which the tasks of a kernel run."""

    def initialize(self, relay: Relay, environments: TaskEnvironments) -> None:  # type: ignore[override] # each route has its own
        """Store the relay and the environments for tasks."""
        super().initialize(relay)
        self._environments = environments

    @property
    def target_verbs(self) -> frozenset[str]:
        """Only POST."""
        return frozenset({"POST"})

    async def serve(self, *_: str) -> None:
        """Answer with a `TaskEnvironment`."""
        found = await self._environments.of(_decoded(self.request.body, Environment))
        await self.finish_if_open(msgspec.msgpack.encode(found), protocol.MSGPACK)


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        text = str(error).replace("%", "%%")  # tornado formats the message with `%`
        raise web.HTTPError(400, f"the body is not one that covalab knows: {text}") from error


def _filled(template: str, path: tuple[str, ...]) -> str:
    """Return the path of a request at the dispatcher, of checked parts."""
    parts = iter(path)

    def part(match: re.Match[str]) -> str:
        text = next(parts)
        if match[0] == "{node}":
            if not _NODE.fullmatch(text):
                raise web.HTTPError(400, f"{text[:80]!r} is not the number of a node")
            return text
        return id_of(text)

    return _PART.sub(part, template)


def kernel_routes(relay: Relay, environments: TaskEnvironments) -> list[tuple[str, type[Route], dict[str, Any]]]:
    """Return the routes in tornado's form."""
    relayed: list[tuple[str, type[Route], dict[str, Any]]] = [
        (
            rf"/covalab/kernel/{_PART.sub('([^/]+)', template)}",
            RelayedRoute,
            {"relay": relay, "template": template, "environments": environments},
        )
        for template in RELAYED
    ]
    place = (r"/covalab/kernel/environment", EnvironmentRoute, {"relay": relay, "environments": environments})
    return [*relayed, place]
