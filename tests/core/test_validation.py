"""A graph that cannot run is refused before it is recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from msgspec.structs import replace
from tests.core.graphs import graph_of, graphs

from covalab.core.errors import GraphError
from covalab.core.model import Edge, EdgeKind, Graph, Node, NodeKind
from covalab.core.validation import validate_graph

E, P, L = NodeKind.ELECTRON, NodeKind.PARAMETER, NodeKind.LIST


def whole(graph: Graph) -> Graph:
    """Give a graph for tests what a traced one has: one value that the lattice returns."""
    return replace(graph, edges=[*graph.edges, Edge(0, graph.output, "retval", EdgeKind.ARG, 0)])


SOUND = whole(graph_of([E, P, L, E], [(1, 0), (0, 2), (2, 3)]))


def node(number: int, **changes: object) -> Callable[[Graph], Graph]:
    """Change one node."""

    def change(graph: Graph) -> Graph:
        nodes = list(graph.nodes)
        nodes[number] = replace(nodes[number], **changes)
        return replace(graph, nodes=nodes)

    return change


def edge(*extra: Edge) -> Callable[[Graph], Graph]:
    """Add edges."""
    return lambda graph: replace(graph, edges=[*graph.edges, *extra])


@given(graphs())
def test_what_can_run_passes(graph: Graph) -> None:
    """No acyclic graph whose numbers name something is refused."""
    validate_graph(whole(graph), 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (node(0, function=1), "node 0"),
        (node(0, function=-1), "node 0"),
        (node(1, value=1), "node 1"),
        (node(1, value=-1), "node 1"),
        (node(3, settings=1), "node 3"),
        (edge(Edge(9, 0, "x", EdgeKind.WAIT)), "edge goes from node 9"),
        (edge(Edge(0, -1, "x", EdgeKind.WAIT)), "to node -1"),
        (edge(Edge(3, 0, "x", EdgeKind.WAIT)), "cycle"),
        (edge(Edge(0, 0, "x", EdgeKind.WAIT)), "cycle"),
        (edge(Edge(3, 4, "again", EdgeKind.ARG, 1)), "made of 1 values, 2 enter"),
        (node(2, kind=NodeKind.DICT), "made of 2 values, 1 enter"),
        (lambda graph: replace(graph, output=0), "not an output node"),
        (lambda graph: replace(graph, output=99), "not an output node"),
        (lambda graph: replace(graph, nodes=[]), "not an output node"),
    ],
)
def test_what_cannot_run_is_named(spoil: Callable[[Graph], Graph], said: str) -> None:
    """The message says which node is wrong."""
    assert isinstance(SOUND.nodes[0], Node)
    validate_graph(SOUND, 1)
    with pytest.raises(GraphError, match=said):
        validate_graph(spoil(SOUND), 1)
