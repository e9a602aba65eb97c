"""Sublattices: on a worker, a lattice that was called as an electron builds its graph from real values.

The graph is handed back serialized, never sent from here: the dispatcher makes a dispatch of it, with an id, a place
below its parent and its parent's environment, and records that together with the fact that the node has become it.
"""

from __future__ import annotations

from typing import Any

from covalab.core.model import SublatticePlan
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.modules import beside_by_value
from covalab.sdk.building.trace import Blobs, keep


def build(blobs: Blobs, sub: Lattice, json_parent_metadata: str, /, *args: Any, **kwargs: Any) -> SublatticePlan:  # noqa: ARG001 - Covalent's input; what it says is in the lattice already
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
        kept = keep(sub, f"the lattice {sub.__name__!r}", blobs, code)
    return SublatticePlan(
        graph=plan.graph,
        values=plan.values,
        code=code,
        inputs=inputs,
        lattice=kept,
        source=sub.workflow_function_string,
        doc=sub.__doc__ or "",
        interventions=sub.mode_of(plan.graph),
    )
