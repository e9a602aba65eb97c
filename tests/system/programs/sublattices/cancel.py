"""Cancel a workflow, and with it the tasks of its sublattices."""

from __future__ import annotations

import time

import covalab as ct


@ct.electron
def sleep(seconds: float) -> float:
    """Sleep in a task."""
    time.sleep(seconds)
    return seconds


@ct.electron
@ct.lattice
def nap(seconds: float) -> float:
    """Sleep in a sublattice."""
    return sleep(seconds)


@ct.lattice
def workflow(seconds: float) -> object:
    """Run the sublattice."""
    return nap(seconds)


def main() -> None:
    """Check that both dispatches are CANCELLED, without an error."""
    run = ct.dispatch(workflow)(600)
    while ct.get_result(run).get_node_result(0)["status"] != "DISPATCHING":
        time.sleep(0.05)
    ct.cancel(run)
    result = ct.get_result(run, wait=True)

    assert (result.status, result.error) == (ct.status.CANCELLED, None)
    node = result.get_node_result(0)
    assert node["status"] == "CANCELLED"
    assert ct.get_result(node["sublattice_result"].dispatch_id, wait=True).status == "CANCELLED"
