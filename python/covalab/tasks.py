"""``ct.tasks``: tasks in OmniQ's words, so that a program written for it changes its import line and nothing else.

``from covalab.tasks import AsyncOmniQ, OmniQ, TaskStatus, bind_task``; or the verbs themselves, `enqueue`, `get_result`
and `list_tasks`, each with a twin for ``await``. A task is a node that does work, and each verb is one of ``covalab``'s
under OmniQ's name: `get_result` is ``ct.get_task_result``, and `list_tasks` lists all where ``ct.list_tasks`` lists the
newest 25. Nothing is stored for them.
"""

from __future__ import annotations

from collections.abc import Iterable

from covalab.sdk.dispatching.enqueue import async_enqueue, enqueue
from covalab.sdk.executions.aio import in_thread
from covalab.sdk.tasks import tasks as verbs
from covalab.sdk.tasks.records import TaskError, TaskRecord, TaskStatus
from covalab.sdk.tasks.task_logging import bind_task
from covalab.sdk.tasks.tasks import async_get_task, get_task
from covalab.sdk.tasks.tasks import async_get_task_result as async_get_result
from covalab.sdk.tasks.tasks import get_task_result as get_result
from covalab.sdk.values import UserFunction, UserValue

__all__ = [
    "AsyncOmniQ",
    "OmniQ",
    "TaskError",
    "TaskStatus",
    "async_enqueue",
    "async_get_result",
    "async_get_task",
    "async_list_tasks",
    "bind_task",
    "enqueue",
    "get_result",
    "get_task",
    "list_tasks",
]


def list_tasks(
    status: TaskStatus | str | Iterable[TaskStatus | str] | None = None,
    limit: int | None = None,
    **filters: UserValue,
) -> list[TaskRecord]:
    """List all tasks, newest first.

    Parameters
    ----------
    status : TaskStatus, str or iterable of these, optional
        Only those with this status, or one of these.
    limit : int, optional
        At most so many, the newest; all, if not given.
    **filters
        ``dispatch_id``, ``error_type``, ``min_attempts``, ``since``, as for `covalab.list_tasks`.
    """
    return verbs.list_tasks(status=status, limit=limit, **filters)


async def async_list_tasks(
    status: TaskStatus | str | Iterable[TaskStatus | str] | None = None,
    limit: int | None = None,
    **filters: UserValue,
) -> list[TaskRecord]:
    """Do the same as `list_tasks` without blocking the event loop."""
    return await in_thread(list_tasks, status, limit, **filters)


class OmniQ:
    """The verbs as methods of one object; it may be used where an event loop runs, as in a notebook.

    Parameters
    ----------
    settings : object, optional
        OmniQ's settings. They change nothing: tasks are in covalab's data folder, and its configuration file has the
        settings.

    Examples
    --------
    >>> omniq = OmniQ()
    >>> task_id = omniq.enqueue(pow, 2, 10)  # doctest: +SKIP
    >>> omniq.get_result(task_id, wait=True, timeout=30.0)["result"]  # doctest: +SKIP
    1024
    """

    def __init__(self, settings: object = None) -> None:
        self.settings = settings

    def enqueue(self, func: UserFunction, /, *args: UserValue, **kwargs: UserValue) -> str:
        """Run one function in the background, as `covalab.enqueue` does; returns the task's id."""
        return enqueue(func, *args, **kwargs)

    def get_result(self, task_id: str, wait: bool = False, timeout: float | None = None) -> TaskRecord | None:
        """Return how a task ended; None while it has not, and after `timeout` seconds."""
        return get_result(task_id, wait, timeout)

    def get_task(self, task_id: str) -> TaskRecord | None:
        """Return a task, also while it waits or runs."""
        return get_task(task_id)

    def list_tasks(self, status: UserValue = None, limit: int | None = None, **filters: UserValue) -> list[TaskRecord]:
        """List all tasks, newest first, or those with a status."""
        return list_tasks(status, limit, **filters)


class AsyncOmniQ:
    """The verbs as methods that are awaited; other work of the event loop goes on meanwhile.

    Parameters
    ----------
    settings : object, optional
        As for `OmniQ`.

    Examples
    --------
    >>> omniq = AsyncOmniQ()
    >>> result = await omniq.get_result(await omniq.enqueue(pow, 2, 10), wait=True, timeout=30.0)  # doctest: +SKIP
    """

    def __init__(self, settings: object = None) -> None:
        self.settings = settings

    async def enqueue(self, func: UserFunction, /, *args: UserValue, **kwargs: UserValue) -> str:
        """Do the same as `OmniQ.enqueue`."""
        return await async_enqueue(func, *args, **kwargs)

    async def get_result(self, task_id: str, wait: bool = False, timeout: float | None = None) -> TaskRecord | None:
        """Do the same as `OmniQ.get_result`."""
        return await async_get_result(task_id, wait, timeout)

    async def get_task(self, task_id: str) -> TaskRecord | None:
        """Do the same as `OmniQ.get_task`."""
        return await async_get_task(task_id)

    async def list_tasks(
        self, status: UserValue = None, limit: int | None = None, **filters: UserValue
    ) -> list[TaskRecord]:
        """Do the same as `OmniQ.list_tasks`."""
        return await async_list_tasks(status, limit, **filters)
