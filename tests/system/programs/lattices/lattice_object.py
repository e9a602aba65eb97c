"""Use a lattice as an object: call it, look at it, draw it, carry it as JSON, dispatch it the old way."""

from __future__ import annotations

import warnings

from tests.system.programs.tasks import add

import covalab as ct


@ct.lattice(executor="local")
def workflow(x: int, y: int = 2) -> int:
    """Add three."""
    return add(add(x, y), 3)


def main() -> None:
    """Check the lattice when called, built, drawn, serialized and dispatched."""
    assert isinstance(workflow, ct.Lattice)
    assert (workflow.__name__, workflow.__doc__) == ("workflow", "Add three.")
    assert workflow(1) == 6
    assert workflow.get_metadata("executor") == workflow.metadata["workflow_executor"] == "local"
    assert workflow.get_metadata("no such setting") is None
    assert "def workflow" in workflow.workflow_function_string
    assert workflow.workflow_function.get_deserialized()(2) == 7

    workflow.build_graph(1, y=5)
    assert workflow.inputs is not None
    assert workflow.inputs.get_deserialized() == {"args": (1,), "kwargs": {"y": 5}}
    assert len(workflow.transport_graph._graph) == 6
    assert "<svg" in str(workflow.draw(1))

    carried = ct.Lattice.deserialize_from_json(workflow.serialize_to_json())
    assert ct.dispatch_sync(carried)(1).result == 6
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = workflow.dispatch_sync(4, y=1)
    assert [warning.category for warning in caught] == [DeprecationWarning]
    assert result.status == "COMPLETED"
    assert result.result == 8
    assert result.lattice.transport_graph.get_node_value(0, "metadata")["executor"] == "local"
