"""People in a running dispatch: answers to what waits, interventions, pause and resume."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Final

from covalab.client import Client, connect
from covalab.core.errors import NoSuchInterrupt
from covalab.core.journal import Command, Interrupt, Intervention
from covalab.core.model import DispatchId
from covalab.sdk.executions.aio import async_twin
from covalab.sdk.executions.state_reader import time_text
from covalab.sdk.ids import checked_id
from covalab.sdk.values import FieldDict, UserValue
from covalab.worker.reporting import chosen, plain, plain_dict

_PAGE: Final = 1_000


def continue_with(
    dispatch_id: str,
    interrupt_id: str | int | None = None,
    value: UserValue = True,
    *,
    request_id: str | None = None,
    actor: str | None = None,
) -> FieldDict:
    """Answer what a dispatch waits for (`pause_for`): the value becomes the value of that node.

    Parameters
    ----------
    dispatch_id : str
        The dispatch.
    interrupt_id : str or int, optional
        What is answered: ``"<dispatch id>:<node>"``, as `Result.get_meta` and the stream give it, or the node's number.
        It may be left out when only one thing waits.
    value : object, default True
        The answer: anything that can be pickled.
    request_id : str, optional
        Makes a repeated answer harmless: the same request with the same value changes nothing.
    actor : str, optional
        Who answers.

    Returns
    -------
    dict
        The record of the interrupt, as `get_interrupts` returns it.

    Raises
    ------
    KeyError
        If nothing waits, or ever waited, under this id.
    ValueError
        If it has been answered by another request, or with another value; or if several things wait and none is named.
    RuntimeError
        If the dispatch is sealed, or has not been started.
    MissingLatticeRecordError
        If there is no such dispatch.

    See Also
    --------
    get_interrupts : List what waits.
    """
    client, wanted = connect(), checked_id(dispatch_id)
    if interrupt_id is None:
        waiting = client.execution(wanted).state.waiting
        if len(waiting) != 1:
            names = ", ".join(f"{one.id} ({one.type})" for one in waiting) or "nothing"
            message = f"dispatch {wanted} waits for {names}; name the one that is answered"
            raise ValueError(message)
        interrupt_id = waiting[0].id
    serialized = client.blobs.serialize(value, what="the answer")
    command = Command("answer", str(interrupt_id), request_id or uuid.uuid4().hex, serialized, data={"actor": actor})
    snapshot = client.command(wanted, command)
    found = next(one for one in snapshot.state.interrupts.values() if str(interrupt_id) in (one.id, str(one.node)))
    return interrupt_dict(found)


def get_interrupts(dispatch_id: str | None = None, status: str | None = "waiting") -> list[FieldDict]:
    """Return what a dispatch waits for, or waited for.

    Parameters
    ----------
    dispatch_id : str, optional
        The dispatch; if not given, all that run, with all below them.
    status : {"waiting", "resumed", "cancelled"} or None, default "waiting"
        Only interrupts with this status; None: with any.

    Returns
    -------
    list of dict
        Each with ``id`` (str), ``node_id`` (int), ``type`` (str), ``status`` (str), ``text`` (str), ``created_at``
        (str), ``resumed_at`` (str or None), ``actor`` (str or None) and ``request_id`` (str or None); times are
        ISO-8601 texts.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.

    See Also
    --------
    continue_with : Answer one.
    """
    client = connect()
    wanted = _running(client, status) if dispatch_id is None else [checked_id(dispatch_id)]
    found = [one for wait in wanted for one in client.execution(wait).state.interrupts.values()]
    return [interrupt_dict(one) for one in found if status is None or one.status == status]


def _running(client: Client, status: str | None) -> Iterator[DispatchId]:
    """Yield the ids of running dispatches that may have interrupts, the newest first, each before those below it."""
    offset = 0
    while page := client.dispatches(status="running", offset=offset, count=_PAGE):
        for one in page:
            below = client.dispatches(status="running", root=one.id, count=_PAGE) if one.inner else []
            # A summary counts what waits, so only those that wait are asked; it does not count what was answered.
            yield from (it.id for it in (one, *below) if it.waiting or status != "waiting")
        offset += len(page)


def find_interrupts(id_: str) -> list[FieldDict]:
    """Return what is meant by an id: the interrupt with it, or what the dispatch with it waits for.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    dispatch, colon, _ = id_.partition(":")
    found = get_interrupts(dispatch, None if colon else "waiting")
    return [one for one in found if not colon or one["id"] == id_]


def the_one(id_: str, found: Sequence[FieldDict], lists: str) -> FieldDict:
    """Return the only interrupt that was found for an id.

    Raises
    ------
    NoSuchInterrupt
        If there is none, or more than one; `lists` is the command that lists them.
    """
    if len(found) != 1:
        names = ", ".join(f"{one['id']} ({one['type']})" for one in found) or "nothing"
        message = f"{id_} waits for {names}; name one that waits, as {lists} lists them"
        raise NoSuchInterrupt(message)
    return found[0]


def intervene(
    dispatch_id: str,
    payload: UserValue,
    *,
    author: str | None = None,
    note: str | None = None,
    target: str | int | None = None,
    metadata: FieldDict | None = None,
) -> FieldDict:
    """Send a payload to a running dispatch. It pauses nothing and changes no input: tasks may read it, and act on it.

    Parameters
    ----------
    dispatch_id : str
        The dispatch. Its lattice was made with ``intervention_mode="auto"`` or ``"planned"``.
    payload : object
        What is sent, as JSON could hold it; what JSON does not know becomes its text.
    author, note : str, optional
        Who sends it, and a remark.
    target : str or int, optional
        The name or number of the node it is meant for, or the target of an `intervention_point`; the next one, if not
        given.
    metadata : dict, optional
        Anything else to record with it.

    Returns
    -------
    dict
        The record, as `Result.get_interventions` returns it.

    Raises
    ------
    RuntimeError
        If the dispatch takes none, or is sealed or closed.
    TypeError
        If the metadata are no dictionary.
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    data = {
        "payload": plain(payload),
        "author": author,
        "note": note,
        "target": None if target is None else str(target),
        "metadata": plain_dict(metadata),
    }
    id_ = uuid.uuid4().hex
    snapshot = connect().command(checked_id(dispatch_id), Command("intervene", id_, data=data))
    return intervention_dicts([snapshot.state.interventions[id_]])[0]


def pause(dispatch_id: str) -> None:
    """Let a dispatch, with all below it, start nothing new; what runs goes on. It stays so over restarts.

    Parameters
    ----------
    dispatch_id : str
        The dispatch.

    Raises
    ------
    RuntimeError
        If it has ended, or has not been started.
    MissingLatticeRecordError
        If there is no such dispatch.

    See Also
    --------
    resume : Let it go on.
    """
    connect().command(checked_id(dispatch_id), Command("pause"))


def resume(dispatch_id: str) -> None:
    """Let a dispatch that was paused go on; one that is not paused goes on as it is. Raises as `pause` does."""
    connect().command(checked_id(dispatch_id), Command("resume"))


def interrupt_dict(interrupt: Interrupt) -> FieldDict:
    """Return an interrupt as `get_interrupts` lists it."""
    return {
        "id": interrupt.id,
        "node_id": interrupt.node,
        "type": interrupt.type,
        "status": interrupt.status,
        "text": interrupt.text,
        "created_at": time_text(interrupt.created_at),
        "resumed_at": time_text(interrupt.resumed_at),
        "actor": interrupt.actor,
        "request_id": interrupt.request_id or None,
    }


def intervention_dicts(
    found: Sequence[Intervention],
    status: str | None = None,
    target: str | None = None,
    since_version: int | None = None,
    consumed_by: str | None = None,
) -> list[FieldDict]:
    """Return the interventions that fit all that is asked for as dictionaries, times as text."""
    return [_with_times(record) for record in chosen(found, status, target, since_version, consumed_by)]


def _with_times(record: FieldDict) -> FieldDict:
    times = {key: time_text(record[key]) for key in ("created_at", "inserted_at", "rejected_at", "expired_at")}
    return {**record, **times}


async_intervene = async_twin(intervene)
async_continue_with = async_twin(continue_with)
