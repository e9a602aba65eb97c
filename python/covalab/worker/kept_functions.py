"""Kept functions: a decoded function is used for several nodes of a dispatch if nothing that it carries has changed.

Decoding costs more than a quick task does. But a function carries globals, defaults, variables of functions around it,
and attributes, and a node may change them for the nodes after it. So a function is kept only if all that it carries is
of kinds that cannot change in themselves, and what refers to those (dictionaries of globals and attributes, cells,
defaults) is compared, object by object, before each use. Of what is imported by name only the name was sent; its
attributes are those of the process.
"""

from __future__ import annotations

import copyreg
import enum
import re
import sys
import types
from collections.abc import Callable, Iterable
from operator import attrgetter, is_
from typing import Any, Final

from covalab.core.plain_types import ATOMS

_IMMUTABLE: Final[frozenset[type]] = ATOMS | {type(...), type(NotImplemented), range, re.Pattern}
_IMMUTABLE_BY_NAME: Final = frozenset(
    {
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("fractions", "Fraction"),
        ("pathlib", "PosixPath"),
        ("pathlib", "PurePosixPath"),
        ("uuid", "UUID"),
    }
)
"""Modules that need not be loaded for a task that does without."""
_PARTS_LIMIT: Final = 1_000
"""Parts that are looked at. A function that carries more is decoded anew; comparing would cost as much."""

_parts_of: Final = attrgetter("__code__", "__defaults__", "__kwdefaults__", "__doc__", "__name__", "__qualname__")
_EMPTY: Final = object()
_SHOWN: Final = "__warningregistry__"
"""The warnings that were shown: Python notes them among the globals; it is no change that counts."""


class KeptFunction:
    """A function that was decoded once, and what it carried then."""

    def __init__(self, function: Callable[..., Any], carried: _Carried) -> None:
        self.function = function
        self._empty = [names for names in carried.names if not names]
        self._names = [(names, [*names], [*map(id, names.values())]) for names in carried.names if names]
        self._values = [[*names.values()] for names in carried.names]  # kept, so that no other object gets their ids
        self._functions = [(one, _parts_of(one)) for one in carried.functions]
        self._cells = [(cell, _content(cell)) for cell in carried.cells]

    def is_unchanged(self) -> bool:
        """Whether it carries the same objects as when it was decoded."""
        if any(self._empty):
            return False
        # By identity: 1 and True are equal, and to compare two arrays is no answer.
        for names, keys, ids in self._names:
            if _SHOWN in names and _SHOWN not in keys:
                del names[_SHOWN]
            if [*names] != keys or [*map(id, names.values())] != ids:
                return False
        for function, parts in self._functions:
            if not all(map(is_, _parts_of(function), parts)):
                return False
        return all(_content(cell) is content for cell, content in self._cells) if self._cells else True


def keep(function: Callable[..., Any]) -> KeptFunction | None:
    """Return a function that was just decoded as one to be kept, or None if it carries what can change."""
    carried = _Carried()
    return KeptFunction(function, carried) if carried.accepts(function) else None


class _Carried:
    """Parts of a function that can be made to refer to something else, collected on a walk through it."""

    def __init__(self) -> None:
        self.names: list[dict[str, Any]] = []
        self.functions: list[types.FunctionType] = []
        self.cells: list[types.CellType] = []
        self._seen: set[int] = set()
        self._n_parts = 0

    def accepts(self, value: Any) -> bool:
        """Whether a value, and all that it refers to, can only change where that is compared."""
        self._n_parts += 1
        if self._n_parts > _PARTS_LIMIT:
            return False
        kind = type(value)
        if kind in _IMMUTABLE or id(value) in self._seen:
            return True
        if kind is tuple or kind is frozenset:
            return all(map(self.accepts, value))
        if kind is types.FunctionType:
            accepted = is_by_name(value) or self._accepts_function(value)
        elif kind is types.ModuleType:
            accepted = sys.modules.get(value.__name__) is value or self._accepts_module(value)
        elif isinstance(value, type):
            accepted = is_by_name(value)
        else:
            accepted = _is_constant(value)
        return accepted

    def _accepts_function(self, function: types.FunctionType) -> bool:
        self._seen.add(id(function))
        self.functions.append(function)
        for names in (function.__globals__, function.__dict__, function.__kwdefaults__):
            if names is not None and not self._accepts_names(names):
                return False
        # The annotations may be of any kind; who changes one in place changes no code.
        self.names.append(function.__annotations__)
        if function.__closure__ is not None:
            for cell in function.__closure__:
                self.cells.append(cell)
                if (content := _content(cell)) is not _EMPTY and not self.accepts(content):
                    return False
        return self.accepts(function.__defaults__)

    def _accepts_module(self, module: types.ModuleType) -> bool:
        self._seen.add(id(module))
        return self._accepts_names(vars(module))

    def _accepts_names(self, names: dict[str, Any]) -> bool:
        if id(names) in self._seen:
            return True
        self._seen.add(id(names))
        self.names.append(names)
        # A module's `__spec__` and `__builtins__` are the import system's.
        return all(map(self.accepts, _values(names)))


def _values(names: dict[str, Any]) -> Iterable[Any]:
    return [value for name, value in names.items() if not (name.startswith("__") and name.endswith("__"))]


def _is_constant(value: Any) -> bool:
    """Return whether a value of a rarer type cannot change, or was sent by its name."""
    kind = type(value)
    if kind is types.BuiltinFunctionType or kind is types.MethodType:
        owner = value.__self__  # of a built-in function none or its module, else what the method belongs to
        return owner is None or type(owner) is types.ModuleType or (isinstance(owner, type) and is_by_name(owner))
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.dtype)):
        return not isinstance(value, numpy.void)  # the others hold one number or text
    if isinstance(value, enum.Enum) or (kind.__module__, kind.__qualname__) in _IMMUTABLE_BY_NAME:
        return is_by_name(kind)
    reduce = copyreg.dispatch_table.get(kind)
    # A text is the name under which it is found, as for the functions of NumPy.
    return reduce is not None and isinstance(reduce(value), str)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def is_by_name(value: Any) -> bool:
    """Return whether a function or class is found by its name in a module that was imported."""
    module = getattr(value, "__module__", None)
    if module == "__main__" or not isinstance(module, str):
        return False
    found: Any = sys.modules.get(module)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value
