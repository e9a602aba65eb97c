"""Run a sublattice whose task fails: its node fails, too, and the nested result has the reason."""

from __future__ import annotations

import covalab as ct


@ct.electron
def divide(x: int, y: int) -> float:
    """Divide."""
    return x / y


@ct.electron
@ct.lattice
def ratios(x: int) -> list[float]:
    """Run one task that succeeds and one that fails."""
    return [divide(x, 2), divide(x, 0)]


@ct.lattice
def workflow(x: int) -> object:
    """Run the sublattice."""
    return ratios(x)


def main() -> None:
    """Check that both dispatches are FAILED, and that the inner one keeps its finished value."""
    result = ct.dispatch_sync(workflow)(4)
    node = result.get_node_result(0)

    assert (result.status, result.result) == (ct.status.FAILED, None)
    assert node["status"] == "FAILED"
    assert "ZeroDivisionError" in node["error"]
    inner = node["sublattice_result"]
    assert inner.status == ct.status.FAILED
    assert inner.get_node_result(0)["output"].get_deserialized() == 2.0
    assert "ZeroDivisionError" in inner.get_node_result(3)["stderr"]
