"""Provenance of a dispatch as readers get it: of which code, arguments, packages and machine its results are. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec

from covalab.core.labels import labels
from covalab.core.model import DispatchSummary, EdgeKind, NodeKind, Submission
from covalab.core.provenance import Git, unpack_packages


class DispatchProvenance(msgspec.Struct, frozen=True):
    """Provenance of one dispatch; what an earlier version did not record is empty."""

    dispatch_id: str
    name: str
    status: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    source: str
    functions: dict[str, str]
    arguments: dict[str, str]
    notebook: str
    cell: str
    folder: str
    host: str
    system: str
    python: str
    interpreter: str
    covalab: str
    packages: dict[str, str]
    git: Git | None


def provenance_of(summary: DispatchSummary, submission: Submission) -> DispatchProvenance:
    """Return what is known of how a dispatch came about."""
    environment, taken = submission.environment, submission.provenance
    return DispatchProvenance(
        dispatch_id=summary.id,
        name=summary.name,
        status=summary.status,
        created_at=summary.created_at,
        started_at=summary.started_at,
        ended_at=summary.ended_at,
        source=submission.source,
        functions={function.name: function.source for function in submission.graph.functions if function.source},
        arguments=_arguments_of(submission),
        notebook=summary.notebook,
        cell=summary.cell,
        folder=environment.cwd,
        host="" if taken is None else taken.host,
        system="" if taken is None else taken.system,
        python=(taken.python if taken is not None else "") or environment.versions.get("python", ""),
        interpreter=environment.python,
        covalab=environment.versions.get("covalab", ""),
        packages={} if taken is None else unpack_packages(taken.packages),
        git=None if taken is None else taken.git,
    )


def _arguments_of(submission: Submission) -> dict[str, str]:
    """Return the arguments of the calls that were given when the graph was built, as short texts.

    They are named as a reader would: ``rows of fit`` where all calls of ``fit`` have the same, else ``depth of
    fit(depth=3)``, with the label that the call has in the graph.
    """
    nodes, edges = submission.graph.nodes, submission.graph.edges
    given: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for edge in edges:
        source, target = nodes[edge.source], nodes[edge.target]
        if source.kind is NodeKind.PARAMETER and target.kind is NodeKind.ELECTRON and edge.kind is not EdgeKind.WAIT:
            given[target.name, edge.name].setdefault(edge.target, submission.values[source.value].text)
    calls = Counter(node.name for node in nodes if node.kind is NodeKind.ELECTRON)
    labelled = labels(nodes, edges)
    found: dict[str, str] = {}
    for (name, argument), texts in given.items():
        if len(texts) == calls[name] and len(set(texts.values())) == 1:
            found[f"{argument} of {name}"] = next(iter(texts.values()))
        else:
            found.update({f"{argument} of {name}{labelled.get(node, '')}": text for node, text in texts.items()})
    return found
