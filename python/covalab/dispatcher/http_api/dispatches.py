"""Handlers of dispatches: submit, list, read, start, cancel, run again, delete."""

from __future__ import annotations

import math
import re
from typing import Final, cast, get_args

import msgspec
from tornado import web

from covalab.core.browser_views import node_view, outputs_view
from covalab.core.dispatch_list import ListQuery, SummaryQuery
from covalab.core.model import DispatchId, NodeDetail, Status, Submission
from covalab.core.previews import Preview, PreviewQuery
from covalab.core.requests import PurgeResult, RedispatchRequest, TagsRequest
from covalab.core.run_log import LogQuery
from covalab.dispatcher import comparing, list_views, log_views, views
from covalab.dispatcher.http_api.handler import LARGEST_NUMBER, LONGEST_WAIT, MOST_ENTRIES, BadRequest, Handler

_STATUSES: Final = frozenset(get_args(Status))
_LARGEST_OUTPUTS_NUMBER: Final = 2**53  # the largest that a browser counts to
_OUTPUTS: Final = re.compile(r"result|all|none|[0-9]{1,9}(,[0-9]{1,9})*")


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a cancel request: the nodes; None: all."""

    nodes: list[int] | None = None


class DispatchesHandler(Handler):
    """`GET /dispatches`, `POST /dispatches`, `DELETE /dispatches`."""

    async def get(self) -> None:
        """List the outermost dispatches, or those below `root`, newest first."""
        statuses = [status for status in self.get_query_argument("status", "").split(",") if status]
        if not _STATUSES.issuperset(statuses):
            message = f"status must be of {', '.join(sorted(_STATUSES))}; got {','.join(statuses)!r}"
            raise BadRequest(message)
        query = SummaryQuery(
            statuses=cast("tuple[Status, ...]", tuple(statuses)),
            name=self.get_query_argument("name", None),
            offset=max(0, int(self.number("offset", 0, LARGEST_NUMBER))),
            count=max(0, int(self.number("count", 50, MOST_ENTRIES))),
            root=self.get_query_argument("root", None) or None,
            since=self.number("since", 0, LARGEST_NUMBER),
            oldest=bool(self.get_query_argument("oldest", None)),
            schedule=self.get_query_argument("schedule", None) or None,
            tag=self.get_query_argument("tag", None) or None,
            prefix=self.get_query_argument("prefix", ""),
        )
        self.answer(await views.dispatches(self.service, query))

    async def post(self) -> None:
        """Record a dispatch and start it."""
        encoded = None if self.is_json else self.request.body
        summary, is_new = await self.service.submit(self.body(Submission), encoded=encoded)
        self.answer(summary, 201 if is_new else 200)

    async def delete(self) -> None:
        """Delete all that ended before a time; with `dry`, say what that would be."""
        before = self.number("ended_before", math.nan, LARGEST_NUMBER)
        if math.isnan(before):
            message = "say with ended_before, in seconds since the epoch, what is to be forgotten"
            raise BadRequest(message)
        if self.get_query_argument("dry", None):
            ids = await self.service.retention.due(before)
            self.answer(PurgeResult(len(ids), ids))
        else:
            self.answer(PurgeResult(await self.service.retention.purge(before)))


class ListHandler(Handler):
    """`GET /list`."""

    async def get(self) -> None:
        """Return a page of the list of outermost dispatches: rows, or with `group` groups of rows."""
        self.answer(await list_views.page(self.service, self.query(ListQuery)))


class AgainHandler(Handler):
    """`GET /dispatches/{id}/again`."""

    async def get(self, dispatch: str) -> None:
        """Return the newest dispatch that runs this one again, or null."""
        self.answer(await list_views.newest_again(self.service, DispatchId(dispatch)))


class DispatchHandler(Handler):
    """`GET /dispatches/{id}`, `DELETE /dispatches/{id}`."""

    async def get(self, dispatch: str) -> None:
        """Return the summary of a dispatch."""
        self.answer(await views.summary(self.service, DispatchId(dispatch)))

    async def delete(self, dispatch: str) -> None:
        """Delete a dispatch that has ended, with all below it."""
        why_not = await self.service.delete(DispatchId(dispatch))
        if why_not:
            raise web.HTTPError(409, why_not)
        self.set_status(204)
        await self.finish()


class RecordHandler(Handler):
    """`GET /dispatches/{id}/record`."""

    opens_values = True

    async def get(self, dispatch: str) -> None:
        """Return a dispatch with outputs, when it has ended if `wait` is given.

        With `notice`, the one that was seen, also when it has another.
        """
        outputs = self.get_query_argument("outputs", "result")
        if not _OUTPUTS.fullmatch(outputs):
            message = f"outputs must be result, all, none or node numbers; got {outputs!r}"
            raise BadRequest(message)
        if self.get_query_argument("wait", None):
            await self.service.summary(DispatchId(dispatch))  # one that is not there is not waited for
            timeout = self.number("timeout", math.inf, math.inf)
            # Of one that was never started the answer comes at once, unless the client knows that and wants to wait.
            is_held = (
                dispatch in self.service.held
                and not self.service.schedules.is_waiting(DispatchId(dispatch))
                and not self.get_query_argument("held", None)
            )
            longest = 0.0 if is_held else max(0.0, timeout)
            seen = self.get_query_argument("notice", None)
            await self.long_poll(
                self.service.ended(DispatchId(dispatch), None if math.isinf(longest) else longest)
                if seen is None
                else views.ended_or_noticed(self.service, DispatchId(dispatch), longest, seen)
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
        since = int(self.number("since", 0, LARGEST_NUMBER))
        wait = max(0.0, self.number("wait", 0, LONGEST_WAIT))
        if wait:
            await self.long_poll(views.wait_for_change(self.service, DispatchId(dispatch), since, wait))
        self.answer(await views.changes(self.service, DispatchId(dispatch), since))


class NodeHandler(Handler):
    """`GET /dispatches/{id}/nodes/{n}`."""

    opens_values = True

    async def get(self, dispatch: str, number: str) -> None:
        """Return the details of one node; as JSON with the value described, not included."""
        detail: NodeDetail = await views.node(self.service, DispatchId(dispatch), int(number))
        self.answer(node_view(detail) if self.wants_json else detail)


class NodeOutputsHandler(Handler):
    """`GET /dispatches/{id}/nodes/{n}/outputs`."""

    opens_values = True

    async def get(self, dispatch: str, number: str) -> None:
        """Return the outputs of a node that changed after a number."""
        since = int(self.number("since", 0, _LARGEST_OUTPUTS_NUMBER))
        self.answer(await views.outputs(self.service, DispatchId(dispatch), int(number), since))


class PreviewHandler(Handler):
    """`GET /dispatches/{id}/nodes/{n}/preview`."""

    opens_values = True

    async def get(self, dispatch: str, number: str) -> None:
        """Return a part of a node's value as a page shows it."""
        made = await views.preview(self.service, DispatchId(dispatch), int(number), self.query(PreviewQuery))
        if not self.wants_json:
            self.answer(msgspec.json.decode(made, type=Preview))
            return
        self.set_header("Content-Type", "application/json")
        await self.finish(made)  # as the process sent it, and as it is kept


class OutputsHandler(Handler):
    """`GET /dispatches/{id}/outputs`."""

    opens_values = True

    async def get(self, dispatch: str) -> None:
        """Return the recorded output of all nodes; as JSON with what is stored elsewhere described, not included."""
        found = await views.all_outputs(self.service, DispatchId(dispatch))
        self.answer(outputs_view(found) if self.wants_json else found)


class TimelineHandler(Handler):
    """`GET /dispatches/{id}/timeline`."""

    async def get(self, dispatch: str) -> None:
        """Return which worker ran which node, and earlier runs."""
        self.answer(await views.where_it_ran(self.service, DispatchId(dispatch)))


class LogHandler(Handler):
    """`GET /dispatches/{id}/log`."""

    async def get(self, dispatch: str) -> None:
        """Return a page of what its nodes printed and how their states changed, in the order of time."""
        self.answer(await log_views.log(self.service, DispatchId(dispatch), self.query(LogQuery)))


class TagsHandler(Handler):
    """`POST /dispatches/{id}/tags`."""

    async def post(self, dispatch: str) -> None:
        """Add tags and remove some."""
        self.answer(await self.service.tag(DispatchId(dispatch), self.body(TagsRequest)))


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

    opens_values = True

    async def get(self, dispatch: str) -> None:
        """Return the submission of a dispatch; as JSON, which may be for a browser, without its variables."""
        submission = await self.service.submission(DispatchId(dispatch))
        self.answer(msgspec.structs.replace(submission, variables=b"") if self.wants_json else submission)


class ProvenanceHandler(Handler):
    """`GET /dispatches/{id}/provenance`."""

    async def get(self, dispatch: str) -> None:
        """Return how the dispatch came about."""
        self.answer(await comparing.provenance(self.service, DispatchId(dispatch)))


class ComparisonHandler(Handler):
    """`GET /dispatches/{id}/comparison`."""

    async def get(self, dispatch: str) -> None:
        """Return what differs between this dispatch and another."""
        other = DispatchId(self.get_query_argument("other", ""))
        self.answer(await comparing.comparison(self.service, DispatchId(dispatch), other))


class NotebookHandler(Handler):
    """`GET /dispatches/{id}/notebook`."""

    async def get(self, dispatch: str) -> None:
        """Return which cell of the notebook is which node; 404 for a dispatch that is no notebook run."""
        view = await views.notebook(self.service, DispatchId(dispatch))
        if view is None:
            raise web.HTTPError(404, f"dispatch {dispatch} is no notebook run")
        self.answer(view)


class StartHandler(Handler):
    """`POST /dispatches/{id}/start`."""

    opens_values = True

    async def post(self, dispatch: str) -> None:
        """Start a dispatch that was held."""
        self.answer(await self.service.start(DispatchId(dispatch)), 202)


class RedispatchHandler(Handler):
    """`POST /dispatches/{id}/redispatch`."""

    opens_values = True

    async def post(self, dispatch: str) -> None:
        """Run the stored graph once more, under a new id."""
        again = self.body(RedispatchRequest) if self.request.body else RedispatchRequest()
        summary, is_new = await self.service.redispatch(DispatchId(dispatch), again)
        self.answer(summary, 201 if is_new else 200)
