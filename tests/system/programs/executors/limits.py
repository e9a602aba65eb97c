"""Set `retries` and `time_limit` of an executor for its electrons; Covalent stores them and never uses them."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import covalab as ct


class Here(ct.executor.BaseExecutor):
    """Executor that calls the function."""

    def run(self, function: Any, args: list[Any], kwargs: dict[str, Any], task_metadata: dict[str, Any]) -> Any:
        """Call the function."""
        return function(*args, **kwargs)


def unlucky(folder: str) -> int:
    """Fail twice, then succeed."""
    runs = len(list(Path(folder).iterdir()))
    Path(folder, str(runs)).touch()
    if runs < 2:
        raise ValueError(runs)
    return runs


def slow() -> None:
    """Exceed the time limit."""
    while True:
        time.sleep(0.05)


def main() -> None:
    """Check both limits in the pool and in the executor host."""
    for executor in (ct.executor.LocalExecutor, Here):
        patient = ct.electron(unlucky, executor=executor(retries=2))
        result = ct.dispatch_sync(ct.lattice(patient))(tempfile.mkdtemp())
        assert result.result == 2, result.error
        patience = ct.electron(slow, executor=executor(time_limit=1))
        result = ct.dispatch_sync(ct.lattice(patience))()
        assert result.status == ct.status.FAILED
        assert "time limit of 1 s" in result.get_node_result(0)["error"]
