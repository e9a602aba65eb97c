"""What can be read of a dispatch, running or recorded, in the shapes of `core.model`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import apsw

from covalab.core import batching
from covalab.core.errors import MissingLatticeRecordError
from covalab.core.graph_state import result_nodes
from covalab.core.journal import ExecutionSnapshot, ExecutionState, JournalPage
from covalab.core.lifecycle import TERMINAL, has_come_to_its_end
from covalab.core.model import (
    DispatchChanges,
    DispatchId,
    DispatchRecord,
    DispatchSummary,
    Edge,
    Failure,
    Graph,
    NodeDetail,
    NodeKind,
    Status,
    Value,
)
from covalab.dispatcher.cache import FinishedDispatch
from covalab.dispatcher.recovery import RESTART_GAP
from covalab.dispatcher.running import rebuild
from covalab.dispatcher.service import Service
from covalab.store import dispatch_rows
from covalab.store.journal_rows import select_execution_state, select_stream

_PAGE: Final = 1_000

_READINGS: Final = 5


async def dispatches(
    service: Service,
    statuses: Sequence[Status],
    name: str | None,
    offset: int,
    count: int,
    *,
    root: str | None = None,
    since: float = 0.0,
    oldest: bool = False,
    schedule: str | None = None,
) -> list[DispatchSummary]:
    """Return summaries of the outermost dispatches, or of those below `root`, newest first, as they stand now."""
    found = await service.store.read(
        lambda db: dispatch_rows.select_dispatches(
            db, statuses, name, offset, count, root=root, since=since, oldest=oldest, schedule=schedule
        )
    )
    runs = service.runs
    current = [runs[summary.id].committed.summary if summary.id in runs else summary for summary in found]
    return [summary for summary in current if not statuses or summary.status in statuses]


async def graph(service: Service, dispatch: DispatchId) -> Graph:
    """Return the transport graph."""
    run = service.runs.get(dispatch)
    if run is not None:
        return run.graph
    key, _ = await service.recorded(dispatch)
    return await service.store.read(lambda db: dispatch_rows.select_graph(db, key))


async def changed(service: Service, dispatch: DispatchId, since: int, wait: float) -> None:
    """Wait up to `wait` seconds for a dispatch that has not ended to change after version `since`."""
    run = service.runs.get(dispatch)
    if (run is not None and run.committed.summary.version <= since) or (dispatch in service.held and since > 0):
        await service.feed.wait(dispatch, wait)


async def changes(service: Service, dispatch: DispatchId, since: int) -> DispatchChanges:
    """Return what changed after version `since`."""
    run = service.runs.get(dispatch)
    if run is not None:
        committed = run.committed
        summary, children, nodes = committed.summary, committed.children, committed.states_since(since)
    else:
        ended = await _ended(service, dispatch)
        summary, children = ended.summary, ended.children
        nodes = ended.progress.states_since(-1) if since < ended.summary.version else []
    told = {state.node: children[state.node] for state in nodes if state.node in children} if children else {}
    return DispatchChanges(summary, since, nodes, told)


async def _ended(service: Service, dispatch: DispatchId) -> FinishedDispatch:
    """Return a dispatch that is not running, as it is recorded."""
    found = service.finished.get(dispatch)
    if found is not None:
        return found

    def job(db: apsw.Connection) -> FinishedDispatch | None:
        # All in one snapshot: somebody may delete it meanwhile.
        row = dispatch_rows.select_dispatch(db, dispatch)
        if row is None:
            return None
        key, summary = row
        rest = dispatch_rows.select_body(db, key)
        progress = rebuild(dispatch_rows.select_graph(db, key), rest, summary, dispatch_rows.select_states(db, key))
        return FinishedDispatch(key, summary, progress, rest, dispatch_rows.select_children(db, dispatch))

    found = await service.store.read(job)
    if found is None:
        raise MissingLatticeRecordError(dispatch, str(service.folder))
    if found.summary.status in TERMINAL:
        service.finished.keep(found)
    return found


async def record(service: Service, dispatch: DispatchId, outputs: str) -> DispatchRecord:
    """Return a dispatch with the outputs that were asked for: `result`, `all`, `none`, or node numbers."""
    run = service.runs.get(dispatch)
    if run is not None:
        committed = run.committed
        key, summary, rest, graph, children = run.key, committed.summary, run.rest, run.graph, dict(committed.children)
        nodes = committed.states_since(-1)
    else:
        ended = await _ended(service, dispatch)
        key, summary, rest, graph, children = ended.key, ended.summary, ended.rest, ended.progress.graph, ended.children
        nodes = ended.progress.states_since(-1)
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
        summary,
        graph,
        nodes,
        rest.values,
        values,
        failures,
        rest.inputs,
        rest.source,
        rest.doc,
        rest.environment,
        rest.lattice,
        children,
    )


async def node(service: Service, dispatch: DispatchId, number: int) -> NodeDetail:
    """Return everything known about one node.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch, or no such node in it.
    """
    run = service.runs.get(dispatch)
    if run is not None:
        key, progress, rest, children = run.key, run.progress, run.rest, run.committed.children
        state_of = run.committed.node_state
    else:
        ended = await _ended(service, dispatch)
        key, progress, rest, children = ended.key, ended.progress, ended.rest, ended.children
        state_of = progress.state
    graph, inputs = progress.graph, progress.inputs
    if not 0 <= number < len(graph.nodes):
        where = f"{dispatch}, which has {len(graph.nodes)} nodes"
        task = f"{dispatch}:{number}"
        raise MissingLatticeRecordError(task, where)
    found = graph.nodes[number]
    for _ in range(_READINGS):
        state = state_of(number)
        outcome, attempts = await service.store.read(
            lambda db: (
                dispatch_rows.select_outcome(db, key, number),
                dispatch_rows.select_attempts(db, key, number).get(number, []),
            )
        )
        if state == state_of(number):  # else it changed between the two readings
            break
    if state.status not in TERMINAL and number not in children:
        outcome = None  # the disk may be a moment ahead of what readers are shown
    value = outcome.value if outcome is not None else None
    if found.kind is NodeKind.PARAMETER:
        value = rest.values[found.value]
    stdout, stderr = (outcome.stdout, outcome.stderr) if outcome is not None else service.read_output(dispatch, number)
    failure = outcome.failure if outcome is not None else None
    if state.status == "skipped":
        failure = _why_skipped(graph, inputs, lambda node: state_of(node).status, number)
    settings = batching.settings_of(graph, number)
    return NodeDetail(
        dispatch,
        number,
        found.name,
        found.kind,
        state.status,
        state.started_at,
        state.ended_at,
        state.attempt,
        settings.executor,
        settings.retries,
        settings.time_limit,
        outcome.worker if outcome is not None else "",
        graph.functions[found.function].source if found.function >= 0 else "",
        stdout,
        stderr,
        failure,
        value,
        inputs[number],
        attempts,
        state.next_at,
        children.get(number),
    )


async def standing(service: Service, dispatch: DispatchId) -> ExecutionSnapshot:
    """Return what happened in a dispatch beside its graph."""
    run = service.runs.get(dispatch)
    if run is not None:
        summary = run.committed.summary
        return ExecutionSnapshot(
            summary, run.committed.journal or ExecutionState(), run.rest.interventions, summary.version // RESTART_GAP
        )
    ended = await _ended(service, dispatch)
    folded = await service.store.read(lambda db: select_execution_state(db, ended.key)) or ExecutionState()
    summary = ended.summary
    if summary.status in TERMINAL and folded.lifecycle != "closed":
        # Nothing ever happened in it, so nobody wrote down that it was closed.
        folded.lifecycle, folded.close_reason = "closed", "auto_close"
        folded.sealed_at = folded.closed_at = summary.ended_at
    return ExecutionSnapshot(summary, folded, ended.rest.interventions, summary.version // RESTART_GAP)


async def until(service: Service, dispatch: DispatchId, wait: float, *, final: bool) -> None:
    """Wait up to `wait` seconds for a dispatch to end, or, with `final`, for its final result to be set or made."""
    deadline = time.monotonic() + wait
    while dispatch in service.runs or dispatch in service.held:
        run = service.runs.get(dispatch)
        if final and run is not None:
            journal = run.committed.journal
            is_set = journal is not None and journal.final is not None
            if is_set or has_come_to_its_end(run.committed.summary.counts):
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
        key, dropped = (await service.recorded(dispatch))[0] if run is None else run.key, 0
        if run is None:
            folded = await service.store.read(lambda db: select_execution_state(db, key))  # noqa: B023 - called at once
            dropped = 0 if folded is None else folded.dropped
        elif run.committed.journal is not None:
            dropped = run.committed.journal.dropped
        entries = await service.store.read(lambda db: select_stream(db, key, since, count, last=last > 0))  # noqa: B023
        over = run is None and dispatch not in service.held
        left = deadline - time.monotonic()
        missed = max(0, dropped - read)
        if entries or missed or over or left <= 0:
            return JournalPage(entries, missed, over and (last > 0 or len(entries) < _PAGE))
        await service.feed.wait(dispatch, left)


def _why_skipped(
    graph: Graph, inputs: Sequence[Sequence[Edge]], status_of: Callable[[int], Status], number: int
) -> Failure:
    """Name the nodes whose end kept this one from starting."""
    culprits: list[int] = []
    seen = {number}
    stack = [number]
    while stack:
        for edge in inputs[stack.pop()]:
            if edge.source in seen:
                continue
            seen.add(edge.source)
            status = status_of(edge.source)
            if status in ("failed", "cancelled"):
                culprits.append(edge.source)
            elif status == "skipped":
                stack.append(edge.source)
    names = ", ".join(f"{graph.nodes[node].name} (node {node})" for node in sorted(culprits)[:3])
    more = f" and {len(culprits) - 3} more" if len(culprits) > 3 else ""
    why = f"it needs {names}{more}, which did not complete" if names else "the dispatch was cancelled before its turn"
    has_failed = any(status_of(node) == "failed" for node in culprits)
    return Failure("dependency" if has_failed else "cancelled", f"never started: {why}")
