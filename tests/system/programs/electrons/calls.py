"""Call electrons with all kinds of parameters, in a lattice and inside of another electron."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

import covalab as ct


@ct.electron
def kinds(a: int, /, b: int, *rest: int, key: int = 4, **more: int) -> tuple[Any, ...]:
    """Take every kind of parameter."""
    return a, b, rest, key, more


@ct.electron
def size(values: Any) -> int:
    """Return the length."""
    return len(values)


@ct.electron
def outer(x: int) -> tuple[Any, ...]:
    """Call another electron, which is a plain function inside of a task."""
    return kinds(x, 2)


@ct.electron
def numbers() -> list[int]:
    """Return a mutable value."""
    return [1]


@ct.electron
def grow(values: list[int]) -> int:
    """Change the argument in place."""
    values.append(2)
    return len(values)


@ct.lattice
def workflow(x: int) -> list[Any]:
    """Call all of them."""
    shared = numbers()
    return [
        kinds(x, 2, 3, key=5, z=6),
        outer(x),
        size(list(range(300))),
        size(np.zeros(300)),
        grow(shared),
        grow(shared),
    ]


@ct.lattice
def many(values: Any) -> int:
    """Return the length of one argument."""
    return size(values)


def main() -> None:
    """Check signature and name of an electron, values, and that each task has its own copy of an input."""
    assert (kinds.__name__, kinds.__doc__) == ("kinds", "Take every kind of parameter.")
    assert inspect.isfunction(kinds)
    assert inspect.signature(kinds) == inspect.signature(inspect.unwrap(kinds))
    assert inspect.unwrap(kinds) is not kinds
    assert kinds(1, 2) == (1, 2, (), 4, {})

    result = ct.dispatch_sync(workflow)(1)
    assert result.status == ct.status.COMPLETED
    # Tuples that a task returned stay tuples.
    assert result.result == [(1, 2, (3,), 5, {"z": 6}), (1, 2, (), 4, {}), 300, 300, 2, 2]

    # Each element of a list is a node, an array is one.
    many.build_graph(list(range(300)))
    assert len(many.transport_graph._graph) == 303
    many.build_graph(np.zeros(300))
    assert len(many.transport_graph._graph) == 3
