"""Values are put together from nodes, and only what is needed is opened."""

from __future__ import annotations

from typing import Any

import pytest

from covalab.core.assemble import edges_into, positional, sources_of, value_at
from covalab.core.model import Edge, EdgeKind, Node, NodeKind

NODES = [
    Node("f", NodeKind.ELECTRON),
    Node(":postprocess:reconstruct", NodeKind.OUTPUT),
    Node(":electron_dict:", NodeKind.DICT),
    Node(":electron_list:", NodeKind.LIST),
    Node(":electron_list:", NodeKind.LIST),
    Node(":parameter:k", NodeKind.PARAMETER),
    Node(":electron_list:", NodeKind.LIST),
    Node("unused", NodeKind.ELECTRON),
]
EDGES = [
    Edge(2, 1, "retval", EdgeKind.ARG, 0),
    Edge(0, 1, "node:0", EdgeKind.KWARG),
    Edge(7, 1, "!waiting_edge", EdgeKind.WAIT),
    Edge(4, 2, "values", EdgeKind.ARG, 1),  # out of order on purpose: the position counts
    Edge(3, 2, "keys", EdgeKind.ARG, 0),
    Edge(6, 3, "arg[0]", EdgeKind.ARG, 0),
    Edge(5, 6, "arg[0]", EdgeKind.ARG, 0),
    Edge(5, 6, "arg[1]", EdgeKind.ARG, 1),
    Edge(0, 4, "arg[0]", EdgeKind.ARG, 0),
]
INTO = edges_into(len(NODES), EDGES)


def test_collections_are_put_together() -> None:
    """Lists by position, dicts from two lists, the output from its argument; a list as a key is a tuple again."""
    opened: list[int] = []

    def open_value(node: int) -> Any:
        opened.append(node)
        return {0: "value", 5: "k"}[node]

    assert value_at(1, NODES, INTO, open_value) == {("k", "k"): "value"}
    assert opened == [5, 5, 0]


def test_a_part_of_a_graph_is_enough() -> None:
    """A dict of the nodes one has does as well as the list of all."""
    nodes = {4: NODES[4], 0: NODES[0]}

    assert value_at(4, nodes, {4: INTO[4]}, lambda node: node) == [0]


@pytest.mark.parametrize(("wanted", "sources"), [([1], [5, 0]), ([4], [0]), ([7, 0, 4], [7, 0]), ([], [])])
def test_sources_are_found_through_collections(wanted: list[int], sources: list[int]) -> None:
    """Each node with a value of its own once, first use first; waiting needs no value."""
    assert sources_of(wanted, NODES, INTO) == sources


def test_a_long_chain_of_lists_is_looked_through() -> None:
    """Finding sources does not recurse, so depth is no limit."""
    depth = 50_000
    nodes = [Node(":electron_list:", NodeKind.LIST)] * depth + [Node("f", NodeKind.ELECTRON)]
    edges = [Edge(i + 1, i, "arg[0]", EdgeKind.ARG, 0) for i in range(depth)]

    assert sources_of([0], nodes, edges_into(depth + 1, edges)) == [depth]


def test_positions_decide() -> None:
    """The order of edges does not."""
    assert positional(reversed(INTO[6])) == [5, 5]
    assert positional(INTO[2]) == [3, 4]
