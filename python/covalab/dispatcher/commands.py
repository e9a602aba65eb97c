"""Commands of clients to a running dispatch: interventions, answers, pause and resume, seal and close."""

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
    """The command cannot be understood."""


async def apply_command(service: Service, dispatch: DispatchId, command: Command) -> ExecutionSnapshot:
    """Apply a client command and return the execution state once it is committed.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    ExecutionClosed
        If it does not take this any more.
    NoSuchInterrupt, AnsweredDifferently
        If there is nothing to answer, or it has been answered.
    """
    run = await service.registry.running(dispatch, _PATIENCE)
    if run is None:
        return await _answer_ended(service, dispatch, command)
    if command.action == "close":
        await _close(service, run, command)
    else:
        _apply(service, run, command)
        service.registry.mark_changed(run)
    await _committed(service, run)
    return await views.execution_snapshot(service, dispatch)


async def _committed(service: Service, run: RunningDispatch) -> None:
    """Wait until the entries so far are on the disk. Taking too long is an error; they are written all the same."""
    deadline = time.monotonic() + _PATIENCE
    last = 0 if run.journal is None else run.journal.version

    def is_committed() -> bool:
        return not run.entries or run.entries[0][0] > last  # others may go on coming meanwhile

    while not is_committed() and time.monotonic() < deadline:
        await service.feed.wait(run.id, deadline - time.monotonic())
    if not is_committed():
        message = f"dispatch {run.id} was told, but {service.folder} cannot be written; free some space, and look again"
        raise DataFolderError(message)


def _apply(service: Service, run: RunningDispatch, command: Command) -> None:
    now = service.clock.now()
    state = run.journal or ExecutionState()
    if command.action == "answer":
        value = command.value if command.plain is msgspec.UNSET else serialize_json(command.plain)
        if value is None:
            message = "an answer needs `value` or `plain`"
            raise BadCommand(message)
        found = interactions.answered(state, run.id, command.id, command.request_id, value)
        if found.status == "waiting":
            interactions.check_open(run, "answer")
            interactions.answer(run, found, value, now, request_id=command.request_id, actor=command.data.get("actor"))
    elif command.action == "intervene":
        _intervene(run, state, command, now)
    elif command.action in ("pause", "resume"):
        service.cancellation.pause(run, wanted=command.action == "pause")
    elif command.action == "seal" and state.lifecycle == "open":
        interactions.record_entry(run, Entry("seal", now))
    elif command.action == "unseal" and state.lifecycle == "sealed":
        interactions.record_entry(run, Entry("unseal", now))


def _intervene(run: RunningDispatch, state: ExecutionState, command: Command, now: float) -> None:
    if not run.submission.interventions:
        raise ExecutionClosed(_switched_off(run.id))
    if command.id in state.interventions:
        return
    interactions.check_open(run, "intervention")
    fields: dict[str, Any] = {key: command.data.get(key) for key in ("payload", "target", "author", "note")}
    metadata = command.data.get("metadata") or {}
    if not command.id or not isinstance(metadata, dict) or not isinstance(fields["target"], str | None):
        message = "an intervention needs an id, a text as its target and a dictionary as its metadata"
        raise BadCommand(message)
    interactions.record_entry(run, Entry("intervene", now, data={"id": command.id, **fields, "metadata": metadata}))


def _switched_off(dispatch: str) -> str:
    return (
        f"dispatch {dispatch} takes no interventions: its lattice was not made with "
        'intervention_mode="auto" or "planned", and has no intervention_point'
    )


async def _close(service: Service, run: RunningDispatch, command: Command) -> None:
    """Seal a dispatch, wait for what runs (or cancel it when the time is up), close it."""
    state = run.journal or ExecutionState()
    if state.paused:
        message = f"dispatch {run.id} is paused and cannot come to its end; ct.resume({str(run.id)!r}) first"
        raise DispatcherError(message)
    waiting = state.waiting
    if waiting and command.data.get("pending_interrupts", "error") != "cancel":
        names = ", ".join(f"{one.type!r} ({one.id})" for one in waiting)
        message = (
            f"dispatch {run.id} waits for {names}: answer it with ct.continue_with, "
            'or close(pending_interrupts="cancel")'
        )
        raise DispatcherError(message)
    if state.lifecycle == "open":
        interactions.record_entry(run, Entry("seal", service.clock.now()))
    run.closing = str(command.data.get("reason") or "manual")
    if waiting:
        service.cancellation.cancel_nodes(run, [one.node for one in waiting])
    service.registry.mark_changed(run)
    await service.ended(run.id, command.data.get("timeout"))
    if run.id in service.runs:
        service.cancellation.cancel_nodes(run, None)
        await service.ended(run.id, None)


async def _answer_ended(service: Service, dispatch: DispatchId, command: Command) -> ExecutionSnapshot:
    """Answer for a dispatch that does not run: a repeated command gets the same answer, a new one is refused."""
    snapshot = await views.execution_snapshot(service, dispatch)
    if snapshot.summary.status not in TERMINAL:
        message = f"dispatch {dispatch} was recorded and not started; start it first: in the sidebar, or by its trigger"
        raise ExecutionClosed(message)
    if command.action == "answer":
        value = command.value if command.plain is msgspec.UNSET else serialize_json(command.plain)
        if value is None:
            message = "an answer needs `value` or `plain`"
            raise BadCommand(message)
        interactions.answered(snapshot.state, dispatch, command.id, command.request_id, value)
    elif command.action == "intervene" and command.id not in snapshot.state.interventions:
        if not snapshot.mode:
            raise ExecutionClosed(_switched_off(dispatch))
        message = f"dispatch {dispatch} is closed and takes no intervention"
        raise ExecutionClosed(message)
    elif command.action in ("pause", "resume"):
        message = f"dispatch {dispatch} has ended ({snapshot.summary.status}); there is nothing to {command.action}"
        raise ExecutionClosed(message)
    return snapshot
