"""Functions behind operators on electrons and the value of a lattice.

They run on workers, so this module imports nothing but a name for a type. Parameter names are part of the transport
graph: Covalent's edges into an operator node are ``arg_1`` and ``arg_2``.
"""

from __future__ import annotations

from covalab.sdk.values import UserValue


def add(arg_1: UserValue, arg_2: UserValue) -> UserValue:
    """Return ``arg_1 + arg_2``."""
    return arg_1 + arg_2


def subtract(arg_1: UserValue, arg_2: UserValue) -> UserValue:
    """Return ``arg_1 - arg_2``."""
    return arg_1 - arg_2


def multiply(arg_1: UserValue, arg_2: UserValue) -> UserValue:
    """Return ``arg_1 * arg_2``."""
    return arg_1 * arg_2


def divide(arg_1: UserValue, arg_2: UserValue) -> UserValue:
    """Return ``arg_1 / arg_2``."""
    return arg_1 / arg_2


def power(arg_1: UserValue, arg_2: UserValue) -> UserValue:
    """Return ``arg_1 ** arg_2``."""
    return arg_1**arg_2


OPERATORS = {"+": add, "-": subtract, "*": multiply, "/": divide, "**": power}


def item(e: UserValue, key: UserValue) -> UserValue:
    """Return ``e[key]``."""
    return e[key]


def item_by_tuple(e: UserValue, key: list[UserValue]) -> UserValue:
    """Return ``e[key]`` for a key that was a tuple (``e[0, 1:3]``) and travelled as a list."""
    return e[tuple(key)]


def attribute(e: UserValue, attr: str) -> UserValue:
    """Return ``e.attr``."""
    return getattr(e, attr)


def named_tuple(kind: UserValue, elements: list[UserValue]) -> UserValue:
    """Return a named tuple of a class; its elements travelled as a list, because there were electrons among them."""
    return kind._make(elements)


def reconstruct(retval: UserValue) -> UserValue:
    """Return the value of a lattice, which was put together on its way here."""
    return retval


def refused(e: UserValue, reason: str) -> UserValue:  # noqa: ARG001 - it has the inputs of `item`
    """Raise: the lattice's body asked for this value while there was none, and went on (see `bound`)."""
    raise TypeError(reason)


def answered(**_: UserValue) -> UserValue:
    """Raise: a node that waits for a person, or where interventions are inserted, is run by no worker."""
    message = "this node ends in the dispatcher"
    raise AssertionError(message)
