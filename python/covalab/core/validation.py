"""Validation of transport graphs. Pure.

Done before a submission is recorded: a recorded graph must run, also after a restart, in any version of covalab.
"""

from __future__ import annotations

from typing import Final

from covalab.core.errors import GraphError
from covalab.core.model import Edge, EdgeKind, Graph, NodeKind, does_work

_ENTRIES: Final = {NodeKind.DICT: 2, NodeKind.OUTPUT: 1}
"""The number of values that enter by position into each kind that a reader assembles."""


def validate_graph(graph: Graph, n_values: int) -> None:
    """Check that all numbers are in range, that collections can be assembled, and that there is no cycle.

    Raises
    ------
    GraphError
        If the graph cannot run; the message names the node.
    """
    n_nodes = len(graph.nodes)
    if not 0 <= graph.output < n_nodes or graph.nodes[graph.output].kind is not NodeKind.OUTPUT:
        message = f"the value of lattice {graph.name!r} is said to be node {graph.output}, which is not an output node"
        raise GraphError(message)
    _check_nodes(graph, n_values)
    _check_edges(graph)
    _check_order(n_nodes, graph.edges)


def _check_nodes(graph: Graph, n_values: int) -> None:
    n_functions, n_settings = len(graph.functions), len(graph.settings)
    for number, node in enumerate(graph.nodes):
        sound = node.settings < n_settings
        if node.kind is NodeKind.PARAMETER:
            sound = sound and 0 <= node.value < n_values
        elif does_work(node):
            sound = sound and 0 <= node.function < n_functions
        if not sound:
            message = f"node {number} ({node.name}) names a value, function or settings that were not sent"
            raise GraphError(message)


def _check_edges(graph: Graph) -> None:
    n_nodes = len(graph.nodes)
    entries = {number: 0 for number, node in enumerate(graph.nodes) if node.kind in _ENTRIES and not does_work(node)}
    for edge in graph.edges:
        if not (0 <= edge.source < n_nodes and 0 <= edge.target < n_nodes):
            message = f"an edge goes from node {edge.source} to node {edge.target}; the nodes are 0 to {n_nodes - 1}"
            raise GraphError(message)
        if edge.target in entries and edge.kind is EdgeKind.ARG:
            entries[edge.target] += 1
    for number, found in entries.items():
        expected = _ENTRIES[graph.nodes[number].kind]
        if found != expected:
            message = f"node {number} ({graph.nodes[number].name}) is made of {expected} values, {found} enter it"
            raise GraphError(message)


def _check_order(n_nodes: int, edges: list[Edge]) -> None:
    waiting = [0] * n_nodes
    children: list[list[int]] = [[] for _ in range(n_nodes)]
    for edge in edges:
        waiting[edge.target] += 1
        children[edge.source].append(edge.target)
    free = [node for node in range(n_nodes) if not waiting[node]]
    for node in free:  # grows while it is walked
        for child in children[node]:
            waiting[child] -= 1
            if not waiting[child]:
                free.append(child)
    if len(free) < n_nodes:
        node = next(node for node in range(n_nodes) if waiting[node])
        message = f"node {node} waits for itself: the graph has a cycle"
        raise GraphError(message)
