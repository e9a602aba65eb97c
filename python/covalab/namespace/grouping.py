"""Grouping: which names and classes must be pickled together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

_Node: TypeAlias = "tuple[bool, str]"  # whether it is a class, and its name or id


class _Union:
    """Disjoint sets of nodes."""

    def __init__(self) -> None:
        self._above: dict[_Node, _Node] = {}

    def find(self, node: _Node) -> _Node:
        """Return the node that represents the set of another one."""
        above = self._above.setdefault(node, node)
        while above != node:
            self._above[node] = self._above[above]
            node, above = above, self._above[above]
        return node

    def join(self, one: _Node, other: _Node) -> bool:
        """Make one set of two. Return whether they were two."""
        first, second = self.find(one), self.find(other)
        self._above[first] = second
        return first != second

    def nodes(self) -> list[_Node]:
        """Return all nodes."""
        return list(self._above)


def groups_of(
    objects: Mapping[str, frozenset[int]],
    objects_of_classes: Mapping[str, frozenset[int]],
    referred: Mapping[str, frozenset[str]],
    referred_by_class: Mapping[str, frozenset[str]],
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the groups, each as names and ids of classes.

    Names and classes that share an object are together; so are classes that refer to each other, and a name with the
    classes that it refers to if it is together with any class. So no group refers to itself by way of another one.

    Examples
    --------
    >>> groups_of({"a": frozenset({1}), "b": frozenset({1, 2}), "c": frozenset({3})}, {}, {}, {})
    [(('a', 'b'), ()), (('c',), ())]
    """
    union = _Union()
    owners: dict[int, _Node] = {}
    common = _common((*objects.values(), *objects_of_classes.values()))
    for is_class, shared in ((False, objects), (True, objects_of_classes)):
        for name, ids in shared.items():
            node = is_class, name
            union.find(node)
            for one in ids & common:
                union.join(owners.setdefault(one, node), node)
    for tracker, others in referred_by_class.items():
        for other in others & objects_of_classes.keys():
            union.join((True, tracker), (True, other))
    _join_names_with_their_classes(union, objects_of_classes, referred)
    groups: dict[_Node, tuple[list[str], list[str]]] = {}
    for node in union.nodes():
        groups.setdefault(union.find(node), ([], []))[node[0]].append(node[1])
    return [(tuple(sorted(names)), tuple(sorted(classes))) for names, classes in groups.values()]


def _common(sets: Iterable[frozenset[int]]) -> set[int]:
    """Return what is in more than one set."""
    met: set[int] = set()
    found: set[int] = set()
    for one in sets:
        found |= met & one
        met |= one
    return found


def _join_names_with_their_classes(
    union: _Union, classes: Mapping[str, object], referred: Mapping[str, frozenset[str]]
) -> None:
    is_changed = True
    while is_changed:
        is_changed = False
        with_class = {union.find((True, tracker)) for tracker in classes}
        for name, trackers in referred.items():
            if union.find((False, name)) in with_class:
                joined = [union.join((False, name), (True, one)) for one in trackers & classes.keys()]
                is_changed = is_changed or any(joined)
