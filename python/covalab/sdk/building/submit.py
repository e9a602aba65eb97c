"""Submission: everything that one dispatch sends, built here and not sent."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from covalab.blobs import Blobs
from covalab.core.model import DispatchId, Environment, Origin, Submission
from covalab.sdk.building.plan import Workflow
from covalab.sdk.code.local_modules import store_local_modules
from covalab.sdk.code.modules import beside_by_value
from covalab.sdk.code.source import doc_of
from covalab.sdk.code.storing import store_code
from covalab.sdk.environment import environment, origin, process_variables, working_folder
from covalab.sdk.provenance import taken
from covalab.sdk.values import UserValue


def prepare(
    lattice: Workflow,
    args: tuple[UserValue, ...],
    kwargs: dict[str, UserValue],
    blobs: Blobs,
    *,
    priority: int = 0,
    hold: bool = False,
    replaced: Collection[str] = (),
    whole: bool = False,
    auto_close: bool = True,
    where: Environment | None = None,
    made_by: Origin | None = None,
) -> Submission:
    """Build everything that one dispatch sends, without sending it.

    Parameters
    ----------
    lattice
        The workflow.
    args, kwargs
        Its arguments.
    blobs
        Where values and functions that are too long for a message go: ``client.blobs``.
    priority
        See `covalab.dispatch`.
    hold
        Record it and do not start it.
    replaced
        The electrons that run again although earlier results are reused: they were replaced.
    whole
        Whether its value must be one serialized value, as that of a sublattice.
    auto_close
        See `covalab.dispatch`.
    where
        The environment in which it runs, if it is not that of this process.
    made_by
        Its origin, if it is not the cell that runs in this process.

    Raises
    ------
    GraphError, TypeError
        If the lattice cannot become a graph with these arguments. Exceptions of its body come through.
    SerializationError
        If an argument, an electron or the lattice cannot be pickled.
    WorkingFolderGone
        If the current folder of this process was removed.
    """
    if where is None:
        working_folder()  # raises before anything is built that needs it: module paths are relative to it
    plan, inputs = lattice.plan(args, kwargs, blobs, whole=whole)
    code = dict(plan.code)
    for hooks in plan.hook_sets.values():
        hooks.mark_sent()
    # Pickled like the functions in the graph, or a redispatch would build with other classes than its nodes know.
    with beside_by_value():
        kept = store_code(lattice, f"the lattice {lattice.__name__!r}", blobs, code)
    path = None if where is None else where.sys_path
    local_modules = store_local_modules([lattice, *plan.callables, args, kwargs], blobs, code, path)
    its_environment = environment() if where is None else where
    return Submission(
        # Made here, so that a request that is sent twice is one dispatch.
        id=DispatchId(str(uuid.uuid4())),
        graph=plan.graph,
        values=plan.values,
        code=code,
        environment=its_environment,
        origin=origin() if made_by is None else made_by,
        inputs=inputs,
        lattice=kept,
        source=lattice.workflow_function_string,
        doc=doc_of(lattice),
        priority=priority,
        hold=hold,
        replaced=[node for node, name in plan.replaced.items() if name in replaced],
        interventions=lattice.mode_of(plan.graph),
        auto_close=auto_close,
        variables=process_variables(),
        local_modules=local_modules,
        provenance=taken(its_environment.cwd),
    )
