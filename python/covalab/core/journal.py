"""What happens in a dispatch beside its graph: state, stream, interventions, people's answers, its life as a handle.

One journal per dispatch, append only; `fold` makes of it how things stand. Pure: times come with the entries, and no
value is opened: a dictionary with text keys is taken apart where it is written, its leaves stay closed.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from covalab.core.model import DispatchSummary, Value

Kind = Literal[
    "set",  # state[path] = tree
    "append",  # state[path] += [tree]
    "delete",  # del state[path]
    "refused",  # a write that could not be done; data says which and why
    "stream",  # an item for whoever listens
    "final",  # the final result
    "intervene",  # somebody said something
    "insert",  # a node is about to begin: what it sees, and what of that is new
    "consume",  # a task did something about an intervention
    "expire",  # nobody saw it
    "wait",  # a node waits for a person
    "answer",  # a person answered
    "withdraw",  # the node does not wait any more
    "pause",
    "resume",
    "seal",
    "unseal",
    "close",
    "lag",  # the oldest items of the stream were let go
]
"""What an entry says. The words are stored: append, never rename."""

STREAMED: Final = frozenset(
    {"stream", "refused", "intervene", "insert", "consume", "expire", "wait", "answer", "withdraw"}
)
"""What those who listen to the stream are told."""

LEAVES_LIMIT: Final = 10_000
"""A dictionary with more leaves than this is kept closed as a whole."""

DEPTH_LIMIT: Final = 50


class StateNode(msgspec.Struct, array_like=True):
    """A part of the state: a closed value, or what is below it by key; `more` was appended to it."""

    value: Value | None = None
    below: dict[str, StateNode] | None = None
    more: list[StateNode] = []


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened. `data` is plain: texts, numbers, lists and dictionaries of these."""

    kind: Kind
    at: float
    node: int = -1
    path: tuple[str, ...] = ()
    tree: StateNode | None = None
    data: dict[str, Any] = {}


class Intervention(msgspec.Struct, frozen=True):
    """What somebody said to a running dispatch, and what became of it (TriggerFlow's ledger record)."""

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
    """A node that waits for a person, or did. `id` is ``"<dispatch id>:<node>"``, `text` shows the payload."""

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
    """How things stand after `version` entries. Changed in place by `fold`, and by nothing else.

    `seen` holds the interventions that a node saw when it began first: it sees the same ones when it is run again.
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
        """What waits for a person."""
        return [interrupt for interrupt in self.interrupts.values() if interrupt.status == "waiting"]


class ExecutionSnapshot(msgspec.Struct, frozen=True):
    """The answer of `GET /dispatches/{id}/execution`. `mode` is the ledger's, empty: off."""

    summary: DispatchSummary
    folded: ExecutionState
    mode: str = ""


class JournalPage(msgspec.Struct, frozen=True):
    """A piece of the stream: entries by number, how many before them are gone, and whether more can come."""

    entries: list[tuple[int, Entry]]
    missed: int = 0
    ended: bool = False


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `POST /dispatches/{id}/journal` asks for. `id` names what it is about, and makes a repeated one harmless.

    `value` is closed; `plain` is what a browser sends instead: a JSON value.
    """

    action: Literal["intervene", "answer", "pause", "resume", "seal", "unseal", "close"]
    id: str = ""
    request_id: str = ""
    value: Value | None = None
    plain: Any = msgspec.UNSET
    data: dict[str, Any] = {}


class NotAMapping(Exception):
    """A write below something that is no dictionary."""


def fold(folded: ExecutionState, entry: Entry) -> Entry:
    """Let an entry change how things stand.

    Parameters
    ----------
    folded
        How they stand; changed in place.
    entry
        What happened.

    Returns
    -------
    Entry
        What is to be recorded: the entry, or, of a write that cannot be done, that it was refused.

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
    folded.version += 1
    if entry.kind in STREAMED:
        folded.streamed += 1
    try:
        _CHANGES[entry.kind](folded, entry)
    except NotAMapping as error:
        folded.streamed += 1
        return Entry("refused", entry.at, entry.node, entry.path, data={"action": entry.kind, "why": str(error)})
    return entry


def _parent(folded: ExecutionState, path: tuple[str, ...], *, make: bool) -> dict[str, StateNode] | None:
    """Return the dictionary that the last part of a path is a key of."""
    current = folded.state
    for depth, part in enumerate(path[:-1], 1):
        tree = current.get(part)
        if tree is None:
            if not make:
                return None
            tree = current[part] = StateNode(below={})
        if tree.below is None or tree.more:
            if not make:
                return None
            where = ".".join(path[:depth])
            what = "a list" if tree.value is None else f"of type {tree.value.type or 'unknown'}"
            message = f"{'.'.join(path)!r} cannot be set: {where!r} is {what}, and not a dictionary with text keys"
            raise NotAMapping(message)
        current = tree.below
    return current


def _set(folded: ExecutionState, entry: Entry) -> None:
    parent = _parent(folded, entry.path, make=True)
    assert parent is not None
    assert entry.tree is not None
    parent[entry.path[-1]] = copied(entry.tree)


def _append(folded: ExecutionState, entry: Entry) -> None:
    parent = _parent(folded, entry.path, make=True)
    assert parent is not None
    assert entry.tree is not None
    parent.setdefault(entry.path[-1], StateNode()).more.append(copied(entry.tree))


def _delete(folded: ExecutionState, entry: Entry) -> None:
    parent = _parent(folded, entry.path, make=False)
    if parent is not None:
        parent.pop(entry.path[-1], None)


def copied(tree: StateNode) -> StateNode:
    """Return a tree that shares nothing that can change with another."""
    below = None if tree.below is None else {key: copied(part) for key, part in tree.below.items()}
    return StateNode(tree.value, below, [copied(part) for part in tree.more])


def find(state: dict[str, StateNode], path: tuple[str, ...]) -> StateNode | None:
    """Return what is at a path, None if there is nothing; only dictionaries have something below them."""
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


def _final(folded: ExecutionState, entry: Entry) -> None:
    assert entry.tree is not None
    folded.final = entry.tree.value


def _intervene(folded: ExecutionState, entry: Entry) -> None:
    record = Intervention(version=len(folded.interventions) + 1, created_at=entry.at, **entry.data)
    folded.interventions[record.id] = record


def _insert(folded: ExecutionState, entry: Entry) -> None:
    folded.seen.setdefault(entry.node, entry.data["seen"])
    for id_ in entry.data["new"]:
        _change(folded, id_, status="inserted", inserted_at=entry.at, insertion=entry.data["insertion"])


def _consume(folded: ExecutionState, entry: Entry) -> None:
    id_, consumer = entry.data["id"], entry.data["consumer"]
    if id_ in folded.interventions:
        said = {key: entry.data[key] for key in ("status", "note", "metadata")}
        consumers = folded.interventions[id_].consumers
        _change(folded, id_, consumers={**consumers, consumer: {**said, "consumed_at": entry.at}})


def _expire(folded: ExecutionState, entry: Entry) -> None:
    _change(folded, entry.data["id"], status="expired", expired_at=entry.at)


def _change(folded: ExecutionState, id_: str, **fields: Any) -> None:
    folded.interventions[id_] = msgspec.structs.replace(folded.interventions[id_], **fields)


def _wait(folded: ExecutionState, entry: Entry) -> None:
    folded.interrupts[entry.node] = Interrupt(node=entry.node, created_at=entry.at, **entry.data)


def _answer(folded: ExecutionState, entry: Entry) -> None:
    value = None if entry.tree is None else entry.tree.value
    folded.interrupts[entry.node] = msgspec.structs.replace(
        folded.interrupts[entry.node], status="resumed", resumed_at=entry.at, value=value, **entry.data
    )


def _withdraw(folded: ExecutionState, entry: Entry) -> None:
    folded.interrupts[entry.node] = msgspec.structs.replace(folded.interrupts[entry.node], status="cancelled")


def _pause(folded: ExecutionState, entry: Entry) -> None:
    folded.paused = entry.kind == "pause"


def _seal(folded: ExecutionState, entry: Entry) -> None:
    folded.lifecycle, folded.sealed_at = ("sealed", entry.at) if entry.kind == "seal" else ("open", None)


def _close(folded: ExecutionState, entry: Entry) -> None:
    folded.lifecycle, folded.closed_at, folded.close_reason = "closed", entry.at, entry.data["reason"]
    folded.sealed_at = entry.at if folded.sealed_at is None else folded.sealed_at


def _lag(folded: ExecutionState, entry: Entry) -> None:
    folded.dropped += entry.data["dropped"]


def _nothing(folded: ExecutionState, entry: Entry) -> None:
    pass


_CHANGES: Final = {
    "set": _set,
    "append": _append,
    "delete": _delete,
    "refused": _nothing,
    "stream": _nothing,
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


def matching(folded: ExecutionState, names: frozenset[str], *, untargeted: bool) -> list[str]:
    """Return the pending interventions meant for one of some names, or, if wanted, for nobody in particular."""
    return [
        record.id
        for record in folded.interventions.values()
        if record.status == "pending" and (record.target in names if record.target is not None else untargeted)
    ]


def visible(folded: ExecutionState, node: int) -> list[Intervention]:
    """Return the interventions that a node sees."""
    return [folded.interventions[id_] for id_ in folded.seen.get(node, ())]
