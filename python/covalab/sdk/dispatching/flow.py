"""Lattices in TriggerFlow's words: an execution that is created, then started; a flow that is run for its state.

The methods of `Lattice` with these names call what is here.
"""

from __future__ import annotations

from covalab.sdk.building.lattice import Lattice
from covalab.sdk.dispatching.api import dispatch
from covalab.sdk.dispatching.async_api import async_get_result
from covalab.sdk.executions.aio import in_thread
from covalab.sdk.executions.created import CreatedExecution
from covalab.sdk.results.fetch import fetch_result
from covalab.sdk.results.result import Result
from covalab.sdk.values import FieldDict, UserValue


def create_execution(flow: Lattice, *, auto_close: bool = True) -> CreatedExecution[Result]:
    """Return an execution of a lattice that has not been started; see `Lattice.create_execution`."""
    return CreatedExecution(flow.__name__, dispatch(flow, auto_close=auto_close), fetch_result)


def start_and_wait(flow: Lattice, args: tuple[UserValue, ...], kwargs: FieldDict) -> FieldDict:
    """Run a lattice to its end and return the snapshot of its state; see `Lattice.start`."""
    return snapshot_of(fetch_result(dispatch(flow)(*args, **kwargs), wait=True))


async def async_start_and_wait(flow: Lattice, args: tuple[UserValue, ...], kwargs: FieldDict) -> FieldDict:
    """Do the same as `start_and_wait` without blocking the event loop."""
    started = await in_thread(dispatch(flow), *args, **kwargs)
    result: Result = await async_get_result(started, wait=True)
    return await in_thread(snapshot_of, result)


def snapshot_of(result: Result) -> FieldDict:
    """Return the state at the end of a dispatch.

    Raises
    ------
    TaskFailed
        If it failed or was cancelled.
    """
    state = result.raise_for_status().snapshot
    assert state is not None
    return state
