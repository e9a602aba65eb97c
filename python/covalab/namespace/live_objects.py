"""Objects that a pickler met and that belong to somebody: not those that were only made on the way."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from covalab.core.pickling import is_found_by_name, is_single_dispatch
from covalab.core.plain_types import ATOMS
from covalab.namespace.libraries import is_internal
from covalab.namespace.pickling import NamespacePickler
from covalab.namespace.sharing import can_change


def live_objects(pickler: NamespacePickler, namespace: Mapping[str, Any]) -> dict[int, Any]:
    """Return the objects that can change, functions and classes of the notebook included, by number.

    Forgets what the pickler met. What nothing else refers to is left out: a state that `__getstate__` made belongs to
    its object.
    """
    memo: dict[int, tuple[int, Any]] = pickler.memo.copy()
    pickler.clear_memo()
    by_number = {number: [obj] for number, obj in memo.values() if type(obj) not in ATOMS}
    del memo
    _drop_temporary(by_number)
    classes = {id(cls) for cls in pickler.definitions.values()}
    known: dict[type, bool] = {}
    found: dict[int, Any] = {}
    for number, (obj,) in by_number.items():
        kind = type(obj)
        if kind is types.FunctionType:
            if obj.__globals__ is namespace or is_single_dispatch(obj):
                found[number] = obj
        elif issubclass(kind, type):
            if id(obj) in classes:
                found[number] = obj
        else:
            changes = known.get(kind)
            if changes is None:
                changes = known[kind] = can_change(kind) and not is_internal(kind)
            if changes and id(obj) not in pickler.of_modules and not (callable(obj) and is_found_by_name(obj)):
                found[number] = obj
    return found


def _references(boxes: dict[int, list[Any]], number: int) -> int:
    return sys.getrefcount(boxes[number][0])


_OF_TEMPORARY: Final = _references({0: [object()]}, 0)


def _drop_temporary(boxes: dict[int, list[Any]]) -> None:
    """Remove the objects that nothing else refers to."""
    # A tuple comes after what is in it, anything else before it: so each is removed before its content is looked at.
    numbers = sorted(boxes)
    while True:
        before = len(boxes)
        tuples = [number for number in reversed(numbers) if type(boxes[number][0]) is tuple]
        for number in (*tuples, *numbers):
            if number in boxes and _references(boxes, number) <= _OF_TEMPORARY:
                del boxes[number]
        numbers = [number for number in numbers if number in boxes]
        if len(boxes) == before:
            return


@contextmanager
def no_collections() -> Iterator[None]:
    """Collect no garbage meanwhile: millions of short-lived objects are made, none of them in cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
