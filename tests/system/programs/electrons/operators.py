"""Apply operators to the future values of electrons."""

from __future__ import annotations

from typing import Any

import covalab as ct


@ct.electron
def three() -> int:
    """Return a number."""
    return 3


@ct.electron(executor="dask")
def word() -> str:
    """Return a text, whose product depends on the order of its factors."""
    return "ab"


@ct.lattice(executor="dask", workflow_executor="local")
def workflow() -> list[Any]:
    """Use every operator, with the electron on either side."""
    e: Any = three()
    total: Any = e
    total += 1
    total -= 2
    total *= 3
    total /= 4
    return [e + 1, 1 + e, e - 1, 1 - e, e * 2, 2 * e, e / 2, 6 / e, e**2, e + e, total, 2 * word()]


def main() -> None:
    """Check the values, the nodes' names (made of their operands) and their executor (the workflow's)."""
    result = ct.dispatch_sync(workflow)()

    assert result.status == ct.status.COMPLETED
    # Dispatching builds a graph of its own.
    assert len(workflow.transport_graph._graph) == 0
    assert result.result == [4, 4, 2, -2, 6, 6, 1.5, 2.0, 9, 6, 1.5, "abab"]
    names = [node["node_name"] for node in result.get_all_node_results()]
    assert names[:9:2] == ["three", ":parameter:1", ":parameter:2", ":parameter:3", ":parameter:4"]
    assert names[1:9:2] == ["three_+_1", "three_+_1_-_2", "three_+_1_-_2_*_3", "three_+_1_-_2_*_3_/_4"]
    graph = result.lattice.transport_graph
    executors = [graph.get_node_value(node, "metadata")["executor"] for node in (0, 1, 3)]
    assert executors == ["dask", "local", "local"]
