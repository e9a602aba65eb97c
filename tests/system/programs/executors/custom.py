"""Define a custom executor where it is used (Covalent, how-to "Create a custom executor")."""

from __future__ import annotations

from typing import Any

from tests.system.programs.tasks import double

import covalab as ct


class Telling(ct.executor.BaseExecutor):
    """Executor that prints each step."""

    def __init__(self, greeting: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.greeting = greeting

    def setup(self, task_metadata: dict[str, Any]) -> None:
        """Print the node."""
        print("setup", task_metadata["node_id"])

    def run(self, function: Any, args: list[Any], kwargs: dict[str, Any], task_metadata: dict[str, Any]) -> Any:
        """Print the arguments, then call the function."""
        print(self.greeting, type(args[0]).__name__, sorted(kwargs), sorted(task_metadata))
        return function(*args, **kwargs)

    def teardown(self, task_metadata: dict[str, Any]) -> None:
        """Print whether the context is the task's."""
        print("teardown", task_metadata["dispatch_id"] == ct.get_context().dispatch_id)


@ct.electron(executor=Telling("hello"))
def add(x: int, y: int = 0) -> int:
    """Add on the custom executor."""
    print("adding")
    return x + y


@ct.lattice
def workflow(x: int) -> int:
    """Run one task on the custom executor, and one in the pool."""
    return double(add(x, y=2))


def main() -> None:
    """Check value, status, output and metadata."""
    result = ct.dispatch_sync(workflow)(3)
    node = result.get_node_result(0)

    assert result.status == ct.status.COMPLETED, result.error
    assert result.result == 10
    assert type(result.result) is int
    assert (node["node_name"], node["status"]) == ("add", ct.status.COMPLETED)
    told = "hello TransportableObject ['y'] ['dispatch_id', 'node_id', 'results_dir']"
    assert node["stdout"].splitlines() == ["setup 0", told, "adding", "teardown True"], node["stdout"]
    assert result.get_node_result(3)["node_name"] == "double"
    words = add.electron_object.metadata  # type: ignore[attr-defined]
    assert words["executor_data"]["attributes"]["greeting"] == "hello"
    assert words["executor"] == words["executor_data"]["short_name"]
