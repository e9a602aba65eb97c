"""Read views of single dispatches, in the structs of `core.model`; a view is the same while it runs and afterwards."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import Final

import apsw
import msgspec

from covalab.core import batching
from covalab.core.assemble import returns_nothing
from covalab.core.dispatch_list import SummaryQuery
from covalab.core.errors import MissingLatticeRecordError
from covalab.core.explanations import explained
from covalab.core.graph_state import result_nodes
from covalab.core.journal import ExecutionSnapshot, ExecutionState, JournalPage
from covalab.core.lifecycle import TERMINAL, all_completed
from covalab.core.model import (
    Attempt,
    DispatchChanges,
    DispatchId,
    DispatchRecord,
    DispatchSummary,
    Failure,
    Graph,
    NodeDetail,
    NodeKind,
    NodeOutput,
    NodeState,
    Value,
)
from covalab.core.notebook_run import NotebookView
from covalab.core.outputs import Outputs, recorded
from covalab.core.previews import Preview, PreviewQuery
from covalab.core.timeline import Timeline, timeline
from covalab.dispatcher import previews
from covalab.dispatcher.cache import FinishedDispatch
from covalab.dispatcher.readable import ReadableDispatch
from covalab.dispatcher.running import rebuild
from covalab.dispatcher.service import Service
from covalab.dispatcher.task_output import ended_number
from covalab.store import dispatch_rows
from covalab.store.journal_rows import select_execution_state, select_stream

_PAGE: Final = 1_000

_READINGS: Final = 5


async def dispatches(service: Service, query: SummaryQuery) -> list[DispatchSummary]:
    """Return the summaries that are asked for."""
    found = await service.store.read(lambda db: dispatch_rows.select_dispatches(db, query))
    # A row is written when a dispatch starts and ends; counts of one that runs are newer here.
    current = [
        service.runs[summary.id].committed_summary() if summary.id in service.runs else summary for summary in found
    ]
    return [
        service.notices.added_to(summary)
        for summary in current
        if not query.statuses or summary.status in query.statuses
    ]


async def summary(service: Service, dispatch: DispatchId) -> DispatchSummary:
    """Return the summary of a dispatch; raises `MissingLatticeRecordError`."""
    return service.notices.added_to(await service.summary(dispatch))


async def ended_or_noticed(service: Service, dispatch: DispatchId, timeout: float, seen: str) -> None:
    """Wait until a dispatch has ended, its notice is another one than was seen, or `timeout` seconds have passed."""
    deadline = time.monotonic() + timeout
    while dispatch in service.runs or dispatch in service.held:
        left = deadline - time.monotonic()
        if left <= 0 or service.notices.of(dispatch) not in ("", seen):
            return
        await service.feed.wait(dispatch, None if math.isinf(left) else left)


async def known_dispatch(service: Service, dispatch: DispatchId) -> ReadableDispatch:
    """Return a dispatch; raises `MissingLatticeRecordError`."""
    return service.runs.get(dispatch) or await _not_running(service, dispatch)


async def _not_running(service: Service, dispatch: DispatchId) -> FinishedDispatch:
    found = service.finished.get(dispatch)
    if found is not None:
        return found

    def job(db: apsw.Connection) -> FinishedDispatch | None:
        # All in one snapshot: a delete may come between two of these reads.
        row = dispatch_rows.select_dispatch(db, dispatch)
        if row is None:
            return None
        key, summary = row
        submission = dispatch_rows.select_submission(db, key)
        progress = rebuild(submission, summary, dispatch_rows.select_states(db, key))
        return FinishedDispatch(key, summary, progress, submission, dispatch_rows.select_children(db, dispatch))

    found = await service.store.read(job)
    if found is None:
        raise MissingLatticeRecordError(dispatch, str(service.folder))
    if found.summary.status in TERMINAL:  # one that is held will change
        service.finished.keep(found)
    return found


async def graph(service: Service, dispatch: DispatchId) -> Graph:
    """Return the transport graph."""
    at_hand = service.runs.get(dispatch) or service.finished.get(dispatch)
    if at_hand is not None:
        return at_hand.progress.graph
    key, _ = await service.recorded(dispatch)  # the graph alone: of a large dispatch, states are most of the work
    return await service.store.read(lambda db: dispatch_rows.select_graph(db, key))


async def wait_for_change(service: Service, dispatch: DispatchId, since: int, wait: float) -> None:
    """Wait up to `wait` seconds for a dispatch that has not ended to change after version `since`."""
    run = service.runs.get(dispatch)
    is_held = dispatch in service.held and since > 0
    if is_held or (run is not None and run.committed_summary().version <= since):
        await service.feed.wait(dispatch, wait)


async def changes(service: Service, dispatch: DispatchId, since: int) -> DispatchChanges:
    """Return the nodes that changed after version `since`."""
    known = await known_dispatch(service, dispatch)
    summary, nodes = known.committed_summary(), known.committed_states(since)
    summary = service.notices.added_to(summary)
    its_children = known.committed_children()
    children = {state.node: its_children[state.node] for state in nodes if state.node in its_children}
    run = service.runs.get(dispatch)
    progress = [] if run is None else list(run.node_progress.values())
    return DispatchChanges(summary, since, nodes, children, progress)


async def record(service: Service, dispatch: DispatchId, outputs: str) -> DispatchRecord:
    """Return a dispatch with the outputs that were asked for: `result`, `all`, `none`, or node numbers."""
    known = await known_dispatch(service, dispatch)
    # Of one moment: the dispatch may go on while the values are read.
    summary, states, children = known.committed_summary(), known.committed_states(-1), dict(known.committed_children())
    key, graph, submission = known.key, known.progress.graph, known.submission
    wanted: list[int] | None
    if outputs == "all":
        wanted = None
    elif outputs == "result":
        wanted = result_nodes(graph)
    elif outputs == "none":
        wanted = []
    else:
        wanted = [int(node) for node in outputs.split(",")]

    def job(db: apsw.Connection) -> tuple[dict[int, Value], dict[int, Failure]]:
        return dispatch_rows.select_values(db, key, wanted), dispatch_rows.select_failures(db, key)

    values, failures = await service.store.read(job)
    return DispatchRecord(
        summary=service.notices.added_to(summary),
        graph=graph,
        nodes=states,
        values=submission.values,
        outputs=values,
        failures=failures,
        inputs=submission.inputs,
        source=submission.source,
        doc=submission.doc,
        environment=submission.environment,
        lattice=submission.lattice,
        children=children,
    )


async def node(service: Service, dispatch: DispatchId, number: int) -> NodeDetail:
    """Return everything known about one node.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch, or no such node in it.
    """
    known = await known_dispatch(service, dispatch)
    progress = known.progress
    graph = progress.graph
    if not 0 <= number < len(graph.nodes):
        where = f"{dispatch}, which has {len(graph.nodes)} nodes"
        task = f"{dispatch}:{number}"
        raise MissingLatticeRecordError(task, where)
    found = graph.nodes[number]
    state, outcome, attempts = await _read_node(service, known, number)
    value = outcome.value if outcome is not None else None
    if found.kind is NodeKind.PARAMETER:
        value = known.submission.values[found.value]
    stdout, stderr = (outcome.stdout, outcome.stderr) if outcome is not None else service.read_output(dispatch, number)
    failure = outcome.failure if outcome is not None else None
    if state.status == "skipped" and failure is None:
        failure = _why_skipped(known, number)
    settings = batching.settings_of(graph, number)
    return NodeDetail(
        dispatch=dispatch,
        node=number,
        name=found.name,
        kind=found.kind,
        status=state.status,
        started_at=state.started_at,
        ended_at=state.ended_at,
        attempt=state.attempt,
        executor=settings.executor,
        retries=settings.retries,
        time_limit=settings.time_limit,
        worker=outcome.worker if outcome is not None else "",
        source=graph.functions[found.function].source if found.function >= 0 else "",
        stdout=stdout,
        stderr=stderr,
        failure=failure,
        value=value,
        inputs=progress.inputs[number],
        attempts=attempts,
        next_at=state.next_at,
        child=known.committed_children().get(number),
        outputs=outcome.outputs if outcome is not None else None,
        reuse=outcome.reuse if outcome is not None else None,
    )


async def notebook(service: Service, dispatch: DispatchId) -> NotebookView | None:
    """Return which cell of a notebook run is which node, and why those that ended ran or were reused."""
    known = await known_dispatch(service, dispatch)
    run = known.submission.notebook
    if run is None:
        return None
    key = known.key
    reuse = await service.store.read(lambda db: dispatch_rows.select_reuse(db, key))
    failures = await service.store.read(lambda db: dispatch_rows.select_failures(db, key))
    states = [known.committed_state(cell.node) for cell in run.cells if cell.node >= 0]
    return NotebookView(
        run.path,
        run.cells,
        known.committed_summary().status,
        run.parameters,
        run.first,
        run.resumed,
        tuple(state.node for state in states if state.is_reused),
        {
            state.node: explained(state, reuse.get(state.node), failures.get(state.node))
            for state in states
            if state.status in TERMINAL and (state.is_reused or state.node in reuse or _is_not_run(state, failures))
        },
    )


def _is_not_run(state: NodeState, failures: dict[int, Failure]) -> bool:
    return state.status == "skipped" and state.node in failures


async def outputs(service: Service, dispatch: DispatchId, number: int, since: int) -> Outputs:
    """Return the outputs of a node that changed after a number."""
    detail = await node(service, dispatch, number)
    if detail.status == "running" and detail.child is None:
        return await service.live_outputs(dispatch, number, since)
    its_number = ended_number(detail.ended_at)
    is_final = detail.status in TERMINAL
    found = [] if detail.status == "skipped" else await asyncio.to_thread(recorded, detail, service.blobs.load)
    first = len(found) if since == its_number else 0
    return Outputs(found[first:], first, its_number, is_final)


async def preview(service: Service, dispatch: DispatchId, number: int, query: PreviewQuery) -> bytes:
    """Return a part of a node's value as a page shows it: a `Preview` in JSON; raises `MissingLatticeRecordError`."""
    known = await known_dispatch(service, dispatch)
    nodes = known.progress.graph.nodes
    if not 0 <= number < len(nodes):
        task = f"{dispatch}:{number}"
        raise MissingLatticeRecordError(task, f"{dispatch}, which has {len(nodes)} nodes")
    why = previews.why_none(known, number)
    if why:
        return msgspec.json.encode(Preview("", why=why))
    needed, key = previews.sources(known, number), known.key
    wanted = [node for node in needed if nodes[node].kind is not NodeKind.PARAMETER]
    values = await service.store.read(lambda db: dispatch_rows.select_values(db, key, wanted)) if wanted else {}
    values |= {node: known.submission.values[nodes[node].value] for node in needed if node not in wanted}
    if len(values) < len(needed):
        return msgspec.json.encode(Preview("", why="it left no value"))
    return await service.previews.preview(known, number, values, query)


async def all_outputs(service: Service, dispatch: DispatchId) -> dict[int, NodeOutput]:
    """Return the recorded output of all nodes that ended with some."""
    known = await known_dispatch(service, dispatch)
    key = known.key
    rows = await service.store.read(lambda db: dispatch_rows.select_outcomes(db, key))
    children = known.committed_children()
    return {
        number: NodeOutput(row.stdout, row.stderr, row.failure, row.outputs)
        for number, row in rows.items()
        # The disk may be a moment ahead of what readers are shown.
        if number in children or known.committed_state(number).status in TERMINAL
    }


async def where_it_ran(service: Service, dispatch: DispatchId) -> Timeline:
    """Return which worker ran or runs which node, and the runs of nodes that were not their last."""
    known = await known_dispatch(service, dispatch)
    key = known.key
    running = service.workers_of(dispatch)  # before the disk is read: a node that ends meanwhile is in both
    ended, attempts, failures = await service.store.read(
        lambda db: (
            dispatch_rows.select_workers(db, key),
            dispatch_rows.select_attempts(db, key),
            dispatch_rows.select_failures(db, key),
        )
    )
    return timeline(ended, running, attempts, failures)


async def _read_node(
    service: Service, known: ReadableDispatch, number: int
) -> tuple[NodeState, dispatch_rows.OutcomeRow | None, list[Attempt]]:
    """Return state, outcome and earlier attempts of a node, such that they fit each other."""
    key = known.key
    for _ in range(_READINGS):
        state = known.committed_state(number)
        outcome, attempts = await service.store.read(
            lambda db: (
                dispatch_rows.select_outcome(db, key, number),
                dispatch_rows.select_attempts(db, key, number).get(number, []),
            )
        )
        if state == known.committed_state(number):  # else it changed between the two readings
            break
    if state.status not in TERMINAL and number not in known.committed_children():
        outcome = None  # the disk may be a moment ahead of what readers are shown
    return state, outcome, attempts


async def execution_snapshot(service: Service, dispatch: DispatchId) -> ExecutionSnapshot:
    """Return what happened in a dispatch beside its graph."""
    known = await known_dispatch(service, dispatch)
    summary = known.committed_summary()
    state = await _execution_state(service, dispatch, known.key) or ExecutionState()
    if dispatch not in service.runs and summary.status in TERMINAL and state.lifecycle != "closed":
        # Nothing ever happened in it, so there is no entry that closed it.
        state.lifecycle, state.close_reason = "closed", "auto_close"
        state.sealed_at = state.closed_at = summary.ended_at
    return ExecutionSnapshot(summary, state, known.submission.interventions)


async def _execution_state(service: Service, dispatch: DispatchId, key: int) -> ExecutionState | None:
    """Return the state that the journal of a dispatch folds to; None: it has no entries."""
    run = service.runs.get(dispatch)
    if run is not None:
        return run.committed.journal
    return await service.store.read(lambda db: select_execution_state(db, key))


async def wait_for_end(service: Service, dispatch: DispatchId, wait: float, *, final: bool) -> None:
    """Wait up to `wait` seconds for a dispatch to end, or, with `final`, for its final result to be set or made."""
    deadline = time.monotonic() + wait
    while dispatch in service.runs or dispatch in service.held:
        run = service.runs.get(dispatch)
        if final and run is not None:
            journal = run.committed.journal
            is_set = journal is not None and journal.final is not None
            if is_set or (
                all_completed(run.committed.summary.counts)
                and not returns_nothing(run.graph, run.submission.values)  # then it is the snapshot at the end
            ):
                return
        left = deadline - time.monotonic()
        if left <= 0:
            return
        await service.feed.wait(dispatch, left)


async def stream(
    service: Service, dispatch: DispatchId, since: int, read: int, wait: float, *, last: int = 0
) -> JournalPage:
    """Return the next entries of the stream after `since`, of which the reader has seen `read`; waits for one.

    With `last`, only so many of them: the newest.
    """
    count = last or _PAGE
    deadline = time.monotonic() + wait
    while True:
        run = service.runs.get(dispatch)
        key = run.key if run is not None else (await service.recorded(dispatch))[0]
        state = await _execution_state(service, dispatch, key)
        dropped = 0 if state is None else state.dropped
        entries = await service.store.read(partial(select_stream, key=key, since=since, count=count, last=last > 0))
        # By `run`, not by a second look: entries of one that ended meanwhile may have come after these.
        over = run is None and dispatch not in service.held
        left = deadline - time.monotonic()
        missed = max(0, dropped - read)
        if entries or missed or over or left <= 0:
            return JournalPage(entries, missed, over and (last > 0 or len(entries) < _PAGE))
        await service.feed.wait(dispatch, left)


def _why_skipped(known: ReadableDispatch, number: int) -> Failure:
    """Return the failure of a skipped node, which names the nodes whose end kept it from starting."""
    culprits: list[int] = []
    seen = {number}
    stack = [number]
    while stack:
        for edge in known.progress.inputs[stack.pop()]:
            if edge.source in seen:
                continue
            seen.add(edge.source)
            status = known.committed_state(edge.source).status
            if status in ("failed", "cancelled"):
                culprits.append(edge.source)
            elif status == "skipped":
                stack.append(edge.source)
    names = ", ".join(f"{known.progress.graph.nodes[node].name} (node {node})" for node in sorted(culprits)[:3])
    more = f" and {len(culprits) - 3} more" if len(culprits) > 3 else ""
    why = f"it needs {names}{more}, which did not complete" if names else "the dispatch was cancelled before its turn"
    has_failed = any(known.committed_state(node).status == "failed" for node in culprits)
    return Failure("dependency" if has_failed else "cancelled", f"never started: {why}")
