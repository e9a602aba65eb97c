"""Browser views: structs with values described, not included, and cut to a size that a page can draw. Pure."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final, Literal

import msgspec

from covalab.core.codec import preview
from covalab.core.journal import (
    Entry,
    ExecutionSnapshot,
    ExecutionState,
    Interrupt,
    Intervention,
    JournalPage,
    Kind,
    StateNode,
)
from covalab.core.model import DispatchId, Failure, NodeDetail, NodeOutput, Value

PARTS_SHOWN: Final = 1_000
"""The most parts of the state in an answer, those near the root first."""

BESIDE_SHOWN: Final = 200
"""The most parts of one dictionary or list in an answer, so that a long one does not hide the others."""

RECORDS_SHOWN: Final = 100
"""The most interventions, waits and answers in an answer, of each."""

_KEY_SHOWN: Final = 200


class StateNodeView(msgspec.Struct):
    """View of a part of the state: a value described, or the parts below it by key; `more` are the appended ones.

    `left_out` counts the parts directly below it, and the appended ones, that the answer does not have.
    """

    value: Value | None = None
    below: list[tuple[str, StateNodeView]] | None = None
    more: list[StateNodeView] = []
    left_out: int = 0


class InterventionView(msgspec.Struct, frozen=True):
    """View of an intervention: its payload as a short text, and the node where it was inserted."""

    id: str
    version: int
    status: Literal["pending", "inserted", "expired"]
    text: str
    created_at: float
    author: str | None
    target: str | None
    note: str | None
    inserted_at: float | None
    where: str
    consumers: list[str]


class ExecutionView(msgspec.Struct, frozen=True):
    """View of an execution (state, stream, interventions): the JSON answer of `GET .../execution`.

    `version` counts journal entries. Of `interrupts`, those that wait come first; `left_out` counts the oldest
    interventions and answers, which it does not have.
    """

    id: DispatchId
    version: int
    lifecycle: Literal["open", "sealed", "closed"]
    paused: bool
    mode: str
    state: StateNodeView
    final: Value | None
    interventions: list[InterventionView]
    interrupts: list[Interrupt]
    streamed: int
    left_out: int


class StreamItem(msgspec.Struct, frozen=True):
    """View of a stream entry: the `value` that a task put into it, or a `text` about it."""

    number: int
    kind: Kind
    at: float
    node: int
    text: str
    value: Value | None


class StreamPage(msgspec.Struct, frozen=True):
    """View of a piece of the stream: the JSON answer of `GET .../journal`."""

    items: list[StreamItem]
    missed: int
    ended: bool


def node_view(detail: NodeDetail) -> NodeDetail:
    """Return the detail of a node for a browser: values are described, not included."""
    replace = msgspec.structs.replace
    attempts = [
        replace(
            it,
            outcome=replace(
                it.outcome,
                failure=_without_values(it.outcome.failure),
                outputs=_without_data(it.outcome.outputs),
                times=None,
            ),
        )
        for it in detail.attempts
    ]
    return replace(
        detail,
        value=_without_data(detail.value),
        failure=_without_values(detail.failure),
        attempts=attempts,
        outputs=_without_data(detail.outputs),
    )


def outputs_view(found: dict[int, NodeOutput]) -> dict[int, NodeOutput]:
    """Return the output of nodes for a browser, which asks for those of one node to show them."""
    replace = msgspec.structs.replace
    return {
        node: replace(one, failure=_without_values(one.failure), outputs=_without_data(one.outputs))
        for node, one in found.items()
    }


def execution_view(snapshot: ExecutionSnapshot) -> ExecutionView:
    """Return an execution for a browser."""
    state = snapshot.state
    interventions = list(state.interventions.values())
    waiting = state.waiting
    answered = [one for one in state.interrupts.values() if one.status != "waiting"]
    shown = [*waiting[:RECORDS_SHOWN], *answered[-RECORDS_SHOWN:]]
    return ExecutionView(
        snapshot.summary.id,
        state.version,
        state.lifecycle,
        state.paused,
        snapshot.mode,
        state_view(state),
        _without_data(state.final),
        [_intervention_view(record) for record in interventions[-RECORDS_SHOWN:]],
        [msgspec.structs.replace(one, value=_without_data(one.value)) for one in shown],
        state.streamed,
        max(0, len(interventions) - RECORDS_SHOWN) + len(state.interrupts) - len(shown),
    )


def state_view(state: ExecutionState) -> StateNodeView:
    """Return the state for a browser, the parts near the root first, at most `PARTS_SHOWN`.

    Examples
    --------
    >>> now = ExecutionState(state={"a": StateNode(Value(1, "int", "1", b"1")), "b": StateNode(below={})})
    >>> [(key, part.value and part.value.text, part.value and part.value.data) for key, part in state_view(now).below]
    [('a', '1', None), ('b', None, None)]
    """
    # Breadth first, so that the limit cuts leaves and not whole branches.
    root = StateNodeView(below=[])
    left = PARTS_SHOWN
    waiting = deque([(root, StateNode(below=state.state))])
    while waiting:
        part, tree = waiting.popleft()
        room = min(left, BESIDE_SHOWN)
        below = list(islice((tree.below or {}).items(), room))
        more = tree.more[-room:] if room else []  # of a list that grows, the last are the new ones
        left -= len(below) + len(more)
        part.left_out = len(tree.below or ()) - len(below) + len(tree.more) - len(more)
        for key, child in below:
            assert part.below is not None
            part.below.append((key if len(key) <= _KEY_SHOWN else f"{key[:_KEY_SHOWN]}…", _part(child)))
            waiting.append((part.below[-1][1], child))
        for child in more:
            part.more.append(_part(child))
            waiting.append((part.more[-1], child))
    return root


def stream_view(page: JournalPage) -> StreamPage:
    """Return a piece of the stream for a browser."""
    return StreamPage([_item(number, entry) for number, entry in page.entries], page.missed, page.ended)


def _part(tree: StateNode) -> StateNodeView:
    return StateNodeView(_without_data(tree.value), None if tree.below is None else [])


def _intervention_view(record: Intervention) -> InterventionView:
    return InterventionView(
        record.id,
        record.version,
        record.status,
        preview(record.payload),
        record.created_at,
        record.author,
        record.target,
        record.note,
        record.inserted_at,
        str((record.insertion or {}).get("node_name", "")),
        list(record.consumers)[:RECORDS_SHOWN],
    )


def _item(number: int, entry: Entry) -> StreamItem:
    value = None if entry.tree is None else _without_data(entry.tree.value)
    return StreamItem(number, entry.kind, entry.at, entry.node, _entry_text(entry), value)


def _entry_text(entry: Entry) -> str:  # noqa: PLR0911 - one line for each kind that says more
    """Return the text of an entry, beside its kind and its value."""
    data = entry.data
    match entry.kind:
        case "refused":
            return str(data.get("why", ""))
        case "intervene":
            return " · ".join(text for text in (preview(data.get("payload")), data.get("author")) if text)
        case "insert":
            return f"{len(data['new'])} new" if data.get("new") else "none"
        case "consume":
            return str(data.get("consumer", ""))
        case "wait":
            return " · ".join(text for text in (data.get("type"), data.get("text")) if text)
        case "answer":
            return str(data.get("actor") or "")
        case _:
            return ""


def _without_data(value: Value | None) -> Value | None:
    return None if value is None else msgspec.structs.replace(value, data=None)


def _without_values(failure: Failure | None) -> Failure | None:
    return None if failure is None else msgspec.structs.replace(failure, original=None, left=None)
