"""Use an executor whose methods are coroutines: many tasks wait at once without occupying a worker."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import covalab as ct


class Patient(ct.executor.AsyncBaseExecutor):
    """Executor that waits, as for another machine."""

    async def run(self, function: Any, args: list[Any], kwargs: dict[str, Any], task_metadata: dict[str, Any]) -> Any:
        """Wait, then call the function."""
        print("waiting")
        await asyncio.sleep(1.0)
        assert not await self.get_cancel_requested()
        assert set(await self.get_version_info()) == {"python", "covalent"}
        return function(*args, **kwargs)


@ct.electron(executor=Patient())
def far(x: int) -> int:
    """Square on the waiting executor."""
    return x * x


@ct.electron
def near(x: int) -> int:
    """Add one, in the pool."""
    return x + 1


@ct.lattice
def workflow() -> Any:
    """Run twenty tasks that wait and two that do not."""
    return [far(x) for x in range(20)], [near(1), near(2)]


def main() -> None:
    """Check that twenty waits of one second overlap."""
    began = time.monotonic()
    result = ct.dispatch_sync(workflow)()
    assert result.result == [[x * x for x in range(20)], [2, 3]], result.error
    assert time.monotonic() - began < 15
    assert result.get_node_result(0)["stdout"] == "waiting\n"
