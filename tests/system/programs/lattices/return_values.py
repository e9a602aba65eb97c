"""Return anything from a lattice: one electron, nestings of them, constants, nothing."""

from __future__ import annotations

from typing import Any

import covalab as ct


@ct.electron
def pair(x: int) -> tuple[int, int]:
    """Return a tuple."""
    return x, x + 1


@ct.lattice
def one() -> Any:
    """Return the value of the task."""
    return pair(1)


@ct.lattice
def nested() -> Any:
    """Return electrons at every level."""
    a, b = pair(1)
    return {"a": (a, [b, {"pair": pair(5)}]), "constant": {3}}


@ct.lattice
def constant() -> Any:
    """Return no electron."""
    return (1, {"a": (2,)}, {3})


@ct.lattice
def nothing() -> None:
    """Return nothing, and do something."""
    pair(1)


def main() -> None:
    """Check that tuples and sets written in a lattice become lists, and that those of a task stay."""
    assert ct.dispatch_sync(one)().result == (1, 2)
    result = ct.dispatch_sync(nested)()
    assert result.result == {"a": [1, [2, {"pair": (5, 6)}]], "constant": [3]}
    assert result.get_node_result(8)["node_name"] == ":postprocess:reconstruct"
    assert ct.dispatch_sync(constant)().result == [1, {"a": [2]}, [3]]
    result = ct.dispatch_sync(nothing)()
    assert result.status == ct.status.COMPLETED
    assert result.result is None
    assert result.get_node_result(0)["status"] == ct.status.COMPLETED
