"""Change feed: wakes long-poll requests when a dispatch changes. Numbers only grow, so no event is delivered twice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from covalab.core.model import DispatchId, DispatchSummary

_KEPT: Final = 10_000


class Feed:
    """The changes of all dispatches, newest last.

    Parameters
    ----------
    first
        The first number. It must be larger than any number published before a restart.
    """

    def __init__(self, first: int) -> None:
        self.number = first
        self._changed: OrderedDict[DispatchId, tuple[int, DispatchSummary]] = OrderedDict()
        self._waiting: dict[DispatchId | None, set[asyncio.Future[None]]] = {}

    def publish(self, summary: DispatchSummary) -> None:
        """Add a change of a dispatch, and wake the requests that wait for it, or for any."""
        self.number += 1
        self._changed[summary.id] = (self.number, summary)
        self._changed.move_to_end(summary.id)
        if len(self._changed) > _KEPT:
            self._changed.popitem(last=False)
        for whose in (summary.id, None):
            self._wake(whose)

    def forget(self, dispatch: DispatchId) -> None:
        """Remove a dispatch that was deleted, and wake the requests that wait for it."""
        self._changed.pop(dispatch, None)
        self._wake(dispatch)

    def _wake(self, whose: DispatchId | None) -> None:
        for future in self._waiting.pop(whose, ()):
            if not future.done():
                future.set_result(None)

    def since(self, number: int) -> list[DispatchSummary]:
        """Return what changed after `number`, oldest first; all there is, if the number is from before a restart."""
        found = []
        if number > self.number:
            number = 0
        for changed, summary in reversed(self._changed.values()):
            if changed <= number:
                break
            found.append(summary)
        return found[::-1]

    async def wait(self, dispatch: DispatchId | None, timeout: float | None) -> bool:
        """Wait for the next change of a dispatch (None: of any); False when `timeout` seconds were not enough."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(dispatch, set()).add(future)
        try:
            done, _ = await asyncio.wait((future,), timeout=timeout)
        finally:
            waiting = self._waiting.get(dispatch)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiting[dispatch]
        return bool(done)
