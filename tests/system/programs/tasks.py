"""Electrons and a lattice that several programs use."""

from __future__ import annotations

from typing import Any

import covalab as ct


@ct.electron
def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


@ct.electron
def double(x: int) -> int:
    """Double a number."""
    return 2 * x


@ct.electron
def after(x: Any) -> Any:
    """Return the value of the task before."""
    return x


@ct.electron
def load(n: int) -> list[int]:
    """Make some numbers."""
    return list(range(n))


@ct.electron
def fit(values: list[int], scale: int = 1) -> int:
    """Add them up."""
    return sum(values) * scale


@ct.electron
def fit_twice(values: list[int], scale: int = 1) -> int:
    """Take the place of `fit`, with another result."""
    return sum(values) * scale * 2


@ct.lattice
def experiment(n: int, scale: int = 1) -> int:
    """Load, then fit."""
    return fit(load(n), scale=scale)
