"""Committed state of a running dispatch: what is on the disk of it, and therefore all that readers are shown.

`GraphState` runs ahead of the disk: what may start next is decided from it as soon as an outcome has come in. A reader
who saw that might see an end that a power cut takes back.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from covalab.core.graph_state import GraphState
from covalab.core.journal import Entry, ExecutionState, fold
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchId, DispatchSummary, NodeState, Status


class Snapshot(msgspec.Struct, frozen=True):
    """Changes of a dispatch between two commits, as it was at the second.

    `children` are the dispatches that some of `nodes` have become.
    """

    summary: DispatchSummary
    nodes: list[NodeState]
    children: dict[int, DispatchId]


class CommittedState:
    """State of a dispatch and its nodes at its last commit.

    Parameters
    ----------
    summary
        The summary that was recorded with the submission.
    n_nodes
        How many nodes its graph has.
    """

    def __init__(self, summary: DispatchSummary, n_nodes: int) -> None:
        self.summary = summary
        self.children: dict[int, DispatchId] = {}
        self.journal: ExecutionState | None = None
        self.running: set[int] = set()
        """The nodes that run, few at a time however large the graph is."""
        # None stands for a node that nothing has happened to: a graph may have a hundred thousand of these.
        self._nodes: list[NodeState | None] = [None] * n_nodes
        self._changed_at = [0] * n_nodes

    def load(
        self,
        summary: DispatchSummary,
        state: GraphState,
        children: dict[int, DispatchId],
        journal: ExecutionState | None,
    ) -> None:
        """Take over what was read from the disk, and what follows from it."""
        # The end of a dispatch follows from its nodes, but has to be recorded all the same.
        if summary.status in TERMINAL:
            summary = msgspec.structs.replace(summary, status=self.summary.status, ended_at=None)
        self.summary = summary
        self.children = dict(children)
        self.journal = journal
        self._nodes = [
            state.node_state(node) if status != "pending" or attempt or node in state.delayed else None
            for node, (status, attempt) in enumerate(zip(state.status, state.attempt, strict=True))
        ]
        self._changed_at = state.changed_at.copy()
        self.running = {node for node, status in enumerate(state.status) if status == "running"}

    def advance(self, snapshot: Snapshot, entries: Iterable[tuple[int, Entry]] = ()) -> None:
        """Take over what was committed: a snapshot, and entries of the journal."""
        self.summary = snapshot.summary
        version = snapshot.summary.version
        nodes, changed_at, running = self._nodes, self._changed_at, self.running  # this is done for every node
        for state in snapshot.nodes:
            node = state.node
            nodes[node] = state
            changed_at[node] = version
            if state.status == "running":
                running.add(node)
            elif running:
                running.discard(node)
        if self.children:
            for state in snapshot.nodes:
                # A node that is to be tried again stands for no dispatch any more.
                self.children.pop(state.node, None)
        self.children.update(snapshot.children)
        for _, entry in entries:
            if self.journal is None:
                self.journal = ExecutionState()
            fold(self.journal, entry)

    def status(self, node: int) -> Status:
        """Return the status of a node."""
        state = self._nodes[node]
        return "pending" if state is None else state.status

    def node_state(self, node: int) -> NodeState:
        """Return the state of a node."""
        return self._nodes[node] or NodeState(node, "pending")

    def states_since(self, version: int) -> list[NodeState]:
        """Return every node that changed after `version`, as it was committed last."""
        return [self.node_state(node) for node, changed in enumerate(self._changed_at) if changed > version]
