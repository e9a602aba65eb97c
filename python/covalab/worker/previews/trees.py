"""Containers and objects with fields, as trees."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from covalab.core.codec import USERS_ERRORS, type_name
from covalab.core.previews import PreviewItem
from covalab.worker.previews.cells import cell_text

_BESIDE: Final = 100
_IN_ALL: Final = 2_000
_DEEP: Final = 6
_SEQUENCES: Final = (list, tuple, set, frozenset, deque)


def tree(value: Any) -> PreviewItem | None:
    """Return a container or an object with fields as a tree; None for anything else."""
    return None if _parts(value) is None else _Walk().item("", value, 0)


class _Walk:
    """One walk through a value. It ends after a number of entries, however they are nested."""

    def __init__(self) -> None:
        self._left = _IN_ALL
        self._above: list[int] = []

    def item(self, key: str, value: Any, depth: int) -> PreviewItem:
        self._left -= 1
        parts = _parts(value)
        kind = type_name(value)
        if parts is None:
            return PreviewItem(key, kind, cell_text(value))
        length, entries = parts
        if id(value) in self._above:
            return PreviewItem(key, kind, "… itself")
        items: list[PreviewItem] = []
        if depth < _DEEP:
            self._above.append(id(value))
            for name, part in islice(entries, _BESIDE):
                if self._left <= 0:
                    break
                items.append(self.item(name, part, depth + 1))
            self._above.pop()
        return PreviewItem(key, kind, f"{length:,} {'entry' if length == 1 else 'entries'}", items, length - len(items))


def _parts(value: Any) -> tuple[int, Iterator[tuple[str, Any]]] | None:
    """Return the number of parts of a value and the parts with their names."""
    if isinstance(value, Mapping):
        return len(value), ((cell_text(key), part) for key, part in value.items())
    fields = _fields(value)
    if fields is not None:
        return len(fields), ((name, _attribute(value, name)) for name in fields)
    if isinstance(value, _SEQUENCES):
        return len(value), ((str(place), part) for place, part in enumerate(value))
    return None


def _fields(value: Any) -> tuple[str, ...] | None:
    """Return the fields of a dataclass, a named tuple, or a class of attrs, msgspec or pydantic."""
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    for place in ("_fields", "__struct_fields__"):
        names = getattr(kind, place, None)
        if isinstance(names, tuple) and all(isinstance(name, str) for name in names):
            return names
    of_attrs = getattr(kind, "__attrs_attrs__", None)
    if of_attrs is not None:
        return tuple(str(each.name) for each in of_attrs)
    of_pydantic = getattr(kind, "model_fields", None)
    return tuple(of_pydantic) if isinstance(of_pydantic, dict) else None


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except USERS_ERRORS as error:  # a property of the user's, or a field that was deleted
        return error
