"""Objects that a pickler met and by which two names can be connected: those that can change."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, Final

from covalab.core.pickling import is_found_by_name
from covalab.core.plain_types import ATOMS
from covalab.namespace.definitions import Target
from covalab.namespace.libraries import never_changes
from covalab.namespace.pickling import NamespacePickler

_UNCHANGING: Final = frozenset(
    {
        *ATOMS,
        tuple,
        frozenset,
        Target,
        range,
        slice,
        types.FunctionType,  # its attributes and closure are met, too
        types.BuiltinFunctionType,
        types.MethodType,
        types.CodeType,
        types.ModuleType,
        types.GenericAlias,
        types.UnionType,
        staticmethod,
        classmethod,
        property,
    }
)


def shared_objects(memo: Mapping[int, tuple[int, Any]], pickler: NamespacePickler) -> frozenset[int]:
    """Return the ids of the objects in a pickler's memo that can change, and of the bases of its arrays."""
    known: dict[type, bool] = {}
    found: set[int] = set(pickler.arrays.bases)
    of_indexes: set[int] = set()
    for at, (_, obj) in memo.items():
        kind = type(obj)
        changes = known.get(kind)
        if changes is None:
            changes = known[kind] = can_change(kind)
        if changes:
            # Compiled functions of a library are of types of their own.
            if not callable(obj) or not is_found_by_name(obj):
                found.add(at)
        elif kind.__module__.startswith("pandas"):
            of_indexes.update(map(id, _parts_of_index(obj)))
    return frozenset(found - of_indexes - pickler.of_modules)


def can_change(kind: type) -> bool:
    """Return whether objects of a type can change."""
    return kind not in _UNCHANGING and not issubclass(kind, type) and not never_changes(kind)


def _parts_of_index(index: Any) -> Iterator[Any]:
    """Yield the arrays of an index, which never change although arrays can."""
    for name in ("_data", "_codes", "_levels", "_ndarray", "_mask"):
        part = index.__dict__.get(name) if hasattr(index, "__dict__") else getattr(index, name, None)
        if part is None:
            continue
        yield part
        if isinstance(part, list | tuple):
            yield from part
        elif name == "_data":
            for inner in ("_ndarray", "_data", "_mask"):
                found = getattr(part, inner, None)
                if found is not None:
                    yield found
