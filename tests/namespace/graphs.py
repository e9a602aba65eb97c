"""Random statements, and a form of a namespace by which two of them can be compared."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

NAMES = "abcdef"


def run(lines: list[str], namespace: dict[str, Any]) -> None:
    """Run statements; one that fails is left out."""
    for one in lines:
        try:
            exec(one, namespace)
        except (TypeError, ValueError, AttributeError, LookupError, NameError, StopIteration, OverflowError):
            continue


def form_of(namespace: dict[str, Any]) -> Any:
    """Return values as a text in which objects have numbers, so that equal texts mean equal graphs."""
    form = _Form()
    return [(key, form.of(namespace[key])) for key in (*NAMES, "O", "g", "make") if key in namespace]


class _Form:
    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def of(self, obj: Any) -> Any:
        """Return the form of an object."""
        if obj is None or isinstance(obj, int | str | np.generic):
            return repr(obj)
        if isinstance(obj, tuple):
            return ("tuple", *map(self.of, obj))
        if id(obj) in self._numbers:
            return self._numbers[id(obj)]
        number = self._numbers[id(obj)] = len(self._numbers)
        return (number, type(obj).__name__, *self._content(obj), *self._attributes(obj))

    def _content(self, obj: Any) -> list[Any]:
        if isinstance(obj, np.ndarray):
            base = obj if obj.base is None else obj.base
            offset = obj.__array_interface__["data"][0] - base.__array_interface__["data"][0]
            content = list(map(self.of, obj.ravel().tolist())) if obj.dtype == object else obj.tolist()
            return [obj.shape, obj.strides, content, offset, self.of(base) if base is not obj else "own"]
        if isinstance(obj, dict):
            return self._pairs(obj)
        if isinstance(obj, set):
            return sorted(map(repr, obj))
        if isinstance(obj, list | deque):
            return list(map(self.of, obj))
        if isinstance(obj, bytearray):
            return [bytes(obj)]
        return [self.of(obj.__reduce__()[1:])] if type(obj).__name__ == "list_iterator" else []

    def _attributes(self, obj: Any) -> list[Any]:
        if isinstance(obj, type):
            return self._pairs({key: value for key, value in vars(obj).items() if key == "shared"})
        slots = [self.of(obj.s)] if hasattr(type(obj), "s") and hasattr(obj, "s") else []
        cells = [self.of(cell.cell_contents) for cell in getattr(obj, "__closure__", None) or ()]
        return [*slots, *cells, *self._pairs(getattr(obj, "__dict__", {}))]

    def _pairs(self, attributes: dict[Any, Any]) -> list[Any]:
        return [(self.of(key), self.of(value)) for key, value in attributes.items()]
