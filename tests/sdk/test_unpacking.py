"""The number of names on the left is found on every Python, however the code is being run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from covalab.sdk.building.unpacking import is_starred, unpacked_count


class Asked:
    """Notes what its iterator was asked for, and gives as many items."""

    def __init__(self) -> None:
        self.seen: list[tuple[int | None, bool]] = []

    def __iter__(self) -> Iterator[int]:
        frame = sys._getframe(1)
        count = unpacked_count(frame)
        self.seen.append((count, is_starred(frame)))
        return iter(range(3 if count is None else count))


def ways_of_asking(many: int = 300) -> list[tuple[int | None, bool]]:
    """Unpack and iterate in every way, and return what was seen."""
    it: Any = Asked()
    _, _ = it
    (_,) = it
    [] = it
    _, *_ = it
    list(it)
    [x for x in it]  # noqa: C416
    [*it]  # noqa: B018
    max(*it)
    names = ", ".join(f"x{i}" for i in range(many))
    exec(f"{names} = it", {"it": it})
    seen: list[tuple[int | None, bool]] = it.seen
    return seen


EXPECTED = [
    *((2, False), (1, False), (0, False), (None, True)),
    *[(None, False)] * 4,
    (300, False),
]


def test_only_unpacking_has_a_number() -> None:
    """Every other way of iterating has none."""
    assert ways_of_asking() == EXPECTED
    assert ways_of_asking(70_000)[-1] == (70_000, False)


def test_specialised_and_traced_code_tells_the_same() -> None:
    """The interpreter rewrites code that runs often or is traced; the number stays."""
    for _ in range(20):
        ways_of_asking()
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        traced = ways_of_asking()
    finally:
        sys.settrace(before)

    assert traced == ways_of_asking() == EXPECTED
