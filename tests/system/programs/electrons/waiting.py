"""Make an electron wait for others whose values it does not take (Covalent, how-to "wait for another electron")."""

from __future__ import annotations

import time
from typing import Any

import covalab as ct


@ct.electron
def slow() -> float:
    """Sleep, then return the time."""
    time.sleep(0.3)
    return time.time()


@ct.electron
def begin(x: int) -> float:
    """Return the time."""
    return time.time()


@ct.lattice
def workflow() -> list[Any]:
    """Wait for one electron, for several, and by the method."""
    first, second = slow(), slow()
    one = ct.wait(begin(1), first)
    several = ct.wait(child=begin(2), parents=[first, second])
    method: Any = begin(3)
    method.wait_for([first, second])
    return [first, second, one, several, method]


def main() -> None:
    """Check the order of the tasks and the edges without a value; outside of a lattice `wait` does nothing."""
    result = ct.dispatch_sync(workflow)()
    first, second, one, several, method = result.result

    assert result.status == ct.status.COMPLETED
    assert one >= first
    assert min(several, method) >= max(first, second)
    names = [node["node_name"] for node in result.get_all_node_results()]
    assert names[:4] == ["slow", "slow", "begin", ":parameter:1"]
    edges = result.lattice.transport_graph._graph.edges(data=True)
    waits = sorted((source, target) for source, target, data in edges if data == {"edge_name": "!waiting_edge"})
    assert [edge for edge in waits if edge[1] < 8] == [(0, 2), (0, 4), (0, 6), (1, 4), (1, 6)]
    assert ct.wait("child", [1, 2]) == "child"
