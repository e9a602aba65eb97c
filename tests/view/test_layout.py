"""Where the boxes of a graph go."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tests.view.graphs import graphs

from covalab.core.model import Graph
from covalab.view.layout import place, rank


def pairs_of(graph: Graph) -> list[tuple[int, int]]:
    """Return the edges of a graph as the layout takes them."""
    return [(edge.source, edge.target) for edge in graph.edges]


@given(graphs())
def test_edges_lead_from_layer_to_next_layer(graph: Graph) -> None:
    """Every edge runs one way, and has a bend in each layer that it passes."""
    ranks = rank(len(graph.nodes), pairs_of(graph))

    for route in ranks.routes:
        for item, following in pairwise(route):
            assert ranks.layer_of[following] == ranks.layer_of[item] + 1


@given(graphs())
def test_layers_hold_every_item_once(graph: Graph) -> None:
    """Sorting within layers loses nothing."""
    ranks = rank(len(graph.nodes), pairs_of(graph))

    assert sorted(item for layer in ranks.layers for item in layer) == list(range(len(ranks.layer_of)))


@given(graphs(), st.floats(1, 200), st.floats(0, 50))
def test_boxes_never_overlap(graph: Graph, size: float, gap: float) -> None:
    """Boxes of a layer keep their distance, wherever their neighbours are, and none leaves the drawing."""
    count = len(graph.nodes)
    ranks = rank(count, pairs_of(graph))
    places = place(ranks, [size] * count, gap)
    room = [size if item < count else 10.0 for item in range(len(ranks.layer_of))]

    for layer in ranks.layers:
        for left, right in pairwise(layer):
            apart = places.across[right] - places.across[left]
            assert apart >= (room[left] + room[right]) / 2 + gap - 1e-6
        for item in layer:
            assert places.across[item] - room[item] / 2 >= -1e-6
            assert places.across[item] + room[item] / 2 <= places.breadth + 1e-6


def test_a_chain_is_a_straight_line() -> None:
    """A box with one neighbour on each side is level with both."""
    places = place(rank(4, [(0, 1), (1, 2), (2, 3)]), [46.0] * 4, 10)

    assert len(set(places.across)) == 1


def test_a_source_stands_beside_what_it_feeds() -> None:
    """A node without inputs is not drawn far from its one reader."""
    ranks = rank(4, [(0, 1), (1, 2), (3, 2)])

    assert ranks.layer_of[3] == ranks.layer_of[1]


def test_long_edges_of_a_large_graph_do_not_bend() -> None:
    """Where bends would be many more than boxes, edges are drawn straight: the work stays linear."""
    count = 3000
    edges = [(box, box + 1) for box in range(count - 1)] + [(box, count - 1) for box in range(count - 2)]

    assert len(rank(count, edges).layer_of) == count
