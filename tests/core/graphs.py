"""Transport graphs for tests: by hand, and drawn by Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from covalab.core.codec import serialize_small
from covalab.core.model import Digest, Edge, EdgeKind, Function, Graph, Node, NodeKind, Outcome, Settings, Value

PARAMETER: Value = serialize_small(1)


def graph_of(
    kinds: list[NodeKind], edges: list[tuple[int, int]], *, settings: list[Settings] | None = None, waits: int = 0
) -> Graph:
    """Return a graph whose last node is the output of every electron; the last `waits` edges carry no value."""
    nodes = [
        Node(f"n{i}", kind, 0 if kind is NodeKind.ELECTRON else -1, 0 if kind is NodeKind.PARAMETER else -1, 0)
        for i, kind in enumerate(kinds)
    ]
    output = len(nodes)
    nodes.append(Node(":postprocess:reconstruct", NodeKind.OUTPUT))
    positions: dict[int, int] = {}
    wired = []
    for number, (source, target) in enumerate(edges):
        if number >= len(edges) - waits:
            wired.append(Edge(source, target, "!waiting_edge", EdgeKind.WAIT))
            continue
        index = positions[target] = positions.get(target, -1) + 1
        wired.append(Edge(source, target, f"x{index}", EdgeKind.ARG, index))
    wired += [
        Edge(node, output, f"node:{node}", EdgeKind.KWARG)
        for node, kind in enumerate(kinds)
        if kind is NodeKind.ELECTRON
    ]
    return Graph("g", nodes, wired, [Function("f", Digest("0" * 64))], settings or [Settings()], output)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw acyclic graphs of electrons, parameters and lists."""
    n = draw(st.integers(1, 12))
    kinds = []
    edges = []
    for node in range(n):
        kind = draw(st.sampled_from([NodeKind.ELECTRON, NodeKind.ELECTRON, NodeKind.LIST, NodeKind.PARAMETER]))
        kinds.append(kind)
        if kind is not NodeKind.PARAMETER and node:
            sources = draw(st.lists(st.integers(0, node - 1), max_size=3, unique=True))
            edges += [(source, node) for source in sources]
    return graph_of(kinds, edges, waits=draw(st.integers(0, len(edges))))


def completed(node: int, value: Value = PARAMETER, at: float = 1.0) -> Outcome:
    """Return the outcome of a node that returned."""
    return Outcome(node, "completed", at, at + 1, value)
