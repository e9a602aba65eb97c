"""Branch on the value of a task, inside of a sublattice."""

from __future__ import annotations

import covalab as ct


@ct.electron
def measure(x: float) -> float:
    """Measure."""
    return x * 2


@ct.electron
def refine(x: float) -> float:
    """Refine."""
    return x / 10


@ct.electron
@ct.lattice
def refine_if_large(x: float) -> float:
    """Refine a value above ten; here it is a number."""
    if x > 10:
        return refine(x)
    return x


@ct.lattice
def workflow(x: float) -> object:
    """Measure, then decide."""
    return refine_if_large(measure(x))


def main() -> None:
    """Check that a small value is returned without a task, and that a large one is refined."""
    small, large = ct.dispatch_sync(workflow)(3.0), ct.dispatch_sync(workflow)(30.0)

    assert (small.result, large.result) == (6.0, 6.0)
    names = []
    for result in (small, large):
        inner = result.get_node_result(2)["sublattice_result"]
        assert inner.status == "COMPLETED"
        names.append(inner.get_node_result(0)["node_name"])
    assert names == [":postprocess:reconstruct", "refine"]
