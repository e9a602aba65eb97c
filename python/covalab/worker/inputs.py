"""Inputs of the tasks of a batch: each use gets its own copy."""

from __future__ import annotations

from typing import Any, Final

from covalab.blobs import BlobStore
from covalab.core.assemble import hashable
from covalab.core.model import Value
from covalab.core.plain_types import ATOMS
from covalab.core.protocol import Argument, Batch

_ITEMS_CHECKED: Final = 100  # of a tuple; checking more costs what a copy would


class Inputs:
    """Inputs of the tasks of a batch: values that came with it, and outputs of earlier tasks of it.

    Every use deserializes its own copy, so that no task sees a change that another made.
    """

    def __init__(self, batch: Batch, blobs: BlobStore) -> None:
        self._shared = batch.shared
        self._blobs = blobs
        self._values: dict[int, Value] = {}
        self._immutable: dict[int, Any] = {}  # outputs that need no copy

    def keep(self, node: int, value: Value, result: Any) -> None:
        """Keep the value of a task for those after it."""
        self._values[node] = value
        if _is_immutable(result):
            self._immutable[node] = result

    def deserialize(self, argument: Argument, what: str) -> Any:
        """Deserialize an input."""
        if argument.value is not None:
            return self._blobs.deserialize(argument.value, what=what)
        if argument.items is not None:
            return [self.deserialize(item, what) for item in argument.items]
        if argument.pairs is not None:
            keys, values = (self.deserialize(side, what) for side in argument.pairs)
            return {hashable(key): value for key, value in zip(keys, values, strict=True)}
        if argument.shared >= 0:
            return self._blobs.deserialize(self._shared[argument.shared], what=what)
        if argument.node in self._immutable:
            return self._immutable[argument.node]
        return self._blobs.deserialize(self._values[argument.node], what=what)


def _is_immutable(value: Any) -> bool:
    """Whether a value may be passed on without a copy: no task can change it.

    Others are deserialized for each use. That costs little where it would matter: a blob is mapped, not read, and its
    pages are still in memory from being written.
    """
    kind = type(value)
    if kind in ATOMS:
        return True
    if (kind is not tuple and kind is not frozenset) or len(value) > _ITEMS_CHECKED:
        return False
    return all(type(item) in ATOMS for item in value)
