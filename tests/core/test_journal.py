"""The journal folds to what plain dictionaries would say, and refuses what they could not hold."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from covalab.core.codec import decode, serialize_small
from covalab.core.journal import Entry, ExecutionState, StateNode, find, fold, matching, visible


def tree_of(value: Any) -> StateNode:
    """Take a value apart as a task does."""
    if isinstance(value, dict):
        return StateNode(below={key: tree_of(part) for key, part in value.items()})
    return StateNode(serialize_small(value))


def opened(tree: StateNode) -> Any:
    """Put a tree together as a reader does."""
    if tree.value is not None:
        first: Any = decode(tree.value.data or b"")
    elif tree.below is not None:
        first = {key: opened(part) for key, part in tree.below.items()}
    else:
        first = []
    if not tree.more:
        return first
    return [*(first if isinstance(first, list) else [first]), *map(opened, tree.more)]


def write(state: dict[str, Any], kind: str, path: tuple[str, ...], value: Any) -> bool:
    """Do to plain dictionaries what an entry does; False when it cannot be done."""
    current: Any = state
    for part in path[:-1]:
        if kind == "delete" and (not isinstance(current, dict) or part not in current):
            return True
        if not isinstance(current, dict):
            return False
        current = current.setdefault(part, {})
    if not isinstance(current, dict):
        return kind == "delete"
    last = path[-1]
    if kind == "delete":
        current.pop(last, None)
    elif kind == "set":
        current[last] = value
    elif last not in current:
        current[last] = [value]
    else:
        current[last] = [*(current[last] if isinstance(current[last], list) else [current[last]]), value]
    return True


@pytest.mark.parametrize("seed", range(40))
def test_state_is_what_plain_dictionaries_would_be(seed: int) -> None:
    """Any order of set, append and delete; what is refused changes nothing but the list of what was refused."""
    rng = random.Random(seed)
    plain: dict[str, Any] = {}
    folded, refused = ExecutionState(), 0
    values: list[Any] = [1, "text", [1, 2], {"x": 1, "y": {"z": 2}}, {}, None]
    for number in range(60):
        kind: Any = rng.choice(["set", "set", "append", "delete"])
        path = tuple(rng.choices("abc", k=rng.randint(1, 3)))
        value = rng.choice(values)
        tree = tree_of(value) if kind != "delete" else None
        recorded = fold(folded, Entry(kind, float(number), 0, path, tree))
        done = write(plain, kind, path, msgspec.json.decode(msgspec.json.encode(value)))
        refused += not done
        assert (recorded.kind == "refused") is not done
        assert {key: opened(part) for key, part in folded.state.items()} == plain
    assert (folded.version, folded.streamed) == (60, refused)


def test_replaying_what_was_recorded_gives_the_same() -> None:
    """Also where a write was refused, and after the entries have been on a disk."""
    folded = ExecutionState()
    entries = (
        Entry("set", 0.0, 1, ("a",), tree_of({"b": 1})),
        Entry("set", 1.0, 1, ("a", "b", "c"), tree_of(2)),
        Entry("intervene", 2.0, data={"id": "i", "payload": [1], "target": None}),
        Entry("insert", 3.0, 4, data={"new": ["i"], "seen": ["i"], "insertion": {"mode": "auto"}}),
        Entry("wait", 4.0, 5, data={"id": "d:5", "type": "approval", "text": "x"}),
        Entry("answer", 5.0, 5, tree=tree_of(True), data={"request_id": "r", "actor": None}),
        Entry("pause", 6.0),
        Entry("seal", 7.0),
        Entry("close", 8.0, data={"reason": "manual"}),
    )
    recorded = [msgspec.msgpack.encode(fold(folded, entry)) for entry in entries]
    again = ExecutionState()
    for data in recorded:
        fold(again, msgspec.msgpack.decode(data, type=Entry))

    assert again == folded
    assert folded.interrupts[5].status == "resumed"
    assert [record.status for record in visible(folded, 4)] == ["inserted"]
    assert (folded.lifecycle, folded.sealed_at, folded.close_reason) == ("closed", 7.0, "manual")


def test_an_entry_is_not_changed_by_what_comes_after() -> None:
    """What one entry brought is copied: a later write below it leaves the entry as it was."""
    first = Entry("set", 0.0, 0, ("a",), tree_of({"b": 1}))
    folded = ExecutionState()
    fold(folded, first)
    fold(folded, Entry("set", 0.0, 0, ("a", "c"), tree_of(2)))

    assert first.tree is not None
    assert list(first.tree.below or {}) == ["b"]
    found = find(folded.state, ("a", "c"))
    assert found is not None
    assert opened(found) == 2
    assert find(folded.state, ("a", "b", "c")) is None


def test_interventions_are_matched_by_target() -> None:
    """A targeted one only for its target, an untargeted one where that is wanted; what is inserted is not again."""
    folded = ExecutionState()
    for id_, target in (("one", "train"), ("two", None)):
        fold(folded, Entry("intervene", 0.0, data={"id": id_, "payload": 0, "target": target}))

    assert matching(folded, frozenset({"train", "3"}), untargeted=True) == ["one", "two"]
    assert matching(folded, frozenset({"test"}), untargeted=True) == ["two"]
    assert matching(folded, frozenset({"train"}), untargeted=False) == ["one"]
    fold(folded, Entry("insert", 0.0, 3, data={"new": ["one"], "seen": ["one"], "insertion": {}}))
    assert matching(folded, frozenset({"train"}), untargeted=False) == []
