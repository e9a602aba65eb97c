"""Reuse what an earlier run has computed."""

from __future__ import annotations

import covalab as ct


@ct.electron
def load(n: int) -> list[int]:
    """Make some numbers."""
    return list(range(n))


@ct.electron
def fit(values: list[int], scale: int = 1) -> int:
    """Add them up."""
    return sum(values) * scale


@ct.electron
def fit_twice(values: list[int], scale: int = 1) -> int:
    """Stand for `fit`."""
    return sum(values) * scale * 2


@ct.lattice
def experiment(n: int, scale: int = 1) -> int:
    """Load, then fit."""
    return fit(load(n), scale=scale)


def main() -> None:
    """A reused node starts and ends in one moment; what changed, and what comes after it, runs."""
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
