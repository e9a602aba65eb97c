"""A value that cannot change is serialized once, however often it is used; any other one at each use."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import covalab as ct
from covalab.blobs import InMemory
from covalab.core.model import Value
from covalab.sdk.building.plan import Plan
from covalab.sdk.building.value_table import deserialize_inputs, is_read_only_array

SIZE = 100_000


class Counting(InMemory):
    """Counts how often a value of each type is serialized."""

    def __init__(self) -> None:
        self.serialized: Counter[str] = Counter()

    def serialize(self, obj: object, *, what: str = "value", text: str | None = None) -> Value:
        """Serialize it and count."""
        self.serialized[type(obj).__name__] += 1
        return super().serialize(obj, what=what, text=text)


@ct.electron
def use(data: Any, *more: Any) -> int:
    """Take anything."""
    return 0


def used(n: int, data: object, change: Callable[[Any], object] = lambda data: None) -> tuple[Counter[str], Plan]:
    """Plan a lattice that uses its argument `n` times and changes it between; return what was serialized, and it."""

    @ct.lattice
    def workflow(data: Any) -> None:
        for _ in range(n):
            use(data)
            change(data)

    blobs = Counting()
    plan, inputs = workflow.plan((data,), {}, blobs)
    assert len(deserialize_inputs(inputs, plan.values, blobs)["args"]) == 1
    return blobs.serialized, plan


def frozen(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array that cannot be written to."""
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bytes", b"." * SIZE),
        ("ndarray", frozen(np.zeros(SIZE))),
        ("ndarray", frozen(np.zeros(SIZE))[10:]),
        ("ndarray", np.frombuffer(b"." * SIZE, np.uint8)),
    ],
    ids=["bytes", "array", "view", "array over bytes"],
)
def test_what_cannot_change_is_serialized_once(name: str, data: object) -> None:
    """Twenty uses and the workflow's own argument are one serialization and one value."""
    serialized, plan = used(20, data)

    assert serialized[name] == 1
    assert sum(value.size > SIZE // 2 for value in plan.values) == 1


def test_an_array_inside_a_list_is_serialized_once() -> None:
    """Wherever it is used: in a collection, by keyword, as the value of the lattice."""
    data = frozen(np.zeros(SIZE))

    @ct.lattice
    def workflow(many: list[Any]) -> Any:
        use(many)
        use(data=many[0])
        use(0, {"key": many[0]})
        return many

    blobs = Counting()
    workflow.plan(([data],), {}, blobs)

    assert blobs.serialized["ndarray"] == 1


def test_what_may_change_is_serialized_at_each_use() -> None:
    """The body changes an array between two calls, and each electron gets what it was when it was called."""
    serialized, plan = used(3, np.zeros(SIZE), lambda data: data.__setitem__(0, data[0] + 1))

    assert serialized["ndarray"] == 1 + 3
    seen = [InMemory().deserialize(value)[0] for value in plan.values if value.size > SIZE]
    assert seen == [0, 1, 2]


def test_an_array_that_becomes_writeable_is_serialized_again() -> None:
    """The same object, read-only at its first use and changed before its second."""

    def change(data: np.ndarray[Any, Any]) -> None:
        data.flags.writeable = True
        data[0] += 1

    serialized, plan = used(2, frozen(np.zeros(SIZE)), change)

    assert serialized["ndarray"] == 2
    assert [InMemory().deserialize(value)[0] for value in plan.values if value.size > SIZE] == [0, 1]


class Own(np.ndarray[Any, Any]):
    """An array of somebody's own, with other state beside the elements."""


def _read_only_view() -> np.ndarray[Any, Any]:
    return frozen(np.zeros(10)[2:])


@pytest.mark.parametrize(
    "data",
    [
        np.zeros(10),
        _read_only_view(),
        frozen(np.array([[], "object"], dtype=object)),
        frozen(np.zeros(10).view(Own)),
        frozen(np.frombuffer(bytearray(10), np.uint8)),
        bytearray(b"data"),
        [1],
        None,
    ],
    ids=[
        "writeable",
        "view of a writeable one",
        "of objects",
        "subclass",
        "over a bytearray",
        "bytearray",
        "list",
        "None",
    ],
)
def test_what_may_still_change_is_no_read_only_array(data: object) -> None:
    """Somebody else can write to its memory, or to what it holds."""
    assert not is_read_only_array(data)


def test_temporary_arrays_do_not_take_each_others_place() -> None:
    """An array that the body drops is kept until the graph is there: another one must not get its `id`."""

    @ct.lattice
    def workflow() -> None:
        for number in range(50):
            use(frozen(np.full(1_000, number)))

    plan, _ = workflow.plan((), {}, InMemory())

    assert len({value.data for value in plan.values if value.type == "numpy.ndarray"}) == 50


def test_numpy_is_not_imported_to_look_at_a_value() -> None:
    """Who has an array has imported it already."""
    program = (
        "import sys, covalab as ct\n"
        "from covalab.blobs import InMemory\n"
        "ct.lattice(lambda x: ct.electron(lambda y: y)(x)).plan(({1, 2},), {}, InMemory())\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240)
