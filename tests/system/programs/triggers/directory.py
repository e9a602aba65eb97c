"""Run a workflow when files appear."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import covalab as ct
from covalab.triggers import DirTrigger

folder = Path(tempfile.mkdtemp())


@ct.electron
def count(path: str) -> int:
    """Count the files."""
    return len(list(Path(path).iterdir()))


@ct.lattice(triggers=DirTrigger(str(folder), ["created"], batch_size=2))
def workflow(path: str) -> int:
    """Run one task."""
    return count(path)


def main() -> None:
    """Check that it fires after every second file."""
    run = ct.dispatch(workflow)(str(folder))
    number = 0
    while ct.get_result(run, status_only=True)["status"] == "NEW_OBJECT":  # it watches a moment after it is recorded
        (folder / str(number)).touch()
        number += 1
        time.sleep(0.2)
    result = ct.get_result(run, wait=True, timeout=120)
    ct.stop_triggers(run)

    assert number >= 2
    assert result.status == ct.status.COMPLETED
    assert result.result >= 2
