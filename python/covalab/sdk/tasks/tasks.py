"""Tasks: any node that does work, fetched by its own id, listed, counted and purged.

A view of the same dispatches, with OmniQ's names; nothing is stored for it. A task's id is ``<dispatch id>:<node>``.
Each call that may take long has a twin for ``await``; the others work in a notebook's running loop as they are.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterable
from typing import Final

from covalab.client import Client, connect
from covalab.core.errors import MissingLatticeRecordError
from covalab.core.model import TaskQuery, TaskRow, Value
from covalab.sdk.executions.aio import async_twin, in_thread, waited_for
from covalab.sdk.tasks.records import (
    Record,
    TaskRecord,
    TaskStatus,
    dispatch_record,
    error_of,
    status_names,
    task_record,
)
from covalab.sdk.tasks.wait import await_task, fetch_detail, parse_task_id
from covalab.sdk.timestamps import seconds_of, span_of
from covalab.sdk.values import UserValue

_PAGE: Final = 1_000


def get_task_result(
    task_id: str, wait: bool = False, timeout: float | None = None, *, raise_on_timeout: bool = False
) -> TaskRecord | None:
    """Return how a task ended, or None while it has not; a failed run that will be run again is no end.

    Parameters
    ----------
    task_id : str
        ``<dispatch id>:<node>``; of a task that was enqueued the dispatch id is enough.
    wait : bool, default False
        Whether to wait until it has ended.
    timeout : float, optional
        How many seconds to wait; for ever, if not given.
    raise_on_timeout : bool, default False
        Raise when the time is up, instead of returning None.

    Returns
    -------
    TaskRecord or None
        By item and by attribute: ``id`` (str), ``status`` (`TaskStatus`), ``result``, ``attempts`` (int),
        ``enqueued_at`` and ``completed_at`` or ``failed_at`` (ISO-8601 text; as attributes, datetimes) and ``error``
        (dict; as attribute, a `TaskError`). None as well if there is no such task.

    Raises
    ------
    TimeoutError
        If `raise_on_timeout` is set and it has not ended in time.

    See Also
    --------
    get_task : The same while the task waits or runs.
    get_result : The whole dispatch, as a `Result`.
    Result.get_node_result : Everything known about one node, with Covalent's keys.
    Result.get_task_result : The same, of a node of this result.
    """
    found = await_task(connect(), task_id, wait=wait, timeout=timeout, gone=threading.Event())
    if found is None and wait and raise_on_timeout and get_task(task_id) is not None:
        message = f"task {task_id} has not ended after {timeout} s; ct.get_task({str(task_id)!r}) says where it stands"
        raise TimeoutError(message)
    return found


async def async_get_task_result(
    task_id: str, wait: bool = False, timeout: float | None = None, *, raise_on_timeout: bool = False
) -> TaskRecord | None:
    """Do the same as `get_task_result`; other work of the event loop goes on meanwhile."""
    gone = threading.Event()
    try:
        client = connect()
        found = await waited_for(await_task, client, task_id, wait=wait, timeout=timeout, gone=gone)
    finally:
        gone.set()  # so that a call that is cancelled leaves no thread behind that waits for ever
    if found is None and wait and raise_on_timeout:
        return await in_thread(get_task_result, task_id, wait, 0.0, raise_on_timeout=True)
    return found


def get_task(task_id: str) -> TaskRecord | None:
    """Return the state of a task, also while it waits or runs.

    Parameters
    ----------
    task_id : str
        ``<dispatch id>:<node>``; of a task that was enqueued the dispatch id is enough.

    Returns
    -------
    TaskRecord or None
        As `get_task_result` returns it; None if there is no such task.

    See Also
    --------
    get_task_result : How it ended, with or without waiting.
    list_tasks : Many at once.
    """
    dispatch, node = parse_task_id(task_id)
    client = connect()
    try:
        detail = fetch_detail(client, dispatch, node)
        return None if detail is None else task_record(detail, client.summary(dispatch), client.blobs.deserialize)
    except MissingLatticeRecordError:
        return None


def is_task_id(given: object) -> bool:
    """Return whether an id names a node of a dispatch, not a dispatch.

    Examples
    --------
    >>> is_task_id("2e02bb27-15c9-41ec-a1bc-2f4a8a8a8a8a:0"), is_task_id("2e02bb27-15c9-41ec-a1bc-2f4a8a8a8a8a")
    (True, False)
    """
    return isinstance(given, str) and ":" in given


def fetch_task(task_id: str, *, wait: bool = False, timeout: float | None = None) -> TaskRecord:
    """Return the state of a task, with `wait` at its end or after `timeout` seconds.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such task.
    """
    found = (get_task_result(task_id, wait=True, timeout=timeout) if wait else None) or get_task(task_id)
    if found is None:
        raise MissingLatticeRecordError(task_id, connect().where)
    return found


def list_tasks(
    dispatch_id: str | None = None,
    status: TaskStatus | str | Iterable[TaskStatus | str] | None = None,
    *,
    error_type: str | None = None,
    min_attempts: int | None = None,
    since: dt.datetime | dt.timedelta | str | float | None = None,
    limit: int | None = 25,
) -> list[TaskRecord]:
    """List tasks, newest first: the nodes that do work, of all dispatches.

    Parameters
    ----------
    dispatch_id : str, optional
        Only those of this dispatch.
    status : TaskStatus, str or iterable of these, optional
        Only those with this status, or one of these.
    error_type : str, optional
        Only those that ended with an error of this type.
    min_attempts : int, optional
        Only those that were run as often.
    since : datetime.datetime, datetime.timedelta, str or float, optional
        Only those that ended since then (a datetime, an ISO-8601 text, seconds since the epoch, or how long ago as a
        ``timedelta``), or have not ended.
    limit : int or None, default 25
        At most so many, the newest; None: all, which takes a second for a hundred thousand. `summary` counts all tasks
        without listing them.

    Returns
    -------
    list of TaskRecord
        As `get_task` returns them; a result is fetched when it is read.

    See Also
    --------
    summary : Count them.
    list_dispatches : List the dispatches.
    """
    query = TaskQuery(
        dispatch="" if dispatch_id is None else parse_task_id(dispatch_id)[0],
        status=",".join(status_names(status)),
        error_type=error_type or "",
        min_attempts=min_attempts or 0,
        since=0.0 if since is None else _ago(since),
        limit=-1 if limit is None else limit,
    )
    client = connect()
    return [_listed(row, client) for row in client.tasks(query)]


def _ago(since: dt.datetime | dt.timedelta | str | float) -> float:
    if isinstance(since, dt.timedelta):
        return time.time() - span_of("since", since)
    return max(0.0, seconds_of("since", since))


def _listed(row: TaskRow, client: Client) -> TaskRecord:
    def open_result() -> UserValue:
        if row.value is None:
            return None
        # A list has no bytes of a small value; a large one is a blob, which the row names.
        value = client.node(row.dispatch, row.node).value if row.value.digest is None else row.value
        assert value is not None
        return client.blobs.deserialize(value, what=f"the output of task {row.dispatch}:{row.node}")

    def open_original(_: Value) -> UserValue:
        failure = client.node(row.dispatch, row.node).failure
        if failure is None or failure.original is None:
            return None
        return client.blobs.deserialize(failure.original, what=f"the exception of task {row.dispatch}:{row.node}")

    error = None if row.failure is None else error_of(row.failure, row.ended_at, row.attempts, open_original)
    return TaskRecord(row, open_result, error)


def list_dispatches(
    status: object = None,
    name: str | None = None,
    *,
    since: dt.datetime | dt.timedelta | str | float | None = None,
    schedule_id: str | None = None,
    tag: str | None = None,
    latest: bool = True,
    offset: int = 0,
    count: int | None = 10,
) -> list[Record]:
    """List dispatches that are no part of another.

    Parameters
    ----------
    status : str or iterable of str, optional
        Only those with this status (Covalent's names or OmniQ's), or one of these.
    name : str, optional
        Only those of the lattice with this name.
    since : datetime.datetime, datetime.timedelta, str or float, optional
        Only those that were made since then; as in `list_tasks`.
    schedule_id : str, optional
        Only the runs of this series (``interval=``): the id of its first run.
    tag : str, optional
        Only those with this tag.
    latest : bool, default True
        Newest first; oldest first, if false.
    offset : int, default 0
        Leave out so many at the beginning.
    count : int or None, default 10
        At most so many; None: all.

    Returns
    -------
    list of Record
        By item and by attribute, with Covalent's fields ``dispatch_id``, ``root_dispatch_id``, ``status``, ``name``
        (all str), ``electron_num``, ``completed_electron_num`` (int), ``created_at``, ``updated_at`` and
        ``completed_at`` (ISO-8601 text, or None; as attributes, datetimes); and ``starts_at`` and ``schedule_id``
        (str), which are None where no time to run it was given; ``tags`` (list of str).

    See Also
    --------
    get_result : One of them, as a `Result`.
    """
    client = connect()
    after = None if since is None else _ago(since)
    found: list[Record] = []
    while count is None or len(found) < count:
        page = _PAGE if count is None else min(_PAGE, count - len(found))
        more = client.dispatches(
            status=status_names(status) or None,
            name=name,
            offset=offset,
            count=page,
            since=after,
            oldest=not latest,
            schedule=schedule_id,
            tag=tag,
        )
        found += map(dispatch_record, more)
        offset += page
        if len(more) < page:
            break
    return found


def summary() -> Record:
    """Count all tasks there are, however many.

    Returns
    -------
    Record
        By item and by attribute: ``total`` (int); ``counts`` (dict, number by status); ``success_rate`` (float, of
        those that completed or failed, in percent; None while there are none); ``error_types`` (dict, how many failed
        of which); ``oldest_running`` (the `TaskRecord` of the task that runs for longest, or None).
    """
    client = connect()
    found = client.tasks_summary()
    completed, failed = found.counts["completed"], found.counts["failed"]
    oldest = found.oldest_running
    return Record(
        total=sum(found.counts.values()),
        counts={TaskStatus(name.upper()): number for name, number in found.counts.items()},
        success_rate=100 * completed / (completed + failed) if completed + failed else None,
        error_types=found.error_types,
        oldest_running=None if oldest is None else _listed(oldest, client),
    )


def purge_results(older_than: dt.timedelta | dt.datetime | str | float, *, dry_run: bool = False) -> int:
    """Forget dispatches that ended long ago, with all their tasks and the values that nothing else uses.

    What has not ended stays, and so does what a trigger that watches will run again. A series (``interval=``) goes on.
    With ``results.ttl`` in the configuration the dispatcher does so by itself.

    Parameters
    ----------
    older_than : datetime.timedelta, datetime.datetime, str or float
        How long ago it ended, as a ``timedelta`` or in seconds; or a datetime (or ISO-8601 text) before which it did.
    dry_run : bool, default False
        Delete nothing, and return how many it would be.

    Returns
    -------
    int
        How many dispatches are gone, each with the sublattices below it.
    """
    if isinstance(older_than, int | float | dt.timedelta):
        before = time.time() - span_of("older_than", older_than)
    else:
        before = seconds_of("older_than", older_than)
    return len(connect().due(before)) if dry_run else connect().purge(before)


async_get_task = async_twin(get_task)
async_list_tasks = async_twin(list_tasks)
async_list_dispatches = async_twin(list_dispatches)
async_summary = async_twin(summary)
async_purge_results = async_twin(purge_results)
