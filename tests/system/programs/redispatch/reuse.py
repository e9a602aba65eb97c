"""Reuse the results of an earlier run."""

from __future__ import annotations

from tests.system.programs.tasks import experiment

import covalab as ct


def main() -> None:
    """Check that a reused node starts and ends in one moment; a changed node, and those after it, run."""
    run = ct.dispatch(experiment)(4)
    again = ct.redispatch(run, reuse_previous_results=True)(4, scale=5)
    result = ct.get_result(again, wait=True)
    nodes = [result.get_node_result(node) for node in (0, 2)]

    assert result.result == 30
    assert [node["status"] for node in nodes] == ["COMPLETED", "COMPLETED"]
    assert nodes[0]["start_time"] == nodes[0]["end_time"]
    assert nodes[1]["start_time"] < nodes[1]["end_time"]
    assert nodes[0]["output"].get_deserialized() == [0, 1, 2, 3]
    same = ct.get_result(ct.redispatch(run, reuse_previous_results=True)(), wait=True)
    assert same.result == 6
    assert all(node["start_time"] == node["end_time"] for node in same.get_all_node_results())
