"""`enqueue`: one function as a background task, which is a dispatch of one electron."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

import msgspec

from covalab.client import connect
from covalab.core.model import DispatchId, does_work
from covalab.core.own_attributes import own_attribute
from covalab.sdk.building.electron import Electron, electron
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.options import checked_retries, checked_time_limit
from covalab.sdk.building.submit import prepare
from covalab.sdk.dispatching.api import timing_of
from covalab.sdk.executions.aio import async_twin
from covalab.sdk.values import UserFunction, UserValue

_RETRIES: Final = 3
_KEYS: Final = uuid.UUID("6c3e6e0a-5c0f-4a5d-9d0a-8f1d8f5d2b11")
"""Namespace of task keys: equal keys give equal dispatch ids."""


def enqueue(
    func: UserFunction,
    /,
    *args: UserValue,
    retries: int | None = None,
    time_limit: float | dt.timedelta | None = None,
    task_key: str | None = None,
    eta: dt.datetime | dt.timedelta | str | float | None = None,
    interval: dt.timedelta | float | None = None,
    allow_overlap: bool = False,
    **kwargs: UserValue,
) -> str:
    """Run one function in the background, at once, later, or again and again: each time a dispatch of one electron.

    Parameters
    ----------
    func : callable
        A function, or an electron, whose executor, hooks and rules for retries hold.
    *args, **kwargs
        Its arguments.
    retries : int, optional
        How often a failed run is tried again. If not given: as often as the electron says, and 3 times, as in OmniQ, if
        it says nothing.
    time_limit : float or datetime.timedelta, optional
        How many seconds (or a ``timedelta``) one run may take; what the electron says, if not given.
    task_key : str, optional
        A name for this piece of work: what has been enqueued under it once is not enqueued again. Of something that
        runs at an `interval` the id of the newest run is returned.
    eta, interval, allow_overlap : optional
        When it starts, and how long after its end it runs again, as for `dispatch`. Until it starts it is ``PENDING``.
        An argument of the function's own with such a name is given by position.

    Returns
    -------
    str
        The task's id, ``<dispatch id>:<node>``. The part before the colon is the ``schedule_id`` of all runs.

    Raises
    ------
    GraphError, TypeError
        If the arguments do not fit, or an option has no meaning.
    SerializationError
        If the function or an argument cannot be pickled.

    See Also
    --------
    get_task_result : Wait for it and read its result.
    dispatch : Run a whole workflow.

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


def _single(func: UserFunction, retries: int | None, time_limit: object) -> UserFunction:
    """Return an electron like `func`, with other limits."""
    given = own_attribute(func, "electron_object")
    of_func = given if isinstance(given, Electron) else None
    single = electron(of_func.function if of_func is not None else func)
    mine: Electron = single.electron_object  # type: ignore[attr-defined]
    where = f"enqueue of {mine.name!r}"
    if of_func is not None:
        mine.executor, mine.hooks, mine.retry = of_func.executor, of_func.hooks, of_func.retry
        mine.needs = of_func.needs
        mine.retries, mine.time_limit = of_func.retries, of_func.time_limit
    mine.retries = (mine.retries or _RETRIES) if retries is None else checked_retries(where, retries)
    if time_limit is not None:
        mine.time_limit = checked_time_limit(where, time_limit)
    return single


async_enqueue = async_twin(enqueue)
