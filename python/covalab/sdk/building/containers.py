"""Containers among the arguments of an electron: which are taken apart, and which are passed whole.

As in Covalent, a plain list, tuple, set or dict becomes nodes of its own. A subclass of them (a named tuple, a counter)
holds more than its elements, so it is passed whole, unless there is an electron in it.
"""

from __future__ import annotations

import functools
from collections import Counter, OrderedDict, defaultdict
from typing import Final, NamedTuple

from covalab.core.plain_types import ATOMS
from covalab.sdk.building import ops
from covalab.sdk.building.bound import BoundElectron
from covalab.sdk.values import UserFunction, UserValue

CONTAINERS: Final = (list, tuple, set, dict)
PLAIN: Final = frozenset(CONTAINERS)

_DEPTH: Final = 100
"""Containers inside each other that are taken apart; each is a few calls on the stack, here and on a worker."""

_PARTS: Final = 10_000_000
"""Elements that are taken apart, counted as often as they occur: lists that share lists can stand for very many."""


class Contents(NamedTuple):
    """Contents of a container, however deep."""

    electrons: list[BoundElectron]
    obstacle: str  # why it cannot be taken apart; empty if it can


class _Size(NamedTuple):
    depth: int
    parts: int


class Rebuilding(NamedTuple):
    """Way to make a container from its elements when those have values."""

    function: UserFunction  # gets a list, or a dict
    key: object  # can be hashed; the same for those that are made in the same way


def contents_of(value: UserValue) -> Contents:
    """Return which electrons are in a container, and whether it can be taken apart. Calls nothing of its own."""
    electrons: list[BoundElectron] = []
    sizes: dict[int, _Size] = {}
    open_: set[int] = set()
    is_cyclic = False
    # Its own stack: a container that is too deep for recursion is one of the things to be found.
    waiting: list[tuple[UserValue, list[UserValue] | None]] = [(value, None)]
    while waiting:
        container, inner = waiting.pop()
        key = id(container)
        if inner is not None:
            below = [sizes[id(one)] for one in inner if id(one) in sizes]
            depth = 1 + max((size.depth for size in below), default=0)
            parts = base_of(container).__len__(container) + sum(size.parts for size in below)
            sizes[key] = _Size(depth, parts)
            open_.discard(key)
        elif key in open_:
            is_cyclic = True
        elif key not in sizes:
            inner = _inner(container, electrons)
            open_.add(key)
            waiting.append((container, inner))
            waiting.extend((one, None) for one in inner)
    obstacle = ""
    if is_cyclic:
        obstacle = "contains itself"
    elif sizes[id(value)].depth > _DEPTH:
        obstacle = f"is nested {sizes[id(value)].depth:,} levels deep"
    elif sizes[id(value)].parts > _PARTS:
        obstacle = f"stands for {sizes[id(value)].parts:,} elements"
    return Contents(electrons, obstacle)


def _inner(container: UserValue, electrons: list[BoundElectron]) -> list[UserValue]:
    """Return the containers in a container; add its electrons to `electrons`."""
    found: list[UserValue] = []
    base = base_of(container)
    # The base class's own iteration: that of a subclass is the user's code, and may be endless.
    parts = (dict.keys(container), dict.values(container)) if base is dict else (base.__iter__(container),)
    for part in parts:
        for element in part:
            kind = type(element)
            if kind in ATOMS:
                continue
            if kind is BoundElectron:
                electrons.append(element)
            elif isinstance(element, CONTAINERS):
                found.append(element)
    return found


def base_of(container: UserValue) -> UserValue:
    """Return which of the plain kinds a container is, or derives from."""
    return next(base for base in CONTAINERS if isinstance(container, base))


def rebuilding_of(container: UserValue) -> Rebuilding | None:
    """Return how to make a subclass of a plain container from its elements, where that is well defined; else None.

    Examples
    --------
    >>> rebuilding_of(defaultdict(list)).function({1: [2]})
    defaultdict(<class 'list'>, {1: [2]})
    """
    kind = type(container)
    if kind is OrderedDict or kind is Counter:
        return Rebuilding(kind, kind)
    if kind is defaultdict:
        factory = container.default_factory
        return Rebuilding(functools.partial(defaultdict, factory), (kind, id(factory)))
    if is_named_tuple(kind):
        return Rebuilding(functools.partial(ops.named_tuple, kind), kind)
    return None


def is_named_tuple(kind: type) -> bool:
    """Return whether a class was made by `collections.namedtuple` or `typing.NamedTuple`, or derives from one.

    Examples
    --------
    >>> from collections import namedtuple
    >>> is_named_tuple(namedtuple("Point", "x y")), is_named_tuple(tuple)
    (True, False)
    """
    fields = getattr(kind, "_fields", None)
    return issubclass(kind, tuple) and isinstance(fields, tuple) and callable(getattr(kind, "_make", None))
