"""Run a task that fails: nothing is raised, the rest goes on, dependent tasks never start."""

from __future__ import annotations

import covalab as ct


@ct.electron
def divide(x: int, y: int) -> float:
    """Divide."""
    print("dividing", x, "by", y)
    return x / y


@ct.lattice
def workflow(x: int) -> list[float]:
    """Run a task that succeeds, one that fails, and one that depends on it."""
    good = divide(x, 2)
    bad = divide(x, 0)
    return [good, divide(bad, 1)]  # type: ignore[arg-type]


def main() -> None:
    """Check that the dispatch is FAILED and names the node, whose stderr has the traceback."""
    result = ct.get_result(ct.dispatch(workflow)(4), wait=True)

    assert result.status == ct.status.FAILED
    assert result.result is None
    assert result.error is not None
    assert "3: divide" in result.error
    assert [result.get_node_result(node)["status"] for node in (0, 3, 6)] == ["COMPLETED", "FAILED", "NEW_OBJECT"]
    assert result.get_node_result(0)["output"].get_deserialized() == 2.0
    failed = result.get_node_result(3)
    assert failed["output"] is None
    assert failed["stdout"] == "dividing 4 by 0\n"
    assert "ZeroDivisionError" in failed["stderr"]
    assert "return x / y" in failed["stderr"]
