"""Cancel a task of a custom executor: `set_job_handle`, `get_cancel_requested`, `cancel`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import covalab as ct


class Queue(ct.executor.BaseExecutor):
    """Executor that submits a job and withdraws it on `cancel`."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def run(self, function: Any, args: list[Any], kwargs: dict[str, Any], task_metadata: dict[str, Any]) -> Any:
        """Wait for a job that never ends."""
        self.set_job_handle({"job": 42})
        Path(self.folder, "submitted").touch()
        while not self.get_cancel_requested():
            time.sleep(0.02)
        Path(self.folder, "left").touch()
        raise ct.executor.base.TaskCancelledError

    def cancel(self, task_metadata: dict[str, Any], job_handle: Any) -> bool:
        """Withdraw the job."""
        Path(self.folder, f"took back {job_handle['job']} of node {task_metadata['node_id']}").touch()
        return True


def main() -> None:
    """Check that the job is withdrawn, the task CANCELLED and the executor's thread at its end."""
    folder = tempfile.mkdtemp()
    task = ct.electron(lambda: 1, executor=Queue(folder))
    run = ct.dispatch(ct.lattice(task))()
    while not Path(folder, "submitted").exists():
        time.sleep(0.01)
    ct.cancel(run)
    result = ct.get_result(run, wait=True)
    assert (result.status, result.get_node_result(0)["status"]) == (ct.status.CANCELLED, ct.status.CANCELLED)
    deadline = time.monotonic() + 5
    while not {"took back 42 of node 0", "left"} <= {path.name for path in Path(folder).iterdir()}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
