"""Meanings of the names that a lattice uses, when it was decorated and when it is built.

A lattice is its function as it is now. A program that defines electrons and lattices again under the same names, and
dispatches all of them at the end, computes other values than in Covalent, which freezes a lattice when it is decorated.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from covalab.core.codec import preview, unpickle
from covalab.core.global_names import global_names
from covalab.core.own_attributes import own_attribute
from covalab.core.plain_types import ATOMS
from covalab.sdk.values import UserFunction, UserValue

_MANY: Final = 1_000
"""Functions that are looked at: a lattice that reaches more is part of a large program, not of a notebook."""
_SMALL: Final = 64
_KEPT: Final = (*ATOMS, list, tuple, dict, set, frozenset)


class _Closure:
    """Variables of the functions around a function."""

    def __init__(self, function: types.FunctionType) -> None:
        self.cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))

    def get(self, name: str, default: UserValue) -> UserValue:
        """Return the value of a variable, or `default` if it has none yet."""
        try:
            return self.cells[name].cell_contents
        except ValueError:
            return default


class Meaning(NamedTuple):
    """Meaning of a name that a function uses: `value` if that is kept, its identity if not."""

    user: str  # the function that reads the name
    space: Mapping[str, UserValue] | _Closure
    name: str
    value: UserValue
    identity: int


_NOT_KEPT: Final = object()
_GONE: Final = object()


def frozen(function: UserFunction) -> UserFunction:
    """Return a function as it is now, with all of the notebook that it uses, as Covalent keeps that of a lattice."""
    from covalab.core.pickling import dumps  # noqa: PLC0415 - only behind the doorway

    try:
        found: UserFunction = unpickle(dumps(function))
    except Exception:  # noqa: BLE001 - what cannot be pickled stays what it is; Covalent refuses it
        return function
    return found


def meanings_of(function: UserFunction) -> list[Meaning]:
    """Return what the global names mean now that a function uses, and the functions of the notebook that these are."""
    return list(_meanings(function))


def changes_of(meanings: Sequence[Meaning], lattice: str, line: str) -> list[str]:
    """Return a sentence for each name that means something else now.

    Parameters
    ----------
    meanings
        What they meant when the lattice was decorated.
    lattice, line
        The lattice's name, and where it was defined.
    """
    found = []
    told: set[tuple[int, str]] = set()
    for it in meanings:
        now = it.space.get(it.name, _GONE)
        if now is _GONE or (id(it.space), it.name) in told or _is_same(it, now):
            continue
        told.add((id(it.space), it.name))
        where, then = (_described(value) for value in (now, it.value))
        by = "" if it.user == lattice else f" (in {it.user!r})"
        found.append(
            f"lattice {lattice!r} uses {it.name!r}{by} as it is now, {where}; when the lattice was decorated in {line} "
            f"it was {then}; give one of the two another name, or define the lattice after it"
        )
    return found


def line_of(function: UserFunction) -> str:
    """Return the file and line where a function, electron or lattice is defined; of a cell its number."""
    code = _code_of(function)
    if code is None:
        return "an unknown place"
    ipython = sys.modules.get("IPython")
    shell: UserValue = ipython.get_ipython() if ipython is not None else None
    named = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(code.co_filename)
    where = f"{' '.join(named).lower()}, line" if named else f"{code.co_filename}, line"
    return f"{where} {code.co_firstlineno}"


def _described(value: UserValue) -> str:
    if value is _NOT_KEPT:
        return "another object"
    return preview(value) if _code_of(value) is None else f"defined in {line_of(value)}"


def _meanings(function: UserFunction) -> Iterator[Meaning]:
    todo: list[UserValue] = [function]
    seen: set[int] = set()
    while todo and len(seen) < _MANY:
        one = _function_of(todo.pop())
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        closure = _Closure(one)
        spaces: list[tuple[str, Mapping[str, UserValue] | _Closure]] = [(name, closure) for name in closure.cells]
        spaces += [(name, one.__globals__) for name in global_names(one.__code__)]
        for name, space in spaces:
            value = space.get(name, _GONE)
            if value is _GONE or isinstance(value, types.ModuleType):
                continue
            yield Meaning(one.__name__, space, name, value if _is_kept(value) else _NOT_KEPT, id(value))
            inner = _function_of(value)
            if inner is not None and inner.__module__ == "__main__":
                todo.append(inner)


def _function_of(value: UserValue) -> types.FunctionType | None:
    """Return the plain function of an electron, a lattice or a function."""
    for name in ("electron_object", "function", "function"):  # an electron may be over a lattice
        inner = own_attribute(value, name)
        value = value if inner is None else inner
    return value if isinstance(value, types.FunctionType) else None


def _code_of(value: UserValue) -> types.CodeType | None:
    function = _function_of(value)
    return None if function is None else function.__code__


def _is_kept(value: UserValue) -> bool:
    """Return whether a value is kept to be compared: not one that may be large."""
    if isinstance(value, type) or _code_of(value) is not None:
        return True
    return type(value) in _KEPT and (type(value) not in _KEPT[-5:] or len(value) <= _SMALL)


def _is_same(then: Meaning, now: UserValue) -> bool:
    before = then.value
    if id(now) == then.identity:
        return True
    if isinstance(before, type) and isinstance(now, type):
        return before.__qualname__ == now.__qualname__ and _is_same_class(before, now)
    code = _code_of(now)
    if code is not None:
        return _is_same_code(_code_of(before), code)
    return type(before) is type(now) and _is_equal(before, now)


def _is_equal(before: UserValue, now: UserValue) -> bool:
    try:
        return bool(before == now) or (before != before and now != now)  # noqa: PLR0124 - a NaN
    except Exception:  # noqa: BLE001 - what is inside compares as its class likes
        return False


def _is_same_class(before: type, now: type) -> bool:
    one, other = vars(before), vars(now)
    if one.keys() != other.keys():
        return False
    codes = [(_code_of(one[name]), _code_of(other[name])) for name in one]
    return all(_is_same_code(before_code, code) for before_code, code in codes if code is not None)


def _is_same_code(before: types.CodeType | None, now: types.CodeType) -> bool:
    """Return whether two pieces of code do the same, wherever they stand."""
    if before is None:
        return False
    if (before.co_code, before.co_names, before.co_varnames) != (now.co_code, now.co_names, now.co_varnames):
        return False
    if len(before.co_consts) != len(now.co_consts):
        return False
    for one, other in zip(before.co_consts, now.co_consts, strict=True):
        if isinstance(other, types.CodeType):
            if not isinstance(one, types.CodeType) or not _is_same_code(one, other):
                return False
        elif type(one) is not type(other) or repr(one) != repr(other):
            return False
    return True
