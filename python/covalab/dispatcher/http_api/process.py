"""Handlers of the dispatcher itself: its status, its end, its pools, and the feed of changes."""

from __future__ import annotations

from tornado import web

from covalab.client.client import EventsPage
from covalab.core.model import Environment
from covalab.dispatcher.http_api.handler import LARGEST_NUMBER, LONGEST_WAIT, Handler


class StatusHandler(Handler):
    """`GET /status`."""

    open_to_all_versions = True

    def get(self) -> None:
        """Return the status of the dispatcher."""
        self.answer(self.service.status())


class StopHandler(Handler):
    """`POST /stop`."""

    open_to_all_versions = True

    def post(self) -> None:
        """End after this answer."""
        self.answer({}, 202)
        self.stop.set()


class EnvironmentsHandler(Handler):
    """`POST /environments`."""

    def post(self) -> None:
        """Start the workers of an environment."""
        self.service.warm(self.body(Environment))
        self.answer({}, 202)


class EventsHandler(Handler):
    """`GET /events`, a long poll, which keeps the dispatcher alive."""

    async def get(self) -> None:
        """Return the dispatches that changed after a number, waiting for one if there is none."""
        feed = self.service.feed
        since = int(self.number("since", -1, LARGEST_NUMBER))
        wait = max(0.0, self.number("wait", 30, LONGEST_WAIT))
        if since < 0:
            self.answer(EventsPage(feed.number, []))
            return
        if feed.number == since:
            await self.long_poll(feed.wait(None, wait))
        self.answer(EventsPage(feed.number, feed.since(since)))


class NotFoundHandler(Handler):
    """All other paths."""

    open_to_all_versions = True

    async def prepare(self) -> None:
        """Answer 404."""
        await super().prepare()
        raise web.HTTPError(404)
