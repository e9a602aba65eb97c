"""Dispatch, ask, cancel: the verbs, each one request to the dispatcher.

The id of a dispatch is made here, so that a request that was sent twice changes nothing.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple, cast, overload

from msgspec.structs import replace

from covalab.client import connect
from covalab.core.cron import checked_cron, next_time
from covalab.core.errors import GraphError, TriggerError
from covalab.core.model import Schedule, Submission
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.submit import prepare
from covalab.sdk.dispatching.tags import checked_tags
from covalab.sdk.dispatching.watching import await_watching
from covalab.sdk.ids import check_address, checked_id
from covalab.sdk.results.fetch import fetch_result, fetch_status
from covalab.sdk.results.handle import DispatchHandle
from covalab.sdk.results.result import Result
from covalab.sdk.results.result_manager import ResultManager
from covalab.sdk.tasks.tasks import fetch_task, is_task_id
from covalab.sdk.timestamps import eta_of, interval_of
from covalab.sdk.values import UserValue


def dispatch(
    orig_lattice: Lattice,
    dispatcher_addr: str | None = None,
    disable_run: bool = False,
    *,
    priority: int = 0,
    auto_close: bool = True,
    eta: dt.datetime | dt.timedelta | str | float | None = None,
    interval: dt.timedelta | float | None = None,
    allow_overlap: bool = False,
    cron: str | None = None,
    time_zone: str | None = None,
    tags: str | Iterable[str] = (),
) -> Callable[..., DispatchHandle]:
    """Run a lattice in the background, at once, later, or again and again.

    Parameters
    ----------
    orig_lattice : Lattice
        The workflow.
    dispatcher_addr : str, optional
        Covalent's; refused when it names another machine.
    disable_run : bool
        Record the dispatch and do not start it: its status stays ``NEW_OBJECT`` until ``ct.start(id)``, or
        a trigger, starts it.
    priority : int
        What is ready of a dispatch with a higher priority goes first; what has begun is left alone. Not in Covalent.
    auto_close : bool
        Whether the dispatch ends with its last node. If not, it stays RUNNING, and takes interventions, until
        ``ct.get_execution(id).close()``. Not in Covalent.
    eta : datetime, timedelta, str, float or None
        When to start it: a datetime (without a time zone: local time), an ISO-8601 text, seconds since the epoch, or
        how long from now as a ``timedelta``. In the past: now. Until then its status is ``NEW_OBJECT`` and it occupies
        no worker; ``ct.start(id)`` starts it earlier, ``ct.cancel(id)`` cancels it. The dispatcher does
        not end while something waits; if the machine is off at that time, it starts when the next dispatcher does. Not
        in Covalent.
    interval : timedelta, float or None
        Run it again and again: so long after it has ended, however it ended, as a ``timedelta`` or in seconds. Each run
        is a dispatch of its own, with a ``schedule_id``, which is the id of the first:
        ``ct.list_dispatches(schedule_id=...)`` lists them. Runs that were missed while no dispatcher ran collapse to
        one. ``ct.cancel`` with the id of any of them ends the series. Not in Covalent.
    allow_overlap : bool
        Count the `interval` from the start of a run, so that the next begins even if that one has not ended.
    cron : str, optional
        Run it by a timetable instead of an interval: ``"0 6 * * 1-5"`` is at six on weekdays, from `eta` on. Not in
        Covalent.
    time_zone : str, optional
        The time zone of the timetable, such as ``"Europe/Berlin"``; that of this machine, if not given.
    tags : str or iterable of str
        Words by which it is found again: in the side bar, and by ``ct.list_dispatches(tag=...)``. `tag` changes them
        later. Not in Covalent.

    Returns
    -------
    callable
        Takes the workflow's arguments, sends it, and returns the dispatch id: a ``str`` that shows itself live in a
        notebook. When it returns, the dispatch is on disk, and its triggers watch, or have failed.

    Raises
    ------
    GraphError, TypeError
        If `eta` or `interval` has no meaning, or the lattice has triggers, which start it.

    Examples
    --------
    >>> import datetime as dt
    >>> import covalab as ct
    >>> tonight = ct.dispatch(workflow, eta="2026-01-31T23:00:00+01:00")(n=100)  # doctest: +SKIP
    >>> hourly = ct.dispatch(workflow, eta=dt.timedelta(minutes=5), interval=3600)(n=100)  # doctest: +SKIP
    >>> [run.status for run in ct.list_dispatches(schedule_id=hourly)]  # doctest: +SKIP
    ['NEW_OBJECT', 'COMPLETED']
    >>> ct.cancel(hourly)  # doctest: +SKIP
    """
    check_address(dispatcher_addr)
    _check_lattice(orig_lattice)
    where = f"dispatch of {orig_lattice.__name__!r}"
    if (eta is not None or interval is not None or cron is not None) and orig_lattice.triggers:
        message = f"{where}: its triggers start it and run it again; leave out eta, interval and cron, or the triggers"
        raise GraphError(message)
    if eta is not None and disable_run:
        message = f"{where}: disable_run records it and does not start it, eta says when it starts; leave one out"
        raise GraphError(message)
    words = checked_tags(where, tags)
    timing = timing_of(where, eta, interval, allow_overlap=allow_overlap, cron=cron, time_zone=time_zone)

    def run(*args: UserValue, **kwargs: UserValue) -> DispatchHandle:
        client = connect()
        triggers = orig_lattice.triggers
        hold = disable_run or bool(triggers)
        submission = prepare(
            orig_lattice, args, kwargs, client.blobs, priority=priority, hold=hold, auto_close=auto_close
        )
        submission = timing.of(replace(submission, tags=words))
        if triggers:
            travelling = [trigger._serialized(client.blobs) for trigger in triggers]  # noqa: SLF001 - part of covalab
            submission = replace(submission, triggers=travelling)
        summary = client.submit(submission)
        for trigger, watching in zip(triggers, submission.triggers, strict=True):
            trigger._attach(summary.id, watching.id)  # noqa: SLF001 - part of covalab
        if triggers:
            await_watching(client, summary.id)
        return DispatchHandle(summary.id, submission.graph)

    return run


class Timing(NamedTuple):
    """Start time and interval to the next run, in seconds; None: at once, and no further run."""

    starts_at: float | None
    interval: float | None
    allow_overlap: bool
    cron: str = ""
    zone: str = ""

    def of(self, submission: Submission) -> Submission:
        """Return a submission that is to be started so."""
        schedule = None
        if self.interval is not None:
            schedule = Schedule(submission.id, self.interval, self.allow_overlap, cron=self.cron, zone=self.zone)
        return replace(submission, starts_at=self.starts_at, schedule=schedule)


AT_ONCE: Final = Timing(None, None, allow_overlap=False)


def timing_of(
    where: str,
    eta: object,
    interval: object,
    *,
    allow_overlap: object,
    cron: str | None = None,
    time_zone: str | None = None,
) -> Timing:
    """Check when something is to start, and to be run again.

    Raises
    ------
    GraphError, TypeError
        If that has no meaning.
    """
    if allow_overlap and interval is None and cron is None:
        message = f"{where}: allow_overlap says how runs follow each other at an interval; give an interval"
        raise GraphError(message)
    if interval is not None and cron is not None:
        message = f"{where}: interval and cron both say when it runs again; leave one out"
        raise GraphError(message)
    if time_zone is not None and cron is None:
        message = f"{where}: time_zone is that of a timetable; give cron, or write the zone into eta (…+01:00)"
        raise GraphError(message)
    starts_at = None if eta is None else eta_of(where, eta)
    if cron is not None:
        zone = local_zone() if time_zone is None else time_zone
        usual = checked_cron(where, cron, zone)
        first = next_time(usual, zone, max(time.time(), starts_at or 0.0))
        return Timing(first, next_time(usual, zone, first) - first, bool(allow_overlap), usual, zone)
    return Timing(starts_at, None if interval is None else interval_of(where, interval), bool(allow_overlap))


def local_zone() -> str:
    """Return the name of this machine's time zone; where it has none, UTC."""
    from tzlocal import get_localzone_name  # noqa: PLC0415 - only where a timetable is given

    try:
        return get_localzone_name() or "UTC"
    except (LookupError, ValueError):  # two files name different ones
        return "UTC"


def start(dispatch_id: str) -> DispatchHandle:
    """Start a dispatch that was recorded with ``disable_run=True``, or one that waits for its `eta`, now.

    Parameters
    ----------
    dispatch_id : str
        The id. One that was started before goes on as it is.

    Returns
    -------
    DispatchHandle
        The same id, a ``str`` that shows itself live in a notebook.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.

    Examples
    --------
    >>> import covalab as ct
    >>> recorded = ct.dispatch(workflow, disable_run=True)(n=100)  # doctest: +SKIP
    >>> ct.start(recorded)  # doctest: +SKIP
    """
    return DispatchHandle(connect().start_held(checked_id(dispatch_id)).id)


def stop_triggers(dispatch_ids: str | Iterable[str], triggers_server_addr: str | None = None) -> None:
    """Stop all triggers of dispatches.

    Parameters
    ----------
    dispatch_ids : str or iterable of str
        One id or several.
    triggers_server_addr : str, optional
        Covalent's; refused when it names another machine.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch; then nothing is stopped.
    TriggerError
        If one has no triggers; then nothing is stopped.
    """
    check_address(triggers_server_addr)
    wanted = [checked_id(one) for one in ([dispatch_ids] if isinstance(dispatch_ids, str) else dispatch_ids)]
    client = connect()
    for one in wanted:
        if not client.triggers(one):
            message = f"dispatch {one} has no triggers, so nothing was stopped"
            raise TriggerError(message)
    for one in wanted:
        client.stop_triggers(one)


def dispatch_sync(lattice: Lattice, dispatcher_addr: str | None = None) -> Callable[..., Result]:
    """Run a lattice in the background and wait for it.

    Returns
    -------
    callable
        Takes the workflow's arguments and returns the `Result`. A workflow that failed is a result, not an exception.
    """
    start = dispatch(lattice, dispatcher_addr)

    def run(*args: UserValue, **kwargs: UserValue) -> Result:
        return get_result(start(*args, **kwargs), wait=True)

    return run


@overload
def get_result(
    dispatch_id: str,
    wait: bool | float = False,
    dispatcher_addr: str | None = None,
    status_only: Literal[False] = False,
    *,
    timeout: float | None = None,
    results_dir: str | None = None,
    workflow_output: bool = True,
    intermediate_outputs: bool = True,
    sublattice_results: bool = True,
    trusted: bool = False,
) -> Result: ...
@overload
def get_result(
    dispatch_id: str,
    wait: bool | float = False,
    dispatcher_addr: str | None = None,
    *,
    status_only: Literal[True],
    timeout: float | None = None,
    results_dir: str | None = None,
    workflow_output: bool = True,
    intermediate_outputs: bool = True,
    sublattice_results: bool = True,
    trusted: bool = False,
) -> dict[str, str]: ...
def get_result(
    dispatch_id: str,
    wait: bool | float = False,
    dispatcher_addr: str | None = None,
    status_only: bool = False,
    *,
    timeout: float | None = None,
    results_dir: str | None = None,
    workflow_output: bool = True,
    intermediate_outputs: bool = True,
    sublattice_results: bool = True,
    trusted: bool = False,
) -> Result | dict[str, str]:
    """Return the result of a dispatch.

    Parameters
    ----------
    dispatch_id : str
        The id; or that of a task, ``<dispatch id>:<node>``, as `enqueue` returns it.
    wait : bool, default False
        Whether to wait until it has ended.
    dispatcher_addr : str, optional
        Covalent's; refused when it names another machine.
    status_only : bool, default False
        Return ``{"id": ..., "status": ...}`` at once, whatever `wait` says.
    timeout : float, optional
        How many seconds to wait; then the result has the status of that moment. For ever, if not given.
    results_dir : str, optional
        A folder to which everything is also written as files, as Covalent does; see `get_result_manager`. No file is
        needed: every value stays in the data folder.
    workflow_output, intermediate_outputs, sublattice_results : bool, default True
        Whether to include the lattice's value, the outputs of nodes, and the results of sublattices; what is left out
        is None.
    trusted : bool, default False
        Whether to trust a dispatch that another account wrote, or that was changed since, with all that belong together
        with it, from now on: to open its values runs whatever code is in them, and one that had not ended goes on. Not
        in Covalent.

    Returns
    -------
    Result
        The dispatch as it is at this moment; or, with `status_only`, a dict of ``id`` and ``status`` (str). Of a task
        its `TaskRecord`, as `get_task` returns it.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch or task.
    NotTrusted
        If another account wrote it, or it was changed since; `trusted` is the consent.

    See Also
    --------
    Result : The properties and methods of a result.
    Result.get_node_result : Everything known about one node.
    get_task_result : How one task ended, with OmniQ's keys.
    get_result_manager : The parts of a result as files.
    """
    if is_task_id(dispatch_id):
        check_address(dispatcher_addr)
        record = fetch_task(dispatch_id, wait=bool(wait) and not status_only, timeout=timeout)
        return {"id": record.id, "status": str(record.status)} if status_only else cast("Result", record)
    if status_only:
        return fetch_status(dispatch_id, dispatcher_addr)
    result = fetch_result(
        dispatch_id,
        wait,
        dispatcher_addr,
        timeout=timeout,
        results_dir=results_dir,
        workflow_output=workflow_output,
        intermediate_outputs=intermediate_outputs,
        sublattice_results=sublattice_results,
        trusted=trusted,
        stacklevel=3,
    )
    if results_dir is not None:
        ResultManager(result, results_dir).download_all(
            workflow_output=workflow_output, intermediate_outputs=intermediate_outputs
        )
    return result


def cancel(dispatch_id: str, task_ids: int | Iterable[int] | None = None, dispatcher_addr: str | None = None) -> str:
    """Cancel a dispatch, or some of its nodes. One that has ended stays as it is.

    Parameters
    ----------
    dispatch_id : str
        The id. A run of a series (``interval=``) ends the series: nothing comes after it. If the run itself has ended,
        the one that waits or runs instead is cancelled; of runs that may overlap, the one that waits.
    task_ids : int or iterable of int, optional
        One node's number or several; the whole dispatch, if not given.
    dispatcher_addr : str, optional
        Covalent's; refused when it names another machine.

    Returns
    -------
    str
        A sentence saying what is being cancelled.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    check_address(dispatcher_addr)
    wanted = checked_id(dispatch_id)
    nodes = [task_ids] if isinstance(task_ids, int) else None if task_ids is None else list(task_ids)
    connect().cancel(wanted, nodes or None)
    if nodes:
        return f"Cancelled tasks {nodes} in dispatch_id {wanted}"
    return f"Dispatch {wanted} cancelled."


def _check_lattice(lattice: object) -> None:
    if not isinstance(lattice, Lattice):
        message = f"only a lattice can be dispatched, not {lattice!r}; put @ct.lattice on the function"
        raise TypeError(message)
