"""Use the lattice of a result."""

from __future__ import annotations

import covalab as ct


@ct.electron
def load(n: int) -> list[int]:
    """Make some numbers."""
    return list(range(n))


@ct.electron
def fit(values: list[int], scale: int = 1) -> int:
    """Add them up."""
    return sum(values) * scale


@ct.electron
def fit_twice(values: list[int], scale: int = 1) -> int:
    """Stand for `fit`."""
    return sum(values) * scale * 2


@ct.lattice
def experiment(n: int, scale: int = 1) -> int:
    """Load, then fit."""
    return fit(load(n), scale=scale)


def main() -> None:
    """It can be read, called and dispatched."""
    result = ct.dispatch_sync(experiment)(4, scale=2)
    found = result.lattice

    assert isinstance(found, ct.Lattice)
    assert found.inputs is not None
    assert found.__name__ == "experiment"
    assert "def experiment" in found.workflow_function_string
    assert found.inputs.get_deserialized() == {"args": (4,), "kwargs": {"scale": 2}}
    assert found(3) == 3
    again = ct.dispatch_sync(found)(n=5)
    assert again.status == ct.status.COMPLETED
    assert again.result == 10
    assert again.get_node_result(0)["node_name"] == "load"
