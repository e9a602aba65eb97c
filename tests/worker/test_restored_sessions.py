"""Restored sessions: values that cannot be stored are made again, each by the cells that made it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.worker.reused_cells import run

CASES: dict[str, tuple[Sequence[str], Any]] = {
    "made by three cells, each of which mentions some of them": (
        [
            "numbers = (i for i in range(9))",
            "pair = [numbers]",
            "other = (numbers,)",
            "seen = pair[0] is numbers and other[0] is numbers",
        ],
        True,
    ),
    "changed by way of another name": (
        ["numbers = (i for i in range(9))", "pair = [numbers]", "next(pair[0]);", "seen = next(numbers)"],
        1,
    ),
    "stored once, and not any more": (
        ["numbers = (i for i in range(9))\nx = 1", "x = 2", "x = [x + 1, numbers]", "seen = x[0]"],
        3,
    ),
    "the name with which it was made is deleted": (
        ["numbers = (i for i in range(9))", "pair = [numbers]", "del numbers", "seen = next(pair[0])"],
        0,
    ),
    "that name is deleted by the cell that gives it another": (
        ["numbers = (i for i in range(9))", "pair = [numbers]\ndel numbers", "ready = 1", "seen = next(pair[0])"],
        0,
    ),
    "classes of a base that one deletes": (
        [
            "class Base:\n    numbers = (i for i in range(9))",
            "class Book(Base):\n    title = 'Emma'",
            "book = Book()\ndel Base",
            "seen = book.title, next(Book.numbers)",
        ],
        ("Emma", 0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_that_cannot_be_stored_are_made_again(case: str, tmp_path: Path) -> None:
    """The session is lost after the last cell but one."""
    cells, seen = CASES[case]
    assert run(cells, tmp_path, reuse=False, lost_after=len(cells) - 2).values["seen"] == seen
