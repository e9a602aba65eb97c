"""Look at a transport graph as a networkx graph, before and after it ran."""

from __future__ import annotations

import networkx as nx
from tests.system.programs.tasks import add, double

import covalab as ct


@ct.lattice
def diamond(x: int) -> int:
    """Run one task, two in parallel, then one."""
    top = double(x)
    return add(double(top), y=double(top))


def main() -> None:
    """Check numbers, names, edges with their attributes, and the state of each node."""
    diamond.build_graph(3)
    graph = diamond.transport_graph._graph

    assert isinstance(graph, nx.MultiDiGraph)
    assert [graph.nodes[node]["name"] for node in graph] == [
        *("double", ":parameter:3", "double", "double", "add", ":postprocess:reconstruct")
    ]
    assert sorted((s, t, d["edge_name"]) for s, t, d in graph.edges(data=True)) == [
        (0, 2, "x"),
        (0, 3, "x"),
        (0, 5, "!waiting_edge"),
        (1, 0, "x"),
        (2, 4, "x"),
        (2, 5, "!waiting_edge"),
        (3, 4, "y"),
        (3, 5, "!waiting_edge"),
        (4, 5, "node:4"),
        (4, 5, "retval"),
    ]
    assert graph.edges[2, 4, 0] == {"edge_name": "x", "param_type": "arg", "arg_index": 0}
    assert graph.edges[3, 4, 0] == {"edge_name": "y", "param_type": "kwarg", "arg_index": None}
    assert graph.nodes[0]["function"].get_deserialized()(4) == 8

    result = ct.dispatch_sync(diamond)(3)
    ran = result.lattice.transport_graph
    assert result.result == 24
    assert [ran.get_node_value(node, "output").get_deserialized() for node in range(6)] == [6, 3, 12, 12, 24, 24]
    assert all(ran.get_node_value(node, "status") == ct.status.COMPLETED for node in range(6))
