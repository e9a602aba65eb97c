"""Labels that tell nodes of one name apart: what differs in their arguments, like `fit(depth=3)`. Pure.

`labextension/src/graph/labels.ts` is the same algorithm; a test compares the two, so a change here needs one there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from covalab.core.model import Edge, EdgeKind, Graph, Node, NodeKind, does_work

_KINDS: Final = frozenset({NodeKind.ELECTRON, NodeKind.SUBLATTICE})
_PREFIX: Final = ":parameter:"
_SUBLATTICE: Final = ":sublattice:"
_TEXT_LIMIT: Final = 20
_LIMIT: Final = 40
_SHOWN: Final = 3


def labels(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[int, str]:
    """Return for each node that shares its name what follows the name: ``(depth=3)``, or its number ``#2``.

    Only arguments that are written in the graph count: constants, and results of nodes that have labels themselves.

    Examples
    --------
    >>> fit = [Node("fit", NodeKind.ELECTRON), Node("fit", NodeKind.ELECTRON)]
    >>> depths = [Node(":parameter:3", NodeKind.PARAMETER), Node(":parameter:5", NodeKind.PARAMETER)]
    >>> joined = [Edge(2, 0, "depth", EdgeKind.KWARG), Edge(3, 1, "depth", EdgeKind.KWARG)]
    >>> labels(fit + depths, joined)
    {0: '(depth=3)', 1: '(depth=5)'}
    >>> labels(fit, [])
    {0: ' #1', 1: ' #2'}
    """
    siblings: dict[tuple[NodeKind, str], list[int]] = defaultdict(list)
    for number, node in enumerate(nodes):
        if node.kind in _KINDS:
            siblings[node.kind, node.name].append(number)
    arguments: dict[int, dict[str, int]] = {}
    for members in siblings.values():
        if len(members) > 1:
            arguments.update({member: {} for member in members})
    for edge in edges:
        if edge.kind is not EdgeKind.WAIT and edge.target in arguments:
            arguments[edge.target][edge.name or str(edge.index)] = edge.source
    found: dict[int, str] = {}
    # In the order of their first members: what comes first in a graph is what later nodes take results of.
    for members in siblings.values():
        if len(members) > 1:
            _label(members, nodes, arguments, found)
    return found


def node_names(graph: Graph) -> list[str]:
    """Return what each node is called, with what tells it from others of its name: `fit(depth=3)`."""
    found = labels(graph.nodes, graph.edges)
    return [f"{node.name.removeprefix(_SUBLATTICE)}{found.get(number, '')}" for number, node in enumerate(graph.nodes)]


def named_nodes(graph: Graph, text: str) -> list[int]:
    """Return the nodes that do work and that a text names: a number, a name (all that share it), or a name in full.

    Examples
    --------
    >>> graph = Graph("g", [Node("fit", NodeKind.ELECTRON), Node("fit", NodeKind.ELECTRON)], [], [], [], -1)
    >>> named_nodes(graph, "fit"), named_nodes(graph, "fit #2"), named_nodes(graph, "0"), named_nodes(graph, "no")
    ([0, 1], [1], [0], [])
    """
    names = node_names(graph)
    return [
        number
        for number, node in enumerate(graph.nodes)
        if does_work(node) and text in (str(number), names[number], node.name.removeprefix(_SUBLATTICE))
    ]


def _label(
    members: list[int], nodes: Sequence[Node], arguments: dict[int, dict[str, int]], found: dict[int, str]
) -> None:
    texts = [{name: _text(nodes, source, found) for name, source in arguments[member].items()} for member in members]
    names = dict.fromkeys(name for one in texts for name in one)
    differing = [name for name in names if len({one.get(name, "") for one in texts}) > 1][:_SHOWN]
    shown = [_cut(", ".join(f"{name}={one[name]}" for name in differing if one.get(name)), _LIMIT) for one in texts]
    counts = Counter(shown)
    for position, (member, text) in enumerate(zip(members, shown, strict=True), 1):
        number = f" #{position}" if counts[text] > 1 else ""
        found[member] = (f"({text})" if text else "") + number


def _text(nodes: Sequence[Node], source: int, found: dict[int, str]) -> str:
    node = nodes[source]
    if node.kind is NodeKind.PARAMETER:
        return _cut(node.name.removeprefix(_PREFIX), _TEXT_LIMIT)
    return f"{node.name}{found[source]}" if source in found else ""


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
