"""Ask for a result in every way: now, waiting, the status alone, without values."""

from __future__ import annotations

import time

import covalab as ct


@ct.electron
def slowly(x: int) -> int:
    """Sleep, then add one."""
    time.sleep(0.5)
    return x + 1


@ct.lattice
def workflow(x: int) -> list[int]:
    """Run one after the other."""
    first = slowly(x)
    return [first, slowly(first)]


def main() -> None:
    """Check that an unfinished result raises nothing, and that omitted parts are None."""
    run = ct.dispatch(workflow)(1)
    early = ct.get_result(run)
    assert early.status in (ct.status.NEW_OBJECT, ct.status.RUNNING)
    assert (early.result, early.encoded_result, early.end_time, early.error) == (None, None, None, None)
    assert early.get_node_result(0)["output"] is None

    # Covalent's named waits are numbers; only their truth matters.
    assert ct.get_result(run, wait=60_000).status == "COMPLETED"
    result = ct.get_result(run, wait=True)
    assert result.status == "COMPLETED"
    assert result.result == [2, 3]
    assert result.get_node_result(0)["output"].get_deserialized() == 2
    assert ct.get_result(run, wait=True, status_only=True) == {"id": run, "status": "COMPLETED"}

    bare = ct.get_result(run, workflow_output=False, intermediate_outputs=False, sublattice_results=False)
    assert bare.status == "COMPLETED"
    assert bare.result is None
    assert bare.get_node_result(0)["output"] is None
    assert bare.get_node_result(0)["node_name"] == "slowly"
    try:
        ct.get_result("no-such-dispatch")
    except ct.MissingLatticeRecordError:
        return
    raise AssertionError
