"""Set `workdir` and `create_unique_workdir` of the built-in executors; Covalent ignores them (its issue 1940)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import covalab as ct


def main() -> None:
    """Check a shared folder, a folder for each task, and the notebook's folder."""
    base = Path(tempfile.mkdtemp()).resolve() / "made" / "for this"

    @ct.electron
    def here() -> str:
        Path("left.txt").touch()
        return str(Path.cwd())

    shared = ct.electron(here, executor=ct.executor.LocalExecutor(workdir=str(base)))
    unique = ct.electron(here, executor=ct.executor.DaskExecutor(workdir=str(base), create_unique_workdir=True))
    plain = ct.electron(os.getcwd)

    @ct.lattice
    def workflow() -> Any:
        return [shared(), unique(), unique(), plain()]

    run = ct.dispatch(workflow)()
    result = ct.get_result(run, wait=True)
    assert result.result == [str(base), f"{base}/{run}/node_1", f"{base}/{run}/node_2", str(Path.cwd())], result.result
    assert (base / "left.txt").exists()
    assert (base / run / "node_2" / "left.txt").exists()
