"""Weak references of all kinds: what they refer to is stored with them and held by others only. Pickles name functions.

A finalizer is refused: it belongs to the process whose object it waits for, and would act once more in another one.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from covalab.core.pickling import travels_by_value

_Reduced: TypeAlias = "tuple[Any, ...]"


class _Nobody:
    """Object that is gone as soon as it is made."""

    def method(self) -> None:
        """Do nothing."""

    def __call__(self) -> None:
        """Do nothing."""


def _with_callback(*arguments: Any, callback: Any) -> _Reduced:
    return arguments if callback is None else (*arguments, callback)


def _reduce_reference(reference: weakref.ref[Any]) -> _Reduced:
    target = reference()
    # A dead one has called its callback.
    return weak_reference, _with_callback(target, callback=reference.__callback__ if target is not None else None)


def weak_reference(target: Any, callback: Any = None) -> weakref.ref[Any]:
    """Return a weak reference, a dead one to None; pickles name this function."""
    return weakref.ref(_Nobody() if target is None else target, callback)


def _reduce_method(reference: weakref.WeakMethod[Any]) -> _Reduced:
    method: Any = reference()
    # Its own callback is one of the class, which calls that of the notebook.
    given = getattr(reference.__callback__, "__closure__", None) or ()
    callbacks = [cell.cell_contents for cell in given if callable(cell.cell_contents)]
    callback = next((one for one in callbacks if not isinstance(one, weakref.ref)), None)
    return (
        weak_method,
        () if method is None else _with_callback(method.__self__, method.__func__, callback=callback),
    )


def weak_method(target: Any = None, function: Any = None, callback: Any = None) -> weakref.WeakMethod[Any]:
    """Return a weak reference to a method, without a target a dead one; pickles name this function."""
    return weakref.WeakMethod(_Nobody().method if target is None else function.__get__(target), callback)


def _reduce_proxy(proxy: Any) -> _Reduced:
    is_callable = type(proxy) is weakref.CallableProxyType
    try:
        target = proxy.__sizeof__.__self__  # a proxy hands all attributes on, and has no way to its object
    except ReferenceError:
        return weak_proxy, (None, is_callable)
    except AttributeError:
        target = None
    if not any(one is proxy for one in weakref.getweakrefs(target)):
        text = f"cannot pickle {type(proxy).__name__!r} object: its object is not found"
        raise TypeError(text)
    return weak_proxy, _with_callback(target, is_callable, callback=next(iter(gc.get_referents(proxy)), None))


def weak_proxy(target: Any, is_callable: bool, callback: Any = None) -> Any:
    """Return a weak proxy, a dead one to None; pickles name this function."""
    if target is None:
        return weakref.proxy(_Nobody() if is_callable else set())
    return weakref.proxy(target, callback)


def _reduce_finalizer(finalizer: weakref.finalize[Any, Any]) -> Any:
    found = finalizer.peek()
    if found is None:
        return NotImplemented  # it has nothing that could be stored
    kind, function = type(found[0]), found[1]
    if function.__module__ == kind.__module__ and not travels_by_value(str(kind.__module__)):
        return NotImplemented  # a part of its object, as that of a `TemporaryDirectory`
    text = "cannot pickle 'finalize' object: it waits for an object of the process that made it"
    raise TypeError(text)


REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    weakref.ref: _reduce_reference,
    weakref.WeakMethod: _reduce_method,
    weakref.ProxyType: _reduce_proxy,
    weakref.CallableProxyType: _reduce_proxy,
    weakref.finalize: _reduce_finalizer,
}
"""By exact type; NotImplemented means the pickler's own way."""
