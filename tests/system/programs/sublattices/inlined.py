"""Call a lattice in another without `ct.electron`: its tasks join the caller's graph."""

from __future__ import annotations

from tests.system.programs.tasks import add

import covalab as ct


@ct.lattice
def inner(x: int) -> int:
    """Add one."""
    return add(x, 1)


@ct.lattice
def workflow(x: int) -> int:
    """Call the inner lattice as a function."""
    return add(inner(x), 10)


def main() -> None:
    """Check that there are two nodes named `add`, and no sublattice."""
    result = ct.dispatch_sync(workflow)(1)

    assert result.result == 12
    assert [result.get_node_result(node)["node_name"] for node in (0, 3)] == ["add", "add"]
    assert all(node["sublattice_result"] is None for node in result.get_all_node_results())
