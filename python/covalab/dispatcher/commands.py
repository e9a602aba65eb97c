"""What can be asked of a dispatch while it runs: interventions, answers, pause and resume, its life as a handle."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from covalab.core.errors import CovalabError, DataFolderError, DispatcherError, ExecutionClosed
from covalab.core.journal import Command, Entry, ExecutionSnapshot, ExecutionState
from covalab.core.json_values import serialize_json
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchId
from covalab.dispatcher import interactions, views
from covalab.dispatcher.running import RunningDispatch
from covalab.dispatcher.service import Service

_PATIENCE: Final = 2.0


class BadCommand(CovalabError, ValueError):
    """The wish cannot be understood."""


async def apply_command(service: Service, dispatch: DispatchId, wish: Command) -> ExecutionSnapshot:
    """Do what somebody wishes; returns how things stand then, recorded.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    ExecutionClosed
        If it does not take this any more.
    NoSuchInterrupt, AnsweredDifferently
        If there is nothing to answer, or it has been answered.
    """
    run = service.runs.get(dispatch)
    if run is None:
        return await _too_late(service, dispatch, wish)
    if wish.action == "close":
        await _close(service, run, wish)
    else:
        _grant(service, run, wish)
        service.note(run)
    await _written(service, run)
    return await views.execution_snapshot(service, dispatch)


async def _written(service: Service, run: RunningDispatch) -> None:
    """Wait until what was noted is on the disk; what takes too long is an error, and is written all the same."""
    deadline = time.monotonic() + _PATIENCE
    last = 0 if run.journal is None else run.journal.version

    def is_written() -> bool:
        return not run.entries or run.entries[0][0] > last  # others may go on being noted meanwhile

    while not is_written() and time.monotonic() < deadline:
        await service.feed.wait(run.id, deadline - time.monotonic())
    if not is_written():
        message = f"dispatch {run.id} was told, but {service.folder} cannot be written; free some space, and look again"
        raise DataFolderError(message)


def _grant(service: Service, run: RunningDispatch, wish: Command) -> None:
    now = time.time()
    folded = run.journal or ExecutionState()
    if wish.action == "answer":
        value = wish.value if wish.plain is msgspec.UNSET else serialize_json(wish.plain)
        if value is None:
            message = "an answer needs `value` or `plain`"
            raise BadCommand(message)
        found = interactions.answered(folded, run.id, wish.id, wish.request_id, value)
        if found.status == "waiting":
            interactions.check_open(run, "answer")
            interactions.answer(run, found, value, now, request_id=wish.request_id, actor=wish.data.get("actor"))
    elif wish.action == "intervene":
        _intervene(run, folded, wish, now)
    elif wish.action in ("pause", "resume"):
        service.pause(run, wanted=wish.action == "pause")
    elif wish.action == "seal" and folded.lifecycle == "open":
        interactions.note(run, Entry("seal", now))
    elif wish.action == "unseal" and folded.lifecycle == "sealed":
        interactions.note(run, Entry("unseal", now))


def _intervene(run: RunningDispatch, folded: ExecutionState, wish: Command, now: float) -> None:
    if not run.submission.interventions:
        raise ExecutionClosed(_switched_off(run.id))
    if wish.id in folded.interventions:
        return
    interactions.check_open(run, "intervention")
    fields: dict[str, Any] = {key: wish.data.get(key) for key in ("payload", "target", "author", "note")}
    metadata = wish.data.get("metadata") or {}
    if not wish.id or not isinstance(metadata, dict) or not isinstance(fields["target"], str | None):
        message = "an intervention needs an id, a text as its target and a dictionary as its metadata"
        raise BadCommand(message)
    interactions.note(run, Entry("intervene", now, data={"id": wish.id, **fields, "metadata": metadata}))


def _switched_off(dispatch: str) -> str:
    return (
        f"dispatch {dispatch} takes no interventions: its lattice was not made with "
        'intervention_mode="auto" or "planned", and has no intervention_point'
    )


async def _close(service: Service, run: RunningDispatch, wish: Command) -> None:
    """Seal, let what runs end (or cancel it when the time is up), close."""
    folded = run.journal or ExecutionState()
    if folded.paused:
        message = f"dispatch {run.id} is paused and cannot come to its end; ct.resume({str(run.id)!r}) first"
        raise DispatcherError(message)
    waiting = folded.waiting
    if waiting and wish.data.get("pending_interrupts", "error") != "cancel":
        names = ", ".join(f"{one.type!r} ({one.id})" for one in waiting)
        message = (
            f"dispatch {run.id} waits for {names}: answer it with ct.continue_with, "
            'or close(pending_interrupts="cancel")'
        )
        raise DispatcherError(message)
    if folded.lifecycle == "open":
        interactions.note(run, Entry("seal", time.time()))
    run.closing = str(wish.data.get("reason") or "manual")
    if waiting:
        service.cancel_nodes(run, [one.node for one in waiting])
    service.note(run)
    await service.ended(run.id, wish.data.get("timeout"))
    if run.id in service.runs:
        service.cancel_nodes(run, None)
        await service.ended(run.id, None)


async def _too_late(service: Service, dispatch: DispatchId, wish: Command) -> ExecutionSnapshot:
    """Answer for a dispatch that does not run: what was done before is not done twice, and nothing new is."""
    standing = await views.execution_snapshot(service, dispatch)
    if standing.summary.status not in TERMINAL:
        message = f"dispatch {dispatch} was recorded and not started; start it first: in the sidebar, or by its trigger"
        raise ExecutionClosed(message)
    if wish.action == "answer":
        value = wish.value if wish.plain is msgspec.UNSET else serialize_json(wish.plain)
        if value is None:
            message = "an answer needs `value` or `plain`"
            raise BadCommand(message)
        interactions.answered(standing.folded, dispatch, wish.id, wish.request_id, value)
    elif wish.action == "intervene" and wish.id not in standing.folded.interventions:
        if not standing.mode:
            raise ExecutionClosed(_switched_off(dispatch))
        message = f"dispatch {dispatch} is closed and takes no intervention"
        raise ExecutionClosed(message)
    elif wish.action in ("pause", "resume"):
        message = f"dispatch {dispatch} has ended ({standing.summary.status}); there is nothing to {wish.action}"
        raise ExecutionClosed(message)
    return standing
