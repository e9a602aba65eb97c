"""Legal histories: whatever is submitted, run, cancelled, killed and deleted, the database says what was acknowledged.

A Hypothesis state machine drives the real graph state, commits and store. Beside them it keeps the simplest possible
record of what was acknowledged, made by itself, and compares all that can be read with that.
"""

from __future__ import annotations

import asyncio
import atexit
import copy
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import apsw
import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.graphs import graphs

from covalab.blobs import BlobStore
from covalab.core.codec import serialize_small
from covalab.core.dispatch_list import SummaryQuery
from covalab.core.errors import TakenOver
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import (
    Attempt,
    Digest,
    DispatchId,
    Environment,
    Failure,
    Graph,
    NodeKind,
    Origin,
    Outcome,
    Status,
    Submission,
)
from covalab.core.runtime_stats import RuntimeStats
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.commits import Commits
from covalab.dispatcher.recovery import count_recovery, load_running
from covalab.dispatcher.running import RunningDispatch, summary_of
from covalab.store import Store, dispatch_rows, task_rows
from covalab.store.purging import delete_dispatch

STATUSES: tuple[Status, ...] = ("running", "completed", "failed", "cancelled")
ENVIRONMENT = Environment("/python", "/prefix", "/")


@cache
def _empty() -> Path:
    """Return a data folder with an empty database: making the tables takes longer than a history."""
    folder = Path(tempfile.mkdtemp(prefix="covalab-empty-"))
    Store(folder / "covalab.db").close()
    atexit.register(shutil.rmtree, folder)
    return folder


class Known(msgspec.Struct):
    """Record of one dispatch, kept by the test: what has happened, and of that what was acknowledged."""

    graph: Graph
    ends: dict[int, tuple[Status, int, Any]] = {}
    """By node: status, attempt, and value or error type."""
    attempts: dict[int, list[int]] = {}
    runs: dict[int, int] = {}
    """How often each node was run; after a restart, as far as that is recorded."""
    due: dict[int, float] = {}
    """When nodes that failed, and run again, may."""
    status: Status = "running"
    """Of the dispatch, at the last commit."""

    def working(self) -> list[int]:
        """Return the nodes that somebody has to run."""
        return [number for number, node in enumerate(self.graph.nodes) if node.kind is NodeKind.ELECTRON]

    def skip_after(self, node: int) -> None:
        """Skip all that depends on a node without a value."""
        reached = {node}
        while True:
            more = {edge.target for edge in self.graph.edges if edge.source in reached} - reached
            if not more:
                break
            reached |= more
        for one in reached - {node}:
            if one in self.working() and one not in self.ends:
                self.ends[one] = ("skipped", 0, "cancelled")
        # Whether a skipped node counts as failed depends on whether anything has failed by then.

    def status_now(self) -> Status:
        """Return the status of the dispatch that follows from its nodes."""
        ends = [status for status, _, _ in self.ends.values()]
        if any(node not in self.ends for node in self.working()):
            return "running"
        return next((status for status in ("failed", "cancelled") if status in ends), "completed")


class Histories(RuleBasedStateMachine):
    """Random histories of a few dispatches in one data folder."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="covalab-histories-"))
        shutil.copytree(_empty(), self.folder, dirs_exist_ok=True)
        self.loop = asyncio.new_event_loop()
        self.now = 1_000.0
        self.n_values = 0
        self.runs: dict[str, RunningDispatch] = {}
        self.happened: dict[str, Known] = {}
        self.acknowledged: dict[str, Known] = {}
        self.order: list[str] = []
        self.seen: dict[str, dict[int, tuple[Status, int]]] = {}

    @initialize()
    def begin(self) -> None:
        """Open an empty data folder."""
        self.open()

    def open(self) -> None:
        """Open the data folder as a dispatcher does: it takes it over from whoever had it."""
        self.store = Store(self.folder / "covalab.db")
        # Kills, no power cuts (`tests/store/test_power_cut.py`): the files are as the process left them.
        self.write(lambda db: db.pragma("synchronous", "off"), within=False)
        self.commits = Commits(self.store, Clock(lambda: self.now), RuntimeStats(), asyncio.Event())
        self.blobs = BlobStore(self.folder / "blobs")
        self.write(count_recovery)
        self.runs = {}
        for summary in self.read(dispatch_rows.select_unfinished):
            run = self.read(lambda db, summary=summary: load_running(db, summary, self.blobs))
            self.runs[summary.id] = run
        self.happened = copy.deepcopy(self.acknowledged)
        for name, known in self.happened.items():
            if name in self.runs:
                self.compare_retries(self.runs[name], known)
            known.runs = {node: max(numbers) for node, numbers in known.attempts.items()}

    def compare_retries(self, run: RunningDispatch, known: Known) -> None:
        """After a restart, a node that failed has waited as long, and failed as often, as before."""
        waiting = {node: known.due[node] for node in known.attempts if node not in known.ends}
        assert waiting == run.progress.delayed
        assert not {*waiting} & {*run.progress.ready}
        assert run.failures == {node: len(numbers) for node, numbers in known.attempts.items()}

    def write(self, job: Any, *, within: bool = True) -> Any:
        """Run a job in a transaction, or on the writer's connection without one."""
        if not within:
            return job(self.store._writer)
        return self.loop.run_until_complete(self.store.write(job))

    def read(self, job: Any) -> Any:
        """Run a job on a reader's connection."""
        return self.loop.run_until_complete(self.store.read(job))

    def teardown(self) -> None:
        """Close everything and remove the folder."""
        if hasattr(self, "store"):
            self.store.close()
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what may happen -----------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.order) < 3)
    @rule(graph=graphs())
    def submit(self, graph: Graph) -> None:
        """Submit a dispatch; it is acknowledged when this returns."""
        name = f"d{len(self.order)}"
        graph = msgspec.structs.replace(graph, name=name)
        values = [serialize_small(0)] if any(node.kind is NodeKind.PARAMETER for node in graph.nodes) else []
        submission = Submission(
            DispatchId(name),
            graph,
            values,
            {Digest("0" * 64): b"f"},
            ENVIRONMENT,
            Origin(),
            serialize_small(1),
            Digest("0" * 64),
        )
        self.now += 1
        summary = summary_of(submission, self.now)
        key, is_new = self.write(lambda db: dispatch_rows.insert_dispatch(db, submission, summary))
        assert is_new
        run = RunningDispatch(key, summary, submission)
        run.progress.start(self.now)
        run.show_loaded()
        self.runs[name] = run
        self.happened[name] = Known(graph)
        self.acknowledged[name] = Known(graph)
        self.order.append(name)

    def ready(self) -> list[tuple[str, int]]:
        """Return what may be sent to a worker."""
        return [(name, node) for name, run in self.runs.items() for node in run.progress.ready]

    def in_flight(self) -> list[tuple[str, int]]:
        """Return what was sent to a worker and has not ended."""
        return [(name, node) for name, run in self.runs.items() for node in sorted(run.progress.in_flight)]

    @precondition(lambda self: self.ready())
    @rule(data=st.data(), begins=st.booleans())
    def send(self, data: st.DataObject, begins: bool) -> None:
        """Send a node to a worker, which begins it or not."""
        self.send_node(*data.draw(st.sampled_from(self.ready())), begins=begins)

    def send_node(self, name: str, node: int, *, begins: bool) -> None:
        """Send a node to a worker."""
        run = self.runs[name]
        for queue in run.progress.queues:
            if node in queue:
                queue.remove(node)
        run.progress.record_sent([node])
        runs = self.happened[name].runs
        runs[node] = runs.get(node, 0) + 1
        run.started_at = run.started_at or self.now
        if begins:
            run.progress.record_start(node, self.now)

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data(), how=st.sampled_from(["completed", "completed", "failed", "again", "lost", "unstarted"]))
    def end(self, data: st.DataObject, how: str) -> None:
        """Let a node end, or its worker."""
        self.end_node(*data.draw(st.sampled_from(self.in_flight())), how)

    @precondition(lambda self: self.ready())
    @rule(data=st.data(), how=st.sampled_from(["completed", "failed", "again"]), recorded=st.booleans())
    def run_node(self, data: st.DataObject, how: str, recorded: bool) -> None:
        """Let a node run at once."""
        name, node = data.draw(st.sampled_from(self.ready()))
        self.send_node(name, node, begins=True)
        self.end_node(name, node, how)
        if recorded:
            self.commit()

    def end_node(self, name: str, node: int, how: str) -> None:
        """Let a node end in some way."""
        run, known = self.runs[name], self.happened[name]
        attempt = known.runs[node]
        self.now += 1
        if how == "lost":
            run.progress.return_to_queue([node])
        elif how == "unstarted":
            run.progress.return_unstarted([node])
            known.runs[node] -= 1
        elif how == "again":
            outcome = Outcome(node, "failed", self.now, self.now, failure=Failure("runtime", "no"))
            run.attempts.append(Attempt(run.progress.attempt[node], outcome, self.now + 5))
            run.progress.schedule_retry(node, self.now + 5)
            known.attempts.setdefault(node, []).append(attempt)
            known.due[node] = self.now + 5
        else:
            self.n_values += 1
            value = serialize_small(self.n_values) if how == "completed" else None
            failure = Failure("runtime", "no") if how == "failed" else None
            outcome = Outcome(node, "completed" if value else "failed", self.now, self.now, value, failure)
            assert run.progress.record_outcome(outcome)
            run.outcomes.append(outcome)
            known.ends[node] = (outcome.status, attempt, value.data if value else "runtime")
            if failure is not None:
                run.failed.append(node)
                known.skip_after(node)

    @rule(seconds=st.sampled_from([1, 10, 10]))
    def wait(self, seconds: int) -> None:
        """Let time pass: retries become due."""
        self.now += seconds
        for run in self.runs.values():
            run.progress.release_due(self.now)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), everything=st.booleans())
    def cancel(self, data: st.DataObject, everything: bool) -> None:
        """Cancel a dispatch, or a node of it."""
        name = data.draw(st.sampled_from(sorted(self.runs)))
        run, known = self.runs[name], self.happened[name]
        open_nodes = [node for node in known.working() if node not in known.ends]
        if not open_nodes:
            return
        nodes = None if everything else [data.draw(st.sampled_from(open_nodes))]
        self.now += 1
        cancelled = run.progress.cancel(self.now, nodes)
        assert everything or cancelled == nodes
        for node in cancelled:
            failure = Failure("cancelled", "cancelled by request")
            run.outcomes.append(Outcome(node, "cancelled", self.now, self.now, None, failure))
            known.ends[node] = ("cancelled", known.runs.get(node, 0), "cancelled")
        for node in cancelled:
            known.skip_after(node)
        if everything:
            assert {node for node in known.working() if node not in known.ends} == set()

    @rule()
    def commit(self) -> None:
        """Commit all that has happened; it is acknowledged when this returns."""
        for run in self.runs.values():
            if run.progress.is_terminal and run.ended_at is None:
                run.ended_at = self.now
                run.started_at = run.started_at or self.now
        collected = [self.commits.collect(run) for run in self.runs.values()]
        self.loop.run_until_complete(self.commits.commit(collected))
        assert not any(changes.has_failed for changes in collected)
        for name in list(self.runs):
            self.happened[name].status = self.happened[name].status_now()
            self.acknowledged[name] = copy.deepcopy(self.happened[name])
            if self.runs[name].ended_at is not None:
                del self.runs[name]

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        """End the dispatcher, orderly or not; another takes the folder over."""
        before = self.store, self.commits
        if not killed:
            self.store.close()
            self.open()
            return
        stale = list(self.runs.values())
        self.open()
        if stale:  # a process that was frozen, and goes on now: nothing of it reaches the disk
            with pytest.raises(TakenOver):
                self.loop.run_until_complete(before[0].write(lambda db: list(db.execute("DELETE FROM dispatches"))))
        before[0].close()

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a dispatch: it is gone, unless it runs."""
        name = data.draw(st.sampled_from(self.order))
        deleted = self.write(lambda db: delete_dispatch(db, DispatchId(name)))
        if name in self.runs:
            assert deleted is None
        elif name in self.acknowledged:
            del self.acknowledged[name]
            self.happened.pop(name)
            self.seen.pop(name, None)

    # -- what must be true ---------------------------------------------------------------------------------------

    @invariant()
    def what_is_read_is_what_was_acknowledged(self) -> None:
        """Compare the list, the nodes and the numbers of tasks with the test's own record."""
        if hasattr(self, "store"):
            self.read(self.compare)

    def compare(self, db: apsw.Connection) -> None:
        """Compare in one transaction of a reader."""
        self.compare_lists(db)
        for name, known in self.acknowledged.items():
            self.compare_nodes(db, name, known)
        # The numbers of tasks: sums over all dispatches; what is skipped counts as failed or cancelled.
        counted, errors = task_rows.count_tasks(db, []), task_rows.count_errors(db)
        ends = [status for known in self.acknowledged.values() for status, _, _ in known.ends.values()]
        assert (counted["completed"], sum(counted.values())) == (ends.count("completed"), len(ends))
        assert errors.get("runtime", 0) == ends.count("failed")

    def compare_lists(self, db: apsw.Connection) -> None:
        """All dispatches are listed, newest first, with their status; a filter leaves out the others."""

        def listed(*statuses: Status) -> list[tuple[str, Status]]:
            return [
                (one.id, one.status)
                for one in dispatch_rows.select_dispatches(db, SummaryQuery(statuses=statuses, count=99))
            ]

        found = listed()
        assert [name for name, _ in found] == [name for name in reversed(self.order) if name in self.acknowledged]
        for name, status in found:
            expected = self.acknowledged[name].status
            assert status == expected or (expected, status) == ("running", "pending")
        for status in STATUSES:
            assert listed(status) == [one for one in found if one[1] == status]

    def compare_nodes(self, db: apsw.Connection, name: str, known: Known) -> None:
        """Every end is there with its attempt, value and error, and no other; what has ended stays as it is."""
        found = dispatch_rows.select_dispatch(db, name)
        assert found is not None
        key, summary = found
        ends = {
            state.node: (state.status, state.attempt)
            for state in dispatch_rows.select_states(db, key)
            if state.status in TERMINAL
        }
        assert {node: (end[0], 0 if end[0] == "skipped" else end[1]) for node, end in ends.items()} == {
            node: (status, attempt) for node, (status, attempt, _) in known.ends.items()
        }
        assert self.seen.get(name, {}).items() <= ends.items()
        self.seen[name] = ends
        values = {node: value.data for node, value in dispatch_rows.select_values(db, key, None).items()}
        assert values == {node: value for node, (status, _, value) in known.ends.items() if status == "completed"}
        failures = {node: failure.type for node, failure in dispatch_rows.select_failures(db, key).items()}
        assert failures == {
            node: why for node, (status, _, why) in known.ends.items() if status in ("failed", "cancelled")
        }
        recorded = dispatch_rows.select_attempts(db, key)
        assert {node: [run.number for run in runs] for node, runs in recorded.items()} == known.attempts
        counts = msgspec.structs.asdict(summary.counts)
        assert sum(counts.values()) == len(known.working())
        statuses = [status for status, _ in ends.values()]
        assert all(counts[status] == statuses.count(status) for status in STATUSES if status != "running")


def machine(examples: int, steps: int) -> None:
    """Run the machine."""
    settings = hypothesis.settings(max_examples=examples, stateful_step_count=steps, deadline=None, print_blob=True)
    hypothesis.stateful.run_state_machine_as_test(Histories, settings=settings)


def test_histories_are_legal() -> None:
    """Whatever happens, what can be read is what was acknowledged."""
    machine(100, 40)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_many_histories_are_legal() -> None:
    """The same, for long: more than ten minutes of one processor."""
    machine(2_000, 50)
