"""LRU cache of finished dispatches, bounded by node count. They never change, so entries are never stale."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from covalab.core.graph_state import GraphState
from covalab.core.model import DispatchId, DispatchSummary, NodeState, Submission

_OTHER_THINGS: Final = 100  # 22 KB
_NODES_KEPT: Final = 50_000


class FinishedDispatch(msgspec.Struct, frozen=True):
    """Record of a dispatch that does not run (`known.Known`): it has ended, or is held."""

    key: int
    summary: DispatchSummary
    progress: GraphState
    submission: Submission
    children: dict[int, DispatchId] = {}

    def committed_summary(self) -> DispatchSummary:
        """Return its summary."""
        return self.summary

    def committed_states(self, since: int) -> list[NodeState]:
        """Return the states of all nodes, if it changed after version `since`."""
        # The versions of single nodes are not recorded.
        return self.progress.states_since(-1) if since < self.summary.version else []

    def committed_state(self, node: int) -> NodeState:
        """Return the state of one node."""
        return self.progress.node_state(node)

    def committed_children(self) -> dict[int, DispatchId]:
        """Return the dispatches that nodes have become, by node."""
        return self.children


def _weight(finished: FinishedDispatch) -> int:
    """Return the number of nodes that take as much memory as a dispatch: a small one is mostly other things."""
    return len(finished.progress.status) + _OTHER_THINGS


class FinishedCache:
    """The dispatches read last, with `_NODES_KEPT` nodes at most; a larger one is rebuilt for each request."""

    def __init__(self) -> None:
        self._kept: OrderedDict[DispatchId, FinishedDispatch] = OrderedDict()
        self._nodes = 0

    def get(self, dispatch: DispatchId) -> FinishedDispatch | None:
        """Return a dispatch if it is in the cache."""
        found = self._kept.get(dispatch)
        if found is not None:
            self._kept.move_to_end(dispatch)
        return found

    def keep(self, finished: FinishedDispatch) -> None:
        """Add a dispatch, and evict those that were not read for longest."""
        self.forget(finished.summary.id)
        self._kept[finished.summary.id] = finished
        self._nodes += _weight(finished)
        while self._nodes > _NODES_KEPT:
            self.forget(next(iter(self._kept)))

    def forget(self, dispatch: DispatchId) -> None:
        """Remove a dispatch that was deleted."""
        found = self._kept.pop(dispatch, None)
        if found is not None:
            self._nodes -= _weight(found)
