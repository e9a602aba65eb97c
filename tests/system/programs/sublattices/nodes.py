"""Call a lattice as an electron: it is one node, and a dispatch of its own."""

from __future__ import annotations

from tests.system.programs.tasks import add

import covalab as ct


@ct.electron
@ct.lattice
def add_twice(x: int) -> int:
    """Add one twice."""
    return add(add(x, 1), 1)


@ct.lattice
def workflow(x: int) -> object:
    """Use it like any electron."""
    return add_twice(x)


def main() -> None:
    """Check that node 0 is the sublattice, followed by the lattice, the parent's settings and its argument."""
    result = ct.get_result(ct.dispatch(workflow)(40), wait=True)

    assert (result.status, result.result) == (ct.status.COMPLETED, 42)
    nodes = result.get_all_node_results()
    assert nodes[0]["node_name"] == ":sublattice:add_twice"
    assert nodes[1]["node_name"].startswith(":parameter:")
    assert '"workflow_executor"' in nodes[2]["node_name"]
    assert nodes[3]["node_name"] == ":parameter:40"
    assert nodes[4]["node_name"] == ":postprocess:reconstruct"
    assert nodes[0]["status"] == "COMPLETED"
    assert nodes[0]["output"].get_deserialized() == 42
