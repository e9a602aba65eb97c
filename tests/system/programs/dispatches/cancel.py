"""Cancel a running dispatch, one task of it, and an ended dispatch (Covalent, how-to "Cancel a dispatch")."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from tests.system.programs.tasks import after

import covalab as ct


@ct.electron
def endless(folder: str) -> None:
    """Create a file, then never end."""
    Path(folder, "runs").touch()
    while True:
        pass


@ct.electron
def other(x: int) -> int:
    """Return the argument."""
    return x


@ct.lattice
def workflow(folder: str) -> Any:
    """Run an endless task, one that depends on it, and one that does not."""
    return after(endless(folder)), other(5)


def started() -> str:
    """Dispatch, and wait until the first task runs."""
    folder = tempfile.mkdtemp()
    run = ct.dispatch(workflow)(folder)
    while not Path(folder, "runs").exists():
        time.sleep(0.01)
    return run


def main() -> None:
    """Cancel by dispatch, by a list of tasks and by one number; check the statuses."""
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
