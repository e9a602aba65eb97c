"""Change the executor of an existing electron: ``f.electron_object.executor = ...``; metadata is inherited."""

from __future__ import annotations

from typing import Any

import covalab as ct


class Marking(ct.executor.BaseExecutor):
    """Executor that prints a mark."""

    def run(self, function: Any, args: list[Any], kwargs: dict[str, Any], task_metadata: dict[str, Any]) -> Any:
        """Print the mark, then call the function."""
        print("marked")
        return function(*args, **kwargs)


@ct.electron
def task() -> int:
    """Return a number."""
    return 7


@ct.lattice
def workflow() -> Any:
    """Run the task."""
    return task()


def main() -> None:
    """Check the output before and after the change, and with the lattice's executor."""
    assert ct.dispatch_sync(workflow)().get_node_result(0)["stdout"] is None
    task.electron_object.executor = Marking()  # type: ignore[attr-defined]
    result = ct.dispatch_sync(workflow)()
    assert (result.result, result.get_node_result(0)["stdout"]) == (7, "marked\n")
    task.electron_object.executor = None  # type: ignore[attr-defined]
    marked = ct.lattice(workflow.function if hasattr(workflow, "function") else workflow, executor=Marking())
    assert ct.dispatch_sync(marked)().get_node_result(0)["stdout"] == "marked\n"
    assert task.electron_object.metadata["executor"] is None  # type: ignore[attr-defined]
    for wrong in (["local"], 3, object()):
        try:
            ct.electron(lambda: 1, executor=wrong)  # type: ignore[call-overload]
        except ValueError as error:
            assert "is the name or an instance of an executor" in str(error)
        else:
            raise AssertionError(wrong)
