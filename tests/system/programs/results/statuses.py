"""Compare statuses the ways that programs do."""

from __future__ import annotations

from tests.system.programs.tasks import add

import covalab as ct


@ct.lattice
def workflow(x: int) -> int:
    """Add twice."""
    return add(add(x, 1), 2)


def main() -> None:
    """Compare by attribute, by text and by truth, for a dispatch and its nodes."""
    run = ct.dispatch(workflow)(1)
    assert isinstance(run, str)
    result = ct.get_result(run, wait=True)

    assert result.result == 4
    assert result.status == ct.status.COMPLETED == "COMPLETED" == str(result.status)
    assert result.status
    assert not ct.status.NEW_OBJECT
    assert ct.status.is_terminal(result.status)
    assert not ct.status.is_terminal(ct.status.RUNNING)
    assert result.COMPLETED == ct.status.COMPLETED
    assert result.NEW_OBJ == ct.status.NEW_OBJECT
    assert ct.get_result(run, status_only=True) == {"id": run, "status": "COMPLETED"}
    # The inner call comes first, each before the nodes of its arguments.
    nodes = {number: result.get_node_result(number) for number in range(5)}
    assert [nodes[number]["node_name"] for number in range(5)] == [
        *("add", ":parameter:1", ":parameter:1", "add", ":parameter:2")
    ]
    assert all(node["status"] == ct.status.COMPLETED for node in nodes.values())
    assert nodes[1]["start_time"] == nodes[1]["end_time"]
    try:
        hash(result.status)
    except TypeError:
        return
    raise AssertionError
