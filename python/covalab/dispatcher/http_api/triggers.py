"""Handlers of triggers: those of clients, and those of the host processes that watch."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from tornado import web

from covalab.core.model import DispatchId, Trigger
from covalab.core.trigger_states import Firing, TriggerReport, TriggerState, TriggerWatches
from covalab.dispatcher.http_api.handler import LARGEST_NUMBER, LONGEST_WAIT, Handler

_T = TypeVar("_T")


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a request to stop triggers: their ids; None: all."""

    triggers: list[str] | None = None


class TriggersHandler(Handler):
    """`GET /dispatches/{id}/triggers`, `POST /dispatches/{id}/triggers`."""

    async def get(self, dispatch: str) -> None:
        """Return the states of the triggers of a dispatch; with `wait`, when none of them is starting any more."""
        wait = max(0.0, self.number("wait", 0, LONGEST_WAIT))
        found: list[TriggerState] | None = None

        async def poll() -> None:
            nonlocal found
            found = await self.service.triggers.settled(DispatchId(dispatch), wait)

        await self.long_poll(poll())
        self.answer(found)

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
        self.answer(_of_our_host(await self.service.triggers.fire(trigger, self.body(Firing))), 202)


class TriggerReportHandler(Handler):
    """`POST /triggers/{id}/state`."""

    async def post(self, trigger: str) -> None:
        """Record the state of a trigger."""
        is_known = await self.service.triggers.report(trigger, self.body(TriggerReport))
        self.answer({"known": _of_our_host(is_known or None)}, 202)


class WatchesHandler(Handler):
    """`GET /hosts/{n}/watches`, a long poll of trigger hosts."""

    is_of_a_client = False

    async def get(self, host: str) -> None:
        """Return the triggers that a host is to watch, when they changed after `since`."""
        since = int(self.number("since", 0, LARGEST_NUMBER))
        wait = max(0.0, self.number("wait", 30, LONGEST_WAIT))
        found: TriggerWatches | None = None

        async def poll() -> None:
            nonlocal found
            found = _of_our_host(await self.service.triggers.watched(int(host), since, wait))

        await self.long_poll(poll())
        self.answer(found)


def _of_our_host(answer: _T | None) -> _T:
    """Return an answer to a trigger host; 410 makes one that another dispatcher started end itself."""
    if answer is None:
        raise web.HTTPError(410, "this trigger host belongs to a dispatcher that is gone")
    return answer
