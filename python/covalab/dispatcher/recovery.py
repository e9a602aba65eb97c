"""Dispatches rebuilt from the database: recovery after a restart, redispatch, and reuse of earlier results.

Everything here happens inside one transaction of `store`, on the thread that holds it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw
import msgspec

from covalab.blobs import BlobStore
from covalab.client import paths
from covalab.core.errors import MissingLatticeRecordError
from covalab.core.model import DispatchId, DispatchSummary, NodeState, Outcome, Submission, Value
from covalab.core.reuse import reusable_nodes
from covalab.core.schedule import run_id
from covalab.dispatcher import lost_values
from covalab.dispatcher.running import RunningDispatch
from covalab.store import dispatch_rows
from covalab.store.journal_rows import select_execution_state

_log = logging.getLogger("covalab.dispatcher")
_RESTART_GAP: Final = 1_000_000


def count_recovery(connection: apsw.Connection) -> None:
    """Record that the dispatches that run are taken up after a restart."""
    dispatch_rows.count_recovery(connection, _RESTART_GAP)


def load_running(connection: apsw.Connection, summary: DispatchSummary, blobs: BlobStore) -> RunningDispatch:
    """Rebuild a dispatch from its record; a node that was running then, or whose value is lost, is ready again."""
    found = dispatch_rows.select_dispatch(connection, summary.id)
    assert found is not None
    key = found[0]
    run = RunningDispatch(key, summary, dispatch_rows.select_submission(connection, key))
    states = dispatch_rows.select_states(connection, key)
    completed = [state.node for state in states if state.status == "completed" and run.progress.uses[state.node]]
    values = dispatch_rows.select_values(connection, key, completed)
    lost = {node for node in completed if not lost_values.is_there(values.get(node), blobs)}
    if lost:
        _log.warning("of dispatch %s, the values of nodes %s are lost; they are made again", summary.id, sorted(lost))
        states = [state for state in states if state.node not in lost]
    attempts = dispatch_rows.select_attempts(connection, key)
    children = dispatch_rows.select_children(connection, summary.id)
    run.children = {node: child for node, child in children.items() if node not in lost}
    for state in states:
        row = dispatch_rows.select_outcome(connection, key, state.node) if state.node in run.children else None
        # One that failed and waits for its next run is no dispatch at the moment.
        if row is not None and state.attempt not in {run.number for run in attempts.get(state.node, ())}:
            at = state.started_at or summary.created_at
            run.built[state.node] = Outcome(
                node=state.node,
                status="running",
                started_at=at,
                ended_at=at,
                stdout=row.stdout,
                stderr=row.stderr,
                worker=row.worker,
                outputs=row.outputs,
            )
    run.journal = select_execution_state(connection, key)
    run.progress.start(summary.created_at)
    left = _left(connection, key, run, states, blobs)
    run.progress.restore(states, values, summary.version + 1, attempts, run.built, left)
    run.failures = {node: len(its) - run.progress.losses.get(node, 0) for node, its in attempts.items()}
    run.failed = [state.node for state in states if state.status == "failed"]
    run.show_loaded(select_execution_state(connection, key))
    return run


def _left(
    connection: apsw.Connection, key: int, run: RunningDispatch, states: list[NodeState], blobs: BlobStore
) -> dict[int, Value]:
    """Return what cells that failed, or were not run, left for others that go on."""
    if not any(settings.session for settings in run.graph.settings):
        return {}
    found: dict[int, Value] = {}
    for state in states:
        if state.status in ("failed", "skipped"):
            row = dispatch_rows.select_outcome(connection, key, state.node)
            failure = None if row is None else row.failure
            if failure is not None and failure.goes_on and lost_values.is_there(failure.left, blobs):
                assert failure.left is not None
                found[state.node] = failure.left
    return found


def recorded_submission(connection: apsw.Connection, dispatch: DispatchId) -> Submission | None:
    """Return what was submitted under an id, or None."""
    found = dispatch_rows.select_dispatch(connection, dispatch)
    return None if found is None else dispatch_rows.select_submission(connection, found[0])


def resubmission(
    submission: Submission,
    new_id: DispatchId,
    *,
    reuse: bool,
    strict: bool,
    hold: bool = False,
    nodes: Sequence[int] = (),
) -> Submission:
    """Return a submission of the same graph under another id, as a dispatch of its own, of no series.

    Triggers stay with the dispatch that they were submitted with, and nodes that were replaced there count as they are.
    `nodes` run whatever there is to reuse.
    """
    return msgspec.structs.replace(
        submission,
        id=new_id,
        root=None,
        parent=None,
        parent_node=-1,
        hold=hold,
        reuse=submission.id if reuse else None,
        reuse_strict=strict,
        replaced=list(nodes),
        triggers=[],
        starts_at=None,
        schedule=None,
        again=submission.id,
    )


def next_run(submission: Submission, starts_at: float) -> Submission:
    """Return the run of a series that comes after another."""
    assert submission.schedule is not None
    schedule = msgspec.structs.replace(submission.schedule, number=submission.schedule.number + 1)
    new_id = run_id(schedule.id, schedule.number)
    again = resubmission(submission, new_id, reuse=False, strict=False, hold=True)
    return msgspec.structs.replace(again, starts_at=starts_at, schedule=schedule, again=None)


def reuse(connection: apsw.Connection, key: int, submission: Submission, at: float, folder: str) -> None:
    """Complete those nodes of a new dispatch that an earlier one has run, with the values from there.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such earlier dispatch.
    """
    assert submission.reuse is not None
    found = dispatch_rows.select_dispatch(connection, submission.reuse)
    if found is None:
        raise MissingLatticeRecordError(submission.reuse, folder)
    old_key = found[0]
    old = dispatch_rows.select_submission(connection, old_key)
    states = dispatch_rows.select_states(connection, old_key)
    completed = [state.node for state in states if state.status == "completed"]
    blobs = BlobStore(paths.blob_folder(Path(folder)))
    values = dispatch_rows.select_values(connection, old_key, completed)
    nodes = reusable_nodes(
        old.graph,
        old.values,
        [node for node in completed if lost_values.is_there(values.get(node), blobs)],
        submission.graph,
        submission.values,
        replaced=submission.replaced,
        failed=[state.node for state in states if state.status in ("failed", "cancelled", "skipped")],
        strict=submission.reuse_strict,
    )
    dispatch_rows.take_over(connection, key, old_key, nodes, at)
