"""What a worker does with a lattice that was called as an electron: it builds a dispatch from real values.

The dispatch is handed back closed, never sent from here: the dispatcher gives it its id, its place below its parent
and its environment, and records it together with the fact that the node has become it.
"""

from __future__ import annotations

from typing import Any

from covalab.core.model import Submission
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.trace import Blobs
from covalab.sdk.dispatching.api import prepare


def build(blobs: Blobs, sub: Lattice, json_parent_metadata: str, /, *args: Any, **kwargs: Any) -> Submission:  # noqa: ARG001 - Covalent's input; what it says is in the lattice already
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
