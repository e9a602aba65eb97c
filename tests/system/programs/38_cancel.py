"""`ct.cancel`: of a dispatch that runs, of one task, of what has ended (Covalent, how-to "Cancel a dispatch")."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import covalab as ct


@ct.electron
def endless(folder: str) -> None:
    """Say that it runs, and go on."""
    Path(folder, "runs").touch()
    while True:
        pass


@ct.electron
def after(x: Any) -> Any:
    """Need its value."""
    return x


@ct.electron
def other(x: int) -> int:
    """Need nothing."""
    return x


@ct.lattice
def workflow(folder: str) -> Any:
    """One that never ends, one after it, one beside it."""
    return after(endless(folder)), other(5)


def started() -> str:
    """Dispatch, and wait until the first task runs."""
    folder = tempfile.mkdtemp()
    run = ct.dispatch(workflow)(folder)
    while not Path(folder, "runs").exists():
        time.sleep(0.01)
    return run


def main() -> None:
    """Cancel in every way."""
    run = started()
    assert ct.cancel(run) == f"Dispatch {run} cancelled."
    result = ct.get_result(run, wait=True)
    assert (result.status, result.error) == (ct.status.CANCELLED, None)
    assert result.get_node_result(0)["status"] == ct.status.CANCELLED
    assert result.get_node_result(2)["status"] == ct.status.NEW_OBJECT
    assert ct.cancel(run) == f"Dispatch {run} cancelled."  # changes nothing

    run = started()
    assert ct.cancel(run, task_ids=[0]) == f"Cancelled tasks [0] in dispatch_id {run}"
    result = ct.get_result(run, wait=True)
    names = {node["node_name"]: str(node["status"]) for node in result.get_all_node_results()}
    assert (names["endless"], names["after"], names["other"]) == ("CANCELLED", "NEW_OBJECT", "COMPLETED")
    assert result.status == ct.status.CANCELLED
    assert ct.cancel(run, 0) == f"Cancelled tasks [0] in dispatch_id {run}"  # one number will do
