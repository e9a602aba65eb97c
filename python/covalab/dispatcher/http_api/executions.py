"""Handlers of what happens beside the graph: state, stream, and commands of clients."""

from __future__ import annotations

from covalab.core.browser_views import execution_view, stream_view
from covalab.core.journal import Command, ExecutionSnapshot, JournalPage
from covalab.core.model import DispatchId
from covalab.dispatcher import commands, views
from covalab.dispatcher.http_api.handler import LARGEST_NUMBER, LONGEST_WAIT, MOST_ENTRIES, Handler


class SnapshotHandler(Handler):
    """Base of the handlers that answer with a snapshot."""

    def answer_snapshot(self, snapshot: ExecutionSnapshot) -> None:
        """Send a snapshot; as JSON with values described, and large ones cut."""
        self.answer(execution_view(snapshot) if self.wants_json else snapshot)


class ExecutionHandler(SnapshotHandler):
    """`GET /dispatches/{id}/execution`."""

    opens_values = True

    async def get(self, dispatch: str) -> None:
        """Return what happened beside the graph; `wait` for the end, or with `until=final` for the final result."""
        wait = max(0.0, self.number("wait", 0, LONGEST_WAIT))
        if wait:
            final = self.get_query_argument("until", "") == "final"
            await self.service.recorded(DispatchId(dispatch))
            await self.long_poll(views.wait_for_end(self.service, DispatchId(dispatch), wait, final=final))
        self.answer_snapshot(await views.execution_snapshot(self.service, DispatchId(dispatch)))


class JournalHandler(SnapshotHandler):
    """`GET /dispatches/{id}/journal`, `POST /dispatches/{id}/journal`."""

    opens_values = True

    async def get(self, dispatch: str) -> None:
        """Return a piece of the stream, waiting for one if asked; with `last`, only so many of the newest entries."""
        since, read = int(self.number("since", 0, LARGEST_NUMBER)), int(self.number("read", 0, LARGEST_NUMBER))
        wait = max(0.0, self.number("wait", 0, LONGEST_WAIT))
        last = max(0, int(self.number("last", 0, MOST_ENTRIES)))
        page: list[JournalPage] = []

        async def poll() -> None:
            page.append(await views.stream(self.service, DispatchId(dispatch), since, read, wait, last=last))

        await self.long_poll(poll())
        if page:
            self.answer(stream_view(page[0]) if self.wants_json else page[0])

    async def post(self, dispatch: str) -> None:
        """Apply a command to a running dispatch."""
        self.answer_snapshot(await commands.apply_command(self.service, DispatchId(dispatch), self.body(Command)))
