"""Objects that a pickler met and by which two names can be connected: those that can change."""

from __future__ import annotations

import types
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Final

from covalab.core.pickling import is_found_by_name
from covalab.core.plain_types import ATOMS
from covalab.namespace.definitions import Target, tracker_of_function
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
        types.FunctionType,  # what can change of it, its attributes and closure, is met, too
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


def shared_objects(pickler: NamespacePickler) -> frozenset[int]:
    """Return the ids of the objects that a pickler met and that can change, and of the bases of its arrays.

    They are ids of different objects as long as all picklers that are compared live.
    """
    memo: dict[int, tuple[int, Any]] = pickler.memo.copy()
    found: set[int] = set(pickler.arrays.bases)
    # By type first: there may be a million strings.
    kinds = set(map(type, map(_object_of, memo.values())))
    changing = {kind for kind in kinds if can_change(kind)}
    if changing:
        found.update([at for at, (_, obj) in memo.items() if type(obj) in changing])
    # Compiled functions of a library are of types of their own.
    callables = {kind for kind in changing if any("__call__" in vars(base) for base in kind.__mro__)}
    if callables:
        found.difference_update(
            [at for at, (_, obj) in memo.items() if type(obj) in callables and is_found_by_name(obj)]
        )
    if types.FunctionType in kinds:
        found.update(
            [at for at, (_, obj) in memo.items() if type(obj) is types.FunctionType and _is_nameless(obj, pickler)]
        )
    indexes = {kind for kind in kinds - changing if str(kind.__module__).startswith("pandas")}
    if indexes:
        for _, obj in memo.values():
            if type(obj) in indexes:
                found.difference_update(map(id, _parts_of_index(obj)))
    return frozenset(found - pickler.of_modules)


def _is_nameless(function: types.FunctionType, pickler: NamespacePickler) -> bool:
    """Return whether a function of the notebook has no id, by which two pickles of it would be one object."""
    return function.__globals__ is pickler.namespace and tracker_of_function(function) is None


_object_of: Final = itemgetter(1)


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
