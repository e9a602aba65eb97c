"""Sublattices: a child dispatch is made of what a worker built and of what its parent says."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.core.graphs import graph_of

from covalab.blobs import BlobStore
from covalab.core.codec import Encoded, serialize_small
from covalab.core.errors import GraphError
from covalab.core.model import (
    Digest,
    DispatchId,
    Edge,
    EdgeKind,
    Environment,
    NodeKind,
    Origin,
    Outcome,
    SublatticePlan,
    Submission,
    Value,
)
from covalab.dispatcher.children import child_id, child_submission
from covalab.dispatcher.running import RunningDispatch, summary_of

PARENT = Submission(
    id=DispatchId("p"),
    graph=graph_of([NodeKind.SUBLATTICE], []),
    values=[],
    code={Digest("2" * 64): b"modules", Digest("3" * 64): b"of the parent alone"},
    environment=Environment(sys.executable, sys.prefix, "/parent"),
    origin=Origin("a.ipynb"),
    inputs=serialize_small(1),
    lattice=Digest("0" * 64),
    priority=7,
    variables=b"packed",
    local_modules=Digest("2" * 64),
)
GRAPH = replace(graph_of([NodeKind.ELECTRON], []), edges=[Edge(0, 1, "value", EdgeKind.ARG, 0)])
PLAN = SublatticePlan(
    graph=GRAPH,
    values=[serialize_small(1)],
    code={Digest("0" * 64): b"f"},
    inputs=serialize_small(2),
    lattice=Digest("1" * 64),
    source="def g",
    doc="A workflow.",
    interventions="planned",
)
WHOLE = Submission(
    id=DispatchId("of the worker"),
    environment=Environment("another", "", "/"),
    origin=Origin("worker"),
    priority=9,
    **msgspec.structs.asdict(PLAN),
)


@pytest.mark.parametrize("built", [PLAN, WHOLE], ids=["plan", "submission"])
@pytest.mark.parametrize("is_blob", [False, True])
def test_a_child_is_its_parents_but_for_the_plan(
    tmp_path: Path, built: SublatticePlan | Submission, *, is_blob: bool
) -> None:
    """Also if a worker of an earlier version sent a whole submission."""
    blobs = BlobStore(tmp_path)
    run = RunningDispatch(1, summary_of(PARENT, 0.0), PARENT)
    run.progress.attempt[0] = 2
    data = msgspec.msgpack.encode(built)
    digest = blobs.put(Encoded([data], len(data))) if is_blob else None
    value = Value(len(data), "", "", None if is_blob else data, digest)

    child = child_submission(run, Outcome(0, "running", 1.0, 2.0, submission=value), blobs)

    assert child == Submission(
        id=child_id(PARENT.id, 0, 2),
        environment=PARENT.environment,
        origin=PARENT.origin,
        priority=7,
        root=PARENT.id,
        parent=PARENT.id,
        parent_node=0,
        variables=b"packed",
        local_modules=Digest("2" * 64),
        **{**msgspec.structs.asdict(PLAN), "code": PLAN.code | {Digest("2" * 64): b"modules"}},
    )


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode({"graph": 1})])
def test_a_plan_that_cannot_be_read_is_refused(tmp_path: Path, data: bytes) -> None:
    """With a word about the likely reason."""
    run = RunningDispatch(1, summary_of(PARENT, 0.0), PARENT)

    with pytest.raises(GraphError, match="same covalab"):
        child_submission(run, Outcome(0, "running", 1.0, 2.0, submission=Value(1, "", data=data)), BlobStore(tmp_path))
