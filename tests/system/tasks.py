"""Electrons for tests that break things.

Each run of a task appends a line to a witness file, so that how often a task really ran is known independently of any
database.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import covalab as ct


@ct.electron
def witnessed(x: int, witness: str, seconds: float = 0.02) -> int:
    """Say that it ran, take a while, return the square."""
    with open(witness, "a") as file:  # noqa: PTH123 - O_APPEND, one short line: atomic
        file.write(f"{x}\n")
    time.sleep(seconds)
    return x * x


@ct.electron
def total(values: list[int]) -> int:
    """Add up."""
    return sum(values)


@ct.lattice
def fifty(witness: str) -> object:
    """Forty side by side, a chain of nine, and a sum: fifty nodes."""
    wide = [witnessed(x, witness) for x in range(40)]
    link = witnessed(100, witness)
    for _ in range(8):
        link = witnessed(link, witness)
    return total([*wide, link])


def expected_of_fifty() -> int:
    """What `fifty` returns when nothing goes wrong."""
    link = 100
    for _ in range(9):
        link = link * link
    return sum(x * x for x in range(40)) + link


@ct.electron
def sleeping(seconds: float, pid_file: str) -> str:
    """Write down which process this is, then sleep."""
    Path(pid_file).write_text(str(os.getpid()))
    time.sleep(seconds)
    return "slept"


@ct.lattice
def long(pid_file: str) -> object:
    """Ten minutes of sleep."""
    return sleeping(600, pid_file)


@ct.electron
def dying() -> int:
    """Take the worker process down."""
    os._exit(3)


@ct.electron
def adding(x: int, y: int = 1) -> int:
    """Add."""
    return x + y


def runs(witness: Path) -> Counter[str]:
    """Return how often each task ran."""
    return Counter(witness.read_text().split()) if witness.exists() else Counter()
