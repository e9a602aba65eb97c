"""Run a recorded workflow again: as it was, and with other arguments."""

from __future__ import annotations

from tests.system.programs.tasks import experiment

import covalab as ct


def main() -> None:
    """Check that each has a new id, keeps keyword arguments and has the same node numbers."""
    run = ct.dispatch(experiment)(4, scale=3)
    assert ct.get_result(run, wait=True).result == 18
    again = ct.redispatch(run)()
    other = ct.redispatch(run)(5, scale=2)

    result = ct.get_result(again, wait=True)
    assert again != run
    assert result.status == ct.status.COMPLETED
    assert type(result.result) is int
    assert result.result == 18
    assert ct.get_result(other, wait=True).result == 20
    assert result.get_node_result(0)["node_name"] == "load"
    assert result.get_node_result(1)["node_name"] == ":parameter:4"
    assert result.get_node_result(2)["node_name"] == "fit"
