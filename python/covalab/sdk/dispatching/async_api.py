"""Asynchronous verbs: those of `api` that wait, for ``await``; other work of the event loop goes on meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from covalab.client import connect
from covalab.core.lifecycle import TERMINAL
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.dispatching.api import dispatch, get_result
from covalab.sdk.executions.aio import ROUND_SECONDS, answered_by, deadline_after, in_thread, left_until, waited_for
from covalab.sdk.ids import check_address, checked_id
from covalab.sdk.results.fetch import fetch_status
from covalab.sdk.results.result import Result
from covalab.sdk.tasks.tasks import async_get_task_result, is_task_id
from covalab.sdk.values import UserValue


async def async_get_result(
    dispatch_id: str,
    wait: bool | float = False,
    dispatcher_addr: str | None = None,
    status_only: bool = False,
    *,
    timeout: float | None = None,
    **options: UserValue,
) -> UserValue:
    """Do the same as `get_result` without blocking the event loop.

    Parameters
    ----------
    dispatch_id, wait, dispatcher_addr, status_only, timeout, **options
        As in `get_result`.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.

    Examples
    --------
    >>> import covalab as ct
    >>> result = await ct.async_get_result(run, wait=True)  # doctest: +SKIP
    """
    check_address(dispatcher_addr)
    if is_task_id(dispatch_id):
        if wait and not status_only:
            await async_get_task_result(dispatch_id, wait=True, timeout=timeout)
        return await in_thread(lambda: get_result(dispatch_id, status_only=status_only))  # type: ignore[call-overload]
    client, wanted = connect(), checked_id(dispatch_id)
    deadline = deadline_after(timeout)
    is_over = not wait or status_only
    while not is_over:
        left = left_until(deadline, ROUND_SECONDS)
        standing = await waited_for(answered_by, client, deadline, client.execution, wanted, wait=left)
        is_over = standing.summary.status in TERMINAL or left <= 0
    if status_only:
        return await in_thread(fetch_status, wanted)
    return await in_thread(lambda: get_result(wanted, **options))


def async_dispatch_sync(lattice: Lattice, dispatcher_addr: str | None = None) -> Callable[..., Awaitable[Result]]:
    """Do the same as `dispatch_sync` without blocking the event loop.

    Returns
    -------
    callable
        Takes the workflow's arguments; what it returns is awaited, and is the `Result` then.

    Examples
    --------
    >>> import covalab as ct
    >>> result = await ct.async_dispatch_sync(workflow)(10)  # doctest: +SKIP
    """
    start = dispatch(lattice, dispatcher_addr)

    async def run(*args: UserValue, **kwargs: UserValue) -> Result:
        found: Result = await async_get_result(await in_thread(start, *args, **kwargs), wait=True)
        return found

    return run
