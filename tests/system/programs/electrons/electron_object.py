"""Change how an electron runs after it was made, through its `electron_object`."""

from __future__ import annotations

from typing import Any

import covalab as ct


@ct.electron
def where() -> str:
    """Return the dispatch id and the node of this task."""
    context = ct.get_context()
    return f"{context.dispatch_id}/{context.task_id}"


@ct.lattice
def workflow() -> list[str]:
    """Run two tasks."""
    return [where(), where()]


def main() -> None:
    """Check that the next graph uses the new setting, and that a dispatched one keeps its own."""
    electron: Any = where
    before = ct.dispatch_sync(workflow)()
    electron.electron_object.executor = "local"
    after = ct.dispatch_sync(workflow)()

    for result, executor in ((before, "dask"), (after, "local")):
        graph = result.lattice.transport_graph
        assert [graph.get_node_value(node, "metadata")["executor"] for node in (0, 1)] == [executor, executor]
        assert result.result == [f"{result.dispatch_id}/{node}" for node in (0, 1)]
    assert electron.electron_object.get_metadata("executor") == "local"
    assert electron.electron_object.as_transportable_dict["name"] == "where"
    assert (electron.__name__, electron.__doc__) == ("where", "Return the dispatch id and the node of this task.")
    context = ct.get_context()
    assert (context.dispatch_id, context.task_id) == (None, None)
