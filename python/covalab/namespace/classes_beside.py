"""Classes of a module beside the notebook that travelled: where the module is loaded from what travelled, they are its.

A notebook's values carry the classes of such modules with them. A cell that has the module as well would meet each of
them twice: `isinstance` would be false, and the members of an enumeration would not be equal.
"""

from __future__ import annotations

import dis
import logging
import pathlib
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final

from covalab.core.plain_types import ATOMS

_IMMUTABLE: Final = (logging.Logger, re.Pattern, pathlib.PurePath, types.ModuleType, types.BuiltinFunctionType)


def class_of_module(module: object, qualname: str) -> type | None:
    """Return the class of a module that this process has loaded from what travelled; None if there is none.

    Also None if its code reads data of the module that may change: what travelled has a copy of them.
    """
    loaded = sys.modules.get(str(module))
    if loaded is None or not getattr(getattr(loaded.__spec__, "loader", None), "has_travelled", False):
        return None
    found: Any = loaded
    for part in qualname.split("."):
        found = vars(found).get(part) if isinstance(found, types.ModuleType | type) else None
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, qualname):
        return None
    return None if _reads_data(found, vars(loaded)) else found


def _reads_data(cls: type, names: Mapping[str, Any]) -> bool:
    """Return whether the methods of a class, or functions of the module that they call, read data that may change."""
    waiting: list[Any] = [cls]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        for function in [one] if isinstance(one, types.FunctionType) else _functions_of(one):
            if function.__globals__ is not names:
                continue
            for name in _names_in(function.__code__) & names.keys():
                value = names[name]
                if isinstance(value, type | types.FunctionType):
                    if value.__module__ == cls.__module__:
                        waiting.append(value)
                elif not isinstance(value, _IMMUTABLE) and (type(value) not in ATOMS or _is_set(name, names)):
                    return True
    return False


def _functions_of(cls: type) -> Iterator[types.FunctionType]:
    for base in cls.__mro__:
        for value in vars(base).values():
            parts = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,)
            for part in parts:
                function = getattr(part, "__func__", part)
                function = getattr(function, "__wrapped__", function)
                if isinstance(function, types.FunctionType):
                    yield function


def _names_in(code: types.CodeType) -> set[str]:
    inner = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _is_set(name: str, names: Mapping[str, Any]) -> bool:
    """Return whether a function of a module sets one of its names."""
    functions: list[types.FunctionType] = []
    for value in names.values():
        if isinstance(value, type) and value.__module__ == names["__name__"]:
            functions += _functions_of(value)
        elif isinstance(value, types.FunctionType):
            functions.append(value)
    return any(
        one.opname == "STORE_GLOBAL" and one.argval == name
        for function in functions
        if function.__globals__ is names and name in _names_in(function.__code__)
        for one in _instructions(function.__code__)
    )


def _instructions(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _instructions(one)
