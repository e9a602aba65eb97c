"""Sublattice: builds the dispatch of a lattice that was called as an electron, on a worker and from real values.

The submission is returned serialized, never sent from here: the dispatcher gives it its id, its place below its parent
and its environment, and records it together with the fact that the node has become it. Graphs name `build` by this
path, so it moves only with a row in `core.renames`.
"""

from __future__ import annotations

from covalab.blobs import Blobs
from covalab.core.model import Submission
from covalab.sdk.building.plan import Workflow
from covalab.sdk.building.submit import prepare
from covalab.sdk.values import UserValue


def build(
    blobs: Blobs,
    sub: Workflow,
    json_parent_metadata: str,  # noqa: ARG001 - Covalent's input; what it says is in the lattice already
    /,
    *args: UserValue,
    **kwargs: UserValue,
) -> Submission:
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
    return prepare(sub, args, kwargs, blobs, whole=True)
