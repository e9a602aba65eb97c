"""Raise in an executor: `TaskRuntimeError` fails the task, `TaskCancelledError` cancels it, others are errors."""

from __future__ import annotations

import sys
from typing import Any

from tests.system.programs.tasks import after

import covalab as ct
from covalab.executors.base import TaskCancelledError, TaskRuntimeError

WRONG = "over there: it went wrong"
NO_WAY = "no way to get there"


class Signalling(ct.executor.BaseExecutor):
    """Executor that raises one kind of error."""

    def __init__(self, signal: str) -> None:
        super().__init__()
        self.signal = signal

    def run(self, function: Any, args: list[Any], kwargs: dict[str, Any], task_metadata: dict[str, Any]) -> Any:
        """Raise."""
        print(WRONG, file=self.task_stderr)
        if self.signal == "failed":
            raise TaskRuntimeError(WRONG)
        if self.signal == "cancelled":
            raise TaskCancelledError
        if self.signal == "exit":
            sys.exit(3)
        raise OSError(NO_WAY)


def outcome(signal: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Run one task on such an executor, and one after it."""
    task = ct.electron(lambda: 1, executor=Signalling(signal))
    result = ct.dispatch_sync(ct.lattice(lambda: after(task())))()
    return result, result.get_node_result(0), result.get_node_result(1)


def main() -> None:
    """Check status and error text of all four kinds."""
    result, node, following = outcome("failed")
    assert (str(result.status), str(node["status"])) == ("FAILED", "FAILED")
    assert "it went wrong" in node["error"]
    assert node["stderr"].startswith("over there: it went wrong")
    assert str(following["status"]) == "NEW_OBJECT"
    result, node, _ = outcome("cancelled")
    assert (str(result.status), str(node["status"])) == ("CANCELLED", "CANCELLED")
    result, node, _ = outcome("error")
    assert (str(result.status), str(node["status"])) == ("FAILED", "FAILED")
    assert "no way to get there" in node["error"]
    result, node, _ = outcome("exit")
    assert str(result.status) == "FAILED"
    assert "SystemExit" in node["error"]
