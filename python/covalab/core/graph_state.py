"""One dispatch while it runs: which nodes may start, and what follows when one ends.

Pure: no clock, no file, no cluster; times come in with the facts. Linear in nodes and edges, arrays rather than
objects, because a dispatch may have a hundred thousand nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from covalab.core.lifecycle import TERMINAL, may_follow
from covalab.core.model import (
    WAITING_KINDS,
    Attempt,
    Counts,
    Edge,
    EdgeKind,
    Graph,
    NodeKind,
    NodeState,
    Outcome,
    Status,
    Value,
    does_work,
)

LOSSES_ALLOWED: Final = 3
"""How many times a node may take its worker process down before it is blamed for it."""

_DEAD: Final[frozenset[Status]] = frozenset({"failed", "cancelled", "skipped"})


class GraphState:
    """Where every node of a dispatch stands.

    Parameters
    ----------
    graph
        The transport graph.
    values
        The closed values of its parameters.
    queues
        The queue (`core.placement`) of each node; one queue for all, if empty.

    Notes
    -----
    `version` counts changes; `changed_at[node]` is the version in which a node last changed, so that a reader who knows
    version `n` can be told everything that is new.
    """

    def __init__(self, graph: Graph, values: Sequence[Value], queues: Sequence[int] = ()) -> None:
        n = len(graph.nodes)
        self.graph = graph
        self.values = values
        self.status: list[Status] = ["pending"] * n
        self.started_at: list[float | None] = [None] * n
        self.ended_at: list[float | None] = [None] * n
        self.attempt: list[int] = [0] * n
        self.losses: dict[int, int] = {}
        self.delayed: dict[int, float] = {}
        """Nodes that failed and are ready again at a time."""
        self.version = 0
        self.changed_at: list[int] = [0] * n
        self.outputs: dict[int, Value] = {}
        self.made_at: dict[int, str] = {}
        """Which worker made those of the outputs that are blobs."""
        n_queues = max(queues, default=0) + 1
        self.queues: list[deque[int]] = [deque() for _ in range(n_queues)]
        """The nodes that are ready, by the place where they run."""
        self._queue = queues if n_queues > 1 else None
        self._waiters = {node for node, it in enumerate(graph.nodes) if it.kind in WAITING_KINDS}
        self.arrived: list[int] = []
        """Nodes whose turn it is and that no worker runs; whoever ends them clears it."""
        self.in_flight: set[int] = set()
        """Nodes that left for a worker. They are pending until a worker begins them: a batch runs one at a time."""
        self.children: list[list[int]] = [[] for _ in range(n)]
        self.inputs: list[list[Edge]] = [[] for _ in range(n)]
        self.waiting: list[int] = [0] * n
        self.uses: list[int] = [0] * n
        self.working = [does_work(node) for node in graph.nodes]
        output_works = self.working[graph.output]
        for edge in graph.edges:
            self.children[edge.source].append(edge.target)
            self.inputs[edge.target].append(edge)
            self.waiting[edge.target] += 1
            # Where the reader assembles the result, what only the result needs is not kept here.
            if edge.kind is not EdgeKind.WAIT and (edge.target != graph.output or output_works):
                self.uses[edge.source] += 1
        collections = [node for node, it in enumerate(graph.nodes) if it.kind in (NodeKind.LIST, NodeKind.DICT)]
        # All are found before the first is released: that releases what it contains.
        for node in [node for node in collections if not self.uses[node]]:
            self._release(node)
        self._open = n  # nodes that are not terminal
        self._counts: dict[Status, int] = dict.fromkeys(Counts.__struct_fields__, 0)  # type: ignore[arg-type]
        self._counts["pending"] = sum(self.working)
        self.touched: set[int] = set()
        """Nodes that changed since somebody last took note; whoever records them clears it."""

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """How many working nodes stand where."""
        return Counts(**self._counts)

    @property
    def ready(self) -> list[int]:
        """The nodes that may start now, queue after queue."""
        return [node for queue in self.queues for node in queue]

    def queue(self, node: int) -> int:
        """Return the queue of a node: those of different queues cannot share a batch."""
        return self._queue[node] if self._queue is not None else 0

    def _tidy_queues(self) -> None:
        """Forget what was ready and has ended meanwhile, or has to wait."""

        def is_ready(node: int) -> bool:
            return self.status[node] == "pending" and node not in self.delayed

        self.queues = [deque(filter(is_ready, queue)) for queue in self.queues]

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen."""
        return self._open == 0

    @property
    def outcome(self) -> Status:
        """The status of the whole dispatch: the worst of its nodes' once all have ended, else running."""
        if self._open:
            return "running"
        if self._counts["failed"]:
            return "failed"
        if self._counts["cancelled"]:
            return "cancelled"
        return "completed"

    def state(self, node: int) -> NodeState:
        """What a drawing needs to know of a node."""
        next_at = self.delayed.get(node)
        return NodeState(
            node, self.status[node], self.started_at[node], self.ended_at[node], self.attempt[node], next_at
        )

    def states_since(self, version: int) -> list[NodeState]:
        """Every node that changed after `version`, as it stands now."""
        return [self.state(node) for node, changed in enumerate(self.changed_at) if changed > version]

    # -- facts ---------------------------------------------------------------------------------------------------

    def start(self, at: float) -> None:
        """Begin: parameters are complete, nodes without inputs are ready."""
        self.version += 1
        for node in [node for node, waiting in enumerate(self.waiting) if not waiting]:
            if node in self._waiters:
                self.arrived.append(node)
            elif self.working[node]:
                self.queues[self.queue(node)].append(node)
            else:
                self._complete(node, at, at)

    def sent(self, nodes: Iterable[int]) -> None:
        """Nodes left for a worker."""
        for node in nodes:
            assert self.status[node] == "pending", f"node {node} is {self.status[node]} and was sent"
            self.in_flight.add(node)
            self.attempt[node] += 1

    def began(self, node: int, at: float) -> None:
        """A worker began a node."""
        if node in self.in_flight and self.status[node] == "pending":
            self.version += 1
            self._move(node, "running")
            self.started_at[node] = at

    def made(self, outcome: Outcome, worker: str) -> None:
        """A worker made a value; who needs it is best run there."""
        if outcome.value is not None and outcome.value.digest and self.uses[outcome.node]:
            self.made_at[outcome.node] = worker

    def ended(self, outcome: Outcome) -> bool:
        """A node ended. Returns False when that changes nothing (it had ended before)."""
        node = outcome.node
        if self.status[node] in TERMINAL:
            return False
        self.version += 1
        if outcome.status == "completed":
            if outcome.value is not None and self.uses[node]:
                self.outputs[node] = outcome.value
            self._complete(node, outcome.started_at, outcome.ended_at)
        else:
            self._end(node, outcome.status, outcome.started_at, outcome.ended_at)
            self._skip_after(node)
        self._release(node)
        return True

    def returned(self, nodes: Iterable[int]) -> None:
        """Nodes came back without an outcome: not begun in time, or lost. They are ready again, first in line."""
        self.version += 1
        for node in nodes:
            if node not in self.in_flight:
                continue
            self.in_flight.remove(node)
            if self.status[node] == "running":
                self._move(node, "pending")
                self.started_at[node] = None
            if not self.waiting[node]:
                self.queues[self.queue(node)].appendleft(node)
            elif any(self.status[edge.source] in _DEAD for edge in self.inputs[node]):
                # It travelled with its producer, which failed there.
                self._end(node, "skipped", None, None)
                self._skip_after(node)

    def put_off(self, node: int, until: float) -> None:
        """A node failed and may be run again, but not before a time."""
        self.version += 1
        self.in_flight.discard(node)
        if self.status[node] == "running":
            self._move(node, "pending")
            self.started_at[node] = None
        self.delayed[node] = until
        self._touch(node)

    def due(self, at: float) -> None:
        """What was put off until now is ready."""
        for node in [node for node, until in self.delayed.items() if until <= at]:
            del self.delayed[node]
            if self.status[node] == "pending":
                self.version += 1
                self._touch(node)
                self.queues[self.queue(node)].append(node)

    def adopted(self, node: int, started_at: float) -> bool:
        """A sublattice's node has become a dispatch of its own: it runs on, and no worker has it.

        Returns False when that changes nothing (the node had ended before).
        """
        if self.status[node] in TERMINAL:
            return False
        self.version += 1
        self.in_flight.discard(node)
        if self.status[node] == "pending":
            self._move(node, "running")
        self.started_at[node] = started_at
        self._touch(node)
        return True

    def unsent(self, nodes: Iterable[int]) -> None:
        """Nodes came back that no worker had begun: that was no attempt."""
        nodes = [node for node in nodes if node in self.in_flight]
        for node in nodes:
            self.attempt[node] -= 1
        self.returned(nodes)

    def lost(self, node: int) -> bool:
        """A node took its worker down, or was there when it went. Returns whether it may be tried again."""
        self.losses[node] = self.losses.get(node, 0) + 1
        return self.losses[node] <= LOSSES_ALLOWED

    def cancel(self, at: float, nodes: Iterable[int] | None = None) -> list[int]:
        """Cancel nodes (None: all that have not ended). Returns those that ended by this.

        What could have started is cancelled; what comes after it will never start and is skipped, as in Covalent.
        """
        self.version += 1
        everything = nodes is None
        chosen = range(len(self.status)) if nodes is None else nodes
        cancelled = []
        for node in chosen:
            if self.status[node] in TERMINAL or not self.working[node]:
                continue
            if everything and self.status[node] == "pending" and self.waiting[node]:
                continue
            self._end(node, "cancelled", self.started_at[node], at)
            cancelled.append(node)
        for node in cancelled:
            self._skip_after(node)
        if everything and not cancelled:
            # Nothing could have started: only virtual nodes were left open.
            for node, status in enumerate(self.status):
                if status not in TERMINAL:
                    self._end(node, "skipped", None, None)
        self.delayed = {node: at for node, at in self.delayed.items() if self.status[node] == "pending"}
        self._tidy_queues()
        return cancelled

    def restore(
        self,
        states: Iterable[NodeState],
        outputs: dict[int, Value],
        version: int,
        attempts: Mapping[int, Sequence[Attempt]] = MappingProxyType({}),
        adopted: Container[int] = (),
    ) -> None:
        """Take over what was recorded before a restart; a node that was running is pending again.

        `attempts` are the runs of each node that were not its last: what is counted stays counted, and a node that
        was waiting for its next run goes on waiting. A node among `adopted` is running still: as a dispatch of its own.
        """
        for state in states:
            if state.status not in TERMINAL:
                self.attempt[state.node] = state.attempt
                if state.node in adopted and self.status[state.node] == "pending":
                    self._move(state.node, "running")
                    self.started_at[state.node] = state.started_at
                continue
            node = state.node
            if self.status[node] in TERMINAL:
                continue
            self.attempt[node] = state.attempt
            if state.status == "completed":
                if node in outputs:
                    self.outputs[node] = outputs[node]
                self._complete(node, state.started_at, state.ended_at)
                self._release(node)
            else:
                self._end(node, state.status, state.started_at, state.ended_at)
                self._skip_after(node)
        self._recount(attempts)
        self.version = version
        self.changed_at = [version] * len(self.changed_at)
        self._tidy_queues()

    def _recount(self, attempts: Mapping[int, Sequence[Attempt]]) -> None:
        """Count the runs of nodes that will be run again, and let those wait that were waiting."""
        for node, runs in attempts.items():
            if self.status[node] != "pending":
                continue
            self.attempt[node] = max(run.number for run in runs)
            losses = sum(run.outcome.failure is not None and run.outcome.failure.type == "worker_lost" for run in runs)
            if losses:
                self.losses[node] = losses
            if runs[-1].next_at is not None:
                self.delayed[node] = runs[-1].next_at

    # -- moves ---------------------------------------------------------------------------------------------------

    def _touch(self, node: int) -> None:
        self.changed_at[node] = self.version
        self.touched.add(node)

    def _move(self, node: int, status: Status) -> None:
        before = self.status[node]
        if not may_follow(before, status):
            message = f"node {node} cannot go from {before} to {status}"
            raise AssertionError(message)
        self.status[node] = status
        if self.working[node]:
            self._counts[before] -= 1
            self._counts[status] += 1
        self._touch(node)

    def _end(self, node: int, status: Status, started_at: float | None, ended_at: float | None) -> None:
        self._move(node, status)
        self.started_at[node], self.ended_at[node] = started_at, ended_at
        self.in_flight.discard(node)
        self._open -= 1

    def _complete(self, node: int, started_at: float | None, ended_at: float | None) -> None:
        """Complete a node and every virtual node that waited only for it."""
        stack = [node]
        while stack:
            current = stack.pop()
            if current != node:
                # Not the time of whoever came in last: a restart takes them over in another order.
                times = [self.ended_at[edge.source] for edge in self.inputs[current]]
                started_at = ended_at = max((time for time in times if time is not None), default=ended_at)
            self._end(current, "completed", started_at, ended_at)
            for child in self.children[current]:
                self.waiting[child] -= 1
                if self.waiting[child] == 0 and self.status[child] == "pending":
                    if not self.working[child]:
                        stack.append(child)
                    elif child in self._waiters:
                        self.arrived.append(child)
                    elif child not in self.in_flight:
                        self.queues[self.queue(child)].append(child)

    def _skip_after(self, node: int) -> None:
        """What depends on a node that has no value will never start."""
        stack = list(self.children[node])
        while stack:
            current = stack.pop()
            if self.status[current] == "pending":
                self._end(current, "skipped", None, None)
                stack += self.children[current]

    def _release(self, node: int) -> None:
        """Forget the outputs that only this node still needed; the store has them."""
        stack = [edge.source for edge in self.inputs[node] if edge.kind is not EdgeKind.WAIT]
        while stack:
            source = stack.pop()
            self.uses[source] -= 1
            if self.uses[source] == 0:
                self.outputs.pop(source, None)
                self.made_at.pop(source, None)
                if self.graph.nodes[source].kind in (NodeKind.LIST, NodeKind.DICT):
                    stack += [edge.source for edge in self.inputs[source] if edge.kind is not EdgeKind.WAIT]


def result_nodes(graph: Graph) -> list[int]:
    """Return the working nodes whose values the lattice's result is made of."""
    inputs: dict[int, list[int]] = {}
    for edge in graph.edges:
        if edge.kind is not EdgeKind.WAIT:
            inputs.setdefault(edge.target, []).append(edge.source)
    found: list[int] = []
    seen: set[int] = set()
    stack = [graph.output]
    while stack:
        node = stack.pop()
        if node in seen or node < 0:
            continue
        seen.add(node)
        if does_work(graph.nodes[node]):
            found.append(node)
        elif graph.nodes[node].kind is not NodeKind.PARAMETER:
            stack += inputs.get(node, [])
    return sorted(found)


def value_node(graph: Graph) -> int:
    """Return the node whose closed value is the dispatch's own: a working output, or the one node it passes on.

    -1 if the value is a collection that only a reader can put together. A dispatch that stands for a node of another
    never has such a value: its output works.
    """
    node = graph.output
    while not does_work(graph.nodes[node]):
        kind = graph.nodes[node].kind
        if kind is NodeKind.PARAMETER:
            return node
        if kind is not NodeKind.OUTPUT:
            return -1
        node = next(edge.source for edge in graph.edges if edge.target == node and edge.kind is EdgeKind.ARG)
    return node
