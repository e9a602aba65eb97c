"""Comparison of two dispatches: inputs, code, versions, durations, and outputs by digest. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from covalab.core.codec import digest_of
from covalab.core.dispatch_provenance import DispatchProvenance
from covalab.core.labels import labels
from covalab.core.model import DispatchSummary, Graph, NodeState, Value, does_work

PAIRS_SHOWN: Final = 200
"""The most pairs of nodes in an answer, and the most arguments."""


class Output(msgspec.Struct, frozen=True):
    """The value of a node in short: the digest of its serialized form, its type, and a short text."""

    digest: str
    type: str = ""
    text: str = ""


class SideNode(msgspec.Struct, frozen=True):
    """A node of one side. `digest` names its output; empty: there is none.

    `name` tells it from its siblings, as `fit(depth=3)`; `function` is the name that they share.
    """

    name: str
    status: str
    seconds: float | None = None
    digest: str = ""
    text: str = ""
    node: int = -1
    type: str = ""
    function: str = ""


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
    """Two nodes that stand for each other; None where one side has none. `same`: their outputs are, None: unknown."""

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


class DifferenceView(msgspec.Struct, frozen=True):
    """Difference between two dispatches as a page shows it, cut to a size that it can draw.

    `nodes` are pairs in order; of too many, those that differ come first. `more_*` count what is left out.
    """

    left: DispatchSummary
    right: DispatchSummary
    arguments: dict[str, tuple[str | None, str | None]]
    versions: dict[str, tuple[str | None, str | None]]
    code: dict[str, str]
    nodes: list[NodePair]
    more_arguments: int = 0
    more_nodes: int = 0


def output_of(value: Value) -> Output:
    """Return a value in short."""
    return Output(value.digest or digest_of([value.data or b""]), value.type, value.text)


def side_of(
    summary: DispatchSummary,
    graph: Graph,
    states: Sequence[NodeState],
    known: DispatchProvenance,
    outputs: Mapping[int, Output],
) -> Side:
    """Return one side of a comparison.

    Parameters
    ----------
    summary, graph, states
        Of the dispatch.
    known
        How it came about.
    outputs
        The values of its nodes, of those that have one.
    """
    versions = {"python": known.python, "covalab": known.covalab, **known.packages}
    if known.git is not None and known.git.commit:
        versions["git commit"] = known.git.commit
        if known.git.dirty is not None:
            versions[_DIRTY] = "yes" if known.git.dirty else "no"
    nodes = []
    labelled = labels(graph.nodes, graph.edges)
    for number, node in enumerate(graph.nodes):
        if does_work(node):
            state, output = states[number], outputs.get(number, _NO_OUTPUT)
            took = _seconds(state.started_at, state.ended_at)
            name = node.name + labelled.get(number, "")
            nodes.append(SideNode(name, state.status, took, output.digest, output.text, number, output.type, node.name))
    return Side(
        summary.id,
        summary.name,
        summary.status,
        _seconds(summary.started_at, summary.ended_at),
        {"(lattice)": known.source, **known.functions},
        known.arguments,
        versions,
        nodes,
    )


_NO_OUTPUT: Final = Output("")
_DIRTY: Final = "uncommitted changes"


def _seconds(started: float | None, ended: float | None) -> float | None:
    return None if started is None or ended is None else ended - started


def difference_view(found: Difference, left: DispatchSummary, right: DispatchSummary) -> DifferenceView:
    """Return a difference as a page shows it."""
    pairs, arguments = found.nodes, [*found.arguments.items()]
    if len(pairs) > PAIRS_SHOWN:
        pairs = sorted(pairs, key=lambda pair: pair.same is True)
    return DifferenceView(
        left,
        right,
        dict(arguments[:PAIRS_SHOWN]),
        found.versions,
        found.code,
        pairs[:PAIRS_SHOWN],
        max(0, len(arguments) - PAIRS_SHOWN),
        max(0, len(pairs) - PAIRS_SHOWN),
    )


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
    versions = _difference(left.versions, right.versions)
    if None in versions.get(_DIRTY, ()):
        del versions[_DIRTY]  # git was too slow to say it of one of them, which is no difference
    return Difference(
        left,
        right,
        _difference(left.arguments, right.arguments),
        versions,
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
    keys = dict.fromkeys([*before, *after])
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _unified(name: str, old: Any, new: Any) -> str:
    lines = difflib.unified_diff((old or "").splitlines(), (new or "").splitlines(), name, name, lineterm="")
    return "\n".join(lines)


def _pairs(left: list[SideNode], right: list[SideNode]) -> list[NodePair]:
    """Pair the nodes that are called the same, then those of one function, in the order in which they were made.

    A node that stands alone on both sides has the same name on both; of siblings, ``fit(depth=3)`` is compared with
    ``fit(depth=3)``, also where there are more of them before it.

    Examples
    --------
    >>> def fit(depth, digest): return SideNode(f"fit(depth={depth})", "completed", 1.0, digest, function="fit")
    >>> found = _pairs([fit(1, "a"), fit(2, "b")], [fit(0, "c"), fit(1, "a")])
    >>> [(pair.name, pair.left.name, pair.right.name) for pair in found]
    [('fit(depth=1)', 'fit(depth=1)', 'fit(depth=1)'), ('fit', 'fit(depth=2)', 'fit(depth=0)')]
    """
    named = _in_turn(right, lambda node: node.name)
    partners: list[SideNode | None] = [named[node.name].pop(0) if named.get(node.name) else None for node in left]
    taken = {id(node) for node in partners if node is not None}
    alike = _in_turn([node for node in right if id(node) not in taken], lambda node: node.function or node.name)
    pairs = []
    for node, partner in zip(left, partners, strict=True):
        function = node.function or node.name
        other = partner or (alike[function].pop(0) if alike.get(function) else None)
        pairs.append(NodePair(node.name if other is None or other.name == node.name else function, node, other))
    pairs += [NodePair(node.name, None, node) for others in alike.values() for node in others]
    return pairs


def _in_turn(nodes: list[SideNode], key: Callable[[SideNode], str]) -> dict[str, list[SideNode]]:
    found: dict[str, list[SideNode]] = {}
    for node in nodes:
        found.setdefault(key(node), []).append(node)
    return found
