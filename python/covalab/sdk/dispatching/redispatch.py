"""`redispatch`: a recorded workflow once more, as it was or with other arguments and electrons.

Needs the id alone: the lattice was recorded with the dispatch, so neither its source nor its session has to be there.
"""

from __future__ import annotations

import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, cast

from msgspec.structs import replace

from covalab.blobs import BlobStore
from covalab.client import connect
from covalab.core.errors import GraphError
from covalab.core.labels import named_nodes
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Digest, DispatchId, Environment, Graph, Submission
from covalab.core.os_text import received
from covalab.core.own_attributes import own_attribute
from covalab.sdk.building.electron import electron
from covalab.sdk.building.submit import prepare
from covalab.sdk.building.value_table import deserialize_inputs
from covalab.sdk.code.local_modules import read_local_modules, store
from covalab.sdk.dispatching.fingerprint import align
from covalab.sdk.ids import check_address, checked_id
from covalab.sdk.results.handle import DispatchHandle
from covalab.sdk.results.stored_code import load_lattice
from covalab.sdk.values import FieldDict, UserFunction, UserValue

if TYPE_CHECKING:
    from covalab.client import Client
    from covalab.sdk.building.lattice import Lattice

_PATIENCE_SECONDS = 3.0
"""Waiting for longer is said."""


def redispatch(
    dispatch_id: str,
    dispatcher_addr: str | None = None,
    replace_electrons: Mapping[str, UserFunction] | None = None,
    reuse_previous_results: bool | Literal["strict"] = False,
    is_pending: bool = False,
    *,
    from_nodes: int | str | Iterable[int | str] = (),
) -> Callable[..., DispatchHandle]:
    """Run a recorded workflow once more, under a new id (Covalent, how-to "Redispatch a workflow").

    Parameters
    ----------
    dispatch_id
        The dispatch to repeat; nothing about it changes.
    dispatcher_addr
        Covalent's; refused when it names another machine.
    replace_electrons
        Electrons by the names of those that they replace. A replacement brings its own executor, retries and limits; a
        plain function has none.
    reuse_previous_results
        Take over the output of each node that completed before and is the same now, and so are all nodes before it:
        number, name, edges, values of parameters, and the function. ``"strict"``: Covalent's rule, which does not look
        at functions. It waits for the original to end.
    is_pending
        Start the dispatch itself, which was recorded with ``disable_run=True``, as `covalab.start` does. It runs as it
        was recorded.
    from_nodes
        Nodes that run again, with all that follow from them, while all else that completed is reused: numbers, or names
        as the graph shows them, ``"fit(depth=3)"``; ``"fit"`` is all that are called so. Not in Covalent.

    Returns
    -------
    callable
        Takes the workflow's new arguments, or none for those of the original; returns the new dispatch id, with
        `is_pending` the same one.

    Raises
    ------
    MissingLatticeRecordError
        When it is called, if there is no such dispatch.
    GraphError
        When it is called, if a replacement names no electron of the workflow, `from_nodes` no node of it, or if with
        `is_pending` there are arguments or replacements.

    Examples
    --------
    >>> import covalab as ct
    >>> redo = redispatch("some-id", replace_electrons={"fit": ct.electron(max)}, reuse_previous_results=True)
    >>> redo(x=3)  # doctest: +SKIP
    """
    check_address(dispatcher_addr)
    original = checked_id(dispatch_id)
    replacements = {name: _electron(name, other) for name, other in (replace_electrons or {}).items()}
    if reuse_previous_results not in (True, False, "strict"):
        message = f"reuse_previous_results is True, False or 'strict', not {reuse_previous_results!r}"
        raise GraphError(message)
    again = [from_nodes] if isinstance(from_nodes, (int, str)) else list(from_nodes)
    reuse, strict = bool(reuse_previous_results) or bool(again), reuse_previous_results == "strict"

    def run(*args: UserValue, **kwargs: UserValue) -> DispatchHandle:
        client = connect()
        if is_pending:
            _refuse_changes(original, bool(args or kwargs), bool(replacements))
            return DispatchHandle(client.start_held(original).id)
        if reuse:
            _wait_for(client, original)
        if not args and not kwargs and not replacements:
            new_id = DispatchId(str(uuid.uuid4()))
            nodes = _nodes_named(again, client.graph(original), original) if again else []
            return DispatchHandle(client.redispatch(original, new_id, reuse=reuse, strict=strict, nodes=nodes).id)
        recorded = client.submission(original)
        with _path_of(recorded.environment):
            submission = _rebuilt(recorded, args, kwargs, replacements, client.blobs)
            submission = align(submission, recorded, client.blobs)
        if reuse:
            nodes = [*submission.replaced, *_nodes_named(again, submission.graph, original)]
            submission = replace(submission, reuse=original, reuse_strict=strict, replaced=nodes)
        return DispatchHandle(client.submit(submission).id, submission.graph)

    return run


def _nodes_named(wanted: Iterable[int | str], graph: Graph, dispatch: DispatchId) -> list[int]:
    """Return the numbers of nodes that are given by number or name."""
    found: list[int] = []
    for one in wanted:
        its = named_nodes(graph, str(one))
        if not its:
            message = (
                f"dispatch {dispatch} has no node {one!r} that runs; `covalab show {dispatch}` lists those there are"
            )
            raise GraphError(message)
        found += its
    return list(dict.fromkeys(found))


def _refuse_changes(original: DispatchId, has_arguments: bool, has_replacements: bool) -> None:
    """Raise if what is to run as it was recorded is given something new."""
    if has_arguments or has_replacements:
        what = "arguments" if has_arguments else "replace_electrons"
        message = (
            f"is_pending starts dispatch {original} as it was recorded, so it takes no {what}; without is_pending it "
            "runs with them, under a new id"
        )
        raise GraphError(message)


def _rebuilt(
    recorded: Submission,
    args: tuple[UserValue, ...],
    kwargs: FieldDict,
    replacements: Mapping[str, UserFunction],
    blobs: BlobStore,
) -> Submission:
    """Build the recorded workflow again, for this interpreter and for the folder in which it ran."""
    lattice = cast("Lattice", load_lattice(recorded.id, recorded.lattice, recorded.code, blobs))
    fresh = lattice.replace(replacements)
    if not args and not kwargs:
        given = deserialize_inputs(recorded.inputs, recorded.values, blobs)
        args, kwargs = given["args"], given["kwargs"]
    made = prepare(lattice, args, kwargs, blobs, priority=recorded.priority, replaced=fresh)
    here, there = made.environment, recorded.environment
    path = list(dict.fromkeys((*here.path, *there.path)))
    sys_path = list(dict.fromkeys((*here.sys_path, *there.path)))
    variables = made.variables
    if recorded.variables and here.prefix == there.prefix:  # those of another interpreter would find its modules
        variables = recorded.variables
    environment = replace(here, cwd=there.cwd, path=path, sys_path=sys_path, umask=there.umask)
    return replace(
        made,
        environment=environment,
        source=recorded.source,
        variables=variables,
        local_modules=_local_modules(recorded, made, blobs),
        notebook=recorded.notebook,
        again=recorded.id,
        code=_with_document(recorded, made),
    )


def _with_document(recorded: Submission, made: Submission) -> dict[Digest, bytes]:
    """Return the code of a repetition with the document of a notebook run, where that is inside the submission."""
    digest = Digest("" if recorded.notebook is None else recorded.notebook.document)
    return {**made.code, digest: recorded.code[digest]} if digest in recorded.code else made.code


def _local_modules(recorded: Submission, made: Submission, blobs: BlobStore) -> Digest:
    """Store the modules of a dispatch for its repetition, with those that only a replacement needs, as they are now."""
    before = read_local_modules(recorded, blobs)
    return store({**read_local_modules(made, blobs), **before}, blobs, made.code) if before else made.local_modules


def _wait_for(client: Client, dispatch: DispatchId) -> None:
    """Wait for the original to end; one that nobody has started has nothing to reuse, so nobody waits for it."""
    summary = client.summary(dispatch)
    if summary.status in TERMINAL or summary.held:
        return
    record = client.record(dispatch, wait=True, timeout=_PATIENCE_SECONDS, outputs="none")
    if record.summary.status not in TERMINAL:
        message = (
            f"dispatch {dispatch} ({summary.name}) is still running; its redispatch waits for it to end, to reuse what "
            "it makes. Interrupt to stop waiting; reuse_previous_results=False does not wait"
        )
        warnings.warn(message, stacklevel=3)
        client.record(dispatch, wait=True, outputs="none")


@contextmanager
def _path_of(environment: Environment) -> Iterator[None]:
    """Let modules be found that lay beside the workflow when it was dispatched."""
    added = [entry for entry in map(received, environment.path) if entry not in sys.path]
    sys.path.extend(added)
    try:
        yield
    finally:
        for entry in added:
            if entry in sys.path:
                sys.path.remove(entry)


def _electron(name: str, replacement: object) -> UserFunction:
    if not callable(replacement):
        message = f"{name!r} can be replaced by an electron or a function, not by {replacement!r}"
        raise TypeError(message)
    if own_attribute(replacement, "electron_object") is not None:
        return replacement
    made: UserFunction = electron(replacement)
    return made
