"""Known dispatch: one interface for readers to a dispatch that runs and to one that does not.

`running.RunningDispatch` and `cache.FinishedDispatch` satisfy it, so that a view has one branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from covalab.core.graph_state import GraphState
from covalab.core.model import DispatchId, DispatchSummary, NodeState, Submission


class ReadableDispatch(Protocol):
    """Dispatch that can be read.

    The methods return what is recorded, and nothing that a crash could take back; `progress` of a dispatch that runs
    may be ahead of them.
    """

    @property
    def key(self) -> int:
        """Its number in the database."""

    @property
    def progress(self) -> GraphState:
        """Its graph, and the states of the nodes."""

    @property
    def submission(self) -> Submission:
        """Its submission."""

    def committed_summary(self) -> DispatchSummary:
        """Return its summary."""

    def committed_states(self, since: int) -> list[NodeState]:
        """Return the states of the nodes that changed after version `since`; all with -1."""

    def committed_state(self, node: int) -> NodeState:
        """Return the state of one node."""

    def committed_children(self) -> Mapping[int, DispatchId]:
        """Return the dispatches that nodes have become, by node."""
