"""Tasks: any node that does work, asked for by its own id; and single functions that become such a task.

A view of the same dispatches, in OmniQ's words; nothing is stored for it. A task's id is ``<dispatch id>:<node>``. Each
call that may take long has a twin for ``await``; the others work in a notebook's running loop as they are.
"""

from __future__ import annotations

import datetime as dt
import functools
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from covalab.client import Client, connect
from covalab.core.errors import MissingLatticeRecordError
from covalab.core.lifecycle import TERMINAL, task_status
from covalab.core.model import (
    DispatchId,
    DispatchSummary,
    NodeDetail,
    NodeKind,
    Outcome,
    TaskQuery,
    TaskRow,
    Value,
    does_work,
)
from covalab.sdk.building.electron import Electron, electron
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.options import checked_retries, checked_time_limit
from covalab.sdk.building.submit import prepare
from covalab.sdk.dispatching.api import timing_of
from covalab.sdk.executions.execution import in_thread, waited_for
from covalab.sdk.tasks.task_records import Record, TaskRecord, TaskStatus, dispatch_record, error_of, words_of
from covalab.sdk.timestamps import Timestamp, seconds_of, span_of, timestamp

_RETRIES: Final = 3
_LOOK_SECONDS: Final = 10.0
_PAGE: Final = 1_000
_KEYS: Final = uuid.UUID("6c3e6e0a-5c0f-4a5d-9d0a-8f1d8f5d2b11")


# -- one task --------------------------------------------------------------------------------------------------------


def get_task_result(
    task_id: str, wait: bool = False, timeout: float | None = None, *, raise_on_timeout: bool = False
) -> TaskRecord | None:
    """Return how a task ended, or None while it has not; a failed run that will be run again is no end.

    Parameters
    ----------
    task_id
        ``<dispatch id>:<node>``; of a task that was enqueued the dispatch id is enough.
    wait
        Whether to wait until it has ended.
    timeout
        How many seconds to wait; for ever, if not given.
    raise_on_timeout
        Raise when the time is up, instead of returning None.

    Returns
    -------
    TaskRecord or None
        ``id``, ``status``, ``result``, ``attempts``, ``enqueued_at``, ``completed_at`` or ``failed_at``, and ``error``,
        by item and by attribute. None as well if there is no such task.

    Raises
    ------
    TimeoutError
        If `raise_on_timeout` is set and it has not ended in time.
    """
    found = _awaited(connect(), task_id, wait=wait, timeout=timeout, gone=threading.Event())
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
        found = await waited_for(_awaited, client, task_id, wait=wait, timeout=timeout, gone=gone)
    finally:
        gone.set()  # whoever cancels this leaves no thread behind that waits for ever
    if found is None and wait and raise_on_timeout:
        return await in_thread(get_task_result, task_id, wait, 0.0, raise_on_timeout=True)
    return found


def _awaited(
    client: Client, task_id: str, *, wait: bool, timeout: float | None, gone: threading.Event
) -> TaskRecord | None:
    """Return how a task ended; if `wait`, look until it has, the time is up, or whoever asked is gone."""
    dispatch, node = _parsed(task_id)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        summary = client.summary(dispatch)
        detail = _detail(client, dispatch, node)
        while detail is not None and detail.status not in TERMINAL:
            left = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if not wait or left <= 0 or gone.is_set():
                return None
            changes = client.changes(dispatch, since=summary.version, wait=min(left, _LOOK_SECONDS))
            summary = changes.summary
            if any(state.node == detail.node and state.status in TERMINAL for state in changes.nodes):
                detail = _detail(client, dispatch, node)
    except MissingLatticeRecordError:
        return None
    return None if detail is None else record_of(detail, summary, client)


def get_task(task_id: str) -> TaskRecord | None:
    """Return where a task stands, also while it waits or runs; None if there is no such task."""
    dispatch, node = _parsed(task_id)
    client = connect()
    try:
        detail = _detail(client, dispatch, node)
        return None if detail is None else record_of(detail, client.summary(dispatch), client)
    except MissingLatticeRecordError:
        return None


def _parsed(task_id: object) -> tuple[str, int | None]:
    """Take a task's id apart: the dispatch, and the node if one is named."""
    if not isinstance(task_id, str):
        message = f"a task id is a text like '<dispatch id>:<node>', not {task_id!r}"
        raise TypeError(message)
    dispatch, colon, node = str(task_id).partition(":")
    return dispatch, int(node) if colon and node.isdecimal() else -1 if colon else None


def _detail(client: Client, dispatch: str, node: int | None) -> NodeDetail | None:
    """Fetch a node that does work; without a number, the first one, which of an enqueued task is the task."""
    if node is None:
        nodes = client.graph(dispatch).nodes
        node = next((number for number, it in enumerate(nodes) if does_work(it)), -1)
    if node < 0:
        return None
    detail = client.node(dispatch, node)
    return None if detail.kind in (NodeKind.PARAMETER, NodeKind.LIST, NodeKind.DICT) else detail


def record_of(detail: NodeDetail, summary: DispatchSummary, client: Client) -> TaskRecord:
    """Return a node as the record of a task, with what it needs to know of its dispatch."""
    failure = detail.failure
    word = task_status(detail.status, None if failure is None else failure.type)
    row = TaskRow(
        detail.dispatch,
        detail.node,
        word,
        detail.attempt,
        summary.created_at,
        detail.started_at,
        detail.ended_at,
        detail.next_at,
        failure,
        starts_at=summary.starts_at,
        schedule_id=summary.schedule_id,
    )

    def open_result() -> Any:
        if detail.value is None:
            return None
        what = f"the output of {detail.name!r} (node {detail.node} of dispatch {detail.dispatch})"
        return client.blobs.deserialize(detail.value, what=what)

    error = None if failure is None else error_of(failure, detail.ended_at, detail.attempt, client.blobs.deserialize)
    return TaskRecord(row, open_result, error)


async def async_get_task(task_id: str) -> TaskRecord | None:
    """Do the same as `get_task`; other work of the event loop goes on meanwhile."""
    return await in_thread(get_task, task_id)


# -- one function as a task ------------------------------------------------------------------------------------------


def enqueue(
    func: Callable[..., Any],
    /,
    *args: Any,
    retries: int | None = None,
    time_limit: float | dt.timedelta | None = None,
    task_key: str | None = None,
    eta: dt.datetime | dt.timedelta | str | float | None = None,
    interval: dt.timedelta | float | None = None,
    allow_overlap: bool = False,
    **kwargs: Any,
) -> str:
    """Run one function in the background, at once, later, or again and again: each time a dispatch of one electron.

    Parameters
    ----------
    func
        A function, or an electron, whose executor, hooks and rules for retries hold.
    *args, **kwargs
        Its arguments.
    retries
        How often a failed run is tried again. If not given: as often as the electron says, and 3 times, as in OmniQ, if
        it says nothing.
    time_limit
        How many seconds (or a ``timedelta``) one run may take; what the electron says, if not given.
    task_key
        A name for this piece of work: what has been enqueued under it once is not enqueued again. Of something that
        runs at an `interval` the id of the newest run is returned.
    eta, interval, allow_overlap
        When it starts, and how long after its end it runs again, as for `dispatch`. Until it starts it is ``PENDING``.
        An argument of the function's own with such a name is given by position.

    Returns
    -------
    str
        The task's id, ``<dispatch id>:<node>``. What comes before the colon is the ``schedule_id`` of all runs.

    Raises
    ------
    GraphError, TypeError
        If the arguments do not fit, or an option has no meaning.
    SerializationError
        If the function or an argument cannot be pickled.

    Examples
    --------
    >>> import covalab as ct
    >>> task = ct.enqueue(pow, 2, 10)  # doctest: +SKIP
    >>> ct.get_task_result(task, wait=True, timeout=30).result  # doctest: +SKIP
    1024
    >>> backup = ct.enqueue(copy, "data", eta="2026-01-31T23:00:00Z", interval=dt.timedelta(days=1))  # doctest: +SKIP
    """
    timing = timing_of(f"enqueue of {_name_of(func)!r}", eta, interval, allow_overlap=allow_overlap)
    client = connect()
    lattice = Lattice(_single(func, retries, time_limit))
    submission = prepare(lattice, args, kwargs, client.blobs)
    if task_key is not None:
        submission = msgspec.structs.replace(submission, id=DispatchId(str(uuid.uuid5(_KEYS, task_key))))
    summary = client.submit(timing.of(submission))
    node = next(number for number, it in enumerate(submission.graph.nodes) if does_work(it))
    return f"{summary.id}:{node}"


def _name_of(func: object) -> str:
    return str(getattr(func, "__name__", func))


def _single(func: Callable[..., Any], retries: int | None, time_limit: object) -> Callable[..., Any]:
    """Return an electron like `func`, with other limits."""
    given = getattr(func, "electron_object", None)
    of_func = given if isinstance(given, Electron) else None
    single = electron(of_func.function if of_func is not None else func)
    mine: Electron = single.electron_object  # type: ignore[attr-defined]
    where = f"enqueue of {mine.name!r}"
    if of_func is not None:
        mine.executor, mine.hooks, mine.retry = of_func.executor, of_func.hooks, of_func.retry
        mine.retries, mine.time_limit = of_func.retries, of_func.time_limit
    mine.retries = (mine.retries or _RETRIES) if retries is None else checked_retries(where, retries)
    if time_limit is not None:
        mine.time_limit = checked_time_limit(where, time_limit)
    return single


async def async_enqueue(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> str:
    """Do the same as `enqueue`; other work of the event loop goes on meanwhile."""
    return await in_thread(functools.partial(enqueue, func, *args, **kwargs))


# -- many ------------------------------------------------------------------------------------------------------------


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
    dispatch_id
        Only those of this dispatch.
    status
        Only those with this status, or one of these.
    error_type
        Only those that ended with an error of this type.
    min_attempts
        Only those that were run as often.
    since
        Only those that ended since then (a datetime, an ISO-8601 text, seconds since the epoch, or how long ago as a
        ``timedelta``), or have not ended.
    limit
        At most so many, the newest; None: all, which takes a second for a hundred thousand. `summary` counts all tasks
        without listing them.

    Returns
    -------
    list of TaskRecord
        As `get_task` returns them; a result is fetched when it is read.
    """
    query = TaskQuery(
        dispatch="" if dispatch_id is None else _parsed(dispatch_id)[0],
        status=",".join(words_of(status)),
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
    def open_result() -> Any:
        if row.value is None:
            return None
        value = client.node(row.dispatch, row.node).value if row.value.digest is None else row.value
        assert value is not None
        return client.blobs.deserialize(value, what=f"the output of task {row.dispatch}:{row.node}")

    def open_original(_: Value) -> Any:
        failure = client.node(row.dispatch, row.node).failure
        return None if failure is None or failure.original is None else client.blobs.deserialize(failure.original)

    error = None if row.failure is None else error_of(row.failure, row.ended_at, row.attempts, open_original)
    return TaskRecord(row, open_result, error)


async def async_list_tasks(*args: Any, **kwargs: Any) -> list[TaskRecord]:
    """Do the same as `list_tasks`; other work of the event loop goes on meanwhile."""
    return await in_thread(functools.partial(list_tasks, *args, **kwargs))


def list_dispatches(
    status: object = None,
    name: str | None = None,
    *,
    since: dt.datetime | dt.timedelta | str | float | None = None,
    schedule_id: str | None = None,
    latest: bool = True,
    offset: int = 0,
    count: int | None = 10,
) -> list[Record]:
    """List dispatches that are no part of another.

    Parameters
    ----------
    status
        Only those with this status (Covalent's words or OmniQ's), or one of these.
    name
        Only those of the lattice with this name.
    since
        Only those that were made since then; as in `list_tasks`.
    schedule_id
        Only the runs of this series (``interval=``): the id of its first run.
    latest
        Newest first; oldest first, if false.
    offset
        Leave out so many at the beginning.
    count
        At most so many; None: all.

    Returns
    -------
    list of Record
        With Covalent's fields ``dispatch_id``, ``root_dispatch_id``, ``status``, ``name``, ``electron_num``,
        ``completed_electron_num``, ``created_at``, ``updated_at`` and ``completed_at``, by item and by attribute; and
        ``starts_at`` and ``schedule_id``, which are None where nobody said when to run it.
    """
    client = connect()
    after = None if since is None else _ago(since)
    found: list[Record] = []
    while count is None or len(found) < count:
        page = _PAGE if count is None else min(_PAGE, count - len(found))
        more = client.dispatches(
            status=words_of(status) or None,
            name=name,
            offset=offset,
            count=page,
            since=after,
            oldest=not latest,
            schedule=schedule_id,
        )
        found += map(dispatch_record, more)
        offset += page
        if len(more) < page:
            break
    return found


async def async_list_dispatches(*args: Any, **kwargs: Any) -> list[Record]:
    """Do the same as `list_dispatches`; other work of the event loop goes on meanwhile."""
    return await in_thread(functools.partial(list_dispatches, *args, **kwargs))


def summary() -> Record:
    """Count all tasks there are, however many.

    Returns
    -------
    Record
        By item and by attribute: ``total``; ``counts`` by status; ``success_rate``, of those that completed or failed,
        in percent (None while there are none); ``error_types``, how many failed of which; ``oldest_running``, the
        record of the task that runs for longest, or None.
    """
    client = connect()
    found = client.tasks_summary()
    completed, failed = found.counts["completed"], found.counts["failed"]
    oldest = found.oldest_running
    return Record(
        total=sum(found.counts.values()),
        counts={TaskStatus(word.upper()): number for word, number in found.counts.items()},
        success_rate=100 * completed / (completed + failed) if completed + failed else None,
        error_types=found.error_types,
        oldest_running=None if oldest is None else _listed(oldest, client),
    )


async def async_summary() -> Record:
    """Do the same as `summary`; other work of the event loop goes on meanwhile."""
    return await in_thread(summary)


def purge_results(older_than: dt.timedelta | dt.datetime | str | float) -> int:
    """Forget dispatches that ended long ago, with all their tasks and the values that nothing else uses.

    What has not ended stays, and so does what a trigger that watches will run again. A series (``interval=``) goes on.
    With ``results.ttl`` in the configuration the dispatcher does so by itself.

    Parameters
    ----------
    older_than
        How long ago it ended, as a ``timedelta`` or in seconds; or a datetime (or ISO-8601 text) before which it did.

    Returns
    -------
    int
        How many dispatches are gone, each with the sublattices below it.
    """
    if isinstance(older_than, int | float | dt.timedelta):
        before = time.time() - span_of("older_than", older_than)
    else:
        before = seconds_of("older_than", older_than)
    return connect().purge(before)


async def async_purge_results(older_than: dt.timedelta | dt.datetime | str | float) -> int:
    """Do the same as `purge_results`; other work of the event loop goes on meanwhile."""
    return await in_thread(purge_results, older_than)


# -- what `Result` tells of nodes ------------------------------------------------------------------------------------


def node_additions(detail: NodeDetail, enqueued_at: float, client: Client) -> dict[str, Any]:
    """Return what `Result.get_node_result` tells of a node beside Covalent's keys."""
    failure = detail.failure
    error = None if failure is None else error_of(failure, detail.ended_at, detail.attempt, client.blobs.deserialize)
    return {
        "attempts": detail.attempt,
        "retry_count": max(0, detail.attempt - 1),
        "max_retries": detail.retries,
        "time_limit": detail.time_limit,
        "error_type": None if failure is None else failure.type,
        "error_details": None if error is None else error.to_dict(),
        "enqueued_at": Timestamp.at(enqueued_at),
        "started_at": timestamp(detail.started_at),
        "worker": detail.worker or None,
    }


def attempts_of(detail: NodeDetail, client: Client) -> list[Record]:
    """Return the runs of a node, the first one first."""
    runs = [_attempt(it.number, it.outcome, client) for it in detail.attempts]
    if detail.attempt > len(runs) and detail.started_at is not None:
        ended_at = detail.ended_at or 0.0
        last = Outcome(detail.node, detail.status, detail.started_at, ended_at, None, detail.failure)
        runs.append(_attempt(detail.attempt, msgspec.structs.replace(last, worker=detail.worker), client))
    return runs


def _attempt(number: int, outcome: Outcome, client: Client) -> Record:
    failure, ended_at = outcome.failure, outcome.ended_at or None
    error = None if failure is None else error_of(failure, ended_at, number, client.blobs.deserialize)
    return Record(
        attempt=number,
        started_at=timestamp(outcome.started_at),
        ended_at=timestamp(ended_at),
        outcome=TaskStatus(task_status(outcome.status, None if failure is None else failure.type).upper()),
        error_details=None if error is None else error.to_dict(),
        worker=outcome.worker or None,
    )
