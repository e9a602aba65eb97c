"""Assembly of values from nodes: lists, dicts and the lattice's own value, which no worker computes.

Pure. The caller passes a function that deserializes a node's value (`open_value`); only values that are used are
deserialized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from covalab.core.model import Edge, EdgeKind, Graph, Node, NodeKind, Value, does_work

_T_co = TypeVar("_T_co", covariant=True)


class ByNode(Protocol[_T_co]):
    """Anything indexed by node number: a list of the whole graph, or a dict of a part of it."""

    def __getitem__(self, node: int, /) -> _T_co: ...


def edges_into(n_nodes: int, edges: Iterable[Edge]) -> list[list[Edge]]:
    """Sort edges by the node they point to, in the order in which they were made."""
    into: list[list[Edge]] = [[] for _ in range(n_nodes)]
    for edge in edges:
        into[edge.target].append(edge)
    return into


def value_at(node: int, nodes: ByNode[Node], into: ByNode[Sequence[Edge]], open_value: Callable[[int], Any]) -> Any:
    """Return the value of a node.

    Parameters
    ----------
    node
        Its number.
    nodes, into
        The nodes by number, and the edges that point to each.
    open_value
        Deserializes the value of a node that has one of its own: a parameter, or one that ran. Called once per use, so
        every use is a copy of its own unless the caller remembers.
    """
    kind = nodes[node].kind
    if does_work(nodes[node]):
        return open_value(node)
    if kind is NodeKind.LIST:
        return [value_at(source, nodes, into, open_value) for source in positional(into[node])]
    if kind is NodeKind.DICT:
        keys, values = (value_at(source, nodes, into, open_value) for source in positional(into[node]))
        return {hashable(key): value for key, value in zip(keys, values, strict=True)}
    if kind is NodeKind.OUTPUT:
        return value_at(positional(into[node])[0], nodes, into, open_value)
    return open_value(node)


def positional(edges: Iterable[Edge]) -> list[int]:
    """Return the nodes whose values enter by position, in order of position.

    Examples
    --------
    >>> positional([Edge(4, 0, "y", EdgeKind.ARG, 1), Edge(3, 0, "x", EdgeKind.ARG, 0), Edge(5, 0, "z", EdgeKind.WAIT)])
    [3, 4]
    """
    found = [(edge.index, edge.source) for edge in edges if edge.kind is EdgeKind.ARG]
    found.sort()
    return [source for _, source in found]


def sources_of(nodes_wanted: Iterable[int], nodes: ByNode[Node], into: ByNode[Sequence[Edge]]) -> list[int]:
    """Return the nodes whose values make up those of the wanted nodes, each once, first use first.

    Collections and the lattice's value are followed to their sources: parameters and nodes that run.
    """
    found: dict[int, None] = {}
    waiting = list(nodes_wanted)[::-1]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        kind = nodes[node].kind
        if does_work(nodes[node]):
            found[node] = None
        elif kind is NodeKind.OUTPUT:
            waiting.append(positional(into[node])[0])
        elif kind is NodeKind.LIST or kind is NodeKind.DICT:
            waiting.extend(reversed(positional(into[node])))
        else:
            found[node] = None
    return list(found)


def hashable(key: Any) -> Any:
    """Return the tuple that was a dict's key: it is sent as a list, the only sequence that collections have.

    Examples
    --------
    >>> hashable(["a", [1, 2]]), hashable("a")
    (('a', (1, 2)), 'a')
    """
    return tuple(map(hashable, key)) if type(key) is list else key


def returns_nothing(graph: Graph, values: Sequence[Value]) -> bool:
    """Return whether the body of a lattice has returned None, as one without a ``return`` does.

    An electron whose value is None is something: it is known only when the electron has run.
    """
    for edge in graph.edges:
        if edge.target == graph.output and edge.kind is EdgeKind.ARG:
            source = graph.nodes[edge.source]
            return source.kind is NodeKind.PARAMETER and values[source.value].type == "NoneType"
    return False
