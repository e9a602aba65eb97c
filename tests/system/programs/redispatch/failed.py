"""Resume a workflow that failed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import covalab as ct


@ct.electron
def expensive(folder: str) -> int:
    """Append to a file."""
    with (Path(folder) / "runs").open("a") as file:
        file.write("x")
    return 20


@ct.electron
def fragile(x: int, folder: str) -> int:
    """Fail as long as a file is missing."""
    return x + int((Path(folder) / "input").read_text())


@ct.lattice
def workflow(folder: str) -> int:
    """Run one after the other."""
    return fragile(expensive(folder), folder)


def main() -> None:
    """Check that only the failed task runs again."""
    folder = tempfile.mkdtemp()
    run = ct.dispatch(workflow)(folder)
    failed = ct.get_result(run, wait=True)
    assert failed.status == ct.status.FAILED
    assert failed.get_node_result(0)["status"] == ct.status.COMPLETED
    assert failed.get_node_result(2)["status"] == ct.status.FAILED

    (Path(folder) / "input").write_text("22")
    result = ct.get_result(ct.redispatch(run, reuse_previous_results=True)(), wait=True)
    assert result.status == ct.status.COMPLETED
    assert result.result == 42
    assert (Path(folder) / "runs").read_text() == "x"
