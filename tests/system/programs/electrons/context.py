"""Read the id of the running task by `ct.get_context()` (Covalent, `executor/utils/context.py`)."""

from __future__ import annotations

import os
from typing import Any

import covalab as ct


@ct.electron
def who() -> tuple[str | None, int | None, str | None]:
    """Return the ids of this task, and the dispatch id of the environment."""
    context = ct.get_context()
    return context.dispatch_id, context.task_id, os.environ.get("COVALENT_DISPATCH_ID")


@ct.lattice
def workflow() -> Any:
    """Run two tasks."""
    return [who(), who()]


def main() -> None:
    """Check the dispatch id and the node of each task, and that there are none outside of a task."""
    run = ct.dispatch(workflow)()
    assert ct.get_result(run, wait=True).result == [(run, 0, run), (run, 1, run)]
    assert (ct.get_context().dispatch_id, ct.get_context().task_id) == (None, None)
    assert "COVALENT_DISPATCH_ID" not in os.environ
