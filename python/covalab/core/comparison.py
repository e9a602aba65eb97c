"""Comparison of two dispatches: inputs, code, versions, durations, and outputs by digest. Pure."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec


class SideNode(msgspec.Struct, frozen=True):
    """A node of one side. `digest` names its output; empty: there is none."""

    name: str
    status: str
    seconds: float | None = None
    digest: str = ""
    text: str = ""


class Side(msgspec.Struct, frozen=True):
    """One of two dispatches. `nodes` are those that do work, in order."""

    id: str
    name: str
    status: str
    seconds: float | None = None
    code: dict[str, str] = {}
    arguments: dict[str, str] = {}
    versions: dict[str, str] = {}
    nodes: list[SideNode] = []


class NodePair(msgspec.Struct, frozen=True):
    """The nodes of one name on both sides; None where one side has none. `same`: their outputs are, None: unknown."""

    name: str
    left: SideNode | None
    right: SideNode | None

    @property
    def same(self) -> bool | None:
        """Whether both outputs are the same, byte by byte; None where there are not two."""
        if self.left is None or self.right is None or not (self.left.digest and self.right.digest):
            return None
        return self.left.digest == self.right.digest


class Difference(msgspec.Struct, frozen=True):
    """Difference between two dispatches."""

    left: Side
    right: Side
    arguments: dict[str, tuple[str | None, str | None]]
    versions: dict[str, tuple[str | None, str | None]]
    code: dict[str, str]  # unified differences
    nodes: list[NodePair]

    @property
    def is_empty(self) -> bool:
        """Whether inputs, code, versions and outputs are the same."""
        return not (self.arguments or self.versions or self.code or any(pair.same is not True for pair in self.nodes))


def compare(left: Side, right: Side) -> Difference:
    """Compare two dispatches.

    Examples
    --------
    >>> a = Side("a", "f", "completed", code={"f": "x = 1"}, nodes=[SideNode("f", "completed", 1.0, "d1")])
    >>> b = msgspec.structs.replace(a, id="b", code={"f": "x = 2"}, nodes=[SideNode("f", "completed", 2.0, "d1")])
    >>> found = compare(a, b)
    >>> found.code["f"].splitlines()[-2:], found.nodes[0].same, found.is_empty, compare(a, a).is_empty
    (['-x = 1', '+x = 2'], True, False, True)
    """
    return Difference(
        left,
        right,
        _difference(left.arguments, right.arguments),
        _difference(left.versions, right.versions),
        {name: _unified(name, old, new) for name, (old, new) in _difference(left.code, right.code).items()},
        _pairs(left.nodes, right.nodes),
    )


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the keys whose values differ, with both values; None where there is none.

    Examples
    --------
    >>> _difference({"a": 1, "b": 2}, {"b": 3, "c": 4})
    {'a': (1, None), 'b': (2, 3), 'c': (None, 4)}
    """
    keys = sorted({*before, *after})
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _unified(name: str, old: Any, new: Any) -> str:
    lines = difflib.unified_diff((old or "").splitlines(), (new or "").splitlines(), name, name, lineterm="")
    return "\n".join(lines)


def _pairs(left: list[SideNode], right: list[SideNode]) -> list[NodePair]:
    """Pair the nodes that have the same name, in the order in which they were made."""
    waiting: dict[str, list[SideNode]] = {}
    for node in right:
        waiting.setdefault(node.name, []).append(node)
    pairs = []
    for node in left:
        others = waiting.get(node.name)
        pairs.append(NodePair(node.name, node, others.pop(0) if others else None))
    pairs += [NodePair(node.name, None, node) for others in waiting.values() for node in others]
    return pairs
