"""Argument parts: a workflow's arguments, split into a small skeleton and the large values in it.

An argument is both a parameter of the graph and part of what `Result.inputs` shows. Split, its bytes are the
same in both places, and are kept once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from covalab.core.plain_types import ATOMS

_DEPTH: Final = 3  # {"args": (one list of arrays,)}; what is deeper stays whole
_IN_SKELETON: Final = ATOMS - {bytes}  # bytes may be large, and are better a value of their own


class ArgumentPart:
    """Placeholder of a value that is kept elsewhere; `index` is its position there."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"<part {self.index}>"

    def __reduce__(self) -> tuple[type[ArgumentPart], tuple[int]]:
        return ArgumentPart, (self.index,)


def split_arguments(value: Any, keep: Callable[[Any], int], depth: int = _DEPTH) -> Any:
    """Return a copy of tuples, lists and dicts in which everything else is an `ArgumentPart`.

    Parameters
    ----------
    value
        The value to split.
    keep
        Keeps a part and returns its position.
    depth
        How deep to look; containers below are parts themselves.

    Examples
    --------
    >>> parts = []
    >>> keep = lambda part: parts.append(part) or len(parts) - 1
    >>> split_arguments({"args": (1, [b"...", "text"]), "kwargs": {}}, keep)
    {'args': (1, [<part 0>, 'text']), 'kwargs': {}}
    """
    kind = type(value)
    if kind in _IN_SKELETON:
        return value
    if depth and kind is dict:
        return {key: split_arguments(item, keep, depth - 1) for key, item in value.items()}
    if depth and (kind is list or kind is tuple):
        return kind(split_arguments(item, keep, depth - 1) for item in value)
    return ArgumentPart(keep(value))


def join_arguments(value: Any, open_part: Callable[[int], Any], depth: int = _DEPTH) -> Any:
    """Return what `split_arguments` was given; `open_part` opens the part at a position."""
    kind = type(value)
    if kind is ArgumentPart:
        return open_part(value.index)
    if depth and kind is dict:
        return {key: join_arguments(item, open_part, depth - 1) for key, item in value.items()}
    if depth and (kind is list or kind is tuple):
        return kind(join_arguments(item, open_part, depth - 1) for item in value)
    return value
