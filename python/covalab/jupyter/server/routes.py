"""REST routes under `<base_url>/covalab/api/`: those of the dispatcher, for the browser. Decides nothing.

Every verb of every route is authenticated and authorised by Jupyter. Requests are checked before they are relayed, so
that no text from outside becomes part of a path.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlencode

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from covalab.core.dispatch_list import ListQuery as PageQuery
from covalab.core.model import DispatchChanges, Graph, NodeOutput, Status, TaskQuery
from covalab.core.outputs import Output, Outputs
from covalab.core.previews import PreviewQuery
from covalab.core.requests import TagsRequest
from covalab.core.run_log import LogQuery
from covalab.jupyter.server.base_route import Route, dispatch_of
from covalab.jupyter.server.cluster_route import ClusterRoute
from covalab.jupyter.server.notebook_routes import ExecutedRoute, NotebookRoute, NotebooksRoute
from covalab.jupyter.server.relay import Relay
from covalab.view.bundle import dispatch_bundle
from covalab.view.cell_view import CELL_STATES, CellView, cell_bundle
from covalab.view.node_outputs import chosen, node_displays

_NODE: Final = re.compile(r"[0-9]{1,9}")
_CHANGES: Final = msgspec.json.Decoder(DispatchChanges)
_GRAPH: Final = msgspec.json.Decoder(Graph)
_NODE_OUTPUTS: Final = msgspec.json.Decoder(dict[int, NodeOutput])
_PAGES: Final = msgspec.json.Decoder(Outputs)
_PREVIEW_SECONDS: Final = 60.0  # that making one may take, with those before it


class ListQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """Query of `GET dispatches`."""

    status: Annotated[str, msgspec.Meta(pattern=rf"^({'|'.join(get_args(Status))}|,)*$", max_length=100)] = ""
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    offset: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0
    count: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    root: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""


class ChangesQuery(msgspec.Struct, frozen=True):
    """Query of `GET dispatches/{id}/changes`. `wait` is in seconds."""

    since: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    wait: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0


class CancelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST dispatches/{id}/cancel`. No nodes: the whole dispatch."""

    nodes: list[Annotated[int, msgspec.Meta(ge=0, le=10**9)]] | None = None


class RedispatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST dispatches/{id}/redispatch`. `reuse`: take over outputs of the original, but for `nodes`."""

    reuse: bool = False
    nodes: list[Annotated[int, msgspec.Meta(ge=0, le=10**9)]] = []


class StreamQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """Query of `GET dispatches/{id}/journal`. `wait` is in seconds; `last`: only so many of the newest entries.

    Without `last` the answer is the next page after `since`, so that a page that continues from its end misses nothing.
    """

    since: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    wait: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    last: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="answer"):
    """Command that answers the interrupt `id`; `request_id` makes a repeated one harmless."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}(:[0-9]{1,9})?$")]
    request_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    plain: Any


class PauseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="pause"):
    """Command that pauses a dispatch."""


class ResumeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="resume"):
    """Command that resumes a dispatch."""


class StatusRoute(Route):
    """State of the dispatcher."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *_: str) -> None:
        """Answer with a `DispatcherStatus`."""
        await self.send("GET", "/status")


class DispatchesRoute(Route):
    """List of dispatches."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *_: str) -> None:
        """Answer with a list of `DispatchSummary`, newest first."""
        query = msgspec.to_builtins(self.query(ListQuery))
        await self.send("GET", f"/dispatches?{urlencode(query)}")


class ListRoute(Route):
    """Searchable list of dispatches."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *_: str) -> None:
        """Answer with a `DispatchPage`, or a `GroupPage`."""
        await self.send("GET", f"/list?{urlencode(msgspec.to_builtins(self.query(PageQuery)))}")


class AgainRoute(Route):
    """Dispatch that runs another again."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with the `DispatchSummary` of the newest, or null."""
        await self.send("GET", f"/dispatches/{dispatch_of(path)}/again")


class DispatchRoute(Route):
    """One dispatch."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with its `DispatchSummary`."""
        await self.send("GET", f"/dispatches/{dispatch_of(path)}")

    @web.authenticated
    @authorized
    async def delete(self, *path: str) -> None:
        """Forget a dispatch that has ended."""
        await self.send("DELETE", f"/dispatches/{dispatch_of(path)}")


class GraphRoute(Route):
    """The transport graph of a dispatch."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with its `Graph`."""
        await self.send("GET", f"/dispatches/{dispatch_of(path)}/graph")


class ChangesRoute(Route):
    """Changes of a dispatch. Pages hold this open, so it does not count as activity of a user."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with its `DispatchChanges`."""
        dispatch, query = dispatch_of(path), self.query(ChangesQuery)
        await self.send(
            "GET", f"/dispatches/{dispatch}/changes?since={query.since}&wait={query.wait:g}", held=query.wait
        )


class TimelineRoute(Route):
    """Timeline of a dispatch: a view reads it again and again, so it does not count as activity of a user."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with its `Timeline`."""
        await self.send("GET", f"/dispatches/{dispatch_of(path)}/timeline")


class LogRoute(Route):
    """Log of a dispatch: a page that follows it reads it again and again, so it counts as no activity of a user."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with a `LogPage`."""
        query = urlencode(msgspec.to_builtins(self.query(LogQuery)))
        await self.send("GET", f"/dispatches/{dispatch_of(path)}/log?{query}")


class TagsRoute(Route):
    """Tags of a dispatch."""

    @web.authenticated
    @authorized
    async def post(self, *path: str) -> None:
        """Add tags and remove some; answer with the `DispatchSummary`."""
        dispatch = dispatch_of(path)
        body: TagsRequest = self.json_body(TagsRequest, '{"add": ["paper"], "remove": []}')
        await self.send("POST", f"/dispatches/{dispatch}/tags", body=msgspec.to_builtins(body))


class NodeRoute(Route):
    """One node of a dispatch."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with its `NodeDetail`, without the value's bytes."""
        dispatch, node = dispatch_of(path), _node(path)
        await self.send("GET", f"/dispatches/{dispatch}/nodes/{node}")


class OutputsQuery(msgspec.Struct, frozen=True):
    """Query of `GET dispatches/{id}/nodes/{n}/outputs`."""

    since: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class NodeOutputsRoute(Route):
    """Outputs of one node, live. Pages ask again and again, so it does not count as activity of a user."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with its `Outputs`."""
        dispatch, node, query = dispatch_of(path), _node(path), self.query(OutputsQuery)
        await self.send("GET", f"/dispatches/{dispatch}/nodes/{node}/outputs?since={query.since}")


class PreviewRoute(Route):
    """Value of one node, as a page shows it."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with a `Preview`, made by a process in which the value is opened."""
        dispatch, node = dispatch_of(path), _node(path)
        query = urlencode(msgspec.to_builtins(self.query(PreviewQuery)))
        await self.send("GET", f"/dispatches/{dispatch}/nodes/{node}/preview?{query}", held=_PREVIEW_SECONDS)


class ProvenanceRoute(Route):
    """Provenance of a dispatch."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with its `DispatchProvenance`."""
        await self.send("GET", f"/dispatches/{dispatch_of(path)}/provenance")


class ComparisonQuery(msgspec.Struct, frozen=True):
    """Query of `GET dispatches/{id}/comparison`."""

    other: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""


class ComparisonRoute(Route):
    """Comparison of two dispatches."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with a `DifferenceView`."""
        dispatch, query = dispatch_of(path), self.query(ComparisonQuery)
        await self.send("GET", f"/dispatches/{dispatch}/comparison?other={query.other}")


class CancelRoute(Route):
    """Cancellation of a dispatch."""

    @web.authenticated
    @authorized
    async def post(self, *path: str) -> None:
        """Cancel the dispatch, or the nodes that the body names."""
        dispatch = dispatch_of(path)
        body: CancelBody = self.json_body(CancelBody, '{"nodes": [3, 5]}')
        nodes = {} if body.nodes is None else {"nodes": body.nodes}
        await self.send("POST", f"/dispatches/{dispatch}/cancel", body=nodes)


class StartRoute(Route):
    """Start of a dispatch that was recorded without being started."""

    @web.authenticated
    @authorized
    async def post(self, *path: str) -> None:
        """Start it; one that was started before does not change."""
        await self.send("POST", f"/dispatches/{dispatch_of(path)}/start", body={})


class RedispatchRoute(Route):
    """Repetition of a dispatch."""

    @web.authenticated
    @authorized
    async def post(self, *path: str) -> None:
        """Answer with the `DispatchSummary` of the new dispatch."""
        dispatch = dispatch_of(path)
        body: RedispatchBody = self.json_body(RedispatchBody, '{"reuse": true}')
        await self.send("POST", f"/dispatches/{dispatch}/redispatch", body=msgspec.to_builtins(body))


class ExecutionRoute(Route):
    """State of an execution: what a dispatch has beside its graph."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with its `Execution`: state, interventions, interrupts; values are described, not included."""
        await self.send("GET", f"/dispatches/{dispatch_of(path)}/execution")


class JournalRoute(Route):
    """Stream of a dispatch, and commands from pages."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with a `StreamPage`."""
        dispatch, query = dispatch_of(path), self.query(StreamQuery)
        await self.send(
            "GET",
            f"/dispatches/{dispatch}/journal?since={query.since}&wait={query.wait:g}&last={query.last}",
            held=query.wait,
        )

    @web.authenticated
    @authorized
    async def post(self, *path: str) -> None:
        """Answer an interrupt, pause, or resume. The actor is the user who is logged in, whatever the body has."""
        self._track_activity = True  # unlike GET, which pages repeat by themselves
        dispatch = dispatch_of(path)
        example = '{"action": "answer", "id": "...", "request_id": "...", "plain": true}, or {"action": "pause"}'
        body = self.json_body(AnswerBody | PauseBody | ResumeBody, example)
        command = {**msgspec.to_builtins(body), "data": {"actor": _actor(self.current_user)}}
        await self.send("POST", f"/dispatches/{dispatch}/journal", body=command)


class TasksRoute(Route):
    """Tasks of all dispatches."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *_: str) -> None:
        """Answer with a list of `TaskRow`, newest first."""
        await self.send("GET", f"/tasks?{urlencode(msgspec.to_builtins(self.query(TaskQuery)))}")


class SummaryRoute(Route):
    """Summary of all tasks."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *_: str) -> None:
        """Answer with a `TasksSummary`."""
        await self.send("GET", "/summary")


class CellRoute(Route):
    """Output of a cell that runs in the background, for a notebook whose kernel is not there to bring it."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with a MIME bundle."""
        dispatch, node = dispatch_of(path), _node(path)
        target = f"/dispatches/{dispatch}/nodes/{node}"
        answers = await self.read(target, f"{target}/outputs?since=0")
        if answers is not None:
            await self.finish_if_open(await asyncio.to_thread(_cell_bundle, *answers))


def _cell_bundle(node: bytes, outputs: bytes) -> bytes:
    detail, page = msgspec.json.decode(node), msgspec.json.decode(outputs)
    cell = CellView(
        id=detail["dispatch"],
        node=detail["node"],
        name=detail["name"],
        state=CELL_STATES[detail["status"]],
        outputs=page["outputs"],
        number=page["number"],
        is_final=page["is_final"],
        started_at=detail["started_at"],
        ended_at=detail["ended_at"],
        seen_at=time.time(),
    )
    return msgspec.json.encode(cell_bundle(cell))


class BundleRoute(Route):
    """Output of a dispatch that has ended, for a notebook that was saved before, or whose kernel is not there."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with a MIME bundle."""
        target = f"/dispatches/{dispatch_of(path)}"
        answers = await self.read(*(f"{target}/{part}" for part in ("changes?since=0", "graph", "outputs")))
        if answers is None:
            return
        changes, graph, given = _CHANGES.decode(answers[0]), _GRAPH.decode(answers[1]), _NODE_OUTPUTS.decode(answers[2])
        numbers = chosen(given, (node for node, one in given.items() if one.failure is not None))
        pages = await self.read(*(f"{target}/nodes/{node}/outputs?since=0" for node in numbers))
        if pages is None:
            return
        found = {node: _PAGES.decode(page).outputs for node, page in zip(numbers, pages, strict=True)}
        n_more = len(given) - len(numbers)
        await self.finish_if_open(await asyncio.to_thread(_bundle, changes, graph, found, n_more))


def _bundle(changes: DispatchChanges, graph: Graph, outputs: dict[int, list[Output]], n_more: int) -> bytes:
    displays = node_displays(changes.summary.id, graph, outputs, n_more)
    return msgspec.json.encode(dispatch_bundle(changes.summary, graph, changes.nodes, widget=False, displays=displays))


def routes(relay: Relay) -> list[tuple[str, type[Route], dict[str, Relay]]]:
    """Return the routes in tornado's form. A handler gets each part between slashes as text, and checks it."""
    patterns: dict[str, type[Route]] = {
        r"status": StatusRoute,
        r"cluster": ClusterRoute,
        r"tasks": TasksRoute,
        r"summary": SummaryRoute,
        r"dispatches": DispatchesRoute,
        r"list": ListRoute,
        r"dispatches/([^/]+)/again": AgainRoute,
        r"dispatches/([^/]+)": DispatchRoute,
        r"dispatches/([^/]+)/graph": GraphRoute,
        r"dispatches/([^/]+)/changes": ChangesRoute,
        r"dispatches/([^/]+)/timeline": TimelineRoute,
        r"dispatches/([^/]+)/log": LogRoute,
        r"dispatches/([^/]+)/tags": TagsRoute,
        r"dispatches/([^/]+)/nodes/([^/]+)": NodeRoute,
        r"dispatches/([^/]+)/nodes/([^/]+)/outputs": NodeOutputsRoute,
        r"dispatches/([^/]+)/nodes/([^/]+)/cell": CellRoute,
        r"dispatches/([^/]+)/nodes/([^/]+)/preview": PreviewRoute,
        r"dispatches/([^/]+)/bundle": BundleRoute,
        r"dispatches/([^/]+)/provenance": ProvenanceRoute,
        r"dispatches/([^/]+)/comparison": ComparisonRoute,
        r"dispatches/([^/]+)/cancel": CancelRoute,
        r"dispatches/([^/]+)/start": StartRoute,
        r"dispatches/([^/]+)/redispatch": RedispatchRoute,
        r"dispatches/([^/]+)/execution": ExecutionRoute,
        r"dispatches/([^/]+)/journal": JournalRoute,
        r"notebooks": NotebooksRoute,
        r"dispatches/([^/]+)/notebook": NotebookRoute,
        r"dispatches/([^/]+)/notebook/executed": ExecutedRoute,
    }
    return [(rf"/covalab/api/{pattern}", handler, {"relay": relay}) for pattern, handler in patterns.items()]


def _node(path: tuple[str, ...]) -> int:
    """Return the number of the node that a request names."""
    node = path[1]
    if not _NODE.fullmatch(node):
        raise web.HTTPError(400, f"{node[:80]!r} is not the number of a node")
    return int(node)


def _actor(user: Any) -> str:
    """Return the name of a user; if the display name is another, both."""
    name = user.display_name or user.username
    return str(user.username) if name == user.username else f"{name} ({user.username})"
