"""Changes in place: an object gets the content of another one, so that all who refer to it see it."""

from __future__ import annotations

import operator
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from covalab.core.codec import USERS_ERRORS
from covalab.core.pickling import is_single_dispatch, set_implementations
from covalab.namespace.caches import content_of, fill
from covalab.namespace.definitions import set_function
from covalab.namespace.object_state import slots_of

_Put: TypeAlias = "Callable[[Any, Any], None]"


class CannotChangeError(Exception):
    """An object cannot be changed in place."""


def replace_content(old: Any, new: Any) -> None:
    """Give an object the content of another one.

    Raises
    ------
    CannotChangeError
        If there is no way; the object is as before.
    """
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and type(old) is numpy.ndarray:
        _put_array(old, new)
        return
    if is_iterator(type(old)) and operator.length_hint(old, -1) >= 0:
        _advance(old, operator.length_hint(new, -1))
        return
    if type(old) is not type(new) and not _put_class(old, type(new)):
        text = f"it is of type {type(old).__name__}, and now it would be of type {type(new).__name__}"
        raise CannotChangeError(text)
    found = False
    for module, name, put in _HANDLERS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(old, kind):
            put(old, new)
            found = True
            break
    if not found and _put_as_unpickled(old, new):
        return
    is_built_in = isinstance(getattr(type(old), "__setstate__", None), types.MethodDescriptorType)
    if (is_built_in and not found) or not (_put_attributes(old, new) or found):
        _put_state(old, new)


def is_iterator(kind: type) -> bool:
    """Return whether a type is an iterator that is compiled. A mock says that it is one, and has no items left."""
    return any(isinstance(vars(base).get("__next__"), types.WrapperDescriptorType) for base in kind.__mro__)


def _put_class(old: Any, kind: type) -> bool:
    """Give an object another class, as an assignment to `__class__` does. Return whether that is possible."""
    try:
        object.__setattr__(old, "__class__", kind)
    except TypeError:
        return False
    return True


def _advance(old: Any, left: int) -> None:
    """Advance an iterator, until as much is left of it as of the other one."""
    n = operator.length_hint(old) - left
    if left < 0 or n < 0:
        text = "it is an iterator that cannot go back"
        raise CannotChangeError(text)
    for _ in range(n):
        next(old, None)
    if not left:
        next(old, None)  # now it knows that it is at its end


def _put_array(old: Any, new: Any) -> None:
    is_writeable = old.flags.writeable
    try:
        if old.dtype != new.dtype:
            old.dtype = new.dtype
        if old.shape != new.shape:
            if old.size == new.size:
                old.shape = new.shape
            else:
                old.resize(new.shape, refcheck=False)
        if not is_writeable:
            old.flags.writeable = True
        old[...] = new
        old.flags.writeable = new.flags.writeable
    except (ValueError, TypeError, AttributeError) as error:
        text = f"it is an array whose memory cannot be changed so: {error}"
        raise CannotChangeError(text) from error


def _put_masked(old: Any, new: Any) -> None:
    """Give an array data and mask of another one, in the memory that views of it share."""
    plain = sys.modules["numpy"].ndarray
    if old.shape != new.shape or old.dtype != new.dtype:
        old.__setstate__(_state_of(new))
        return
    if isinstance(vars(old).get("_mask"), plain) and isinstance(vars(new).get("_mask"), plain):
        vars(old)["_mask"][...] = vars(new)["_mask"]
        vars(old).update({**vars(new), "_mask": vars(old)["_mask"]})
    else:
        vars(old).update(vars(new))
    old.view(plain)[...] = new.view(plain)


def _put_list(old: list[Any], new: list[Any]) -> None:
    list.__setitem__(old, slice(None), list.copy(new))


def _put_dict(old: dict[Any, Any], new: dict[Any, Any]) -> None:
    # The class's own methods: those of a class of the notebook may do anything.
    kind: Any = OrderedDict if isinstance(old, OrderedDict) else dict
    items = list(kind.items(new))
    kind.clear(old)
    for key, value in items:
        kind.__setitem__(old, key, value)
    if isinstance(old, defaultdict) and isinstance(new, defaultdict):
        old.default_factory = new.default_factory


def _put_set(old: set[Any], new: set[Any]) -> None:
    content = set.copy(new)
    set.clear(old)
    set.update(old, content)


def _put_deque(old: deque[Any], new: deque[Any]) -> None:
    if old.maxlen != new.maxlen:
        text = "the length of a deque cannot be changed"
        raise CannotChangeError(text)
    old.clear()
    old.extend(new)


def _put_sequence(old: Any, new: Any) -> None:
    try:
        old[:] = new
    except (BufferError, TypeError) as error:
        raise CannotChangeError(str(error)) from error


def _put_exception(old: BaseException, new: BaseException) -> None:
    old.args = new.args
    old.__cause__, old.__context__, old.__suppress_context__ = new.__cause__, new.__context__, new.__suppress_context__


def _put_numpy_state(old: Any, new: Any) -> None:
    old.set_state(new.get_state(legacy=False))


def _put_bits(old: Any, new: Any) -> None:
    old.state = new.state


def _put_tensor(old: Any, new: Any) -> None:
    if old.shape == new.shape and old.dtype == new.dtype and old.device == new.device:
        old.data.copy_(new.data)
    else:
        old.data = new.data
    old.requires_grad = new.requires_grad
    old.grad = new.grad


def _put_cycle(old: Any, new: Any) -> None:
    """Turn a cycle to where the other one is. Its own state leaves out the iterator that it reads."""
    (source,), _ = old.__reduce__()[1:]
    (left,), (saved, is_round) = new.__reduce__()[1:]
    n_left = operator.length_hint(left, -1)
    if n_left < 0:
        text = "it is a cycle over an iterator that does not say how much is left of it"
        raise CannotChangeError(text)
    if not is_round:
        _advance(source, n_left)
        old.__setstate__((saved, False))
        return
    for _ in source:  # it has come round, so this ends
        pass
    old.__setstate__((saved, True))
    for _ in range(len(saved) - n_left):
        next(old)


def _put_context_variable(_old: Any, _new: Any) -> None:
    text = "the value of a context variable belongs to the context of its cell"
    raise CannotChangeError(text)


def _put_cache(old: Any, new: Any) -> None:
    fill(old, content_of(new))


_HANDLERS: Final[tuple[tuple[str, str, _Put], ...]] = (
    ("numpy.ma", "MaskedArray", _put_masked),
    ("builtins", "list", _put_list),
    ("builtins", "dict", _put_dict),
    ("builtins", "set", _put_set),
    ("builtins", "bytearray", _put_sequence),
    ("array", "array", _put_sequence),
    ("collections", "deque", _put_deque),
    ("builtins", "BaseException", _put_exception),
    ("contextvars", "ContextVar", _put_context_variable),
    ("functools", "_lru_cache_wrapper", _put_cache),
    ("itertools", "cycle", _put_cycle),
    ("random", "Random", lambda old, new: old.setstate(new.getstate())),
    ("numpy.random", "BitGenerator", _put_bits),
    ("numpy.random", "RandomState", _put_numpy_state),
    ("torch", "Tensor", _put_tensor),
)
"""Types by module and name; a module that is not loaded has no objects."""


def _put_attributes(old: Any, new: Any) -> bool:
    """Give an object the attributes of another one. Return whether it has any."""
    attributes = getattr(old, "__dict__", None)
    slots = slots_of(type(old))
    if type(attributes) is dict:
        content = dict(new.__dict__)
        attributes.clear()
        attributes.update(content)
    for _, member in slots:
        try:
            value = member.__get__(new, type(new))
        except AttributeError:
            _delete_slot(member, old)
        else:
            member.__set__(old, value)
    return type(attributes) is dict or bool(slots)


def _put_as_unpickled(old: Any, new: Any) -> bool:
    """Give an object the state of another one by its class's own `__setstate__`. Return whether it has one.

    What that makes belongs to the object for which it is called: the canvas of a figure draws that figure, the flags of
    a table hold that table weakly.
    """
    if not isinstance(getattr(type(old), "__setstate__", None), types.FunctionType) or slots_of(type(old)):
        return False
    if type(getattr(old, "__dict__", None)) is not dict:
        return False
    before = dict(vars(old))
    try:
        state = _state_of(new)
        if state is None:
            return False
        vars(old).clear()
        old.__setstate__(state)
    except USERS_ERRORS:
        vars(old).clear()
        vars(old).update(before)
        return False
    return True


def _state_of(obj: Any) -> Any:
    """Return the state that a pickle of an object has; None if it has none."""
    reduced = obj.__reduce_ex__(4)
    return reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None


def _delete_slot(member: Any, obj: Any) -> None:
    try:
        member.__delete__(obj)
    except AttributeError:
        return


def _put_state(old: Any, new: Any) -> None:
    """Give a built-in object the state that it would have after a journey."""
    state = _state_of(new)
    if state is None or not hasattr(old, "__setstate__"):
        text = f"objects of type {type(old).__name__} have no content that can be set"
        raise CannotChangeError(text)
    old.__setstate__(state)


def change_function(function: types.FunctionType, state: Any) -> None:
    """Give a function other attributes and defaults, or other implementations if it dispatches by type."""
    if is_single_dispatch(function):
        set_implementations(function, state)
        return
    function.__dict__.clear()
    set_function(function, state)


def change_class(cls: type, attributes: dict[str, Any], removed: list[str]) -> None:
    """Give a class other attributes."""
    for name in removed:
        if name in vars(cls):
            type.__delattr__(cls, name)
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)


def change_cell(cell: types.CellType, contents: tuple[Any, ...]) -> None:
    """Give a variable of a closure another value."""
    if contents:
        cell.cell_contents = contents[0]
    else:
        del cell.cell_contents
