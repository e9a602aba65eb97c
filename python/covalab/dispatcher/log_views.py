"""Read views of the log of a dispatch: its runs as sources, of which only those of a page are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import apsw
import msgspec

from covalab.core.errors import GraphError
from covalab.core.labels import node_names
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import CHEAP_KINDS, DispatchId, Failure, NodeState, does_work
from covalab.core.run_log import (
    NOTHING,
    LoggedRun,
    LogLine,
    LogPage,
    LogQuery,
    Printed,
    Run,
    culprits,
    dispatch_runs,
    log_page,
    place_of,
    run_lines,
)
from covalab.dispatcher.readable import ReadableDispatch
from covalab.dispatcher.service import Service
from covalab.dispatcher.views import known_dispatch
from covalab.store import log_rows


async def log(service: Service, dispatch: DispatchId, query: LogQuery) -> LogPage:
    """Return a page of the log of a dispatch.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    GraphError
        If the query names no place.
    """
    for place in filter(None, (query.after, query.before)):
        try:
            place_of(place)
        except ValueError as error:
            raise GraphError(str(error)) from error
    known = await known_dispatch(service, dispatch)
    states = known.committed_states(-1)
    workers = service.workers_of(dispatch)
    live = {state.node: service.live_text(dispatch, state.node) for state in states if state.status == "running"}

    def job(db: apsw.Connection) -> LogPage:
        sources = _Sources(db, known, states, live, workers)
        has_ended = known.committed_summary().status in TERMINAL
        page = log_page(sources.runs(), query, has_ended=has_ended)
        is_by_start = any(
            (line.node, line.attempt) in sources.without_times and line.status is None for line in page.lines
        )
        return msgspec.structs.replace(page, is_by_start=is_by_start)

    return await service.store.read(job)


class _Sources:
    """The runs of a dispatch. What a run printed is read when its lines are asked for."""

    def __init__(
        self,
        db: apsw.Connection,
        known: ReadableDispatch,
        states: Sequence[NodeState],
        live: Mapping[int, Callable[[], Printed]],
        workers: Mapping[int, str],
    ) -> None:
        self._db = db
        self._known = known
        self._states = states
        self._live = live
        self._workers = workers
        graph = known.progress.graph
        self._nodes = graph.nodes
        self._names = node_names(graph)
        self._culprits = culprits(graph.edges, states)
        self.without_times: set[tuple[int, int]] = set()

    def runs(self) -> Iterator[LoggedRun]:
        summary = self._known.committed_summary()
        yield from dispatch_runs(summary)
        for earlier in log_rows.select_earlier_runs(self._db, self._known.key):
            yield LoggedRun(
                earlier.node,
                earlier.number,
                earlier.started_at,
                max(earlier.started_at, earlier.ended_at),
                self._lines_of_earlier(earlier),
            )
        for state in self._states:
            node = state.node
            if state.status == "pending" or not does_work(self._nodes[node]):
                continue
            culprit = self._culprits.get(node)
            before = None if culprit is None else self._states[culprit].ended_at
            end = state.ended_at or before or summary.ended_at
            start = state.started_at or end
            if state.status == "running":
                end = float("inf")
            if start is not None and end is not None:
                yield LoggedRun(
                    node,
                    state.attempt,
                    start,
                    max(start, end),
                    self._lines_of(state, start, end),
                    has_failed=state.status == "failed",
                )

    def _lines_of_earlier(self, earlier: log_rows.EarlierRun) -> Callable[[], list[LogLine]]:
        def lines() -> list[LogLine]:
            node, number, *_, next_at = earlier
            outcome = log_rows.select_earlier_outcome(self._db, self._known.key, node, number)
            if outcome is None:
                return []
            run = Run(
                node,
                number,
                self._names[node],
                outcome.status,
                outcome.started_at,
                outcome.ended_at,
                outcome.worker,
                outcome.failure,
                is_again=True,
                again_at=next_at,
            )
            if outcome.times is None:
                self.without_times.add((node, number))
            return run_lines(run, Printed(outcome.stdout, outcome.stderr, outcome.times or ()))

        return lines

    def _lines_of(self, state: NodeState, start: float, end: float) -> Callable[[], list[LogLine]]:
        def lines() -> list[LogLine]:
            node = state.node
            run = Run(node, state.attempt, self._names[node], state.status, start, end)
            if state.status == "running":
                printed = self._live[node]() if node in self._live else NOTHING
                return run_lines(run._replace(ended_at=None, worker=self._workers.get(node, "")), printed)
            row = log_rows.select_printed(self._db, self._known.key, node)
            if state.is_reused:
                source = row.reuse.dispatch if row is not None and row.reuse is not None else ""
                text = f"Reused from {source or self._known.committed_summary().origin or 'an earlier run'}"
                return [LogLine(end, node, 0, 0, "state", run.name, text, state.status)]
            if row is None or state.status == "skipped":
                return run_lines(run._replace(failure=self._why_not(node, None if row is None else row.failure)))
            if row.times is None:
                self.without_times.add((node, state.attempt))
            is_quiet = self._nodes[node].kind in CHEAP_KINDS
            run = run._replace(worker=row.worker, failure=row.failure, is_quiet=is_quiet)
            return run_lines(run, Printed(row.stdout, row.stderr, row.times or ()))

        return lines

    def _why_not(self, node: int, failure: Failure | None) -> Failure | None:
        """Return why a node did not run."""
        culprit = self._culprits.get(node)
        if failure is not None or culprit is None:
            return failure
        return Failure("dependency", f"it needs {self._names[culprit]}, which did not complete")
