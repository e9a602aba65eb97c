"""Bridge from the dispatcher's change feed to the events of the Jupyter server.

Holds one request open at the dispatcher, which also keeps it alive. Keeps no state that matters: changes that were
missed are published again in full after the next connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from logging import Logger
from typing import Final

import msgspec

from covalab.client.client import EventsPage
from covalab.core.errors import CovalabError, DispatcherError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchId, DispatchSummary
from covalab.jupyter.server.relay import Answer, Relay

HELD: Final = 30.0
"""Seconds that one request for events is held open."""

_AT_LEAST: Final = 0.1  # seconds between two events; changes in between are one event
_SETTLED: Final = 10.0  # seconds after which a dispatcher counts as up
_RETRY: Final = 1.0  # seconds between looking for a dispatcher; how often one is started is the relay's decision
_RECENT: Final = 100  # dispatches that are published again after a connection was lost

Publish = Callable[[Sequence[DispatchSummary]], None]


class EventBridge:
    """Publisher of every dispatch that changes, at most ten times a second.

    Parameters
    ----------
    relay
        The way to the dispatcher.
    publish
        Called with the dispatches that changed since the last call.
    log
        Logger for errors; the same error in a row is logged once.
    on_connected
        Called once for each dispatcher that is followed.
    """

    def __init__(
        self, relay: Relay, publish: Publish, log: Logger, on_connected: Callable[[], Awaitable[None]]
    ) -> None:
        self._relay = relay
        self._publish = publish
        self._log = log
        self._on_connected = on_connected
        self._last_error = ""
        self._active: set[DispatchId] = set()

    @property
    def active(self) -> int:
        """Number of dispatches that have not ended, as far as is known here."""
        return len(self._active)

    async def run(self) -> None:
        """Follow until cancelled."""
        first = True
        while True:
            try:
                await self._follow(publish_recent=not first)
            except CovalabError as error:
                if str(error) != self._last_error:
                    self._last_error = str(error)
                    self._log.warning("covalab: %s", error)
            except Exception:  # noqa: BLE001 - boundary of the task: without it, the live view stays silent until the server ends
                self._log.exception("covalab: cannot follow the dispatcher; trying again")
            first = False
            await asyncio.sleep(_RETRY)

    async def _follow(self, *, publish_recent: bool) -> None:
        epoch = (await self._relay.find()).epoch
        began = time.monotonic()
        # First the number, then the lists: a change in between is published twice, and none is missed.
        since = (await self._page(epoch, -1, held=0.0)).since
        unfinished = _summaries(await self._relay.ask("GET", "/dispatches?status=pending,running&count=1000"))
        self._active = {summary.id for summary in unfinished}
        if publish_recent:
            recent = _summaries(await self._relay.ask("GET", f"/dispatches?count={_RECENT}"))
            # One dispatch can be in both lists.
            self._on_changes(list({summary.id: summary for summary in (*unfinished, *recent)}.values()))
        self._last_error = ""
        await self._on_connected()
        while True:
            page = await self._page(epoch, since, held=HELD)
            since = page.since
            self._on_changes(page.dispatches)
            if time.monotonic() - began > _SETTLED:
                self._relay.settle()
            await asyncio.sleep(_AT_LEAST)

    async def _page(self, epoch: int, since: int, *, held: float) -> EventsPage:
        answer = await self._relay.ask("GET", f"/events?since={since}&wait={held:g}", held=held, repeat=False)
        if answer.epoch != epoch:  # another dispatcher counts its changes from another number
            message = f"the dispatcher of {self._relay.folder} was replaced; following the new one"
            raise DispatcherError(message)
        return msgspec.json.decode(_body(answer), type=EventsPage)

    def _on_changes(self, changed: Sequence[DispatchSummary]) -> None:
        for summary in changed:
            if summary.status in TERMINAL:
                self._active.discard(summary.id)
            else:
                self._active.add(summary.id)
        if changed:
            self._publish(changed)


def _summaries(answer: Answer) -> list[DispatchSummary]:
    return msgspec.json.decode(_body(answer), type=list[DispatchSummary])


def _body(answer: Answer) -> bytes:
    if answer.status >= 400:
        message = f"the dispatcher answered {answer.status}: {answer.body[:500].decode(errors='replace')}"
        raise DispatcherError(message)
    return answer.body
