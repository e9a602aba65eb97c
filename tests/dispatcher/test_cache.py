"""What is kept at hand of dispatches that have ended."""

from __future__ import annotations

import sys

from tests.core.graphs import PARAMETER, graph_of

from covalab.core.codec import serialize_small
from covalab.core.graph_state import GraphState
from covalab.core.model import Counts, Digest, DispatchId, DispatchSummary, Environment, NodeKind, Origin, Submission
from covalab.dispatcher.cache import _NODES_KEPT, _OTHER_THINGS, FinishedCache, FinishedDispatch

SUBMISSION = Submission(
    id=DispatchId("a"),
    graph=graph_of([], []),
    values=[],
    code={},
    environment=Environment(sys.executable, "", "/"),
    origin=Origin(),
    inputs=serialize_small(1),
    lattice=Digest("0" * 64),
)


def ended(name: str, n_nodes: int) -> FinishedDispatch:
    """Return a dispatch with so many nodes."""
    summary = DispatchSummary(DispatchId(name), name, "completed", 1, 1.0, 1.0, 2.0, Counts())
    return FinishedDispatch(
        1, summary, GraphState(graph_of([NodeKind.PARAMETER] * (n_nodes - 1), []), [PARAMETER]), SUBMISSION
    )


def test_what_was_looked_at_last_is_kept() -> None:
    """As many as their nodes allow; the one that nobody looked at goes first."""
    finished = FinishedCache()
    third = _NODES_KEPT // 3 - _OTHER_THINGS
    for name in "abc":
        finished.keep(ended(name, third))
    assert finished.get(DispatchId("a")) is not None
    finished.keep(ended("d", third))

    assert [name for name in "abcd" if finished.get(DispatchId(name))] == ["a", "c", "d"]


def test_many_small_ones_are_bounded_too() -> None:
    """A dispatch of one node takes much more memory than a node of a large one."""
    finished = FinishedCache()
    for number in range(2 * _NODES_KEPT // _OTHER_THINGS):
        finished.keep(ended(str(number), 1))

    assert len(finished._kept) <= _NODES_KEPT // _OTHER_THINGS


def test_one_that_is_too_large_is_not_kept() -> None:
    """Memory is bounded, whatever somebody looks at."""
    finished = FinishedCache()
    finished.keep(ended("huge", _NODES_KEPT + 1))

    assert finished.get(DispatchId("huge")) is None
    assert finished._nodes == 0


def test_what_was_deleted_is_gone() -> None:
    """Also when it was kept twice, or never."""
    finished = FinishedCache()
    for _ in range(2):
        finished.keep(ended("a", 10))
    for name in ("a", "a", "never"):
        finished.forget(DispatchId(name))

    assert finished.get(DispatchId("a")) is None
    assert finished._nodes == 0


def test_a_reader_gets_all_states_or_none() -> None:
    """Versions of single nodes are not recorded: who has seen an earlier version may have seen none of them."""
    finished = ended("a", 3)

    assert [state.node for state in finished.committed_states(0)] == [0, 1, 2]
    assert finished.committed_states(1) == []
    assert finished.committed_summary() is finished.summary
