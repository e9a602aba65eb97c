"""Laws of batches: what travels together, and in which order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.graphs import PARAMETER, completed, graph_of, graphs

from covalab.core.batching import (
    BUDGET_SECONDS,
    SharedValues,
    bytes_by_worker,
    choose_worker,
    needs_own_batch,
    settings_of,
    sibling_count,
    take_batch,
    task_spec,
)
from covalab.core.codec import serialize_small
from covalab.core.graph_state import GraphState
from covalab.core.model import Digest, Graph, NodeKind, Settings, Value
from covalab.core.protocol import Argument

E, P, L, D = NodeKind.ELECTRON, NodeKind.PARAMETER, NodeKind.LIST, NodeKind.DICT


def started(graph: Graph) -> GraphState:
    """Return the state of a dispatch that has begun."""
    state = GraphState(graph, [PARAMETER])
    state.start(0.0)
    return state


def cheap(graph: Graph, *nodes: int) -> Graph:
    """Make some electrons of a graph items of what they depend on."""
    changed = [replace(node, kind=NodeKind.ITEM) if i in nodes else node for i, node in enumerate(graph.nodes)]
    return replace(graph, nodes=changed)


def needs(state: GraphState, node: int) -> set[int]:
    """Return the working nodes that a node needs or waits for, through collections."""
    found: set[int] = set()
    stack = [node]
    while stack:
        for edge in state.inputs[stack.pop()]:
            if state.working[edge.source]:
                found.add(edge.source)
            else:
                stack.append(edge.source)
    return found


@pytest.mark.parametrize(
    ("mean", "n_ready", "n_workers", "expected"),
    [
        (None, 1, 2, 1),
        (None, 1000, 2, 4),  # a probe
        (None, 4, 2, 1),
        (0.0, 10**6, 2, 512),  # never more than fit into a message
        (1e-4, 1000, 2, 250),  # half a worker's share
        (1e-4, 1000, 250, 100),  # a trip costs more than a hundred of these
        (1e-3, 1000, 50, 10),
        (0.1, 1000, 2, 2),
        (0.3, 1000, 2, 1),
        (3600.0, 1000, 2, 1),
        (1e-4, 0, 2, 1),
        (1e-4, 10, 2, 10),
        (1e-2, 10, 0, 5),  # no worker is counted as one
    ],
)
def test_siblings_share_a_batch_by_how_long_they_take(
    mean: float | None, n_ready: int, n_workers: int, expected: int
) -> None:
    """The table of how many."""
    assert sibling_count(mean, n_ready, n_workers) == expected


@given(st.none() | st.floats(0, 1e6), st.integers(1, 10**6), st.integers(0, 1000))
def test_no_batch_starves_another_worker(mean: float | None, n_ready: int, n_workers: int) -> None:
    """What is left over is enough for every other worker, as far as there is enough at all to be worth a trip."""
    count = sibling_count(mean, n_ready, n_workers)

    assert 1 <= count <= n_ready
    assert n_ready - count >= min(n_workers - 1, n_ready - 1) or (mean is not None and count * mean <= 0.01 + 1e-6)
    assert count == 1 or mean is None or count * mean <= BUDGET_SECONDS


@given(graphs(), st.integers(0, 2**32))
def test_a_batch_has_what_a_node_needs_before_it(graph: Graph, seed: int) -> None:
    """Everything that a node needs or waits for is complete, or earlier in its batch; and no node is in two batches."""
    choose = random.Random(seed)
    state = started(graph)
    seen: set[int] = set()
    while not state.is_terminal:
        batch = take_batch(state, lambda _: choose.choice([None, 1e-4, 10.0]), choose.choice([1, 2, 8]))
        assert batch
        assert len(batch) == len(set(batch))
        assert seen.isdisjoint(batch)
        seen.update(batch)
        inside: dict[int, int] = {}
        for position, node in enumerate(batch):
            needed = needs(state, node)
            assert all(other in inside or state.status[other] == "completed" for other in needed)
            task = task_spec(state, node, inside, SharedValues())
            assert set(task.after) == needed & set(inside)
            inside[node] = position
        state.record_sent(batch)
        for node in batch:
            assert state.record_outcome(completed(node))

    assert seen == {node for node, working in enumerate(state.working) if working}


@given(graphs(), st.integers(0, 2**32))
def test_limited_and_suspect_nodes_travel_alone(graph: Graph, seed: int) -> None:
    """Their process may be killed without harm to others, however they come to be ready."""
    choose = random.Random(seed)
    settings = [Settings(), Settings(time_limit=5.0)]
    nodes = [replace(node, settings=choose.randrange(2)) for node in graph.nodes]
    state = started(replace(graph, nodes=nodes, settings=settings))
    for node, working in enumerate(state.working):
        if working and choose.random() < 0.3:
            state.count_loss(node)
    while not state.is_terminal:
        batch = take_batch(state, lambda _: 1e-5, 1)
        assert len(batch) == 1 or not any(needs_own_batch(state, node) for node in batch)
        state.record_sent(batch)
        for node in batch:
            state.record_outcome(completed(node))


def test_cheap_nodes_ride_with_their_producer() -> None:
    """Taking an item costs no trip, and what comes after the items goes on in the same batch."""
    graph = cheap(graph_of([E, E, E, E], [(0, 1), (0, 2), (1, 3), (2, 3)]), 1, 2)
    state = started(graph)

    assert sorted(take_batch(state, lambda _: None, 2)) == [0, 1, 2, 3]


def test_a_fork_of_electrons_ends_a_batch() -> None:
    """Two that could run side by side do not follow their producer on one worker."""
    state = started(graph_of([E, E, E], [(0, 1), (0, 2)]))

    assert take_batch(state, lambda _: None, 2) == [0]


def test_a_reduction_rides_with_the_last_of_its_inputs() -> None:
    """It needs no trip of its own once the others are there."""
    state = started(graph_of([E, E, L, E], [(0, 2), (1, 2), (2, 3)]))
    state.record_sent(take_batch(state, lambda _: None, 2))
    state.record_outcome(completed(0))

    assert take_batch(state, lambda _: None, 2) == [1, 3]


def test_siblings_with_other_settings_are_another_batch() -> None:
    """What one batch has in common is how it is to be run."""
    graph = graph_of([E, E], [], settings=[Settings(), Settings(retries=1)])
    graph = replace(graph, nodes=[graph.nodes[0], replace(graph.nodes[1], settings=1), *graph.nodes[2:]])
    state = started(graph)

    assert [take_batch(state, lambda _: 1e-5, 1) for _ in range(2)] == [[0], [1]]
    assert settings_of(graph, 1).retries == 1


def test_a_slow_sibling_does_not_hold_back_the_quick() -> None:
    """One that takes long begins a batch of its own."""
    state = started(graph_of([E] * 8, []))

    batch = take_batch(state, lambda node: 60.0 if node == 1 else 1e-5, 1)

    assert batch == [0]


def test_nothing_ready_is_no_batch() -> None:
    """An empty list, not an error."""
    state = started(graph_of([P], []))

    assert take_batch(state, lambda _: None, 2) == []


def test_inputs_of_a_task_come_from_where_they_are() -> None:
    """Parameters as values, earlier tasks of the batch by number, the rest from what was recorded."""
    state = started(graph_of([E, P, E, L, E], [(0, 3), (1, 3), (2, 3), (3, 4)]))
    state.queues[0].clear()
    state.record_sent([0])
    state.record_outcome(completed(0))

    task = task_spec(state, 4, {2: 0}, SharedValues())

    assert task.args == [
        Argument(items=[Argument(value=PARAMETER), Argument(value=PARAMETER), Argument(node=2)]),
    ]
    assert task.after == [2]


def test_a_value_that_many_tasks_use_travels_once() -> None:
    """A batch holds a larger value once, small ones where they are used, and a blob by its name."""
    large, small = serialize_small(bytes(10_000)), serialize_small(1)
    blob = Value(10**6, "bytes", "", None, Digest("0" * 64))
    shared = SharedValues()
    arguments = [shared.argument(value) for value in (large, small, large, blob)]

    assert arguments == [Argument(shared=0), Argument(value=small), Argument(shared=0), Argument(value=blob)]
    assert shared.values == [large]


def blob(size: int) -> Value:
    """Return a value that is a file of so many bytes."""
    return Value(size, "numpy.ndarray", "", None, Digest("1" * 64))


def made(state: GraphState, node: int, size: int, worker: str) -> None:
    """Let a worker make a large value."""
    state.record_sent([node])
    state.queues[0].remove(node)
    outcome = completed(node, blob(size))
    state.record_producer(outcome, worker)
    state.record_outcome(outcome)


def two_producers(size: int) -> GraphState:
    """Return two nodes done at "a" and "b", and four that read them in turn."""
    state = started(graph_of([E] * 6, [(0, 2), (1, 3), (0, 4), (1, 5)]))
    made(state, 0, size, "a")
    made(state, 1, size, "b")
    assert list(state.ready) == [2, 4, 3, 5]
    return state


def test_a_batch_goes_where_its_inputs_were_made() -> None:
    """The worker that made them is preferred when it is idle, whatever the order of the workers."""
    for idle in (["a", "b"], ["b", "a"], ["c", "a"]):
        assert choose_worker(two_producers(10**6), idle) == "a"


def test_an_idle_worker_takes_first_what_was_made_there() -> None:
    """If the first node's inputs are elsewhere, one of the next goes before it."""
    state = two_producers(10**6)

    assert choose_worker(state, ["c", "b"]) == "b"
    assert list(state.ready) == [3, 2, 4, 5]


def test_no_node_waits_for_a_worker() -> None:
    """Where nobody made anything, the first node goes."""
    state = two_producers(10**6)

    assert choose_worker(state, ["c", "d"]) == "c"
    assert list(state.ready) == [2, 4, 3, 5]


def test_nodes_with_large_inputs_travel_alone() -> None:
    """Their siblings may have theirs elsewhere; small ones share a batch as before."""
    assert take_batch(two_producers(10**8), lambda _: 1e-4, 1) == [2]
    assert take_batch(two_producers(10**5), lambda _: 1e-4, 1) == [2, 4, 3, 5]


def test_where_a_value_was_made_is_forgotten_with_it() -> None:
    """Once every reader has ended, nothing is kept of either."""
    state = two_producers(10**6)
    state.record_sent([2, 4])
    state.record_outcome(completed(2))
    assert state.produced_by == {0: "a", 1: "b"}
    state.record_outcome(completed(4))
    assert state.produced_by == {1: "b"}


def test_inputs_in_lists_count() -> None:
    """A list of large values is as large as they are."""
    state = started(graph_of([E, L, E], [(0, 1), (1, 2)]))
    made(state, 0, 1000, "a")

    assert bytes_by_worker(state, 2) == {"a": 1000}
