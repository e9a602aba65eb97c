"""Interrupt nodes of a lattice: nodes that wait for an answer, and points where interventions are inserted."""

from __future__ import annotations

from covalab.core.errors import GraphError
from covalab.core.model import NodeKind
from covalab.sdk.building.postprocess import replaying
from covalab.sdk.building.trace import Trace, active
from covalab.sdk.values import UserValue


def _trace(name: str) -> Trace:
    trace = active()
    if trace is None:
        message = f"ct.{name} is a node of a lattice: call it inside a function with @ct.lattice, and dispatch that"
        raise GraphError(message)
    return trace


def pause_for(type: str, payload: UserValue = None) -> UserValue:  # noqa: A002 - TriggerFlow's name
    """Wait for a person: a node of the lattice whose value is the answer. No worker is occupied meanwhile.

    Parameters
    ----------
    type
        What is asked for, e.g. ``"approval"``. A text that is known when the lattice is built.
    payload
        What there is to decide about: any value, also of an electron.

    Returns
    -------
    electron
        Stands for the answer, which comes by `continue_with`, by ``%answer`` or from the page.

    Raises
    ------
    GraphError
        Outside a lattice, or if the type is no text.

    Notes
    -----
    The wait survives restarts. The dispatch is RUNNING meanwhile; `Result.get_meta` says ``waiting``. TriggerFlow,
    ``pause_for``.
    """
    replay = replaying()
    if replay is not None:
        return replay.next_output("pause_for")
    trace = _trace("pause_for")
    if not isinstance(type, str) or not type.strip():
        message = f"pause_for needs a text that says what is asked for, e.g. 'approval', not {type!r}"
        raise GraphError(message)
    return trace.called_here(NodeKind.PAUSE, f":pause_for:{type}", payload=payload)


def intervention_point(target: str | None = None) -> UserValue:
    """Insert, where this stands in the lattice, the interventions (`intervene`) that have the same target.

    Parameters
    ----------
    target
        Whose interventions; those without a target, if not given.

    Returns
    -------
    electron
        To be ordered by `wait`: ``ct.wait(point, before)`` and ``ct.wait(after, point)``. Its value is None.

    Raises
    ------
    GraphError
        Outside a lattice.
    """
    replay = replaying()
    if replay is not None:
        return replay.next_output("intervention_point")
    return _trace("intervention_point").called_here(NodeKind.POINT, f":intervention_point:{target or ''}")
