"""Batching: which ready nodes are sent to a worker together, and the task of each.

Pure. Parameters and collections become inputs of the task that uses them; item, attribute and operator nodes run with
their producer; a chain is one batch; many small siblings share a batch. Each node has an outcome of its own, so batches
are not visible to users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

from covalab.core.graph_state import GraphState
from covalab.core.model import CHEAP_KINDS, WAITING_KINDS, Edge, EdgeKind, Graph, NodeKind, Settings, Value
from covalab.core.placement import TaskPaths
from covalab.core.protocol import Argument, TaskSpec

BUDGET_SECONDS: Final = 0.5
"""The time after which a batch returns the tasks that it has not started."""

_TARGET_SECONDS: Final = 0.2  # long against a trip, short for a person who waits for the first outcome
_TRIP_SECONDS: Final = 0.01  # about what a round trip to a worker costs
_BATCH_LIMIT: Final = 512  # a message stays small, and a lost worker loses little
_SHARED_BYTES: Final = 512  # below, a reference saves nothing
_PROBE: Final = 4  # siblings of a function that never ran: few, in case each takes an hour
_SHARES_PER_WORKER: Final = 2  # so that a worker that is done early finds another share
_LARGE_BYTES: Final = 8 * 1024**2  # reading these takes longer than a trip
_NEAR_LOOKS: Final = 16  # looking further would make a batch linear in the queue

_DEFAULT_SETTINGS: Final = Settings()


def settings_of(graph: Graph, node: int) -> Settings:
    """Return the settings of a node."""
    position = graph.nodes[node].settings
    return graph.settings[position] if position >= 0 else _DEFAULT_SETTINGS


def sibling_count(mean_seconds: float | None, n_ready: int, n_workers: int) -> int:
    """Return how many siblings share a batch.

    As many as fill a fifth of a second at their mean duration (a few while that is unknown), and not so many that
    another worker would have nothing to do, unless there is less to do than a trip costs.

    Examples
    --------
    >>> sibling_count(0.0001, n_ready=1000, n_workers=2), sibling_count(60.0, 1000, 2), sibling_count(None, 1000, 2)
    (250, 1, 4)
    >>> sibling_count(0.0001, n_ready=10, n_workers=2)
    10
    """
    share = max(1, n_ready // (_SHARES_PER_WORKER * max(1, n_workers)))
    if mean_seconds is None:
        return min(_PROBE, share)
    mean_seconds = max(mean_seconds, 1e-6)
    share = max(share, min(n_ready, int(_TRIP_SECONDS / mean_seconds)))
    return max(1, min(int(_TARGET_SECONDS / mean_seconds), share, _BATCH_LIMIT))


def take_batch(
    state: GraphState,
    mean_seconds: Callable[[int], float | None],
    n_workers: int,
    queue: int = 0,
    *,
    alone: bool = False,
) -> list[int]:
    """Take the nodes of the next batch from the ready ones, in the order in which they will run.

    Parameters
    ----------
    state
        The dispatch; the nodes that are taken leave its queue.
    mean_seconds
        The mean duration of a node's function, or None while unknown.
    n_workers
        The number of workers that share the queue.
    queue
        Which of `state.queues` to take from.
    alone
        Whether only one node may be taken.

    Returns
    -------
    list of int
        Empty when nothing is ready.
    """
    ready = state.queues[queue]
    if not ready:
        return []
    first = ready.popleft()
    if alone or needs_own_batch(state, first):
        return [first]
    # Counts of missing inputs as they will be within the batch; the state itself learns of it by outcomes.
    overlay: dict[int, int] = {}
    batch: list[int] = []
    left = sibling_count(mean_seconds(first), len(ready) + 1, n_workers)
    settings = state.graph.nodes[first].settings
    node = first
    while True:
        batch.append(node)
        _extend(state, node, batch, overlay)
        left -= 1
        if not left or not ready or len(batch) >= _BATCH_LIMIT:
            break
        following = ready[0]
        # Other settings: another executor, or hooks that may take long.
        if state.graph.nodes[following].settings != settings or needs_own_batch(state, following):
            break
        # A sibling whose function takes much longer would keep the others' outcomes waiting behind it.
        expected = mean_seconds(following)
        if expected is not None and expected > _TARGET_SECONDS:
            break
        node = ready.popleft()
    return batch


def needs_own_batch(state: GraphState, node: int) -> bool:
    """Whether a node must be the only one of its batch.

    True if it has a time limit (its process is killed for it), or is suspected of killing workers, or its inputs are
    large: reading them takes longer than a trip, and its siblings may have theirs at other workers.
    """
    if state.losses.get(node) or settings_of(state.graph, node).time_limit is not None:
        return True
    return bool(state.produced_by) and sum(bytes_by_worker(state, node).values()) >= _LARGE_BYTES


def bytes_by_worker(state: GraphState, node: int) -> dict[str, int]:
    """Return the bytes of a node's inputs by the worker that made them, as far as they are blobs of this dispatch."""
    found: dict[str, int] = {}
    stack = [node]
    while stack:
        for edge in state.inputs[stack.pop()]:
            worker = state.produced_by.get(edge.source)
            if worker is not None and edge.kind is not EdgeKind.WAIT and edge.source in state.outputs:
                found[worker] = found.get(worker, 0) + state.outputs[edge.source].size
            # A list of large arrays is read like the arrays themselves.
            elif state.graph.nodes[edge.source].kind in (NodeKind.LIST, NodeKind.DICT):
                stack.append(edge.source)
    return found


def choose_worker(state: GraphState, idle: Sequence[str], queue: int = 0) -> str:
    """Return the worker for the next batch: the one that made most of its first node's inputs, if idle.

    If that is busy, one of the next nodes whose inputs an idle worker made goes first; no node waits for a worker.

    Parameters
    ----------
    state
        The dispatch; the order of its queue may change among its first few.
    idle
        The workers that can take a batch, at least one.
    """
    if not state.produced_by:
        return idle[0]
    ready = state.queues[queue]
    first = bytes_by_worker(state, ready[0])
    if not first:
        return idle[0]
    best = max(idle, key=lambda worker: first.get(worker, 0))
    if best in first:
        return best
    # The first node's worker is busy. One behind it may have its inputs at an idle worker, and goes first then.
    for position, node in enumerate(islice(ready, 1, _NEAR_LOOKS), 1):
        made = bytes_by_worker(state, node)
        if made and max(made, key=lambda worker: made[worker]) in idle:
            del ready[position]
            ready.appendleft(node)
            return max(idle, key=lambda worker: made.get(worker, 0))
    return idle[0]


def _extend(state: GraphState, node: int, batch: list[int], overlay: dict[int, int]) -> None:
    """Append the nodes that can run right after `node` in its batch: cheap ones, and the next link of a chain."""
    stack = [node]
    queue = state.queue(node)
    while stack:
        current = stack.pop()
        if state.graph.nodes[current].kind is NodeKind.SUBLATTICE:
            continue  # its value is made by a child dispatch, not in this batch
        following = [
            child
            for child in _freed_by(state, current, overlay)
            if state.queue(child) == queue and state.graph.nodes[child].kind not in WAITING_KINDS
        ]
        cheap = [child for child in following if state.graph.nodes[child].kind in CHEAP_KINDS]
        others = [child for child in following if state.graph.nodes[child].kind not in CHEAP_KINDS]
        taken = cheap
        # A batch of a session goes on as long as the session does; what else is ready is for other workers.
        in_session = settings_of(state.graph, node).session
        others = [child for child in others if settings_of(state.graph, child).session == in_session]
        needs = settings_of(state.graph, node).needs
        others = [child for child in others if settings_of(state.graph, child).needs == needs]
        # Two or more would better run side by side, on other workers.
        if len(others) == 1 and not needs_own_batch(state, others[0]):
            taken = [*cheap, others[0]]
        for child in taken:
            if len(batch) >= _BATCH_LIMIT:
                return
            batch.append(child)
            stack.append(child)


def _freed_by(state: GraphState, node: int, overlay: dict[int, int]) -> list[int]:
    """Return the working nodes that would be ready if `node` completed, through collections. Count it in `overlay`."""
    freed: list[int] = []
    stack = [node]
    while stack:
        for child in state.children[stack.pop()]:
            waiting = overlay.get(child, state.waiting[child]) - 1
            overlay[child] = waiting
            if waiting == 0 and state.status[child] == "pending":
                if state.working[child]:
                    freed.append(child)
                elif child != state.graph.output:  # nothing comes after that
                    stack.append(child)
    return freed


class SharedValues:
    """Table of the larger values of a batch, each once: a hundred tasks may use the same one."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._positions: dict[int, int] = {}

    def argument(self, value: Value) -> Argument:
        """Return a value as the input of a task."""
        if value.data is None or len(value.data) < _SHARED_BYTES:
            return Argument(value=value)
        # By identity: comparing bytes would cost what sharing saves, and the dispatcher holds each value once.
        position = self._positions.setdefault(id(value), len(self.values))
        if position == len(self.values):
            self.values.append(value)
        return Argument(shared=position)


def task_spec(
    state: GraphState, node: int, inside: Mapping[int, int], shared: SharedValues, paths: TaskPaths | None = None
) -> TaskSpec:
    """Return the task of a node, for a worker.

    `inside` are the nodes of the same batch that run before it, `shared` collects the batch's larger values.
    """
    graph = state.graph
    args: list[tuple[int, Argument]] = []
    kwargs: dict[str, Argument] = {}
    kind = graph.nodes[node].kind
    for edge in state.inputs[node]:
        if edge.kind is EdgeKind.ARG:
            args.append((edge.index, _argument(state, edge.source, inside, shared)))
        # An output node's keywords repeat, for people, what its positional argument is made of.
        elif edge.kind is EdgeKind.KWARG and kind is not NodeKind.OUTPUT:
            kwargs[edge.name] = _argument(state, edge.source, inside, shared)
    args.sort(key=_position)
    function = graph.functions[graph.nodes[node].function]
    after = _predecessors(state, node, inside) if inside else []
    settings = settings_of(graph, node)
    named = [argument for _, argument in args]
    builds = kind is NodeKind.SUBLATTICE
    return TaskSpec(node, graph.nodes[node].name, function.digest, named, kwargs, after, settings.hooks, paths, builds)


def _predecessors(state: GraphState, node: int, inside: Mapping[int, int]) -> list[int]:
    """Return the nodes of its batch that a node needs or waits for, through collections."""
    found: list[int] = []
    stack = [node]
    while stack:
        for edge in state.inputs[stack.pop()]:
            if edge.source in inside:
                found.append(edge.source)
            elif not state.working[edge.source]:
                stack.append(edge.source)
    return found


def _position(pair: tuple[int, Argument]) -> int:
    return pair[0]


def _argument(state: GraphState, source: int, inside: Mapping[int, int], shared: SharedValues) -> Argument:
    if source in inside:
        return Argument(node=source)
    kind = state.graph.nodes[source].kind
    if kind is NodeKind.PARAMETER:
        return shared.argument(state.values[state.graph.nodes[source].value])
    if kind is NodeKind.LIST:
        return Argument(items=[_argument(state, edge.source, inside, shared) for edge in _in_order(state, source)])
    if kind is NodeKind.DICT:
        keys, values = (_argument(state, edge.source, inside, shared) for edge in _in_order(state, source))
        return Argument(pairs=(keys, values))
    return shared.argument(state.outputs[source])


def _in_order(state: GraphState, node: int) -> list[Edge]:
    return sorted((edge for edge in state.inputs[node] if edge.kind is EdgeKind.ARG), key=lambda edge: edge.index)
