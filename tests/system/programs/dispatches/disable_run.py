"""Record a workflow without running it."""

from __future__ import annotations

from tests.system.programs.tasks import experiment

import covalab as ct


def main() -> None:
    """Check that it stays NEW_OBJECT, also after a cancel, and that a redispatch of it runs."""
    run = ct.dispatch(experiment, disable_run=True)(4)
    result = ct.get_result(run)

    assert result.status == ct.status.NEW_OBJECT
    assert not result.status
    assert result.result is None
    assert result.start_time is None
    ct.cancel(run)
    assert ct.get_result(run, status_only=True)["status"] == "NEW_OBJECT"
    assert ct.get_result(ct.redispatch(run)(), wait=True).result == 6
    assert ct.get_result(run).get_node_result(0)["status"] == ct.status.NEW_OBJECT
