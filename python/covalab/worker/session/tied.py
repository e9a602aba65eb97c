"""Names whose objects a value that cannot be stored refers to: `pairs = itertools.pairwise(numbers)` goes on with them.

Where the session is restored, such a value is made again by its cell, from objects that are made again with it. So the
names of these objects stay with it, and cells that changed them run again, too.
"""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from covalab.core.plain_types import ATOMS
from covalab.namespace.sharing import can_change

_MANY: Final = 20_000
"""Objects that are looked at; a value that has more of them belongs to a library."""
_NOT_ENTERED: Final = (type, types.ModuleType, types.CodeType)


def tied_names(namespace: Mapping[str, Any], unstorable: Iterable[str], groups: Iterable[Collection[str]]) -> list[str]:
    """Return the names that stay with values which cannot be stored, of groups of names that are stored together."""
    values = [namespace[name] for name in unstorable if name in namespace]
    reached = _reached(values, namespace)
    if not reached:
        return []
    found = {name for name, value in namespace.items() if id(value) in reached and can_change(type(value))}
    return sorted({name for group in groups if not found.isdisjoint(group) for name in group})


def _reached(values: list[Any], namespace: Mapping[str, Any]) -> dict[int, Any]:
    """Return the objects that values refer to, by their ids; none if they are too many."""
    found: dict[int, Any] = {}
    waiting = [*values]
    left_out = {id(namespace), *map(id, values)}
    while waiting:
        for one in _referents(waiting.pop()):
            if id(one) in found or id(one) in left_out or type(one) in ATOMS or issubclass(type(one), _NOT_ENTERED):
                continue
            if len(found) == _MANY:
                return {}
            found[id(one)] = one
            waiting.append(one)
    return found


def _referents(value: Any) -> list[Any]:
    if type(value) is types.FunctionType:  # not its globals, which are all that the notebook has
        return [*(value.__closure__ or ()), *(value.__defaults__ or ())]
    if type(value) is weakref.finalize:  # a registry has what it refers to
        return [*(value.peek() or ())]
    return gc.get_referents(value)
