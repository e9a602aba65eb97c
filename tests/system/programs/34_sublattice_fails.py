"""A task of a sublattice fails: so does its node, and the nested result says why."""

from __future__ import annotations

import covalab as ct


@ct.electron
def divide(x: int, y: int) -> float:
    """Divide."""
    return x / y


@ct.electron
@ct.lattice
def ratios(x: int) -> list[float]:
    """One works, one does not."""
    return [divide(x, 2), divide(x, 0)]


@ct.lattice
def workflow(x: int) -> object:
    """Contain it."""
    return ratios(x)


def main() -> None:
    """Both dispatches are FAILED; what could be computed below is there."""
    result = ct.dispatch_sync(workflow)(4)
    node = result.get_node_result(0)

    assert (result.status, result.result) == (ct.status.FAILED, None)
    assert node["status"] == "FAILED"
    assert "ZeroDivisionError" in node["error"]
    inner = node["sublattice_result"]
    assert inner.status == ct.status.FAILED
    assert inner.get_node_result(0)["output"].get_deserialized() == 2.0
    assert "ZeroDivisionError" in inner.get_node_result(3)["stderr"]
