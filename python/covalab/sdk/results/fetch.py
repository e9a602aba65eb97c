"""Fetching a dispatch by its id: its `Result`, its status, its `Execution`."""

from __future__ import annotations

import warnings
from typing import Literal

from covalab.client import connect
from covalab.core.lifecycle import covalent_text
from covalab.sdk.executions.aio import deadline_after
from covalab.sdk.executions.execution import Execution
from covalab.sdk.ids import check_address, checked_id
from covalab.sdk.results.result import Result


def fetch_result(
    dispatch_id: str,
    wait: bool | float = False,
    dispatcher_addr: str | None = None,
    *,
    timeout: float | None = None,
    results_dir: str | None = None,
    workflow_output: bool = True,
    intermediate_outputs: bool = True,
    sublattice_results: bool = True,
    trusted: bool = False,
    stacklevel: int = 2,
) -> Result:
    """Return the result of a dispatch; the parameters are those of `covalab.get_result`, but no file is written.

    Parameters
    ----------
    stacklevel : int, default 2
        As for `warnings.warn`; 2 is the caller of this function.
    """
    check_address(dispatcher_addr)
    client, wanted = connect(), checked_id(dispatch_id)
    if trusted:
        client.trust(wanted)
    outputs: Literal["result", "none"] = "result" if workflow_output else "none"
    with client.until(deadline_after(timeout if wait else None)):
        record = client.record(wanted, wait=bool(wait), timeout=timeout, outputs=outputs, held=timeout is not None)
    if wait and record.summary.held and record.summary.starts_at is None and timeout is None:
        message = (
            f"dispatch {wanted} ({record.summary.name}) was recorded and not started (disable_run, or it waits for a "
            "trigger): this waits until it is started, as ct.start(id) does; give a timeout to wait no longer than that"
        )
        warnings.warn(message, stacklevel=stacklevel)
        record = client.record(wanted, wait=True, outputs=outputs, held=True)
    return Result(
        record,
        client,
        results_dir=results_dir,
        workflow_output=workflow_output,
        intermediate_outputs=intermediate_outputs,
        sublattice_results=sublattice_results,
    )


def fetch_status(dispatch_id: str, dispatcher_addr: str | None = None) -> dict[str, str]:
    """Return ``{"id": ..., "status": ...}`` of a dispatch, as it is at this moment."""
    check_address(dispatcher_addr)
    summary = connect().summary(checked_id(dispatch_id))
    return {"id": summary.id, "status": covalent_text(summary.status)}


def get_execution(dispatch_id: str) -> Execution[Result]:
    """Return the execution of a dispatch.

    Parameters
    ----------
    dispatch_id : str
        The id.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.

    See Also
    --------
    get_result : Its `Result`, which has the execution as `Result.execution`.
    """
    client, wanted = connect(), checked_id(dispatch_id)
    client.summary(wanted)
    return Execution(client, wanted, lambda: Result(client.record(wanted), client))
