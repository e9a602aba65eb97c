"""Interactions: every change of the journal of a running dispatch, which is what happens beside its graph.

The caller has the entries recorded (`Registry.mark_changed`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from covalab import config
from covalab.core.errors import AnsweredDifferently, ConfigError, ExecutionClosed, NoSuchInterrupt
from covalab.core.journal import Entry, ExecutionState, Interrupt, Intervention, StateNode, fold, matching, visible
from covalab.core.json_values import preview_json, serialize_json
from covalab.core.model import NodeKind, Outcome, Value
from covalab.dispatcher.running import RunningDispatch

PAUSE_PREFIX: Final = ":pause_for:"
POINT_PREFIX: Final = ":intervention_point:"


def stream_items() -> int:
    """Return how many items of a stream are kept; what is wrong in the configuration is said where tasks run."""
    try:
        return config.sdk().stream_items
    except ConfigError:
        return config.SdkConfig().stream_items


def record_entry(run: RunningDispatch, entry: Entry) -> None:
    """Apply an entry to the execution state, and put it on its way to the disk."""
    if run.journal is None:
        run.journal = ExecutionState()
    entry = fold(run.journal, entry)
    run.entries.append((run.journal.version, entry))
    if entry.kind in ("pause", "resume"):
        run.progress.version += 1  # it is part of the summary, which readers ask for by version


def drop_oldest(run: RunningDispatch, most: int) -> None:
    """Drop the oldest items of the stream when there are too many."""
    if run.journal is not None and run.journal.streamed - run.journal.dropped > most + most // 10:
        record_entry(run, Entry("lag", 0.0, data={"dropped": run.journal.streamed - run.journal.dropped - most}))


def arrive(run: RunningDispatch, now: float) -> None:
    """Start nodes that the dispatcher runs itself (`pause_for`, `intervention_point`); outcomes go to `run.inbox`."""
    arrived, run.progress.ready_interactions = run.progress.ready_interactions, []
    for node in arrived:
        if run.progress.status[node] != "pending":
            continue
        if run.started_at is None:
            run.started_at = now
        run.progress.attempt[node] = 1
        if run.graph.nodes[node].kind is NodeKind.POINT:
            insert(run, node, now)
            run.inbox.append(Outcome(node, "completed", now, now, serialize_json(None)))
            continue
        known = run.journal.interrupts.get(node) if run.journal is not None else None
        if known is None:
            data = {
                "id": f"{run.id}:{node}",
                "type": run.graph.nodes[node].name.removeprefix(PAUSE_PREFIX),
                "text": _payload_text(run, node),
            }
            record_entry(run, Entry("wait", now, node, data=data))
        run.progress.mark_running(node, now if known is None else known.created_at)


def _payload_text(run: RunningDispatch, node: int) -> str:
    nodes = run.graph.nodes

    def text_at(source: int) -> str:
        value = run.progress.outputs.get(source)
        if nodes[source].kind is NodeKind.PARAMETER:
            value = run.submission.values[nodes[source].value]
        return "" if value is None else value.text

    payload = next((edge.source for edge in run.progress.inputs[node] if edge.name == "payload"), None)
    return "" if payload is None else preview_json(payload, nodes, run.progress.inputs, text_at)


def insert(run: RunningDispatch, node: int, now: float) -> list[Intervention]:
    """Insert what is meant for a node that is about to begin, and return what it sees: always the same."""
    state = run.journal or ExecutionState()
    mode = run.submission.interventions
    if node not in state.seen:
        it = run.graph.nodes[node]
        is_point = it.kind is NodeKind.POINT
        new: list[str] = []
        if is_point:
            target = it.name.removeprefix(POINT_PREFIX)
            new = matching(state, frozenset({target}) if target else frozenset(), untargeted=not target)
        elif mode == "auto":
            new = matching(state, frozenset({it.name, str(node)}), untargeted=True)
        before = [record.id for record in state.interventions.values() if record.status == "inserted"]
        where = {"mode": mode, "node_id": node, "node_name": it.name, "kind": it.kind.name.lower(), "at": now}
        record_entry(run, Entry("insert", now, node, data={"new": new, "seen": [*before, *new], "insertion": where}))
        state = run.journal or state
    return visible(state, node)


def withdraw(run: RunningDispatch, nodes: Iterable[int], now: float) -> None:
    """Nodes were cancelled: those that waited for a person do not wait any more."""
    if run.journal is None:
        return
    for node in nodes:
        interrupt = run.journal.interrupts.get(node)
        if interrupt is not None and interrupt.status == "waiting":
            record_entry(run, Entry("withdraw", now, node, data={}))


def close(run: RunningDispatch, now: float, reason: str) -> None:
    """Close the journal: what nobody saw expires."""
    state = run.journal or ExecutionState()
    if state.lifecycle == "closed":
        return
    for record in list(state.interventions.values()):
        if record.status == "pending":
            record_entry(run, Entry("expire", now, data={"id": record.id}))
    record_entry(run, Entry("close", now, data={"reason": reason}))


def answered(state: ExecutionState, dispatch: str, id_: str, request_id: str, value: Value) -> Interrupt:
    """Return what an answer is for: still waiting, or answered just so by the same request.

    Raises
    ------
    NoSuchInterrupt
        If nothing ever waited under this id.
    AnsweredDifferently
        If there was another answer, or another request answered, or it was cancelled.
    """
    found = next((one for one in state.interrupts.values() if id_ in (one.id, str(one.node))), None)
    if found is None:
        waiting = ", ".join(one.id for one in state.waiting) or "nothing"
        message = f"dispatch {dispatch} has no interrupt {id_!r}; waiting: {waiting}"
        raise NoSuchInterrupt(message)
    if found.status == "waiting":
        return found
    if found.status == "cancelled":
        message = f"{found.type!r} ({found.id}) does not wait any more: it was cancelled"
        raise AnsweredDifferently(message)
    assert found.value is not None
    same_value = (found.value.data, found.value.digest) == (value.data, value.digest)
    if found.request_id != request_id or not same_value:
        by = f" by {found.actor}" if found.actor else ""
        message = f"{found.type!r} ({found.id}) has been answered{by} with {found.value.text}; an answer is final"
        raise AnsweredDifferently(message)
    return found


def answer(
    run: RunningDispatch, interrupt: Interrupt, value: Value, now: float, *, request_id: str, actor: str | None
) -> None:
    """A person answered: that is the node's value."""
    data = {"request_id": request_id, "actor": actor}
    record_entry(run, Entry("answer", now, interrupt.node, tree=StateNode(value), data=data))
    run.inbox.append(Outcome(interrupt.node, "completed", interrupt.created_at, now, value))


def check_open(run: RunningDispatch, what: str) -> None:
    """Raise `ExecutionClosed` if a dispatch takes nothing new from outside."""
    state = run.journal
    if state is not None and state.lifecycle != "open":
        message = f"dispatch {run.id} is {state.lifecycle} and takes no {what}"
        if state.lifecycle == "sealed":
            message += f"; ct.get_execution({str(run.id)!r}).unseal() opens it again"
        raise ExecutionClosed(message)
