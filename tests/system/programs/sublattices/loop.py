"""Run as many tasks as a value says, by a loop inside a sublattice."""

from __future__ import annotations

import covalab as ct


@ct.electron
def how_many() -> int:
    """Return the length of the loop."""
    return 3


@ct.electron
def square(x: int) -> int:
    """Square."""
    return x * x


@ct.electron
@ct.lattice
def squares(n: int) -> list[int]:
    """Loop over `n`, which is a number here."""
    return [square(i) for i in range(n)]


@ct.electron
def total(values: list[int]) -> int:
    """Add up."""
    return sum(values)


@ct.lattice
def workflow() -> int:
    """Use the value of a task as the length of a loop."""
    return total(squares(how_many()))


def main() -> None:
    """Check that the sublattice has three squares, at nodes 0, 2 and 4 of its own graph."""
    result = ct.dispatch_sync(workflow)()

    assert result.result == 5
    inner = result.get_node_result(1)["sublattice_result"]
    assert inner.result == [0, 1, 4]
    assert [inner.get_node_result(node)["node_name"] for node in (0, 2, 4)] == ["square"] * 3
