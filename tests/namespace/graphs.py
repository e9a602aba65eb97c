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
    numbers: dict[int, int] = {}

    def form(obj: Any) -> Any:
        if obj is None or isinstance(obj, int | str | np.generic):
            return repr(obj)
        if isinstance(obj, tuple):
            return ("tuple", *map(form, obj))
        if id(obj) in numbers:
            return numbers[id(obj)]
        number = numbers[id(obj)] = len(numbers)
        return (number, type(obj).__name__, *parts(obj))

    def parts(obj: Any) -> list[Any]:
        if isinstance(obj, np.ndarray):
            base = obj if obj.base is None else obj.base
            offset = obj.__array_interface__["data"][0] - base.__array_interface__["data"][0]
            content = list(map(form, obj.ravel().tolist())) if obj.dtype == object else obj.tolist()
            return [obj.shape, obj.strides, content, offset, form(base) if base is not obj else "own"]
        if isinstance(obj, dict):
            return pairs(obj)
        if isinstance(obj, set):
            return sorted(map(repr, obj))
        if isinstance(obj, list | deque):
            return [*map(form, obj), *pairs(getattr(obj, "__dict__", {}))]
        if isinstance(obj, bytearray):
            return [bytes(obj)]
        if isinstance(obj, type):
            return pairs({key: value for key, value in vars(obj).items() if key == "shared"})
        if callable(obj):
            return [*pairs(vars(obj)), *(form(cell.cell_contents) for cell in obj.__closure__ or ())]
        if hasattr(obj, "__next__"):
            return [form(obj.__reduce__()[1:])] if "list" in type(obj).__name__ else []
        slots = [form(obj.s)] if hasattr(obj, "s") else []
        return [*slots, *pairs(getattr(obj, "__dict__", {}))]

    def pairs(attributes: dict[Any, Any]) -> list[Any]:
        return [(form(key), form(value)) for key, value in attributes.items()]

    return [(key, form(namespace[key])) for key in (*NAMES, "O", "g", "make") if key in namespace]
