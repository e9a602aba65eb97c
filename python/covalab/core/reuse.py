"""Reuse of earlier results: finds the nodes of a new graph that an earlier dispatch has run. Pure.

A node is the same when it stands at the same number, has the same name, gets the same things from the same nodes,
was not replaced, and so are all nodes before it; a parameter also needs the same value, and anything that runs the same
function with the same hooks. Covalent's own rule (``reuse_previous_results=True`` there, ``"strict"`` here) leaves
functions and hooks out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

from covalab.core.model import Digest, EdgeKind, Graph, Node, NodeKind, Value

_Input: TypeAlias = "tuple[int, EdgeKind, str, int]"


def reusable_nodes(
    old: Graph,
    old_values: Sequence[Value],
    completed: Collection[int],
    new: Graph,
    new_values: Sequence[Value],
    *,
    replaced: Collection[int] = (),
    failed: Collection[int] = (),
    strict: bool = False,
) -> list[int]:
    """Return the nodes of `new` that take over the output of the node with the same number in `old`.

    Parameters
    ----------
    old, old_values
        The earlier graph and the serialized values of its parameters.
    completed
        The nodes of the earlier dispatch that have an output.
    new, new_values
        The graph that is to run.
    replaced
        Nodes of `new` that were replaced on purpose.
    failed
        The nodes of the earlier dispatch that ended without a value; in a session cells after them may have run.
    strict
        Whether functions are left out of the comparison, as in Covalent.

    Returns
    -------
    list of int
        In ascending order.

    Notes
    -----
    What cannot be reused spoils everything after it: an output is only as good as what it was made from.
    """
    n = len(new.nodes)
    old_inputs, new_inputs = _inputs(old), _inputs(new)
    same = [False] * n
    waiting = [len(inputs) for inputs in new_inputs]
    children: list[list[int]] = [[] for _ in range(n)]
    for edge in new.edges:
        children[edge.source].append(edge.target)
    completed, replaced = frozenset(completed), frozenset([*replaced, *failed])
    free = [node for node in range(n) if not waiting[node]]
    for node in free:  # grows while it is walked
        same[node] = (
            node < len(old.nodes)
            and node not in replaced
            and all(same[source] for source, *_ in new_inputs[node])
            and old_inputs[node] == new_inputs[node]
            and _is_same_kind(old.nodes[node], new.nodes[node])
            and (
                same_value(old_values[old.nodes[node].value], new_values[new.nodes[node].value])
                if new.nodes[node].kind is NodeKind.PARAMETER
                else strict
                or (
                    _is_same_function(old, old.nodes[node].function, new, new.nodes[node].function)
                    and _hooks(old, node) == _hooks(new, node)
                )
            )
        )
        for child in children[node]:
            waiting[child] -= 1
            if not waiting[child]:
                free.append(child)
    return [node for node in range(n) if same[node] and node in completed]


def _inputs(graph: Graph) -> list[list[_Input]]:
    """Return what enters each node, in an order that does not depend on when an edge was made."""
    found: list[list[_Input]] = [[] for _ in graph.nodes]
    for edge in graph.edges:
        found[edge.target].append((edge.source, edge.kind, edge.name, edge.index))
    for inputs in found:
        inputs.sort()
    return found


def _is_same_kind(was: Node, now: Node) -> bool:
    return was.name == now.name and was.kind is now.kind and (was.function < 0) is (now.function < 0)


def _is_same_function(old: Graph, was: int, new: Graph, now: int) -> bool:
    if now < 0:
        return True
    then, this = old.functions[was], new.functions[now]
    # A function of a module is encoded as its name, so its text is asked too, where both are known.
    return then.digest == this.digest and (not then.source or not this.source or then.source == this.source)


def _hooks(graph: Graph, node: int) -> Digest:
    position = graph.nodes[node].settings
    return graph.settings[position].hooks if position >= 0 else Digest("")


def same_value(a: Value, b: Value) -> bool:
    """Whether two serialized values are the same bytes.

    Examples
    --------
    >>> same_value(Value(1, "int", "1", b"1"), Value(1, "int", "one", b"1"))
    True
    """
    return a.size == b.size and a.data == b.data and a.digest == b.digest
