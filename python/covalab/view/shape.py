"""Shape of a drawn graph: plumbing is hidden, many similar nodes are one group, edges bridge hidden nodes.

Pure, and linear in nodes and edges. `labextension/src/graph/shape.ts` is the same for the browser; a test compares the
two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from covalab.core.model import Counts, Edge, Node, NodeKind, NodeState, does_work

FOLD_THRESHOLD: Final = 12
"""Smallest number of similar nodes that are drawn as one group."""

PLUMBING: Final = frozenset(
    {
        NodeKind.PARAMETER,
        NodeKind.LIST,
        NodeKind.DICT,
        NodeKind.OUTPUT,
        NodeKind.ITEM,
        NodeKind.ATTRIBUTE,
    }
)
"""Kinds of nodes that are hidden unless everything is drawn."""

SESSION: Final = ":session:"
"""Name of the edges that only say in which order the cells of a session run."""

_BRIDGE_LIMIT: Final = 64
"""Largest number of edges that bridge one hidden node; with more, the node is drawn as a dot."""


class Unit(NamedTuple):
    """One drawn box: a node, a group of similar nodes, or a dot where many edges meet."""

    kind: Literal["node", "group", "junction"]
    members: list[int]


class Shape(NamedTuple):
    """The drawn boxes, and pairs of positions in `units` that are joined by an edge."""

    units: list[Unit]
    edges: list[tuple[int, int]]
    hidden: int


class _Links(NamedTuple):
    parents: list[list[int]]
    children: list[list[int]]
    order: list[int]  # parents before children
    values: list[list[int]]  # parents without those that only an edge of a session joins


def shape_of(
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    *,
    everything: bool = False,
    threshold: int = FOLD_THRESHOLD,
    keep: Iterable[int] = (),
) -> Shape:
    """Return the shape of a graph.

    Parameters
    ----------
    nodes, edges
        The graph.
    everything
        Draw parameters, collections and item access as well.
    threshold
        Smallest number of similar nodes that become a group; 0: no groups.
    keep
        Nodes that are drawn although their kind is hidden, because they failed.
    """
    links = _link(len(nodes), edges)
    kept = frozenset(keep)
    hidden = [not everything and node.kind in PLUMBING and index not in kept for index, node in enumerate(nodes)]
    if all(hidden):
        hidden = [False] * len(nodes)
    group_of = _groups(nodes, links, hidden, threshold) if threshold > 0 else [-1] * len(nodes)

    units: list[Unit] = []
    unit_of = [-1] * len(nodes)
    group_unit: dict[int, int] = {}
    for node, group in enumerate(group_of):
        if hidden[node]:
            continue
        if group >= 0 and group in group_unit:
            unit_of[node] = group_unit[group]
            units[group_unit[group]].members.append(node)
            continue
        unit_of[node] = len(units)
        if group >= 0:
            group_unit[group] = len(units)
        units.append(Unit("group" if group >= 0 else "node", [node]))
    return Shape(units, _join(links, units, unit_of), sum(hidden))


def drawn_counts(counts: Counts, nodes: Sequence[Node], states: Iterable[NodeState]) -> Counts:
    """Return the counts of a dispatch without the nodes that run but are hidden: item access, attributes, outputs.

    Examples
    --------
    >>> nodes = [Node("f", NodeKind.ELECTRON, 0), Node("f[0]", NodeKind.ITEM), Node("g", NodeKind.ELECTRON, 1)]
    >>> drawn_counts(Counts(completed=2, pending=1), nodes, [NodeState(0, "completed"), NodeState(1, "completed")])
    Counts(pending=1, running=0, completed=1, failed=0, cancelled=0, skipped=0)
    """
    hidden = {at for at, node in enumerate(nodes) if node.kind in PLUMBING and does_work(node)}
    if not hidden or len(hidden) == sum(map(does_work, nodes)):
        return counts
    numbers = msgspec.structs.asdict(counts)
    known = {state.node: state.status for state in states if state.node in hidden}
    for node in hidden:
        status = known.get(node, "pending")
        if status != "failed":  # one that failed is drawn
            numbers[status] = max(0, numbers[status] - 1)
    return Counts(**numbers)


def _join(links: _Links, units: list[Unit], unit_of: list[int]) -> list[tuple[int, int]]:
    """Return the edges between units; add a dot for a hidden node that too many edges would have to bridge."""
    # Dictionaries, as sets that keep their order: the picture must not depend on the hash of a number.
    drawn: dict[tuple[int, int], None] = {}
    reaching: dict[int, dict[int, None]] = {}  # hidden node: the units whose values reach it
    for node in links.order:
        # The order of a session is drawn only where nothing else leads to the node.
        sources = _sources(links.values[node], unit_of, reaching) or _sources(links.parents[node], unit_of, reaching)
        unit, consumers = unit_of[node], len(links.children[node])
        if unit < 0 and len(sources) > 1 and consumers > 1 and len(sources) * consumers > _BRIDGE_LIMIT:
            unit = unit_of[node] = len(units)
            units.append(Unit("junction", [node]))
        if unit < 0:
            reaching[node] = sources
        else:
            drawn.update({(source, unit): None for source in sources if source != unit})
    return list(drawn)


def _sources(parents: Iterable[int], unit_of: Sequence[int], reaching: dict[int, dict[int, None]]) -> dict[int, None]:
    """Return the units whose values come through these parents."""
    found: dict[int, None] = {}
    for parent in parents:
        if unit_of[parent] >= 0:
            found[unit_of[parent]] = None
        else:
            found.update(reaching.get(parent, {}))
    return found


def _link(count: int, edges: Sequence[Edge]) -> _Links:
    parents: list[list[int]] = [[] for _ in range(count)]
    children: list[list[int]] = [[] for _ in range(count)]
    for edge in edges:
        parents[edge.target].append(edge.source)
        children[edge.source].append(edge.target)
    missing = [len(found) for found in parents]
    order = [node for node, left in enumerate(missing) if left == 0]
    for node in order:  # the list grows while the loop runs over it
        for child in children[node]:
            missing[child] -= 1
            if missing[child] == 0:
                order.append(child)
    values = parents
    if any(edge.name == SESSION for edge in edges):
        values = [[] for _ in range(count)]
        for edge in edges:
            if edge.name != SESSION:
                values[edge.target].append(edge.source)
    return _Links(parents, children, order, values)


def _groups(nodes: Sequence[Node], links: _Links, hidden: Sequence[bool], threshold: int) -> list[int]:
    """Return for each node the first node of its group, or -1.

    Similar are nodes of one function whose ancestors are similar and whose descendants are similar, however many there
    are of each. Similar nodes are equally deep, so making them one box makes no cycle.
    """
    names: dict[tuple[object, ...], int] = {}

    def classes(order: Iterable[int], before: Sequence[Sequence[int]]) -> list[int]:
        found = [0] * len(nodes)
        for node in order:
            around = sorted({found[other] for other in before[node]} - {0})
            # A hidden node with nothing before it is a constant: it makes no difference.
            if around or not hidden[node]:
                found[node] = names.setdefault(
                    (_similarity_key(nodes[node], hidden=hidden[node]), *around), len(names) + 1
                )
        return found

    above = classes(links.order, links.parents)
    below = classes(reversed(links.order), links.children)
    similar: dict[tuple[int, int], list[int]] = {}
    for node in range(len(nodes)):
        if not hidden[node]:
            similar.setdefault((above[node], below[node]), []).append(node)
    result = [-1] * len(nodes)
    for members in similar.values():
        if len(members) >= threshold:
            for node in members:
                result[node] = members[0]
    return result


def _similarity_key(node: Node, *, hidden: bool) -> tuple[str, int, str]:
    """Return the properties that similar nodes share."""
    if hidden:
        return ("hidden", node.kind, "")
    if node.function >= 0:
        return ("function", node.function, "")
    return ("plumbing", node.kind, "") if node.kind in PLUMBING else ("named", node.kind, node.name)
