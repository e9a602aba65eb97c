"""Structs as browsers may see them: every value described, none included; what is large is cut, and says so. Pure."""

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
from covalab.core.model import DispatchId, Failure, NodeDetail, Value

PARTS_SHOWN: Final = 1_000
"""So many parts of the state are told, in all; those near the root first."""

BESIDE_SHOWN: Final = 200
"""So many parts of one dictionary or list are told, so that a long one does not hide the others."""

RECORDS_SHOWN: Final = 100
"""So many interventions, waits and answers are told, of each."""

_KEY_SHOWN: Final = 200


class StateNodeView(msgspec.Struct):
    """A part of the state as a page gets it: a value described, or what is below it by key; `more` was appended to it.

    `left_out` counts what is directly below it, or was appended to it, and is not told.
    """

    value: Value | None = None
    below: list[tuple[str, StateNodeView]] | None = None
    more: list[StateNodeView] = []
    left_out: int = 0


class InterventionView(msgspec.Struct, frozen=True):
    """An intervention as a page gets it: its payload as a short text, and at which node it was inserted."""

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
    """What happens in a dispatch beside its graph, as a page gets it: the JSON answer of `GET .../execution`.

    `version` counts what happened. Of `interrupts`, those that wait come first; `left_out` counts the interventions and
    answers, the oldest, that are not told.
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
    """An entry of the stream as a page gets it: what a task put into it (`value`), or what else there is to tell."""

    number: int
    kind: Kind
    at: float
    node: int
    text: str
    value: Value | None


class StreamPage(msgspec.Struct, frozen=True):
    """A piece of the stream as a page gets it: the JSON answer of `GET .../journal`."""

    items: list[StreamItem]
    missed: int
    ended: bool


def node_view(detail: NodeDetail) -> NodeDetail:
    """Return what is known of a node as a browser may see it: values are described, not included."""
    replace = msgspec.structs.replace
    attempts = [
        replace(it, outcome=replace(it.outcome, failure=_without_original(it.outcome.failure)))
        for it in detail.attempts
    ]
    return replace(detail, value=_closed(detail.value), failure=_without_original(detail.failure), attempts=attempts)


def execution_view(standing: ExecutionSnapshot) -> ExecutionView:
    """Return what happens beside a graph as a browser may see it."""
    folded = standing.folded
    said = list(folded.interventions.values())
    waiting = folded.waiting
    over = [one for one in folded.interrupts.values() if one.status != "waiting"]
    shown = [*waiting[:RECORDS_SHOWN], *over[-RECORDS_SHOWN:]]
    return ExecutionView(
        standing.summary.id,
        folded.version,
        folded.lifecycle,
        folded.paused,
        standing.mode,
        state_view(folded),
        _closed(folded.final),
        [_said(record) for record in said[-RECORDS_SHOWN:]],
        [msgspec.structs.replace(one, value=_closed(one.value)) for one in shown],
        folded.streamed,
        max(0, len(said) - RECORDS_SHOWN) + len(folded.interrupts) - len(shown),
    )


def state_view(folded: ExecutionState) -> StateNodeView:
    """Return the state, the parts near the root first, as many as may be told.

    Examples
    --------
    >>> now = ExecutionState(state={"a": StateNode(Value(1, "int", "1", b"1")), "b": StateNode(below={})})
    >>> [(key, part.value) for key, part in state_view(now).below]
    [('a', Value(size=1, type='int', text='1', data=None, digest=None)), ('b', None)]
    """
    root = StateNodeView(below=[])
    left = PARTS_SHOWN
    waiting = deque([(root, StateNode(below=folded.state))])
    while waiting:
        part, tree = waiting.popleft()
        room = min(left, BESIDE_SHOWN)
        below = list(islice((tree.below or {}).items(), room))
        more = tree.more[-room:] if room else []  # of a list that grows, the last are the news
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
    """Return a piece of the stream as a browser may see it."""
    return StreamPage([_item(number, entry) for number, entry in page.entries], page.missed, page.ended)


def _part(tree: StateNode) -> StateNodeView:
    return StateNodeView(_closed(tree.value), None if tree.below is None else [])


def _said(record: Intervention) -> InterventionView:
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
    value = None if entry.tree is None else _closed(entry.tree.value)
    return StreamItem(number, entry.kind, entry.at, entry.node, _told(entry), value)


def _told(entry: Entry) -> str:  # noqa: PLR0911 - one line for each kind that says more
    """Return what an entry says beside its kind and its value."""
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


def _closed(value: Value | None) -> Value | None:
    return None if value is None else msgspec.structs.replace(value, data=None)


def _without_original(failure: Failure | None) -> Failure | None:
    return None if failure is None else msgspec.structs.replace(failure, original=None)
