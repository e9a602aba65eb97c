"""State of one object, without that of the objects in it: taken before a cell runs, and compared afterwards.

Objects in it are compared by identity: each of them has a state of its own. An object with its own way of being pickled
is compared by its pickle, in which such others are references.
"""

from __future__ import annotations

import array
import copyreg
import io
import itertools
import sys
import tempfile
import types
from collections import deque
from collections.abc import Callable, Collection, Mapping
from operator import is_
from typing import Any, Final, TypeAlias

from covalab.core.codec import USERS_ERRORS, digest_of
from covalab.core.pickling import implementations, is_single_dispatch
from covalab.namespace.arrays import base_of
from covalab.namespace.definitions import TARGET
from covalab.namespace.libraries import special_reducer
from covalab.namespace.pickling import NamespacePickler, out_of_band

State: TypeAlias = Any
_Take: TypeAlias = "Callable[[Any], State]"

_WITH_SETTER: Final = 6
_NO_ATTRIBUTE: Final = object()
_NOT_COMPARED: Final = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__abstractmethods__",
        "__static_attributes__",
        "__firstlineno__",
        "_abc_impl",
    }
)
"""Attributes of classes that are made when somebody asks for them."""


def refuse_half(obj: Any) -> None:
    """Raise an error for what `itertools.tee` makes: one half would go on without what the other has read."""
    if type(obj) is _HALF:
        text = (
            "cannot pickle 'itertools._tee' object: it shares what it has read with others of its kind; "
            "make lists of them, or use them in the cell that makes them"
        )
        raise TypeError(text)


_HALF: Final[type] = type(itertools.tee(())[0])


class ReferringPickler(NamespacePickler):
    """Pickler in which some objects are references, by their number.

    Attributes
    ----------
    root
        An object that is pickled by value the next time that the pickler comes to it.
    changed
        The numbers of objects whose content is sent on its own, at the end.
    """

    def __init__(self, file: Any, namespace: Mapping[str, Any], numbers: Mapping[int, int], **options: Any) -> None:
        super().__init__(file, namespace, **options)
        self._numbers = numbers
        self.root: Any = None
        self.changed: Collection[int] = ()
        self._opened: Any = None

    def persistent_id(self, obj: Any) -> int | None:
        """Return the number of an object."""
        number = self._numbers.get(id(obj))
        if number is None or obj is not self.root:
            return number
        self.root = None
        self._opened = obj
        return None

    def comes_later(self, obj: object) -> bool:
        """Return whether an object is a reference here, whose content comes after all values."""
        return self._numbers.get(id(obj)) in self.changed

    def reducer_override(self, obj: Any) -> Any:
        """Return how to make an object."""
        refuse_half(obj)
        if type(obj) is tempfile.TemporaryDirectory and vars(obj)["_finalizer"].alive:  # nothing else says so
            text = (
                "cannot pickle 'TemporaryDirectory' object: its folder is deleted when the process of the cell ends; "
                "make it in a plain cell, or use tempfile.mkdtemp()"
            )
            raise TypeError(text)
        how = super().reducer_override(obj)
        if obj is self._opened:
            self._opened = None
            if isinstance(how, tuple) and len(how) == _WITH_SETTER:
                self.root = obj  # the pickler comes to it once more, for the function that sets its state
        return how


class ObjectStates:
    """States of the objects that were sent or received, which are known by number.

    Parameters
    ----------
    objects
        The objects by number. They are kept alive, so that no other object gets the id of one of them.
    namespace
        The namespace that they belong to.
    """

    def __init__(self, objects: Mapping[int, Any], namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self.objects = objects
        self.numbers = {id(obj): number for number, obj in objects.items()}
        self._takers: dict[type, _Take] = {}
        self.states = {number: self.take(obj) for number, obj in objects.items()}

    def changed(self) -> list[int]:
        """Return the numbers of the objects whose state is another one now."""
        return [number for number in self.objects if self.is_changed(number)]

    def is_changed(self, number: int) -> bool:
        """Return whether an object's state is another one now."""
        return not is_same(self.states[number], self.take(self.objects[number]))

    def take(self, obj: Any) -> State:
        """Return the state of an object."""
        kind = type(obj)
        take = self._takers.get(kind)
        if take is None:
            take = self._takers[kind] = self._taker(kind)
        return take(obj)

    def _taker(self, kind: type) -> _Take:
        if issubclass(kind, type):
            return _state_of_class
        plain = _TAKERS.get(kind)
        if plain is not None:
            return plain
        numpy: Any = sys.modules.get("numpy")
        if numpy is not None and kind is numpy.ndarray:
            return self._state_of_array
        return state_of_instance if is_plain(kind) else self._state_by_pickle

    def _state_of_array(self, one: Any) -> State:
        shape = one.shape, one.strides, one.dtype, one.flags.writeable
        base = base_of(one)
        if base is not one and id(base) in self.numbers:
            return ("view", shape, one.__array_interface__["data"][0] - base.__array_interface__["data"][0])
        if one.dtype.hasobject:
            return ("objects", shape, tuple(one.ravel("K").tolist()))
        data = one.ravel("K").view(sys.modules["numpy"].uint8) if one.nbytes else b""
        return ("array", shape, digest_of([memoryview(data)]))

    def _state_by_pickle(self, obj: Any) -> State:
        buffers: list[Any] = []
        with io.BytesIO() as file:
            pickler = ReferringPickler(file, self._namespace, self.numbers, buffer_callback=out_of_band(buffers))
            pickler.root = obj
            try:
                pickler.dump(obj)
            except USERS_ERRORS:  # something was put into it that cannot be pickled
                return object()
            return digest_of([file.getvalue(), *buffers])


def is_plain(kind: type) -> bool:
    """Return whether an object is its attributes, and what it contains if it is a list, dictionary or set."""
    if kind in NamespacePickler.dispatch_table or kind in copyreg.dispatch_table or special_reducer(kind) is not None:
        return False
    if any(getattr(kind, name, None) is not getattr(object, name, None) for name in _WAYS):
        return False
    return hasattr(kind, "__dict__") and bool(kind.__flags__ & _HEAP_TYPE)


_HEAP_TYPE: Final = 1 << 9
_WAYS: Final = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")


def is_same(one: State, other: State) -> bool:
    """Return whether two states are of the same objects."""
    if one is other or type(one) is _Kept:
        return True
    if type(one) is not tuple or type(other) is not tuple:
        return type(one) is type(other) and type(one) in _VALUES and bool(one == other)
    return len(one) == len(other) and (all(map(is_, one, other)) or all(map(is_same, one, other)))


_VALUES: Final = (str, bytes, int, float, bool, frozenset, types.CodeType)


def slots_of(kind: type) -> list[tuple[str, Any]]:
    """Return the names and descriptors of the slots of a type."""
    return [
        (name, member)
        for base in kind.__mro__
        for name, member in list(vars(base).items())
        if isinstance(member, types.MemberDescriptorType) and base.__flags__ & _HEAP_TYPE
    ]


def state_of_instance(obj: Any) -> State:
    """Return the state of an instance of a Python class."""
    kind = type(obj)
    content = next((take(obj) for base, take in _CONTAINERS if isinstance(obj, base)), None)
    attributes = getattr(obj, "__dict__", None)
    slots = tuple(_slot(member, obj) for _, member in slots_of(kind))
    return ("instance", content, _state_of_dict(attributes) if type(attributes) is dict else None, slots, kind)


def _slot(member: Any, obj: Any) -> Any:
    try:
        return member.__get__(obj, type(obj))
    except AttributeError:
        return _NO_ATTRIBUTE


def _state_of_dict(obj: dict[Any, Any]) -> State:
    return tuple(dict.keys(obj)), tuple(dict.values(obj))


def _state_of_set(obj: set[Any]) -> State:
    return frozenset(map(id, obj)), _Kept(tuple(obj))


class _Kept(tuple[Any, ...]):
    """Objects that are only kept alive: their order is of no meaning."""

    __slots__ = ()


def _state_of_deque(obj: deque[Any]) -> State:
    return tuple(obj)


def _state_of_cell(obj: types.CellType) -> State:
    try:
        return (obj.cell_contents,)
    except ValueError:
        return ()


def _state_of_function(obj: types.FunctionType) -> State:
    if is_single_dispatch(obj):
        return tuple(_state_of_dict(part) for part in implementations(obj))
    slots = obj.__code__, obj.__name__, obj.__doc__, obj.__defaults__
    return (*slots, _state_of_dict(obj.__kwdefaults__ or {}), _state_of_dict(obj.__dict__))


def _state_of_class(cls: type) -> State:
    return _state_of_dict(attributes_of(cls))


def attributes_of(cls: type) -> dict[str, Any]:
    """Return the attributes of a class that its definition or an assignment put there."""
    return {
        name: value
        for name, value in vars(cls).items()
        if name not in _NOT_COMPARED and not isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
    }


_TAKERS: Final[dict[type, _Take]] = {
    list: tuple,
    dict: _state_of_dict,
    set: _state_of_set,
    deque: _state_of_deque,
    bytearray: bytes,
    array.array: lambda obj: (obj.typecode, obj.tobytes()),
    types.CellType: _state_of_cell,
    types.FunctionType: _state_of_function,
    TARGET.__class__: lambda _: None,
}
_CONTAINERS: Final[tuple[tuple[type, _Take], ...]] = ((list, tuple), (dict, _state_of_dict), (set, _state_of_set))
