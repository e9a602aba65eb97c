"""Use the built-in executors by name and as instances, and read their metadata (Covalent, `executor/`)."""

from __future__ import annotations

import os

import covalab as ct


@ct.electron(executor="local")
def one() -> int:
    """Run on `local`."""
    return os.getpid()


@ct.electron(executor=ct.executor.DaskExecutor())
def two() -> int:
    """Run on `dask`."""
    return os.getpid()


@ct.lattice(executor=ct.executor.LocalExecutor(), workflow_executor="dask")
def workflow() -> int:
    """Add the values of both."""
    return one() + two()


def main() -> None:
    """Check the result, the metadata and the executor manager."""
    result = ct.dispatch_sync(workflow)()
    assert result.status == ct.status.COMPLETED
    assert isinstance(result.result, int)
    assert one.electron_object.metadata["executor"] == "local"  # type: ignore[attr-defined]
    assert one.electron_object.metadata["executor_data"] == {}  # type: ignore[attr-defined]
    words = two.electron_object.metadata["executor_data"]  # type: ignore[attr-defined]
    assert (words["short_name"], words["attributes"]["scheduler_address"]) == ("dask", "")
    assert workflow.metadata["executor"] == "local"
    assert workflow.metadata["workflow_executor"] == "dask"
    assert {"dask", "local", "remote_executor"} <= set(ct.executor._executor_manager.list_executors(print_names=False))
    found = ct.executor._executor_manager.get_executor("local")
    assert isinstance(found, ct.executor.LocalExecutor)
    again = ct.executor.DaskExecutor().from_dict(ct.executor.DaskExecutor("tcp://a:1").to_dict())
    assert again.scheduler_address == "tcp://a:1"
    try:
        ct.executor._executor_manager.get_executor("slrum")
    except ValueError as error:
        assert "No executor found by name 'slrum'" in str(error)
    else:
        raise AssertionError
