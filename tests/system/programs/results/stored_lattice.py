"""Use the lattice of a result."""

from __future__ import annotations

from tests.system.programs.tasks import experiment

import covalab as ct


def main() -> None:
    """Check that it can be read, called and dispatched."""
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
