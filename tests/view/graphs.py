"""Graphs for tests of how they look."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from covalab.core.model import (
    Counts,
    DispatchId,
    DispatchSummary,
    Edge,
    EdgeKind,
    Graph,
    Node,
    NodeKind,
    Settings,
    Status,
)


@st.composite
def graphs(draw: st.DrawFn, most: int = 40, names: Sequence[str] = ("x",)) -> Graph:
    """Graphs of nodes of all kinds and few functions, joined from earlier to later nodes in a shuffled numbering."""
    count = draw(st.integers(1, most))
    kinds = draw(st.lists(st.sampled_from(NodeKind), min_size=count, max_size=count))
    functions = draw(st.lists(st.integers(-1, 2), min_size=count, max_size=count))
    pairs = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=3 * count))
    order = draw(st.permutations(range(count)))
    nodes = [Node(f"f{function}", kind, function) for kind, function in zip(kinds, functions, strict=True)]
    ends = [(order[min(pair)], order[max(pair)]) for pair in pairs if pair[0] != pair[1]]
    edges = [Edge(*pair, draw(st.sampled_from(names)), EdgeKind.ARG, 0) for pair in ends]
    return Graph("drawn", nodes, edges, [], [Settings()], -1)


def mapped(count: int, name: str = "train") -> Graph:
    """One source, `count` tasks of one function each with a parameter, a list of their results, one sink."""
    nodes = [Node("load", NodeKind.ELECTRON, 0), Node("best", NodeKind.ELECTRON, 2)]
    nodes.append(Node(":electron_list:", NodeKind.LIST))
    edges = [Edge(2, 1, "scores", EdgeKind.ARG, 0)]
    for index in range(count):
        task = len(nodes)
        nodes += [Node(name, NodeKind.ELECTRON, 1), Node(f":parameter:{index}", NodeKind.PARAMETER)]
        edges += [
            Edge(0, task, "data", EdgeKind.ARG, 0),
            Edge(task + 1, task, "c", EdgeKind.ARG, 1),
            Edge(task, 2, "", EdgeKind.ARG, index),
        ]
    return Graph("experiment", nodes, edges, [], [Settings()], 1)


def summary(name: str = "experiment", *, status: Status = "running", error: str = "") -> DispatchSummary:
    """Return a dispatch in the list."""
    return DispatchSummary(
        id=DispatchId("0f3cab12-3fbb-4e0c-9dd2-0242ac120002"),
        name=name,
        status=status,
        version=3,
        created_at=100.0,
        started_at=101.0,
        ended_at=None if status in {"pending", "running"} else 103.5,
        counts=Counts(completed=2, running=1, pending=3),
        notebook="work/digits.ipynb",
        error=error,
    )
