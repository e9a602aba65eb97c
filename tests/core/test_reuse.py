"""Which outputs of an earlier dispatch stand for nodes of a new one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.graphs import PARAMETER, graph_of, graphs

from covalab.core.codec import serialize_small
from covalab.core.model import Digest, Edge, EdgeKind, Function, Graph, Node, NodeKind, Settings
from covalab.core.reuse import reusable_nodes

E, P = NodeKind.ELECTRON, NodeKind.PARAMETER
CHAIN = graph_of([E, P, E, E], [(1, 0), (0, 2), (2, 3)])
"""A parameter (1), and three electrons after each other (0, 2, 3)."""


def reused(new: Graph, *, old: Graph = CHAIN, value: object = 1, **how: object) -> list[int]:
    """Compare with `old`, of which every node completed."""
    done = range(len(old.nodes))
    return reusable_nodes(old, [PARAMETER], done, new, [serialize_small(value)], **how)  # type: ignore[arg-type]


def test_everything_that_is_the_same_is_reused() -> None:
    """Collections, parameters and the output count as completed too."""
    assert reused(CHAIN) == [0, 1, 2, 3, 4]


def test_what_did_not_complete_is_not_reused() -> None:
    """A failed dispatch resumes where it failed."""
    assert reusable_nodes(CHAIN, [PARAMETER], [0, 1], CHAIN, [PARAMETER]) == [0, 1]


def test_another_value_spoils_what_comes_after_it() -> None:
    """By the bytes of the closed value."""
    assert reused(CHAIN, value=2) == []
    beside = graph_of([E, P, E], [(1, 0)])
    assert reused(beside, old=beside, value=2) == [2]


def test_a_replaced_node_runs_and_so_does_what_comes_after_it() -> None:
    """Also when it looks the same."""
    assert reused(CHAIN, replaced=[2]) == [0, 1]


@pytest.mark.parametrize(
    "other",
    [
        Node("renamed", E, 0, -1, 0),
        Node("n2", NodeKind.ITEM, 0, -1, 0),
        Node("n2", E, 1, -1, 0),
    ],
)
def test_another_name_kind_or_function_is_another_node(other: Node) -> None:
    """Each of the three spoils what comes after it."""
    functions = [*CHAIN.functions, Function("g", Digest("1" * 64))]
    new = replace(CHAIN, nodes=[*CHAIN.nodes[:2], other, *CHAIN.nodes[3:]], functions=functions)

    assert reused(new) == [0, 1]


def test_covalents_rule_does_not_look_at_functions() -> None:
    """With `strict` a new body with an old name is the same node."""
    changed = replace(CHAIN, functions=[Function("f", Digest("1" * 64))], settings=[Settings(hooks=Digest("2" * 64))])

    assert reused(changed) == [1]
    assert reused(changed, strict=True) == [0, 1, 2, 3, 4]


def test_hooks_belong_to_what_a_node_does() -> None:
    """A call before the task may supply its arguments; retries and executors change nothing about an output."""
    hooked = replace(CHAIN, settings=[Settings(hooks=Digest("2" * 64))])
    patient = replace(CHAIN, settings=[Settings("local", retries=3, time_limit=5)])

    assert reused(hooked) == [1]
    assert reused(hooked, old=hooked) == reused(patient) == [0, 1, 2, 3, 4]


def test_a_module_that_was_edited_is_noticed_by_its_source() -> None:
    """A function that travels as its name has the same digest; its recorded text says that it changed."""
    then = replace(CHAIN, functions=[replace(CHAIN.functions[0], source="def f(): 1")])
    now = replace(CHAIN, functions=[replace(CHAIN.functions[0], source="def f(): 2")])

    assert reused(now, old=then) == [1]
    assert reused(now, old=CHAIN) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "edge", [Edge(0, 2, "other", EdgeKind.ARG, 0), Edge(0, 2, "x0", EdgeKind.WAIT), Edge(1, 2, "x0", EdgeKind.ARG, 0)]
)
def test_another_way_in_is_another_node(edge: Edge) -> None:
    """Its name, its kind, where it comes from."""
    edges = [edge if old.target == 2 else old for old in CHAIN.edges]

    assert reused(replace(CHAIN, edges=edges)) == [0, 1]


def test_numbers_decide() -> None:
    """A call added before the others makes them different nodes, as in Covalent."""
    moved = graph_of([E, E, P, E, E], [(2, 1), (1, 3), (3, 4)])

    assert reused(moved) == []


@given(graphs(), st.data())
def test_an_output_is_only_as_good_as_what_it_was_made_from(graph: Graph, data: st.DataObject) -> None:
    """Whatever is replaced: neither it nor anything after it is reused, and everything else is."""
    replaced = data.draw(st.sets(st.integers(0, len(graph.nodes) - 1)))
    spoiled = set(replaced)
    while True:
        more = {edge.target for edge in graph.edges if edge.source in spoiled} - spoiled
        if not more:
            break
        spoiled |= more

    found = reusable_nodes(graph, [PARAMETER], range(len(graph.nodes)), graph, [PARAMETER], replaced=replaced)

    assert found == [node for node in range(len(graph.nodes)) if node not in spoiled]
