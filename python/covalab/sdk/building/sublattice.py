"""Sublattice: on a worker, a lattice that was called as an electron builds its graph from real values.

The plan is returned serialized, never sent from here: the dispatcher makes a dispatch of it, with an id, a place below
its parent and its parent's environment, and records that together with the fact that the node has become it. Graphs
name `build` by this path, so it moves only with a row in `core.renames`.
"""

from __future__ import annotations

from covalab.blobs import Blobs
from covalab.core.model import SublatticePlan
from covalab.sdk.building.plan import Workflow
from covalab.sdk.code.modules import beside_by_value
from covalab.sdk.code.source import doc_of
from covalab.sdk.code.storing import store_code
from covalab.sdk.values import UserValue


def build(
    blobs: Blobs,
    sub: Workflow,
    json_parent_metadata: str,  # noqa: ARG001 - Covalent's input; what it says is in the lattice already
    /,
    *args: UserValue,
    **kwargs: UserValue,
) -> SublatticePlan:
    """Build the graph of a sublattice with the values of its arguments.

    Parameters
    ----------
    blobs
        Where values and functions that are too long for a message go.
    sub
        The lattice, with what it takes from its parent filled in.
    json_parent_metadata
        The settings of the lattice that called it, as in Covalent.
    args, kwargs
        The arguments it was called with.

    Raises
    ------
    GraphError, TypeError
        As when a lattice is dispatched. Exceptions of its body come through.
    """
    plan, inputs = sub.plan(args, kwargs, blobs, whole=True)
    code = dict(plan.code)
    with beside_by_value():
        kept = store_code(sub, f"the lattice {sub.__name__!r}", blobs, code)
    return SublatticePlan(
        graph=plan.graph,
        values=plan.values,
        code=code,
        inputs=inputs,
        lattice=kept,
        source=sub.workflow_function_string,
        doc=doc_of(sub),
        interventions=sub.mode_of(plan.graph),
    )
