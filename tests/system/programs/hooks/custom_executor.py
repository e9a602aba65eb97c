"""Run hooks of an electron on a custom executor: they run where the executor runs the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import covalab as ct


class InPlace(ct.executor.BaseExecutor):
    """Executor that calls the function in its own process."""

    def run(self, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], task_metadata: Any) -> Any:
        """Run a task."""
        print("running")
        return function(*args, **kwargs)


def ready(what: str) -> str:
    """Return the argument of the electron."""
    print("calling")
    return what


@ct.electron(
    executor=InPlace(),
    deps_bash="echo from bash",
    call_before=ct.DepsCall(ready, ["given"], retval_keyword="what"),
    call_after=ct.DepsCall(ready, ["after"]),
)
def task(x: int, what: str = "") -> tuple[int, str]:
    """Return both arguments."""
    return x, what


@ct.electron(executor=InPlace(), deps_bash="echo no >&2; exit 5")
def never() -> None:
    """Never run."""


@ct.lattice
def workflow() -> object:
    """Run one task that succeeds, and one whose command fails."""
    return [task(1), never()]


def main() -> None:
    """Check that value, output and failure are as on a worker."""
    result = ct.dispatch_sync(workflow)()
    good, bad = result.get_node_result(0), result.get_node_result(2)

    assert good["output"].get_deserialized() == (1, "given")
    assert good["stdout"] == "running\nfrom bash\ncalling\ncalling\n"
    assert bad["status"] == ct.status.FAILED
    assert "`echo no >&2; exit 5` ended with exit code 5: no" in bad["error"]
