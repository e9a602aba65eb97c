"""From what is on the disk to what runs: a dispatch taken up, sent again, or spared what an earlier one has done.

Everything here happens inside one transaction of `store`, on the thread that holds it.
"""

from __future__ import annotations

from typing import Final

import apsw
import msgspec

from covalab.core.errors import MissingLatticeRecordError
from covalab.core.model import DispatchId, DispatchSummary, Graph, Outcome, Submission
from covalab.core.reuse import reusable_nodes
from covalab.core.schedule import run_id
from covalab.dispatcher.running import RunningDispatch
from covalab.store import dispatch_rows
from covalab.store.journal_rows import select_execution_state

RESTART_GAP: Final = 1_000_000
"""Added to versions at a restart: those told but not recorded before it are never told for something else."""


def load_running(connection: apsw.Connection, summary: DispatchSummary) -> RunningDispatch:
    """Take up a dispatch where its record ends; what was running then is ready again."""
    found = dispatch_rows.select_dispatch(connection, summary.id)
    assert found is not None
    key = found[0]
    graph = dispatch_rows.select_graph(connection, key)
    rest = dispatch_rows.select_body(connection, key)
    run = RunningDispatch(key, summary, graph, rest)
    states = dispatch_rows.select_states(connection, key)
    completed = [state.node for state in states if state.status == "completed" and run.progress.uses[state.node]]
    values = dispatch_rows.select_values(connection, key, completed)
    attempts = dispatch_rows.select_attempts(connection, key)
    run.children = dispatch_rows.select_children(connection, summary.id)
    for state in states:
        row = dispatch_rows.select_outcome(connection, key, state.node) if state.node in run.children else None
        # One that failed and waits for its next run is no dispatch at the moment.
        if row is not None and state.attempt not in {run.number for run in attempts.get(state.node, ())}:
            at = state.started_at or summary.created_at
            built = Outcome(state.node, "running", at, at, None, None, row.stdout, row.stderr, row.worker)
            run.built[state.node] = built
    run.journal = select_execution_state(connection, key)
    run.progress.start(summary.created_at)
    run.progress.restore(states, values, summary.version + RESTART_GAP, attempts, run.built)
    run.failures = {node: len(its) - run.progress.losses.get(node, 0) for node, its in attempts.items()}
    run.failed = [state.node for state in states if state.status == "failed"]
    run.show_loaded(select_execution_state(connection, key))
    return run


def recorded_submission(connection: apsw.Connection, dispatch: DispatchId) -> Submission | None:
    """Return what was submitted under an id, or None."""
    found = dispatch_rows.select_dispatch(connection, dispatch)
    if found is None:
        return None
    key, summary = found
    return submission_of(
        summary, dispatch_rows.select_graph(connection, key), dispatch_rows.select_body(connection, key)
    )


def submission_of(summary: DispatchSummary, graph: Graph, rest: dispatch_rows.SubmissionBody) -> Submission:
    """Return what was submitted, from its parts."""
    return Submission(
        summary.id,
        graph,
        rest.values,
        rest.code,
        rest.environment,
        rest.origin,
        rest.inputs,
        rest.lattice,
        rest.source,
        rest.doc,
        summary.root,
        summary.parent_node,
        rest.priority,
        hold=summary.held,
        parent=summary.parent,
        interventions=rest.interventions,
        auto_close=rest.auto_close,
        starts_at=summary.starts_at,
        schedule=rest.schedule,
    )


def resubmission(
    submission: Submission, new_id: DispatchId, *, reuse: bool, strict: bool, hold: bool = False
) -> Submission:
    """Return a submission of the same graph under another id, as a dispatch of its own, of no series."""
    return msgspec.structs.replace(
        submission,
        id=new_id,
        root=None,
        parent=None,
        parent_node=-1,
        hold=hold,
        reuse=submission.id if reuse else None,
        reuse_strict=strict,
        starts_at=None,
        schedule=None,
    )


def next_run(submission: Submission, starts_at: float) -> Submission:
    """Return the run of a series that comes after another."""
    assert submission.schedule is not None
    schedule = msgspec.structs.replace(submission.schedule, number=submission.schedule.number + 1)
    new_id = run_id(schedule.id, schedule.number)
    again = resubmission(submission, new_id, reuse=False, strict=False, hold=True)
    return msgspec.structs.replace(again, starts_at=starts_at, schedule=schedule)


def reuse(connection: apsw.Connection, key: int, submission: Submission, at: float, folder: str) -> None:
    """Complete those nodes of a new dispatch that an earlier one has run, with its outputs.

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
    nodes = reusable_nodes(
        dispatch_rows.select_graph(connection, old_key),
        dispatch_rows.select_body(connection, old_key).values,
        [state.node for state in dispatch_rows.select_states(connection, old_key) if state.status == "completed"],
        submission.graph,
        submission.values,
        replaced=submission.replaced,
        strict=submission.reuse_strict,
    )
    dispatch_rows.take_over(connection, key, old_key, nodes, at)
