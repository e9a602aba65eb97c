"""Dispatches that have ended and that somebody looked at lately: they never change, and are worth keeping at hand."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from covalab.core.graph_state import GraphState
from covalab.core.model import DispatchId, DispatchSummary, Submission

_NODES_KEPT: Final = 50_000


class FinishedDispatch(msgspec.Struct, frozen=True):
    """What is recorded of a dispatch, put together."""

    key: int
    summary: DispatchSummary
    progress: GraphState
    submission: Submission
    children: dict[int, DispatchId] = {}


class FinishedCache:
    """The last few, as many as `_NODES_KEPT` nodes allow; one that is larger is put together anew each time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[DispatchId, FinishedDispatch] = OrderedDict()
        self._nodes = 0

    def get(self, dispatch: DispatchId) -> FinishedDispatch | None:
        """Return a dispatch if it is at hand."""
        found = self._kept.get(dispatch)
        if found is not None:
            self._kept.move_to_end(dispatch)
        return found

    def keep(self, ended: FinishedDispatch) -> None:
        """Keep a dispatch at hand, and let go of those that nobody looked at for longest."""
        self.forget(ended.summary.id)
        self._kept[ended.summary.id] = ended
        self._nodes += len(ended.progress.status)
        while self._nodes > _NODES_KEPT:
            self.forget(next(iter(self._kept)))

    def forget(self, dispatch: DispatchId) -> None:
        """Let go of a dispatch: it was deleted."""
        found = self._kept.pop(dispatch, None)
        if found is not None:
            self._nodes -= len(found.progress.status)
