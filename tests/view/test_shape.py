"""Shape of a drawn graph."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.view.graphs import graphs, mapped

from covalab.core.model import Edge, EdgeKind, Graph, Node, NodeKind
from covalab.view.shape import PLUMBING, SESSION, shape_of


def test_alike_tasks_are_one_unit() -> None:
    """Many calls of one function between the same neighbours are drawn as one, joined to what all are joined to."""
    shape = shape_of(mapped(20).nodes, mapped(20).edges)

    assert [(unit.kind, len(unit.members)) for unit in shape.units] == [("node", 1), ("node", 1), ("group", 20)]
    assert sorted(shape.edges) == [(0, 2), (2, 1)]


def test_chains_of_alike_tasks_fold_layer_by_layer() -> None:
    """Twenty trainings, each with a score of its own, are two units, not forty and not one."""
    graph = mapped(20)
    nodes, edges = list(graph.nodes), list(graph.edges)
    for node, known in enumerate(graph.nodes):
        if known.name == "train":
            edges.append(Edge(node, len(nodes), "model", EdgeKind.ARG, 0))
            nodes.append(Node("score", NodeKind.ELECTRON, 3))

    shape = shape_of(nodes, edges)

    assert sorted(len(unit.members) for unit in shape.units) == [1, 1, 20, 20]


def test_a_repeated_function_along_a_chain_does_not_fold() -> None:
    """Calls of one function that follow each other are not alike: each is deeper than the one before."""
    nodes = [Node("step", NodeKind.ELECTRON, 0)] * 30
    edges = [Edge(node, node + 1, "x", EdgeKind.ARG, 0) for node in range(29)]

    assert len(shape_of(nodes, edges).units) == 30


def test_a_failed_item_is_drawn() -> None:
    """Hidden kinds are drawn when they fail, or the reader would look for the failure in vain."""
    graph = mapped(3)

    assert shape_of(graph.nodes, graph.edges, keep=[2]).hidden == shape_of(graph.nodes, graph.edges).hidden - 1


@given(graphs(), st.integers(0, 4), st.booleans())
def test_every_visible_node_is_in_one_unit_and_units_have_no_cycle(
    graph: Graph, threshold: int, everything: bool
) -> None:
    """Folding and hiding neither lose a node nor make a graph that cannot be layered."""
    shape = shape_of(graph.nodes, graph.edges, everything=everything, threshold=threshold)
    members = [node for unit in shape.units if unit.kind != "junction" for node in unit.members]

    assert len(members) == len(set(members)) == len(graph.nodes) - shape.hidden
    assert nx.is_directed_acyclic_graph(nx.DiGraph(shape.edges))


@given(graphs())
def test_edges_bridge_what_is_hidden(graph: Graph) -> None:
    """One visible node is joined to another exactly when a path leads there through hidden nodes only."""
    shape = shape_of(graph.nodes, graph.edges, threshold=0)
    visible = {unit.members[0] for unit in shape.units if unit.kind == "node"}
    whole = nx.DiGraph()
    whole.add_nodes_from(range(len(graph.nodes)))
    whole.add_edges_from((edge.source, edge.target) for edge in graph.edges)
    expected = set()
    for node in visible:
        reached, ahead = set(), list(whole.successors(node))
        while ahead:
            other = ahead.pop()
            if other not in reached:
                reached.add(other)
                ahead += [] if other in visible else list(whole.successors(other))
        expected |= {(node, other) for other in reached & visible}

    drawn = nx.DiGraph()
    drawn.add_edges_from(
        (shape.units[source].members[0], shape.units[target].members[0]) for source, target in shape.edges
    )
    dots = [unit.members[0] for unit in shape.units if unit.kind == "junction"]
    for dot in nx.topological_sort(drawn.copy()):
        if dot in dots:
            drawn.add_edges_from([(a, b) for a in drawn.predecessors(dot) for b in drawn.successors(dot)])
    drawn.remove_nodes_from(dots)
    assert set(drawn.edges) == expected


@given(graphs())
def test_only_plumbing_is_hidden(graph: Graph) -> None:
    """Electrons, operators and sublattices are always drawn; a graph of nothing else is drawn whole."""
    shape = shape_of(graph.nodes, graph.edges)
    plumbing = sum(node.kind in PLUMBING for node in graph.nodes)

    assert shape.hidden == (0 if plumbing == len(graph.nodes) else plumbing)


E, P, L = NodeKind.ELECTRON, NodeKind.PARAMETER, NodeKind.LIST


@pytest.mark.parametrize(
    ("kinds", "edges", "drawn"),
    [
        pytest.param([E, E], [(0, 1, SESSION)], {(0, 1)}, id="nothing else leads to the node"),
        pytest.param([E, E], [(0, 1, SESSION), (0, 1, "x")], {(0, 1)}, id="a value comes from the same node"),
        pytest.param(
            [E, E, E], [(0, 1, "x"), (1, 2, SESSION), (0, 2, "x")], {(0, 1), (0, 2)}, id="a value from before"
        ),
        pytest.param([E, E, P], [(0, 1, SESSION), (2, 1, "c")], {(0, 1)}, id="a parameter is not drawn"),
        pytest.param([E, E, L, P], [(0, 1, SESSION), (3, 2, ""), (2, 1, "c")], {(0, 1)}, id="a list of constants"),
        pytest.param(
            [E, E, E, L],
            [(0, 1, SESSION), (1, 2, SESSION), (0, 3, ""), (3, 2, "c")],
            {(0, 1), (0, 2)},
            id="a list of values",
        ),
        pytest.param([E, E, E], [(0, 2, SESSION), (1, 2, SESSION)], {(0, 2), (1, 2)}, id="two orders and no value"),
        pytest.param([E, E, E], [(0, 1, SESSION), (1, 2, SESSION)], {(0, 1), (1, 2)}, id="a chain of cells"),
    ],
)
def test_the_order_of_a_session_is_drawn_only_where_no_value_comes(
    kinds: list[NodeKind], edges: list[tuple[int, int, str]], drawn: set[tuple[int, int]]
) -> None:
    """Without that rule every cell would hang on the cell before it, and the flow of values would not be seen."""
    nodes = [Node(f"n{index}", kind, index if kind == E else -1) for index, kind in enumerate(kinds)]

    shape = shape_of(nodes, [Edge(source, target, name, EdgeKind.KWARG) for source, target, name in edges])

    assert set(shape.edges) == drawn
