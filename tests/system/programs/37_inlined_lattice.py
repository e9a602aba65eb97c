"""A lattice that is called in another without `ct.electron` is just its function: its tasks join the caller's graph."""

from __future__ import annotations

import covalab as ct


@ct.electron
def add(x: int, y: int) -> int:
    """Add."""
    return x + y


@ct.lattice
def inner(x: int) -> int:
    """Add one."""
    return add(x, 1)


@ct.lattice
def workflow(x: int) -> int:
    """Call it plainly."""
    return add(inner(x), 10)


def main() -> None:
    """Two nodes named `add`, no sublattice."""
    result = ct.dispatch_sync(workflow)(1)

    assert result.result == 12
    assert [result.get_node_result(node)["node_name"] for node in (0, 3)] == ["add", "add"]
    assert all(node["sublattice_result"] is None for node in result.get_all_node_results())
