"""Run a workflow at an interval."""

from __future__ import annotations

import time

import covalab as ct
from covalab.triggers import TimeTrigger

trigger = TimeTrigger(0.5)


@ct.electron
def now(x: int) -> int:
    """Return the argument."""
    return x


@ct.lattice(triggers=trigger)
def workflow(x: int) -> int:
    """Run one task."""
    return now(x)


def main() -> None:
    """Check that the first firing starts the dispatch itself, and that the others make new ones."""
    run = ct.dispatch(workflow)(7)
    assert ct.get_result(run, status_only=True)["status"] in {"NEW_OBJECT", "RUNNING", "COMPLETED"}
    while len(trigger.new_dispatch_ids) < 2:
        time.sleep(0.1)
    ct.stop_triggers(run)
    runs = [run, *trigger.new_dispatch_ids]

    for one in runs:
        result = ct.get_result(one, wait=True, timeout=120)
        assert result.status == ct.status.COMPLETED
        assert result.result == 7
        assert result.get_node_result(0)["node_name"] == "now"
    time.sleep(1)
    assert len(trigger.new_dispatch_ids) == len(runs) - 1
