"""Needs of an electron: what a worker must have for it, as users write it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from covalab.core.capacity import Needs, parse_memory
from covalab.core.errors import GraphError
from covalab.sdk.values import FieldDict, UserValue

NEEDS: Final = ("resources", "memory", "cores")
"""The options that say what an electron needs."""


def needs_of(where: str, given: FieldDict) -> Needs | None:
    """Return what an electron needs, or None where nothing is said about it.

    Raises
    ------
    GraphError
        For an amount that has no meaning.
    """
    cores = given.get("cores", 1)
    if isinstance(cores, bool) or not isinstance(cores, int) or cores < 1:
        message = f"{where}: cores must be a whole number from 1 on, not {cores!r}"
        raise GraphError(message)
    try:
        memory = parse_memory(given.get("memory") or 0)
    except ValueError as error:
        message = f"{where}: memory: {error}"
        raise GraphError(message) from error
    needs = Needs(cores, memory, _resources(where, given.get("resources")))
    return needs if needs != Needs() else None


def _resources(where: str, resources: UserValue) -> tuple[tuple[str, float], ...]:
    if resources is None:
        return ()
    is_right = isinstance(resources, Mapping) and all(
        isinstance(name, str) and isinstance(amount, int | float) and 0 <= amount < math.inf
        for name, amount in resources.items()
    )
    if not is_right:
        message = f"{where}: resources is a dict of amounts by name, e.g. {{'GPU': 1}}, not {resources!r}"
        raise GraphError(message)
    return tuple(sorted((name, float(amount)) for name, amount in resources.items() if amount))
