"""Sublattices: a node's result becomes a child dispatch, and the child's outcome becomes the node's."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Final

import apsw
import msgspec

from covalab.blobs import BlobStore
from covalab.core.errors import CovalabError, DataFolderError, DispatcherError, GraphError
from covalab.core.graph_state import value_node
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import (
    DispatchId,
    DispatchSummary,
    Failure,
    Graph,
    NodeKind,
    Outcome,
    SublatticePlan,
    Submission,
    Value,
)
from covalab.core.validation import validate_graph
from covalab.dispatcher.background import Background
from covalab.dispatcher.blob_gc import BlobCollector
from covalab.dispatcher.commits import RETRY_SECONDS
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.running import RunningDispatch
from covalab.store import dispatch_rows

_log = logging.getLogger("covalab.dispatcher")
_FAILURES_NAMED: Final = 5
_plans: Final = msgspec.msgpack.Decoder(SublatticePlan)


def child_id(parent: DispatchId, node: int, attempt: int) -> DispatchId:
    """Return the id of the dispatch that a node becomes: always the same, so that it is never recorded twice.

    Examples
    --------
    >>> child_id("a", 3, 1) == child_id("a", 3, 1), child_id("a", 3, 1) == child_id("a", 3, 2)
    (True, False)
    """
    again = f":{attempt}" if attempt > 1 else ""
    return DispatchId(str(uuid.uuid5(uuid.NAMESPACE_URL, f"covalab:{parent}:{node}{again}")))


def child_submission(run: RunningDispatch, outcome: Outcome, blobs: BlobStore) -> Submission:
    """Make a submission of the graph that a worker built for a node; all that is not in that is the parent's.

    Raises
    ------
    CovalabError
        If it cannot be read, or cannot run.
    """
    built = outcome.submission
    assert built is not None
    try:
        data = blobs.content(built, "what the worker built")
        plan = _plans.decode(data)
    except msgspec.MsgspecError as error:
        message = f"what the worker built cannot be read: {error}; do workers and dispatcher have the same covalab?"
        raise GraphError(message) from error
    validate_graph(plan.graph, len(plan.values))
    if value_node(plan.graph) < 0:
        message = f"the value of sublattice {plan.graph.name!r} is not one value"
        raise GraphError(message)
    local_modules = run.submission.local_modules
    inline = {local_modules: run.submission.code[local_modules]} if local_modules in run.submission.code else {}
    return Submission(
        id=child_id(run.id, outcome.node, run.progress.attempt[outcome.node]),
        graph=plan.graph,
        values=plan.values,
        code=plan.code | inline,
        environment=run.submission.environment,
        origin=run.submission.origin,
        inputs=plan.inputs,
        lattice=plan.lattice,
        source=plan.source,
        doc=plan.doc,
        root=run.created.root or run.id,
        parent=run.id,
        parent_node=outcome.node,
        priority=run.submission.priority,
        interventions=plan.interventions,
        variables=run.submission.variables,
        local_modules=local_modules,
    )


def not_built(outcome: Outcome, error: CovalabError) -> Outcome:
    """Return the end of a node whose dispatch cannot be run."""
    failure = Failure("sublattice", str(error), type(error).__name__)
    return msgspec.structs.replace(outcome, status="failed", failure=failure, submission=None)


class ChildResult(msgspec.Struct, frozen=True):
    """Recorded end of a child dispatch: the parts from which the outcome of its node is made."""

    summary: DispatchSummary
    graph: Graph
    value: Value | None
    failures: dict[int, Failure]


def select_end(connection: apsw.Connection, key: int, summary: DispatchSummary) -> ChildResult:
    """Read how a dispatch ended."""
    graph = dispatch_rows.select_graph(connection, key)
    value: Value | None = None
    if summary.status == "completed":
        node = value_node(graph)
        if graph.nodes[node].kind is NodeKind.PARAMETER:
            value = dispatch_rows.select_submission(connection, key).values[graph.nodes[node].value]
        else:
            value = dispatch_rows.select_values(connection, key, [node])[node]
    return ChildResult(summary, graph, value, dispatch_rows.select_failures(connection, key))


def outcome_of(built: Outcome, end: ChildResult) -> Outcome:
    """Return the outcome of a node from the end of the dispatch that it became."""
    child = end.summary
    failure: Failure | None = None
    if child.status == "cancelled":
        failure = Failure("cancelled", f"dispatch {child.id} of sublattice {child.name!r} was cancelled")
    elif child.status != "completed":
        failure = _failure_of(child, end.graph, end.failures)
    ended_at = max(built.started_at, child.ended_at or built.ended_at)
    stderr = built.stderr + (f"{failure.message}\n" if failure is not None and child.status == "failed" else "")
    return msgspec.structs.replace(
        built, status=child.status, ended_at=ended_at, value=end.value, failure=failure, stderr=stderr, submission=None
    )


def _failure_of(child: DispatchSummary, graph: Graph, failures: Mapping[int, Failure]) -> Failure:
    """Say which nodes of a dispatch failed, and why the first did."""
    named = sorted(failures)[:_FAILURES_NAMED]
    lines = [f"  {node}: {graph.nodes[node].name}: {failures[node].reason}" for node in named]
    if len(failures) > len(named):
        lines.append(f"  and {len(failures) - len(named):,} more")
    if not failures:
        lines.append(f"  {child.error or 'it ended without a value'}")
    message = "\n".join([f"sublattice {child.name!r} failed; in its dispatch {child.id}:", *lines])
    first = failures[named[0]].traceback if named else ""
    return Failure("sublattice", message, "", f"{first}{message}\n")


class Children:
    """The child dispatches of everything that runs.

    Parameters
    ----------
    registry
        The dispatches.
    blobs, collector
        Where workers leave large submissions, and what removes these once they are recorded.
    background
        Runs what no request waits for.
    """

    def __init__(self, registry: Registry, blobs: BlobStore, collector: BlobCollector, background: Background) -> None:
        self._registry = registry
        self._blobs = blobs
        self._collector = collector
        self._background = background

    def accept_child(self, run: RunningDispatch, outcome: Outcome) -> Outcome | None:
        """Make a child of what a worker built for a node. Returns the node's outcome if that is nothing that can run.

        The child is recorded together with the fact that the node has it, and started after that.
        """
        assert outcome.submission is not None
        node = outcome.node
        try:
            submission = child_submission(run, outcome, self._blobs)
        except CovalabError as error:
            return not_built(outcome, error)
        if outcome.submission.digest is not None:
            self._background.start(self._collector.remove([outcome.submission.digest]))
        if run.progress.mark_running(node, outcome.started_at):
            built = run.built[node] = msgspec.structs.replace(outcome, submission=None)
            run.outcomes.append(built)
            run.children[node] = submission.id
            run.new_children.append(submission)
        return None

    def start_child(self, submission: Submission, summary: DispatchSummary, key: int) -> RunningDispatch:
        """Return the run of a child that is recorded."""
        run = RunningDispatch(key, summary, submission)
        root = self._registry.runs.get(summary.root) if summary.root is not None else None
        if root is not None:
            root.inner += 1
            self._registry.mark_changed(root)
        return run

    def reject_child(self, submission: Submission) -> None:
        """Fail the node of a child that could not be recorded, or whose id another has: it must not wait for it."""
        parent = self._parent_of(submission)
        if parent is not None:
            error = DispatcherError(f"dispatch {submission.id} could not be recorded; see `covalab logs`")
            parent.inbox.append(not_built(parent.built[submission.parent_node], error))
            self._registry.mark_changed(parent)

    def _parent_of(self, submission: Submission) -> RunningDispatch | None:
        return self._registry.runs.get(submission.parent) if submission.parent is not None else None

    def is_paused(self, run: RunningDispatch) -> bool:
        """Whether the parent of a dispatch is paused, and so all below it."""
        parent = self._registry.runs.get(run.created.parent) if run.created.parent is not None else None
        return parent is not None and parent.paused

    def is_orphan(self, run: RunningDispatch) -> bool:
        """Whether a dispatch is the child of a node that has ended without it."""
        if run.created.parent is None:
            return False
        parent = self._registry.runs.get(run.created.parent)
        return parent is None or parent.progress.status[run.created.parent_node] in TERMINAL

    async def reconnect(self, run: RunningDispatch) -> None:
        """After recovery: propagate children of a dispatch that ended before their parent's node did."""
        for node, child in run.children.items():
            if child not in self._registry.runs and run.progress.status[node] not in TERMINAL:
                key, summary = await self._registry.recorded(child)
                self.propagate(key, summary)

    def propagate(self, key: int, child: DispatchSummary) -> None:
        """Complete the parent's node with the outcome of a child that has ended, as soon as that is read."""
        self._background.start(self._propagate_to_parent(key, child))

    async def _propagate_to_parent(self, key: int, child: DispatchSummary) -> None:
        parent = self._registry.runs.get(child.parent) if child.parent is not None else None
        if parent is None or parent.children.get(child.parent_node) != child.id:
            return
        built = parent.built[child.parent_node]
        while True:
            try:
                end = await self._registry.store.read(partial(select_end, key=key, summary=child))
                break
            except DataFolderError as error:
                _log.error("%s; trying again in %g s", error, RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - a node that waits for ever would be worse
                _log.exception("cannot read how dispatch %s ended", child.id)
                trouble = DispatcherError(f"the value of dispatch {child.id} cannot be read: {error}")
                parent.inbox.append(not_built(built, trouble))
                self._registry.mark_changed(parent)
                return
        parent.inbox.append(outcome_of(built, end))
        self._registry.mark_changed(parent)
