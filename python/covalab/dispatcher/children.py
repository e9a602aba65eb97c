"""Dispatches that stand for a node of another: what a worker built becomes one, and its end becomes the node's.

Pure but for reading blobs and rows that it is given. When these things happen is the service's business.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

import apsw
import msgspec

from covalab.blobs import BlobStore
from covalab.core.errors import CovalabError, GraphError
from covalab.core.graph_state import value_node
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
from covalab.dispatcher.running import RunningDispatch
from covalab.store import dispatch_rows

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
        data = blobs.read(built.digest) if built.digest is not None else built.data or b""
        plan = _plans.decode(data)
    except msgspec.MsgspecError as error:
        message = f"what the worker built cannot be read: {error}; do workers and dispatcher have the same covalab?"
        raise GraphError(message) from error
    validate_graph(plan.graph, len(plan.values))
    if value_node(plan.graph) < 0:
        message = f"the value of sublattice {plan.graph.name!r} is not one value"
        raise GraphError(message)
    return Submission(
        id=child_id(run.id, outcome.node, run.progress.attempt[outcome.node]),
        graph=plan.graph,
        values=plan.values,
        code=plan.code,
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
