"""Reach of code: the names of a notebook that code can read when it runs."""

from __future__ import annotations

import re
import types
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from covalab.core.cell_source import READERS_OF_TEXT, text_of, words_in
from covalab.core.own_attributes import function_of_member, own_attribute

_MAIN: Final = "__main__"
_WORD: Final = re.compile(r"[^\W\d]\w*")
_SHELL_NAMES: Final = frozenset({"open"})


def reached(names: Iterable[str], namespace: Mapping[str, Any]) -> set[str]:
    r"""Return names that there are, with those in the code of functions and classes of the notebook among them.

    Examples
    --------
    >>> namespace = {"__name__": "__main__"}
    >>> exec("k = 2\ndef twice(x): return k * x\ny = 1", namespace)
    >>> sorted(reached(["twice", "print"], namespace))
    ['k', 'twice']
    >>> exec("T = int\ndef typed(x: 'list[T]'): ...\nclass C:\n    n: 'k'", namespace)
    >>> sorted(reached(["typed", "C"], namespace))
    ['C', 'T', 'k', 'typed']
    """
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found and name in namespace:
            found.add(name)
            pending += names_in(namespace[name])
    return found


def names_in(value: object) -> list[str]:
    """Return the names in the code of a function or class of the notebook, or of the class of an object."""
    names, codes = _code_in(value)
    for code in codes:
        names += names_in_code(code)
    return names


def codes_in(value: object) -> list[types.CodeType]:
    """Return the code of a function or class of the notebook, or of the class of an object."""
    return _code_in(value)[1]


def _code_in(value: object) -> tuple[list[str], list[types.CodeType]]:
    """Return the names of classes of the notebook that a value has to do with, and the code that it may run."""
    names: list[str] = []
    codes: list[types.CodeType] = []
    seen: set[int] = set()
    pending: list[object] = [value]
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if type(one) in weakref.ProxyTypes:  # a dead one has not even a class
            with suppress(ReferenceError):
                pending.append(one.__class__)
        elif isinstance(one, types.MethodType):
            pending += [one.__func__, type(one.__self__)]
        elif isinstance(one, types.FunctionType):
            # What decorates a function of the notebook may be of a package, and has it in a closure.
            if one.__module__ == _MAIN:
                codes.append(one.__code__)
                names += _names_in_annotations(one.__annotations__)
            pending += [cell.cell_contents for cell in one.__closure__ or () if _is_code(_content(cell))]
            pending.append(own_attribute(one, "__wrapped__"))
        elif isinstance(one, type):
            names += [base.__name__ for base in one.__mro__ if base.__module__ == _MAIN]
            if one.__module__ == _MAIN:
                names += _names_in_annotations(vars(one).get("__annotations__"))
                pending += [
                    attribute for base in one.__mro__ for attribute in vars(base).values() if _is_code(attribute)
                ]
        elif one is not None and type(one).__module__ == _MAIN:
            pending.append(type(one))
        else:
            # `functools.partial`, `property`, `staticmethod`, what `functools.cache` makes
            parts = (own_attribute(one, name) for name in ("func", "fget", "fset", "__func__", "__wrapped__"))
            pending += [part for part in parts if isinstance(part, (types.FunctionType, types.MethodType, type))]
    return names, codes


def sources_of(values: Iterable[object]) -> dict[str, str]:
    """Return the texts of the cells in which code of the notebook was written, by file name."""
    found: dict[str, str] = {}
    for value in values:
        members = vars(value).values() if isinstance(value, type) and value.__module__ == _MAIN else (value,)
        for one in members:
            code = own_attribute(function_of_member(one), "__code__")
            if isinstance(code, types.CodeType) and code.co_filename not in found:
                text = text_of(code.co_filename)
                if text is not None:
                    found[code.co_filename] = text
    return found


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned to it yet
        return None


def _is_code(value: object) -> bool:
    return callable(value) or isinstance(value, (property, staticmethod, classmethod))


def _names_in_annotations(annotations: object) -> list[str]:
    """Return the words of annotations that are texts, which `get_type_hints` and dataclasses look up."""
    texts = annotations.values() if isinstance(annotations, dict) else ()
    return [word for text in texts if isinstance(text, str) for word in _WORD.findall(text)]


def names_in_code(code: types.CodeType) -> list[str]:
    """Return the names in compiled code, also in functions inside it, and in texts that are likely read as code."""
    names = list(code.co_names)
    reads_texts = not READERS_OF_TEXT.isdisjoint(names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += names_in_code(constant)
        elif isinstance(constant, str) and (reads_texts or "~" in constant):  # `y ~ x` is a formula
            names += words_in(constant)
    return names


def is_of_shell(name: str, value: object) -> bool:
    """Return whether a name is one of those that IPython puts into each notebook, and has no meaning of the user's."""
    return name in _SHELL_NAMES and str(getattr(value, "__module__", "")).partition(".")[0] in ("IPython", "_io", "io")
