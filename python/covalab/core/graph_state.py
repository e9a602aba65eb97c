"""State of one running dispatch: which nodes may start, and the effects of each outcome.

Pure: no clock, no file, no cluster; times come in with the facts. Linear in nodes and edges, arrays rather than
objects, because a dispatch may have a hundred thousand nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from covalab.core.lifecycle import TERMINAL, TRANSITIONS, Event
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
    """State of every node of a dispatch.

    Parameters
    ----------
    graph
        The transport graph.
    values
        The serialized values of its parameters.
    queues
        The queue (`core.placement`) of each node; one queue for all, if empty.

    Notes
    -----
    `version` counts changes; `changed_at[node]` is the version in which a node last changed, so that a reader who knows
    version `n` can be sent everything that is newer.

    Methods come in two tenses: `record_...` takes in a fact about a node, the other verbs (`return_to_queue`,
    `schedule_retry`, `cancel`, ...) carry out a decision of the dispatcher.
    """

    def __init__(self, graph: Graph, values: Sequence[Value], queues: Sequence[int] = ()) -> None:
        n = len(graph.nodes)
        self.graph = graph
        self.values = values
        # Arrays by node number, not an object per node: a hundred thousand nodes are built in a fraction of a second.
        self.status: list[Status] = ["pending"] * n
        self.started_at: list[float | None] = [None] * n
        self.ended_at: list[float | None] = [None] * n
        self.attempt: list[int] = [0] * n
        self.losses: dict[int, int] = {}
        self.delayed: dict[int, float] = {}
        """Nodes that failed, with the time of their retry."""
        self.version = 0
        self.changed_at: list[int] = [0] * n
        self.outputs: dict[int, Value] = {}
        self.produced_by: dict[int, str] = {}
        """The worker that made each of the outputs that are blobs."""
        # One queue per pool: a pool without idle workers must not hold up the nodes of the others.
        n_queues = max(queues, default=0) + 1
        self.queues: list[deque[int]] = [deque() for _ in range(n_queues)]
        """The ready nodes, by the pool where they run."""
        # Nearly always there is one pool: then no list of a hundred thousand zeros is kept.
        self._queue = queues if n_queues > 1 else None
        self._waiters = {node for node, it in enumerate(graph.nodes) if it.kind in WAITING_KINDS}
        self.ready_interactions: list[int] = []
        """Ready nodes that the dispatcher runs itself; it clears the list when it takes them."""
        self.in_flight: set[int] = set()
        """Nodes that were sent to a worker. They are pending until it starts them: a batch runs one at a time."""
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
            # The reader assembles a virtual output from the store, so outputs that only it needs are not kept here.
            if edge.kind is not EdgeKind.WAIT and (edge.target != graph.output or output_works):
                self.uses[edge.source] += 1
        collections = [node for node, it in enumerate(graph.nodes) if it.kind in (NodeKind.LIST, NodeKind.DICT)]
        # A collection that nothing uses must not keep the outputs it is made of. All are found before the first is
        # released: releasing one releases its parts, which would be found a second time.
        for node in [node for node in collections if not self.uses[node]]:
            self._release(node)
        self.left: set[int] = set()
        """Nodes without a value from which others of their session go on: `outputs` has what they left."""
        self._n_open = n  # nodes that are not terminal
        self._counts: dict[Status, int] = dict.fromkeys(Counts.__struct_fields__, 0)  # type: ignore[arg-type]
        self._counts["pending"] = sum(self.working)
        self.changed: set[int] = set()
        """Nodes that changed since the last commit; the dispatcher clears it when it records them."""

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """Number of working nodes in each status."""
        return Counts(**self._counts)

    @property
    def ready(self) -> list[int]:
        """Nodes that may start now, queue after queue."""
        return [node for queue in self.queues for node in queue]

    def queue(self, node: int) -> int:
        """Return the queue of a node: those of different queues cannot share a batch."""
        return self._queue[node] if self._queue is not None else 0

    def _prune_queues(self) -> None:
        """Remove nodes from the queues that have ended meanwhile or wait for a retry."""

        def is_ready(node: int) -> bool:
            return self.status[node] == "pending" and node not in self.delayed and not self.waiting[node]

        self.queues = [deque(filter(is_ready, queue)) for queue in self.queues]

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen."""
        return self._n_open == 0

    @property
    def outcome(self) -> Status:
        """The status of the whole dispatch: the worst of its nodes' once all have ended, else running."""
        if self._n_open:
            return "running"
        if self._counts["failed"]:
            return "failed"
        if self._counts["cancelled"]:
            return "cancelled"
        return "completed"

    def node_state(self, node: int) -> NodeState:
        """Return the state of one node, as drawings and records need it."""
        next_at = self.delayed.get(node)
        return NodeState(
            node, self.status[node], self.started_at[node], self.ended_at[node], self.attempt[node], next_at
        )

    def states_since(self, version: int) -> list[NodeState]:
        """Return the present state of every node that changed after `version`."""
        return [self.node_state(node) for node, changed in enumerate(self.changed_at) if changed > version]

    # -- facts and decisions -------------------------------------------------------------------------------------

    def start(self, at: float) -> None:
        """Start the dispatch: parameters are complete, nodes without inputs are ready."""
        self.version += 1
        for node in [node for node, waiting in enumerate(self.waiting) if not waiting]:
            # Pauses and intervention points never enter a queue: no worker runs them.
            if node in self._waiters:
                self.ready_interactions.append(node)
            elif self.working[node]:
                self.queues[self.queue(node)].append(node)
            else:
                self._complete(node, at, at)

    def record_sent(self, nodes: Iterable[int]) -> None:
        """Record that nodes were sent to a worker, each for its next attempt."""
        for node in nodes:
            # A node that is sent twice would run twice: worth an assertion on a quick path.
            assert self.status[node] == "pending", f"node {node} is {self.status[node]} and was sent"
            self.in_flight.add(node)
            self.attempt[node] += 1

    def record_start(self, node: int, at: float) -> None:
        """Record that a worker started a node."""
        # A report may come late: of a node whose batch was lost meanwhile, or that was cancelled.
        if node in self.in_flight and self.status[node] == "pending":
            self.version += 1
            self._move(node, "started")
            self.started_at[node] = at

    def record_producer(self, outcome: Outcome, worker: str) -> None:
        """Record which worker made a value: the nodes that read it are best run there."""
        # Inline values travel in the batch wherever it goes; only blobs are nearer to one worker than to another.
        if outcome.value is not None and outcome.value.digest and self.uses[outcome.node]:
            self.produced_by[outcome.node] = worker

    def record_outcome(self, outcome: Outcome) -> bool:
        """Record the outcome of a node. Return False when that changes nothing (it had ended before)."""
        node = outcome.node
        # It may have been cancelled while its outcome was on the way; the first end counts.
        if self.status[node] in TERMINAL:
            return False
        self.version += 1
        if outcome.status == "completed":
            if outcome.value is not None and self.uses[node]:
                self.outputs[node] = outcome.value
            if outcome.reuse is not None and outcome.reuse.dispatch:
                self.attempt[node] = 0  # as of a node that a redispatch takes over: it did not run
            self._complete(node, outcome.started_at, outcome.ended_at)
        else:
            failure = outcome.failure
            left = failure.left if failure is not None and failure.goes_on else None
            is_not_run = outcome.status == "skipped"
            started_at, ended_at = (None, None) if is_not_run else (outcome.started_at, outcome.ended_at)
            self._end_without_value(node, outcome.status, started_at, ended_at, left)
        self._release(node)
        return True

    def _end_without_value(
        self,
        node: int,
        status: Status,
        started_at: float | None,
        ended_at: float | None,
        left: Value | None,
        recorded: Container[int] = (),
    ) -> None:
        """End a node that has no value. What goes on from what it left is ready, all else after it is skipped."""
        self._end(node, status, started_at, ended_at)
        if left is None:
            self._skip_after(node, recorded)
            return
        self.left.add(node)
        if self.uses[node]:
            self.outputs[node] = left
        for child in self.children[node]:
            self.waiting[child] -= 1
            if not self.working[child]:  # it would be the value of the dispatch
                if self.status[child] == "pending":
                    self._end(child, "skipped", None, None)
                    self._skip_after(child)
            elif self.waiting[child] == 0 and self.status[child] == "pending" and child not in self.in_flight:
                self.queues[self.queue(child)].append(child)

    def return_to_queue(self, nodes: Iterable[int]) -> None:
        """Return nodes without an outcome, not started in time or lost, to the front of their queue."""
        self.version += 1
        for node in nodes:
            if node not in self.in_flight:
                continue  # its outcome came first, or it was cancelled
            self.in_flight.remove(node)
            if self.status[node] == "running":
                self._move(node, "returned")
                self.started_at[node] = None
            # First in line: it was ready before everything that is in the queue now.
            if not self.waiting[node]:
                self.queues[self.queue(node)].appendleft(node)
            elif any(self.status[one] in _DEAD and one not in self.left for one in self._sources(node)):
                # It was in one batch with its producer, which failed there: nothing else would end it.
                self._end(node, "skipped", None, None)
                self._skip_after(node)

    def _sources(self, node: int) -> list[int]:
        return [edge.source for edge in self.inputs[node]]

    def schedule_retry(self, node: int, until: float) -> None:
        """Schedule the retry of a node that failed: it is pending, but not ready before a time."""
        self.version += 1
        self.in_flight.discard(node)
        if self.status[node] == "running":
            self._move(node, "retried")
            self.started_at[node] = None
        self.delayed[node] = until
        self._mark_changed(node)

    def release_due(self, at: float) -> None:
        """Make nodes ready whose retry is due."""
        for node in [node for node, until in self.delayed.items() if until <= at]:
            del self.delayed[node]
            # It may have been cancelled while it waited.
            if self.status[node] == "pending":
                self.version += 1
                self._mark_changed(node)
                self.queues[self.queue(node)].append(node)

    def mark_running(self, node: int, started_at: float) -> bool:
        """Mark a node as running at no worker: as a child dispatch, or in the dispatcher itself.

        Returns False when that changes nothing (the node had ended before).
        """
        if self.status[node] in TERMINAL:
            return False
        self.version += 1
        self.in_flight.discard(node)
        if self.status[node] == "pending":
            self._move(node, "handed_over")
        self.started_at[node] = started_at
        self._mark_changed(node)
        return True

    def make_again(self, nodes: Iterable[int], inputs: Mapping[int, Value]) -> None:
        """Return completed nodes to their queue, because their values are lost.

        What depends on one and has not completed waits for it once more; what has completed stays.

        Parameters
        ----------
        nodes
            The nodes.
        inputs
            The values of the nodes before them, which were released when they completed.
        """
        self.version += 1
        nodes = [node for node in nodes if self.status[node] == "completed"]
        for node in nodes:
            self._undo(node)
            self._acquire(node, inputs)
        self._prune_queues()
        for node in nodes:
            if not self.waiting[node]:
                self.queues[self.queue(node)].appendleft(node)

    def _undo(self, node: int) -> None:
        """Make a completed node pending again, with every virtual node that completed with it."""
        stack = [node]
        while stack:
            current = stack.pop()
            # No row of `TRANSITIONS`: what has ended does not go on by any event of its dispatch.
            self.status[current] = "pending"
            self.started_at[current] = self.ended_at[current] = None
            self._n_open += 1
            if self.working[current]:
                self._counts["completed"] -= 1
                self._counts["pending"] += 1
            self._mark_changed(current)
            self.outputs.pop(current, None)
            self.produced_by.pop(current, None)
            for child in self.children[current]:
                self.waiting[child] += 1
                if self.status[child] == "completed" and not self.working[child]:
                    stack.append(child)

    def _acquire(self, node: int, values: Mapping[int, Value]) -> None:
        """Keep the outputs that a node needs, which `_release` had dropped."""
        stack = [edge.source for edge in self.inputs[node] if edge.kind is not EdgeKind.WAIT]
        while stack:
            source = stack.pop()
            self.uses[source] += 1
            if source in values:
                self.outputs.setdefault(source, values[source])
            if self.uses[source] == 1 and self.graph.nodes[source].kind in (NodeKind.LIST, NodeKind.DICT):
                stack += [edge.source for edge in self.inputs[source] if edge.kind is not EdgeKind.WAIT]

    def sources_with_values(self, node: int) -> list[int]:
        """Return the nodes whose outputs a node is given, also inside collections."""
        found: dict[int, None] = {}
        stack = [node]
        while stack:
            for edge in self.inputs[stack.pop()]:
                if edge.kind is EdgeKind.WAIT:
                    continue
                if self.working[edge.source]:
                    found[edge.source] = None
                else:
                    stack.append(edge.source)
        return list(found)

    def return_unstarted(self, nodes: Iterable[int]) -> None:
        """Return nodes to their queue that no worker had started: that was no attempt."""
        nodes = [node for node in nodes if node in self.in_flight]
        for node in nodes:
            self.attempt[node] -= 1  # `record_sent` counted it in advance
        self.return_to_queue(nodes)

    def count_loss(self, node: int) -> bool:
        """Count the loss of a worker at a node. Return whether the node may be run again."""
        self.losses[node] = self.losses.get(node, 0) + 1
        return self.losses[node] <= LOSSES_ALLOWED

    def cancel(self, at: float, nodes: Iterable[int] | None = None) -> list[int]:
        """Cancel nodes (None: all that have not ended). Return those that ended by this.

        Nodes that could have started are cancelled; those after them will never start and are skipped, as in Covalent.
        """
        self.version += 1
        everything = nodes is None
        chosen = range(len(self.status)) if nodes is None else nodes
        cancelled = []
        for node in chosen:
            if self.status[node] in TERMINAL or not self.working[node]:
                continue
            if everything and self.status[node] == "pending" and self.waiting[node]:
                continue  # it could not have started: `_skip_after` gets there
            self._end(node, "cancelled", self.started_at[node], at)
            cancelled.append(node)
        for node in cancelled:
            self._skip_after(node)
        if everything and not cancelled:
            # Nothing could have started: only virtual nodes were left open.
            for node, status in enumerate(self.status):
                if status not in TERMINAL:
                    self._end(node, "skipped", None, None)
        # An alarm for a node that has ended would wake the dispatcher for nothing.
        self.delayed = {node: at for node, at in self.delayed.items() if self.status[node] == "pending"}
        self._prune_queues()
        return cancelled

    def restore(
        self,
        states: Iterable[NodeState],
        outputs: dict[int, Value],
        version: int,
        attempts: Mapping[int, Sequence[Attempt]] = MappingProxyType({}),
        still_running: Container[int] = (),
        left: Mapping[int, Value] = MappingProxyType({}),
    ) -> None:
        """Restore the states that were recorded before a restart; a node that was running is pending again.

        `attempts` are the runs of each node that were not its last: they stay counted, and a node that was waiting
        for its retry goes on waiting. A node among `still_running` runs on: as a child dispatch. `left` is what nodes
        without a value left for others that go on.
        """
        states = list(states)
        ended = {state.node for state in states if state.status in TERMINAL}
        for state in states:
            if state.status not in TERMINAL:
                self.attempt[state.node] = state.attempt
                if state.node in still_running and self.status[state.node] == "pending":
                    self._move(state.node, "handed_over")
                    self.started_at[state.node] = state.started_at
                continue
            node = state.node
            if self.status[node] in TERMINAL:
                continue  # a virtual node that followed from those before it, or one that they skipped
            # One that was skipped may have been sent with the node that it needs, and has not run.
            self.attempt[node] = 0 if state.status == "skipped" else state.attempt
            if state.status == "completed":
                if node in outputs:
                    self.outputs[node] = outputs[node]
                self._complete(node, state.started_at, state.ended_at)
                self._release(node)
            else:
                self._end_without_value(node, state.status, state.started_at, state.ended_at, left.get(node), ended)
                if node in self.left:
                    self._release(node)
        self._recount(attempts)
        # Readers from before the restart know versions of then; everything counts as changed for them.
        self.version = version
        self.changed_at = [version] * len(self.changed_at)
        self._prune_queues()

    def _recount(self, attempts: Mapping[int, Sequence[Attempt]]) -> None:
        """Restore the attempts, losses and retry times of nodes that will be run again."""
        for node, runs in attempts.items():
            if self.status[node] != "pending":
                continue
            self.attempt[node] = max(run.number for run in runs)
            losses = sum(run.outcome.failure is not None and run.outcome.failure.type == "worker_lost" for run in runs)
            if losses:
                self.losses[node] = losses
            if runs[-1].next_at is not None:
                self.delayed[node] = runs[-1].next_at

    # -- transitions ---------------------------------------------------------------------------------------------

    def _mark_changed(self, node: int) -> None:
        self.changed_at[node] = self.version
        self.changed.add(node)

    def _move(self, node: int, event: Event) -> None:
        before = self.status[node]
        status = TRANSITIONS.get((before, event))
        if status is None:
            message = f"node {node} is {before}: it cannot be {event}"
            raise AssertionError(message)
        self.status[node] = status
        if self.working[node]:
            self._counts[before] -= 1
            self._counts[status] += 1
        self._mark_changed(node)

    def _end(self, node: int, status: Status, started_at: float | None, ended_at: float | None) -> None:
        self._move(node, status)
        self.started_at[node], self.ended_at[node] = started_at, ended_at
        self.in_flight.discard(node)
        self._n_open -= 1

    def _complete(self, node: int, started_at: float | None, ended_at: float | None) -> None:
        """Complete a node and every virtual node that waited only for it."""
        stack = [node]  # not recursion: lists are nested as deep as the user likes
        while stack:
            current = stack.pop()
            if current != node:
                # Not the time of the outcome that came last: after a restart they come in another order.
                times = [self.ended_at[edge.source] for edge in self.inputs[current]]
                started_at = ended_at = max((time for time in times if time is not None), default=ended_at)
            self._end(current, "completed", started_at, ended_at)
            for child in self.children[current]:
                self.waiting[child] -= 1
                if self.waiting[child] == 0 and self.status[child] == "pending":
                    if not self.working[child]:
                        stack.append(child)
                    elif child in self._waiters:
                        self.ready_interactions.append(child)
                    elif child not in self.in_flight:  # else it runs in the batch of this node, right after it
                        self.queues[self.queue(child)].append(child)

    def _skip_after(self, node: int, recorded: Container[int] = ()) -> None:
        """Skip every node that depends on one without a value, but not those whose end is recorded."""
        stack = list(self.children[node])
        while stack:
            current = stack.pop()
            if (
                self.status[current] == "pending" and current not in recorded
            ):  # else it was reached by another path, and so were its children
                self._end(current, "skipped", None, None)
                stack += self.children[current]

    def _release(self, node: int) -> None:
        """Drop the outputs that only this node still needed; the store has them."""
        stack = [edge.source for edge in self.inputs[node] if edge.kind is not EdgeKind.WAIT]
        while stack:
            source = stack.pop()
            self.uses[source] -= 1
            if self.uses[source] == 0:
                self.outputs.pop(source, None)
                self.produced_by.pop(source, None)
                # A collection has no output of its own; its parts were kept for the nodes that use it.
                if self.graph.nodes[source].kind in (NodeKind.LIST, NodeKind.DICT):
                    stack += [edge.source for edge in self.inputs[source] if edge.kind is not EdgeKind.WAIT]


def result_nodes(graph: Graph) -> list[int]:
    """Return the working nodes whose values make up the lattice's result."""
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
    """Return the node whose serialized value is the dispatch's own: a working output, or the one node it passes on.

    -1 if the value is a collection that only a reader can put together. A child dispatch never has
    such a value: its output works.
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
