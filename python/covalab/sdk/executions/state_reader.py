"""State of an execution: reads what tasks wrote, metadata, the final result. `Result` has these as methods.

Each reading asks the dispatcher, and every value is a copy. The names are TriggerFlow's.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from covalab.client import Client
from covalab.core.assemble import returns_nothing
from covalab.core.journal import ExecutionSnapshot, StateNode, find
from covalab.core.lifecycle import TERMINAL, all_completed
from covalab.core.model import Node, Value
from covalab.sdk.recorded_values import RecordedValues
from covalab.sdk.values import FieldDict, UserValue

_MISSING: Final = object()
_FINAL_RESULT: Final = "$final_result"
_INTERVENTIONS: Final = "$interventions"
_OWN_KEYS: Final = (_FINAL_RESULT, _INTERVENTIONS)
"""The parts of the state that covalab writes."""


class SnapshotReader:
    """Reader of an `ExecutionSnapshot`: state, metadata and final result, deserialized."""

    def __init__(self, client: Client, dispatch_id: str) -> None:
        self._client = client
        self._id = dispatch_id

    def snapshot(self, *, wait: float = 0.0, final: bool = False, deadline: float | None = None) -> ExecutionSnapshot:
        """Ask for the snapshot of this moment, or of one within `wait` seconds."""
        with self._client.until(deadline):
            return self._client.execution(self._id, wait=wait, final=final)

    def deserialized(self, tree: StateNode, what: str = "state") -> UserValue:
        """Return a part of the state, as objects of its own."""
        if not tree.more:
            if tree.below is not None:
                return {key: self.deserialized(part, what) for key, part in tree.below.items()}
            return None if tree.value is None else self._value(tree.value, what)
        items = [self.deserialized(part, what) for part in tree.more]
        if tree.value is None and tree.below is None:
            return items
        # The state was set before something was appended: a list is continued, anything else is the first item.
        first = self.deserialized(StateNode(tree.value, tree.below), what)
        return [*first, *items] if isinstance(first, list) else [first, *items]

    def own_parts(self, snapshot: ExecutionSnapshot) -> FieldDict:
        """Return the parts of the state that covalab writes."""
        found: FieldDict = {}
        if snapshot.state.final is not None:
            found[_FINAL_RESULT] = self._value(snapshot.state.final, "the final result")
        if snapshot.state.interventions:
            found[_INTERVENTIONS] = {
                record.id: msgspec.to_builtins(record) for record in snapshot.state.interventions.values()
            }
        return found

    def whole_state(self, snapshot: ExecutionSnapshot) -> dict[str, UserValue]:
        """Return the whole state, as `Result.snapshot` has it."""
        state = {key: self.deserialized(tree, f"state {key!r}") for key, tree in snapshot.state.state.items()}
        return {**state, **self.own_parts(snapshot)}

    def meta(self) -> FieldDict:
        """Return what is known about the execution itself; see `Result.get_meta`."""
        snapshot = self.snapshot()
        summary, folded = snapshot.summary, snapshot.state
        status = {"pending": "created"}.get(summary.status, summary.status)
        return {
            "execution_id": str(summary.id),
            "run_id": str(summary.id),
            "flow_name": summary.name,
            "status": "waiting" if folded.waiting and summary.status == "running" else status,
            "lifecycle_state": folded.lifecycle,
            "created_at": time_text(summary.created_at),
            "started_at": time_text(summary.started_at),
            "closed_at": time_text(folded.closed_at),
            "close_reason": folded.close_reason,
            "state_version": folded.version,
            "dispatch_id": str(summary.id),
            "root_dispatch_id": str(summary.root or summary.id),
            "sealed_at": time_text(folded.sealed_at),
            "recovered_count": snapshot.summary.recovered,
            "paused": folded.paused,
            "waiting_for": [interrupt.id for interrupt in folded.waiting],
        }

    def final_result(self, snapshot: ExecutionSnapshot) -> tuple[bool, UserValue]:
        """Return whether there is a final result by now, and it."""
        if snapshot.state.final is not None:
            return True, self._value(snapshot.state.final, "the final result")
        summary = snapshot.summary
        if summary.status == "completed" or (summary.status == "running" and all_completed(summary.counts)):
            record = self._client.record(self._id)
            if not returns_nothing(record.graph, record.values):
                return True, RecordedValues(record, self._client.blobs).result()
        return (True, self.whole_state(snapshot)) if summary.status in TERMINAL else (False, None)

    def expired(self, timeout: float | None, *, raise_on_timeout: bool) -> None:
        """Raise ``TimeoutError``, or warn, because there is no final result yet."""
        message = f"dispatch {self._id} has no final result after {timeout:g} s; ask again, or wait longer"
        if raise_on_timeout:
            raise TimeoutError(message)
        warnings.warn(message, UserWarning, stacklevel=3)

    def _value(self, value: Value, what: str) -> UserValue:
        return self._client.blobs.deserialize(value, what=f"{what} of dispatch {self._id}")


class StateReader(SnapshotReader):
    """The state by key, with the branch of the nodes.

    Parameters
    ----------
    client : Client
        The connection to the dispatcher.
    dispatch_id : str
        The dispatch.
    nodes : sequence of Node
        The nodes of its graph.
    node_result : callable
        `Result.get_node_result`: takes a node's number.
    """

    def __init__(
        self, client: Client, dispatch_id: str, nodes: Sequence[Node], node_result: Callable[[int], FieldDict]
    ) -> None:
        super().__init__(client, dispatch_id)
        self._nodes = nodes
        self._node_result = node_result

    def state(self, key: str | Sequence[str | int] | None, default: UserValue) -> UserValue:
        """Return a part of the state; see `Result.get_state`."""
        if key is None:
            return StateView(self)
        path = tuple(key.split(".")) if isinstance(key, str) else tuple(key)
        if path and path[0] == "nodes":
            return self._part_of_nodes(path[1:], default)
        snapshot = self.snapshot()
        if path and path[0] in _OWN_KEYS:
            found: UserValue = self.own_parts(snapshot).get(str(path[0]), _MISSING)
            for part in path[1:]:
                found = found.get(part, _MISSING) if isinstance(found, dict) else _MISSING
            return default if found is _MISSING else found
        tree = find(snapshot.state.state, path) if all(isinstance(part, str) for part in path) else None  # type: ignore[arg-type]
        return default if tree is None else self.deserialized(tree, f"state {path!r}")

    def nodes(self) -> NodesView:
        """Return the branch of the nodes."""
        return NodesView(self._nodes, self._node_result)

    def _part_of_nodes(self, path: tuple[str | int, ...], default: UserValue) -> UserValue:
        nodes = self.nodes()
        if not path:
            return nodes
        found: UserValue = nodes.get(path[0])
        for part in path[1:]:
            found = found.get(part, _MISSING) if isinstance(found, Mapping) else _MISSING
        return default if (found is None and len(path) == 1) or found is _MISSING else found


class StateView(Mapping[str, UserValue]):
    """The state of an execution. Values are deserialized when they are read; `to_dict` deserializes all.

    ``view["nodes"]`` is the branch of the nodes; it is not among the keys.
    """

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._snapshot = reader.snapshot()

    def __getitem__(self, key: str) -> UserValue:
        if key == "nodes":
            return self._reader.nodes()
        if key in _OWN_KEYS:
            return self._reader.own_parts(self._snapshot)[key]
        return self._reader.deserialized(self._snapshot.state.state[key], f"state {key!r}")

    def __iter__(self) -> Iterator[str]:
        folded = self._snapshot.state
        yield from folded.state
        if folded.final is not None:
            yield _FINAL_RESULT
        if folded.interventions:
            yield _INTERVENTIONS

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, StateView) else self.to_dict() == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<state: {', '.join(self) or 'empty'}>"

    def to_dict(self) -> dict[str, UserValue]:
        """Return the state as a dictionary of copies."""
        return self._reader.whole_state(self._snapshot)


class NodesView(Mapping[Any, Mapping[str, UserValue]]):
    """The nodes of a dispatch by name (of several: ``name``, ``name_1``, ...) or by number, fetched when read."""

    def __init__(self, nodes: Sequence[Node], node_result: Callable[[int], FieldDict]) -> None:
        self._nodes = nodes
        self._node_result = node_result
        self._numbers: dict[str, int] = {}
        counts: dict[str, int] = {}
        for number, node in enumerate(nodes):
            n = counts[node.name] = counts.get(node.name, -1) + 1
            name = node.name if not n else f"{node.name}_{n}"
            self._numbers.setdefault(name, number)

    def __getitem__(self, key: str | int) -> NodeView:
        number = self._numbers.get(key) if isinstance(key, str) else key
        if number is None and isinstance(key, str) and key.isdigit():
            number = int(key)
        if number is None or not 0 <= number < len(self._nodes):
            raise KeyError(key)
        return NodeView({"attempts": 0, **self._node_result(number)})

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class NodeView(Mapping[str, UserValue]):
    """State of one node, fetched when this was made; the output is deserialized when it is read."""

    _FIELDS = ("status", "output", "error", "attempts", "start_time", "end_time", "stdout", "stderr")

    def __init__(self, fields: FieldDict) -> None:
        self._fields = fields

    def __getitem__(self, key: str) -> UserValue:
        if key not in self._FIELDS:
            raise KeyError(key)
        found = self._fields[key]
        return found.get_deserialized() if key == "output" and found is not None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._FIELDS)

    def __len__(self) -> int:
        return len(self._FIELDS)


def time_text(seconds: float | None) -> str | None:
    """Return a time as ISO-8601 text in UTC; None stays None."""
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat().replace("+00:00", "Z")
