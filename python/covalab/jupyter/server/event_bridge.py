"""Follows the dispatcher for as long as the Jupyter server runs, and says what changed.

Holds one request open at the dispatcher, which also keeps it alive. Keeps no state that matters: what is missed is told
again in full after the next connection.
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

_AT_LEAST: Final = 0.1  # seconds between two events: what happens in between comes as one
_SETTLED: Final = 10.0  # seconds after which a dispatcher counts as up
_RETRY: Final = 1.0  # seconds between looking for a dispatcher; how often one is started is the relay's decision
_RECENT: Final = 100  # dispatches told again after a connection was lost

Tell = Callable[[Sequence[DispatchSummary]], None]


class EventBridge:
    """Tells of every dispatch that changes, at most ten times a second.

    Parameters
    ----------
    relay
        The way to the dispatcher.
    tell
        Called with the dispatches that changed since the last call.
    log
        Where trouble is noted, once per kind of trouble.
    met
        Called with every dispatcher that is followed, once.
    """

    def __init__(self, relay: Relay, tell: Tell, log: Logger, met: Callable[[], Awaitable[None]]) -> None:
        self._relay = relay
        self._tell = tell
        self._log = log
        self._met = met
        self._trouble = ""
        self._active: set[DispatchId] = set()

    @property
    def active(self) -> int:
        """How many dispatches have not ended, as far as is known here."""
        return len(self._active)

    async def run(self) -> None:
        """Follow until cancelled."""
        first = True
        while True:
            try:
                await self._follow(tell_recent=not first)
            except CovalabError as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    self._log.warning("covalab: %s", error)
            except Exception:  # noqa: BLE001 - logged
                # Without this the live view would go quiet for the rest of the server's life.
                self._log.exception("covalab: cannot follow the dispatcher; trying again")
            first = False
            await asyncio.sleep(_RETRY)

    async def _follow(self, *, tell_recent: bool) -> None:
        epoch = (await self._relay.find()).epoch
        began = time.monotonic()
        since = (await self._page(epoch, -1, held=0.0)).since
        unfinished = _summaries(await self._relay.ask("GET", "/dispatches?status=pending,running&count=1000"))
        self._active = {summary.id for summary in unfinished}
        if tell_recent:
            recent = _summaries(await self._relay.ask("GET", f"/dispatches?count={_RECENT}"))
            self._note(list({summary.id: summary for summary in (*unfinished, *recent)}.values()))
        self._trouble = ""
        await self._met()
        while True:
            page = await self._page(epoch, since, held=HELD)
            since = page.since
            self._note(page.dispatches)
            if time.monotonic() - began > _SETTLED:
                self._relay.settle()
            await asyncio.sleep(_AT_LEAST)

    async def _page(self, epoch: int, since: int, *, held: float) -> EventsPage:
        answer = await self._relay.ask("GET", f"/events?since={since}&wait={held:g}", held=held, repeat=False)
        if answer.epoch != epoch:  # its numbers are other numbers
            message = f"the dispatcher of {self._relay.folder} was replaced; following the new one"
            raise DispatcherError(message)
        return msgspec.json.decode(_body(answer), type=EventsPage)

    def _note(self, changed: Sequence[DispatchSummary]) -> None:
        for summary in changed:
            if summary.status in TERMINAL:
                self._active.discard(summary.id)
            else:
                self._active.add(summary.id)
        if changed:
            self._tell(changed)


def _summaries(answer: Answer) -> list[DispatchSummary]:
    return msgspec.json.decode(_body(answer), type=list[DispatchSummary])


def _body(answer: Answer) -> bytes:
    if answer.status >= 400:
        message = f"the dispatcher answered {answer.status}: {answer.body[:500].decode(errors='replace')}"
        raise DispatcherError(message)
    return answer.body
