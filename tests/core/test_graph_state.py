"""The life of a dispatch, driven by facts."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.graphs import completed, graph_of, graphs

from covalab.core.batching import SharedValues, take_batch, task_spec
from covalab.core.codec import serialize_small
from covalab.core.graph_state import LOSSES_ALLOWED, GraphState, result_nodes, value_node
from covalab.core.lifecycle import NEXT, TERMINAL, covalent_text
from covalab.core.model import (
    Edge,
    EdgeKind,
    Failure,
    Graph,
    Node,
    NodeKind,
    NodeState,
    Outcome,
    Settings,
    Status,
    Value,
)

E, P, L = NodeKind.ELECTRON, NodeKind.PARAMETER, NodeKind.LIST


def started(graph: Graph) -> GraphState:
    """Return the state of a dispatch that has begun."""
    from tests.core.graphs import PARAMETER

    state = GraphState(graph, [PARAMETER])
    state.start(0.0)
    return state


def test_terminal_statuses_lead_nowhere() -> None:
    """Only a status without successors is terminal, and each has a Covalent text."""
    assert {status for status in NEXT if not NEXT[status]} == TERMINAL
    assert all(covalent_text(status).isupper() for status in NEXT)
    assert "running" not in NEXT["failed"]


def test_parameters_are_complete_at_once_and_free_their_users() -> None:
    """A node whose inputs are all parameters is ready when the dispatch starts."""
    state = started(graph_of([E, P], [(1, 0)]))

    assert state.status[1] == "completed"
    assert list(state.ready) == [0]


def test_a_list_completes_with_its_last_element() -> None:
    """Collections never run: they complete with what they collect."""
    state = started(graph_of([E, E, L, E], [(0, 2), (1, 2), (2, 3)]))
    state.record_sent([0, 1])
    state.record_outcome(completed(0))
    before = state.status[2]
    state.record_outcome(completed(1))

    assert (before, state.status[2]) == ("pending", "completed")
    assert 3 in state.ready


def test_what_depends_on_a_failure_is_skipped_and_the_rest_goes_on() -> None:
    """Descendants of a failed node never start; unrelated nodes do."""
    state = started(graph_of([E, E, E, E], [(0, 1), (1, 2)]))
    state.record_sent([0, 3])
    state.record_outcome(Outcome(0, "failed", 1.0, 2.0))
    assert [state.status[node] for node in (1, 2)] == ["skipped", "skipped"]
    state.record_outcome(completed(3))

    assert state.is_terminal
    assert state.outcome == "failed"


def test_a_late_or_repeated_outcome_changes_nothing() -> None:
    """A node that has ended stays as it ended."""
    state = started(graph_of([E], []))
    state.record_sent([0])
    state.record_outcome(completed(0))
    before = state.version

    assert not state.record_outcome(Outcome(0, "failed", 1.0, 2.0))
    assert (state.status[0], state.version) == ("completed", before)


def test_a_given_back_node_is_no_attempt_and_a_lost_one_is() -> None:
    """Attempts count runs that began."""
    state = started(graph_of([E], []))
    state.queues[0].clear()
    state.record_sent([0])
    state.return_unstarted([0])
    assert (state.attempt[0], list(state.ready)) == (0, [0])
    state.queues[0].clear()
    state.record_sent([0])
    state.return_to_queue([0])

    assert (state.attempt[0], list(state.ready)) == (1, [0])


def test_a_node_that_kills_its_worker_is_blamed_after_three_more_tries() -> None:
    """The loss budget is exact."""
    state = started(graph_of([E], []))

    assert [state.count_loss(0) for _ in range(LOSSES_ALLOWED + 1)] == [True] * LOSSES_ALLOWED + [False]


def test_a_chain_that_travelled_with_its_failed_producer_is_skipped_when_it_comes_back() -> None:
    """Whichever order the news arrive in, the dependent of a failure ends as skipped."""
    for failure_first in (True, False):
        state = started(graph_of([E, E], [(0, 1)]))
        state.queues[0].clear()
        state.record_sent([0, 1])
        if failure_first:
            state.record_outcome(Outcome(0, "failed", 1.0, 2.0))
            state.return_unstarted([1])
        else:
            state.return_unstarted([1])
            state.record_outcome(Outcome(0, "failed", 1.0, 2.0))

        assert (state.status[1], state.is_terminal) == ("skipped", True)


def test_cancelling_everything_ends_it() -> None:
    """What could have started is cancelled, the rest skipped, what had ended stays."""
    state = started(graph_of([E, E, E], [(0, 1), (1, 2)]))
    state.record_sent([0])
    state.record_outcome(completed(0))
    state.cancel(5.0)

    assert state.status[:3] == ["completed", "cancelled", "skipped"]
    assert (state.outcome, list(state.ready)) == ("cancelled", [])


def test_cancelling_one_node_leaves_its_siblings() -> None:
    """Node-wise cancel touches the node and what needs it."""
    state = started(graph_of([E, E, E], [(0, 2)]))
    state.cancel(1.0, [0])
    state.record_sent([1])
    state.record_outcome(completed(1))

    assert state.status[:3] == ["cancelled", "completed", "skipped"]
    assert state.outcome == "cancelled"


def test_the_result_is_made_of_what_the_output_reaches() -> None:
    """The reader is sent the values behind collections, and no others."""
    graph = graph_of([E, E, L, E], [(0, 2), (1, 2)])
    edges = [edge for edge in graph.edges if edge.target != graph.output]
    from msgspec.structs import replace

    from covalab.core.model import Edge

    edges.append(Edge(2, graph.output, "x", EdgeKind.ARG, 0))
    edges.append(Edge(3, graph.output, "!waiting_edge", EdgeKind.WAIT))

    assert result_nodes(replace(graph, edges=edges)) == [0, 1]


def test_outputs_are_forgotten_when_nobody_needs_them() -> None:
    """Memory holds only the values of nodes whose consumers have not run."""
    state = started(graph_of([E, L, E], [(0, 1), (1, 2)]))
    state.record_sent([0])
    state.record_outcome(completed(0))
    assert set(state.outputs) == {0}
    state.record_sent([2])
    state.record_outcome(completed(2))

    assert state.outputs == {}


def finish(state: GraphState, choose: random.Random) -> list[int]:
    """Run a dispatch to its end, in batches, with failures, lost and given-back nodes; return the completed nodes."""
    ran: list[int] = []
    while not state.is_terminal:
        batch = take_batch(state, lambda _: choose.choice([None, 1e-4, 10.0]), 2)
        assert batch, "nothing is ready and nothing is in flight, yet it has not ended"
        inside: dict[int, int] = {}
        after: dict[int, list[int]] = {}
        for position, node in enumerate(batch):
            task = task_spec(state, node, inside, SharedValues())
            for argument in task.args:
                assert argument.value is not None or argument.items is not None or argument.node in inside
            after[node] = task.after
            inside[node] = position
        state.record_sent(batch)
        done: set[int] = set()
        for node in batch:
            fate = choose.random()
            if fate < 0.1 or not done.issuperset(after[node]):
                continue  # given back
            if fate < 0.2:
                state.record_outcome(Outcome(node, "failed", 1.0, 2.0))
                continue
            assert all(state.status[edge.source] == "completed" for edge in state.inputs[node])
            assert state.record_outcome(completed(node))
            ran.append(node)
            done.add(node)
        state.return_unstarted(batch)
    return ran


@given(graphs(), st.integers(0, 2**32))
def test_every_dispatch_ends_and_no_node_completes_twice(graph: Graph, seed: int) -> None:
    """Whatever happens on the way, every node ends, once, and the counts add up."""
    state = started(graph)
    ran = finish(state, random.Random(seed))

    assert len(ran) == len(set(ran))
    assert all(status in TERMINAL for status in state.status)
    counts = state.counts
    assert counts.completed == len(ran)
    assert counts.pending == counts.running == 0
    assert sum(getattr(counts, name) for name in counts.__struct_fields__) == sum(state.working)
    assert state.outcome == ("failed" if counts.failed else "completed")


@given(graphs(), st.integers(0, 2**32), st.integers(0, 12))
def test_a_restart_changes_nothing_that_was_recorded(graph: Graph, seed: int, kept: int) -> None:
    """Rebuilt from any recorded prefix, a dispatch keeps those nodes and runs the others to the end."""
    choose = random.Random(seed)
    state = started(graph)
    finish(state, choose)
    order = sorted(range(len(state.status)), key=lambda node: (state.changed_at[node], node))
    recorded = [
        state.node_state(node)
        for node in order
        if state.working[node] and state.status[node] in ("completed", "failed")
    ][:kept]

    again = started(graph)
    again.restore(recorded, {one.node: completed(0).value for one in recorded}, 1000)  # type: ignore[misc]
    before = {one.node: again.status[one.node] for one in recorded}
    ran = finish(again, choose)

    assert before == {one.node: one.status for one in recorded}
    assert not set(ran) & set(before)


def test_a_running_node_is_pending_after_a_restart() -> None:
    """Its attempts are remembered, its start is not."""
    state = started(graph_of([E], []))
    state.restore([NodeState(0, "running", 5.0, None, 2)], {}, 7)

    assert state.node_state(0) == NodeState(0, "pending", None, None, 2)


def test_a_collection_ended_with_the_last_of_its_elements() -> None:
    """In whichever order they came in, before a restart and after it."""
    ends = set()
    for order in ([0, 1], [1, 0]):
        state = started(graph_of([E, E, L], [(0, 2), (1, 2)]))
        state.record_sent([0, 1])
        for node in order:
            state.record_outcome(completed(node, at=5.0 - node))
        again = started(graph_of([E, E, L], [(0, 2), (1, 2)]))
        again.restore([state.node_state(node) for node in order], {}, 9)
        ends |= {(found.started_at[2], found.ended_at[2]) for found in (state, again)}

    assert ends == {(6.0, 6.0)}


def test_batches_hold_whole_chains() -> None:
    """A chain of a hundred is one batch."""
    state = started(graph_of([E] * 100, [(i, i + 1) for i in range(99)]))

    assert take_batch(state, lambda _: None, 2) == list(range(100))


def test_a_fan_out_is_shared_between_workers() -> None:
    """No batch takes so many siblings that another worker idles, and slow ones travel alone."""
    wide = graph_of([E] * 101, [(0, i) for i in range(1, 101)])
    state = started(wide)
    state.record_sent(take_batch(state, lambda _: None, 2))
    state.record_outcome(completed(0))

    assert len(take_batch(state, lambda _: 1e-3, 2)) == 25
    assert len(take_batch(state, lambda _: 5.0, 2)) == 1


def test_a_node_with_a_time_limit_travels_alone() -> None:
    """Its process can then be killed without harm to others."""
    state = started(graph_of([E, E], [(0, 1)], settings=[Settings(time_limit=5.0)]))

    assert take_batch(state, lambda _: 1e-5, 1) == [0]


def test_an_impossible_move_is_a_bug_that_shows() -> None:
    """The table of moves is enforced."""
    state = started(graph_of([E], []))
    state.record_sent([0])
    state.record_outcome(completed(0))
    with pytest.raises(AssertionError, match="is completed and was sent"):
        state.record_sent([0])


def test_only_the_node_that_a_worker_began_is_running() -> None:
    """The others of its batch wait for their turn, and are shown so."""
    state = started(graph_of([E, E], []))
    state.record_sent([0, 1])
    state.record_start(0, 5.0)

    assert state.status[:2] == ["running", "pending"]
    assert (state.counts.running, state.counts.pending) == (1, 1)


def working_output(graph: Graph) -> Graph:
    """Return the same graph with an output node that has a function."""
    nodes = list(graph.nodes)
    nodes[graph.output] = Node(nodes[graph.output].name, NodeKind.OUTPUT, 0, settings=0)
    return Graph(graph.name, nodes, graph.edges, graph.functions, graph.settings, graph.output)


def test_an_output_node_with_a_function_runs_like_any_other() -> None:
    """It is counted, waits for its inputs, and the dispatch is over when it is; without one it never runs."""
    graph = working_output(graph_of([E, E], [(0, 1)]))
    state = started(graph)
    batch = take_batch(state, lambda _: None, 1)
    state.record_sent(batch)
    seen = []
    for node in batch:
        seen.append(state.outcome)
        state.record_outcome(completed(node))

    assert (batch, seen, state.outcome) == ([0, 1, graph.output], ["running"] * 3, "completed")
    assert state.counts.completed == 3
    assert result_nodes(graph) == [graph.output]
    assert value_node(graph) == graph.output


def test_what_a_working_output_needs_is_kept_until_it_has_run() -> None:
    """Where a reader assembles the value, it is not."""
    graph = graph_of([E], [])
    kept = {}
    for name, one in (("virtual", graph), ("working", working_output(graph))):
        state = started(one)
        state.record_sent([0])
        state.record_outcome(completed(0))
        kept[name] = set(state.outputs)

    assert kept == {"virtual": set(), "working": {0}}


def test_values_of_nested_collections_in_the_result_are_kept_for_whoever_else_needs_them() -> None:
    """A collection inside a collection that only the result uses lets go of its parts once, not twice."""
    graph = graph_of([L, L, E, E], [(1, 0), (2, 1), (2, 3)])
    state = started(graph)
    state.record_sent([2])
    state.record_outcome(completed(2))

    assert 2 in state.outputs
    assert task_spec(state, 3, {}, SharedValues()).args[0].value is not None


def test_a_node_that_became_a_dispatch_runs_and_is_at_no_worker() -> None:
    """It is not sent again, stays running through a restart, and ends when its dispatch does."""
    graph = graph_of([NodeKind.SUBLATTICE, E], [(0, 1)])
    state = started(graph)
    batch = take_batch(state, lambda _: None, 1)
    state.record_sent(batch)
    was_open = state.mark_running(0, 5.0)
    again = GraphState(graph, [])
    again.start(0.0)
    again.restore([state.node_state(0)], {}, 9, still_running={0})

    for one in (state, again):
        assert (one.status[0], one.started_at[0], list(one.ready), one.in_flight) == ("running", 5.0, [], set())
        one.record_outcome(completed(0))
        assert list(one.ready) == [1]
    assert batch == [0]  # what follows does not travel with it
    assert was_open
    assert not state.mark_running(0, 6.0)


def test_the_value_of_a_dispatch_is_one_node_or_none() -> None:
    """A parameter or an electron that is passed on is; a collection is put together by a reader."""
    edge = Edge(0, 1, "retval", EdgeKind.ARG, 0)
    for kind, expected in ((E, 0), (P, 0), (L, -1)):
        nodes = [Node("n", kind, 0 if kind is E else -1, 0), Node("out", NodeKind.OUTPUT)]
        assert value_node(Graph("g", nodes, [edge], [], [], 1)) == expected


@given(graphs(), st.randoms(use_true_random=False))
def test_lost_values_are_made_again_and_nothing_else(graph: Graph, chance: random.Random) -> None:
    """Whenever values get lost: each node that runs finds all of its inputs, and the end is that of a plain run."""
    recorded: dict[int, Value] = {}
    plain, state = started(graph), started(graph)
    for node in runs_of(plain, chance, recorded):
        plain.record_outcome(completed(node, recorded[node]))
    runs = 0
    lost = 0
    for node in runs_of(state, chance, recorded):
        sources = [it for it in state.sources_with_values(node) if chance.random() < 0.2 and lost < 20]
        if sources:
            lost += len(sources)
            needed = {it for one in sources for it in state.sources_with_values(one)}
            state.make_again(sources, {it: recorded[it] for it in needed})
            state.return_to_queue([node])
            continue
        runs += 1
        state.record_outcome(completed(node, recorded[node]))

    assert runs == sum(state.working) + lost
    assert state.is_terminal
    assert state.outcome == "completed"
    for name in ("status", "uses", "waiting", "outputs", "counts", "in_flight"):
        assert getattr(state, name) == getattr(plain, name), name


def runs_of(state: GraphState, chance: random.Random, recorded: dict[int, Value]) -> Iterator[int]:
    """Send what is ready, a few nodes at a time; yield each that runs."""
    sent: list[int] = []
    while not state.is_terminal:
        ready = state.ready
        batch = chance.sample(ready, min(len(ready), 2))
        for queue in state.queues:
            for node in [node for node in queue if node in batch]:
                queue.remove(node)
        state.record_sent(batch)
        sent += batch
        assert sent, "nothing is ready, and nothing runs"
        node = sent.pop(chance.randrange(len(sent)))
        if state.waiting[node]:  # its input was lost while it waited at the worker, where it is found to be
            state.return_to_queue([node])
            continue
        task_spec(state, node, {}, SharedValues())  # has all values that it needs
        recorded[node] = serialize_small(node)
        yield node


def _session_of(n: int) -> GraphState:
    """Return the state of `n` cells, each of which goes on from the one before, and of the dispatch's value."""
    graph = graph_of([E] * n, [(one, one + 1) for one in range(n - 1)])
    return started(graph)


def _left(node: int, *, goes_on: bool = True, status: Status = "failed") -> Outcome:
    record = serialize_small(f"left by {node}")
    return Outcome(node, status, 1.0, 2.0, failure=Failure("runtime", "no", left=record, goes_on=goes_on))


def test_what_goes_on_from_a_failure_begins_with_what_that_left() -> None:
    """The next cell is ready, and gets the record of the failed one; the dispatch fails all the same."""
    state = _session_of(3)
    state.record_sent([0])
    state.record_outcome(_left(0))
    ready = list(state.ready)
    record = state.outputs[0]
    state.record_sent([1])
    state.record_start(1, 3.0)
    state.record_outcome(_left(1, status="skipped"))
    state.record_sent([2])
    state.record_outcome(completed(2))

    assert (1 in ready, 2 in ready) == (True, False)
    assert record == serialize_small("left by 0")
    assert [state.status[node] for node in range(3)] == ["failed", "skipped", "completed"]
    assert state.started_at[1] is None
    assert state.is_terminal
    assert state.outcome == "failed"


def test_nothing_goes_on_from_a_failure_that_left_nothing() -> None:
    """As ever: what depends on it is skipped."""
    state = _session_of(3)
    state.record_sent([0])
    state.record_outcome(_left(0, goes_on=False))

    assert [state.status[node] for node in range(3)] == ["failed", "skipped", "skipped"]


def test_a_batch_that_ends_with_a_failure_returns_the_rest_of_it() -> None:
    """Cells that were sent with the failed one are ready again, not skipped."""
    state = _session_of(3)
    state.record_sent([0, 1, 2])
    state.record_outcome(_left(0))
    state.return_to_queue([1, 2])
    first = list(state.ready)
    state.record_sent([1])
    state.record_outcome(completed(1))

    assert (1 in first, 2 in first) == (True, False)
    assert 2 in state.ready


@pytest.mark.parametrize("has_record", [True, False])
def test_a_restart_goes_on_after_a_failure(has_record: bool) -> None:
    """The cells that had run stay; the next goes on if what the failed ones left is there."""
    state = _session_of(4)
    states = [NodeState(0, "failed", attempt=1), NodeState(1, "skipped"), NodeState(2, "completed", attempt=1)]
    left = {0: serialize_small("a"), 1: serialize_small("b")} if has_record else {}

    state.restore(states, {2: serialize_small(1)}, 5, left=left)

    assert [state.status[node] for node in range(4)] == ["failed", "skipped", "completed", "pending"]
    assert list(state.ready) == [3]
    assert state.outputs[2] == serialize_small(1)
