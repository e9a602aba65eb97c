"""Journal: the events of a dispatch beside its graph (state, stream, interventions, people's answers, lifecycle).

One journal per dispatch, append only; `fold` applies an entry to the `ExecutionState`. Pure: times come with the
entries, and no value is deserialized: a dictionary with text keys is split where it is written, its leaves stay
serialized.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from covalab.core.model import DispatchSummary, Value

Kind = Literal[
    "set",  # state[path] = tree
    "append",  # state[path] += [tree]
    "delete",  # del state[path]
    "refused",  # a write that was not possible; data says which and why
    "stream",  # an item of the stream
    "final",  # the final result
    "intervene",  # an intervention
    "insert",  # a node is about to start: the interventions it sees, and which of them are new
    "consume",  # a task did something about an intervention
    "expire",  # an intervention that no node saw
    "wait",  # a node waits for a person
    "answer",  # a person answered
    "withdraw",  # the node does not wait any more
    "pause",
    "resume",
    "seal",
    "unseal",
    "close",
    "lag",  # the oldest items of the stream were dropped
]
"""The kinds of entries. The words are stored: append, never rename."""

STREAMED: Final = frozenset(
    {"stream", "refused", "intervene", "insert", "consume", "expire", "wait", "answer", "withdraw"}
)
"""The kinds that a reader of the stream gets."""

LEAVES_LIMIT: Final = 10_000
"""A dictionary with more leaves than this is serialized as a whole."""

DEPTH_LIMIT: Final = 50


class StateNode(msgspec.Struct, array_like=True):
    """A part of the state: a serialized value, or the parts below it by key; `more` are the appended ones."""

    value: Value | None = None
    below: dict[str, StateNode] | None = None
    more: list[StateNode] = []


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An event. `data` is plain: texts, numbers, lists and dictionaries of these."""

    kind: Kind
    at: float
    node: int = -1
    path: tuple[str, ...] = ()
    tree: StateNode | None = None
    data: dict[str, Any] = {}


class Intervention(msgspec.Struct, frozen=True):
    """An intervention in a running dispatch: payload, status and consumers (TriggerFlow's ledger record)."""

    id: str
    version: int
    payload: Any
    created_at: float
    status: Literal["pending", "inserted", "expired"] = "pending"
    target: str | None = None
    author: str | None = None
    note: str | None = None
    metadata: dict[str, Any] = {}
    inserted_at: float | None = None
    insertion: dict[str, Any] | None = None
    rejected_at: float | None = None
    reject_reason: str | None = None
    expired_at: float | None = None
    consumers: dict[str, dict[str, Any]] = {}


class Interrupt(msgspec.Struct, frozen=True):
    """A node that waits, or waited, for a person. `id` is ``"<dispatch id>:<node>"``, `text` shows the payload."""

    id: str
    node: int
    type: str
    created_at: float
    status: Literal["waiting", "resumed", "cancelled"] = "waiting"
    text: str = ""
    request_id: str = ""
    actor: str | None = None
    value: Value | None = None
    resumed_at: float | None = None


class ExecutionState(msgspec.Struct):
    """State of an execution after `version` entries. Changed in place by `fold`, and by nothing else.

    `seen` holds the interventions that a node saw at its first start: it sees the same ones when it is run again.
    """

    version: int = 0
    state: dict[str, StateNode] = {}
    final: Value | None = None
    interventions: dict[str, Intervention] = {}
    interrupts: dict[int, Interrupt] = {}
    seen: dict[int, list[str]] = {}
    lifecycle: Literal["open", "sealed", "closed"] = "open"
    sealed_at: float | None = None
    closed_at: float | None = None
    close_reason: str | None = None
    paused: bool = False
    streamed: int = 0
    dropped: int = 0

    @property
    def waiting(self) -> list[Interrupt]:
        """The interrupts that wait for a person."""
        return [interrupt for interrupt in self.interrupts.values() if interrupt.status == "waiting"]


class ExecutionSnapshot(msgspec.Struct, frozen=True):
    """Snapshot of an execution: the answer of `GET /dispatches/{id}/execution`. `mode` of interventions; empty: off."""

    summary: DispatchSummary
    state: ExecutionState
    mode: str = ""


class JournalPage(msgspec.Struct, frozen=True):
    """A piece of the stream: entries by number, the count of those dropped before them, and whether it has ended."""

    entries: list[tuple[int, Entry]]
    missed: int = 0
    ended: bool = False


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client's command: the body of `POST /dispatches/{id}/journal`. With an `id`, a repeated one has no effect.

    `value` is serialized; a browser sends `plain` instead, a JSON value.
    """

    action: Literal["intervene", "answer", "pause", "resume", "seal", "unseal", "close"]
    id: str = ""
    request_id: str = ""
    value: Value | None = None
    plain: Any = msgspec.UNSET
    data: dict[str, Any] = {}


class NotAMapping(Exception):
    """A write below a value that is no dictionary."""


def fold(state: ExecutionState, entry: Entry) -> Entry:
    """Apply an entry to the state of an execution.

    Parameters
    ----------
    state
        The state; changed in place.
    entry
        The event.

    Returns
    -------
    Entry
        The entry to record: `entry`, or one of kind "refused" if it is a write that is not possible.

    Examples
    --------
    >>> now = ExecutionState()
    >>> leaf = StateNode(Value(1, "int", "1", b"1"))
    >>> fold(now, Entry("set", 0.0, path=("a", "b"), tree=leaf)).kind
    'set'
    >>> fold(now, Entry("set", 0.0, path=("a", "b", "c"), tree=leaf)).kind  # below a number
    'refused'
    >>> list(now.state["a"].below)
    ['b']
    """
    state.version += 1
    if entry.kind in STREAMED:
        state.streamed += 1
    try:
        _CHANGES[entry.kind](state, entry)
    except NotAMapping as error:
        # Recorded like any other entry: a refusal must fold to the same state after a restart.
        state.streamed += 1
        return Entry("refused", entry.at, entry.node, entry.path, data={"action": entry.kind, "why": str(error)})
    return entry


def _parent(state: ExecutionState, path: tuple[str, ...], *, make: bool) -> dict[str, StateNode] | None:
    """Return the dictionary that the last part of a path is a key of."""
    current = state.state
    for depth, part in enumerate(path[:-1], 1):
        tree = current.get(part)
        # As `mkdir -p`: dictionaries on the way are made, and deleting below nothing is no error.
        if tree is None:
            if not make:
                return None
            tree = current[part] = StateNode(below={})
        if tree.below is None or tree.more:
            if not make:
                return None
            # Writing through a value would lose it, so the write is refused; the task goes on.
            where = ".".join(path[:depth])
            what = "a list" if tree.value is None else f"of type {tree.value.type or 'unknown'}"
            message = f"{'.'.join(path)!r} cannot be set: {where!r} is {what}, and not a dictionary with text keys"
            raise NotAMapping(message)
        current = tree.below
    return current


def _set(state: ExecutionState, entry: Entry) -> None:
    parent = _parent(state, entry.path, make=True)
    assert parent is not None
    assert entry.tree is not None
    # A copy: the entry is recorded after this, and later entries change the tree in place.
    parent[entry.path[-1]] = copied(entry.tree)


def _append(state: ExecutionState, entry: Entry) -> None:
    parent = _parent(state, entry.path, make=True)
    assert parent is not None
    assert entry.tree is not None
    parent.setdefault(entry.path[-1], StateNode()).more.append(copied(entry.tree))


def _delete(state: ExecutionState, entry: Entry) -> None:
    parent = _parent(state, entry.path, make=False)
    if parent is not None:
        parent.pop(entry.path[-1], None)


def copied(tree: StateNode) -> StateNode:
    """Return a deep copy of a tree; values are immutable and shared."""
    below = None if tree.below is None else {key: copied(part) for key, part in tree.below.items()}
    return StateNode(tree.value, below, [copied(part) for part in tree.more])


def find(state: dict[str, StateNode], path: tuple[str, ...]) -> StateNode | None:
    """Return the part at a path, or None; only dictionaries have parts below them."""
    current: dict[str, StateNode] | None = state
    tree: StateNode | None = None
    for part in path:
        if current is None:
            return None
        tree = current.get(part)
        if tree is None:
            return None
        current = None if tree.more else tree.below
    return tree


def _final(state: ExecutionState, entry: Entry) -> None:
    assert entry.tree is not None
    state.final = entry.tree.value


def _intervene(state: ExecutionState, entry: Entry) -> None:
    # Versions count interventions of a dispatch, so that a reader can ask for those after the last it knows.
    record = Intervention(version=len(state.interventions) + 1, created_at=entry.at, **entry.data)
    state.interventions[record.id] = record


def _insert(state: ExecutionState, entry: Entry) -> None:
    # The first start counts: a node that is run again sees what it saw then, so that a retry is a repetition.
    state.seen.setdefault(entry.node, entry.data["seen"])
    for id_ in entry.data["new"]:
        _change(state, id_, status="inserted", inserted_at=entry.at, insertion=entry.data["insertion"])


def _consume(state: ExecutionState, entry: Entry) -> None:
    id_, consumer = entry.data["id"], entry.data["consumer"]
    # Tasks send these: an unknown id must not make the journal impossible to fold.
    if id_ in state.interventions:
        consumed = {key: entry.data[key] for key in ("status", "note", "metadata")}
        consumers = state.interventions[id_].consumers
        _change(state, id_, consumers={**consumers, consumer: {**consumed, "consumed_at": entry.at}})


def _expire(state: ExecutionState, entry: Entry) -> None:
    _change(state, entry.data["id"], status="expired", expired_at=entry.at)


def _change(state: ExecutionState, id_: str, **fields: Any) -> None:
    state.interventions[id_] = msgspec.structs.replace(state.interventions[id_], **fields)


def _wait(state: ExecutionState, entry: Entry) -> None:
    state.interrupts[entry.node] = Interrupt(node=entry.node, created_at=entry.at, **entry.data)


def _answer(state: ExecutionState, entry: Entry) -> None:
    value = None if entry.tree is None else entry.tree.value
    state.interrupts[entry.node] = msgspec.structs.replace(
        state.interrupts[entry.node], status="resumed", resumed_at=entry.at, value=value, **entry.data
    )


def _withdraw(state: ExecutionState, entry: Entry) -> None:
    state.interrupts[entry.node] = msgspec.structs.replace(state.interrupts[entry.node], status="cancelled")


def _pause(state: ExecutionState, entry: Entry) -> None:
    state.paused = entry.kind == "pause"


def _seal(state: ExecutionState, entry: Entry) -> None:
    state.lifecycle, state.sealed_at = ("sealed", entry.at) if entry.kind == "seal" else ("open", None)


def _close(state: ExecutionState, entry: Entry) -> None:
    state.lifecycle, state.closed_at, state.close_reason = "closed", entry.at, entry.data["reason"]
    # Closing seals; an earlier seal keeps its time.
    state.sealed_at = entry.at if state.sealed_at is None else state.sealed_at


def _lag(state: ExecutionState, entry: Entry) -> None:
    state.dropped += entry.data["dropped"]


def _no_change(state: ExecutionState, entry: Entry) -> None:
    pass


_CHANGES: Final = {
    "set": _set,
    "append": _append,
    "delete": _delete,
    "refused": _no_change,
    "stream": _no_change,
    "final": _final,
    "intervene": _intervene,
    "insert": _insert,
    "consume": _consume,
    "expire": _expire,
    "wait": _wait,
    "answer": _answer,
    "withdraw": _withdraw,
    "pause": _pause,
    "resume": _pause,
    "seal": _seal,
    "unseal": _seal,
    "close": _close,
    "lag": _lag,
}


def matching(state: ExecutionState, names: frozenset[str], *, untargeted: bool) -> list[str]:
    """Return the pending interventions targeted at one of some names and, if `untargeted`, those without a target."""
    return [
        record.id
        for record in state.interventions.values()
        if record.status == "pending" and (record.target in names if record.target is not None else untargeted)
    ]


def visible(state: ExecutionState, node: int) -> list[Intervention]:
    """Return the interventions that a node sees."""
    return [state.interventions[id_] for id_ in state.seen.get(node, ())]
