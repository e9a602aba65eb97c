"""NumPy arrays: a view is pickled as a view of its base, so that both share memory where they arrive.

Arrays own their memory after a journey, as before it: `resize` works, and `base` and `flags` are those of the notebook.
Pickles name functions of this module.
"""

from __future__ import annotations

import math
import pickle
import sys
import warnings
from typing import Any, Final

_KINDS: Final = frozenset("biufcSUVmM?")
"""Kinds of elements whose bytes are their values."""

_FACTOR: Final = 4
_SMALL: Final = 64 * 1024


class ArrayReducer:
    """Reducer of the arrays of one pickle.

    Attributes
    ----------
    bases
        The bases of all views that were met, by id.
    blocks
        The bases of the arrays that are the values of tables, by id.
    """

    def __init__(self, whole: frozenset[int] = frozenset()) -> None:
        self._whole = whole
        self._cut: dict[int, set[int]] = {}
        self._met: set[int] = set()
        self.bases: dict[int, Any] = {}
        self.blocks: dict[int, Any] = {}
        self._linked: set[int] = set()

    def values_of_block(self, values: Any) -> Any:
        """Return the values of a table as they are pickled: alone, unless an array here shares their memory.

        pandas copies on write, so tables that share memory behave as if they did not; after a journey it would not know
        that they share it, and a change of one would reach the others. An array that `to_numpy()` made follows the
        table, and so it does where it arrives.
        """
        base = base_of(values)
        self.blocks[id(base)] = base
        if id(base) not in self._whole or id(base) in self._linked:
            return Alone(values)
        self._linked.add(id(base))
        return values

    def reduce(self, array: Any) -> tuple[Any, ...]:
        """Return how an array is made: from its bytes, or as a view of its base."""
        base = base_of(array)
        if base is array:
            self._met.add(id(array))
            return reduce_alone(array)
        self.bases[id(base)] = base
        if not _can_be_viewed(base, array):
            return reduce_alone(array)
        is_file = type(base).__name__ == "memmap"  # of which nothing is written
        if not is_file and id(base) not in self._whole and base.nbytes > max(_FACTOR * array.nbytes, _SMALL):
            # It would be a pity to write a large array for a few of its elements, if nobody else needs it.
            self._cut.setdefault(id(base), set()).add(id(array))
            return reduce_alone(array)
        offset = _address(array) - _address(base)
        return make_view, (base, array.dtype, array.shape, array.strides, offset, array.flags.writeable)

    def needed_whole(self) -> frozenset[int]:
        """Return the ids of the bases that were left out although several arrays or tables here share them."""
        missing = {base for base, views in self._cut.items() if len(views) > 1 or base in self._met}
        missing |= self.blocks.keys() & (self._met | self.bases.keys())
        return self._whole | missing if missing else frozenset()


class Alone:
    """Array that shares its memory with nothing."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_alone(self._array)


def base_of(array: Any) -> Any:
    """Return the array whose memory an array uses, itself if it is its own."""
    ndarray = sys.modules["numpy"].ndarray
    base = array
    while True:
        below = base.base
        if type(below).__name__ == "DummyArray":  # between an array and what `as_strided` makes of it
            below = getattr(below, "base", None)
        if not isinstance(below, ndarray):
            return base
        base = below


def _can_be_viewed(base: Any, array: Any) -> bool:
    flags = base.flags
    is_plain = _is_of_bytes(base.dtype) == _is_of_bytes(array.dtype)
    is_whole = base.nbytes and (flags.c_contiguous or flags.f_contiguous)
    return bool(is_plain and is_whole and _is_inside(base, array))


def _is_inside(base: Any, array: Any) -> bool:
    """Return whether all elements are in the memory of the base: `as_strided` makes any array."""
    start = _address(array) - _address(base)
    steps = [stride * (n - 1) for n, stride in zip(array.shape, array.strides, strict=True)] if array.size else []
    low, high = sum(step for step in steps if step < 0), sum(step for step in steps if step > 0)
    return bool(start + low >= 0 and start + high + array.itemsize <= base.nbytes)


def _is_of_bytes(dtype: Any) -> bool:
    return bool(dtype.kind in _KINDS and not dtype.hasobject and dtype.itemsize)


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def reduce_alone(array: Any) -> tuple[Any, ...]:
    """Return how an array is made from its bytes."""
    if not _is_of_bytes(array.dtype) or not array.nbytes:
        own: tuple[Any, ...] = array.__reduce__()
        return own
    flags = array.flags
    if not (flags.c_contiguous or flags.f_contiguous):
        array = array.copy("K")
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    if order == "C" and not array.flags.c_contiguous:
        array = array.copy("C")
    return make_array, (pickle.PickleBuffer(_bytes_of(array)), array.dtype, array.shape, order, flags.writeable)


def _bytes_of(array: Any) -> Any:
    """Return a flat view: not all types of elements can be exported as a buffer."""
    return array.ravel("K").view(sys.modules["numpy"].uint8)


def make_array(buffer: Any, dtype: Any, shape: tuple[int, ...], order: Any, writeable: bool) -> Any:
    """Return an array that owns its memory; pickles name this function."""
    import numpy as np  # noqa: PLC0415 - only a process that has an array needs it

    array = np.ndarray(shape, dtype, buffer, order=order).copy(order)
    array.flags.writeable = writeable
    return array


def make_view(
    base: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, writeable: bool
) -> Any:
    """Return a view of an array; pickles name this function."""
    import numpy as np  # noqa: PLC0415 - as above

    if dtype.hasobject:
        view: Any = _view_of_objects(base.view(np.ndarray).ravel("K"), shape, strides, offset)
    else:
        view = np.ndarray(shape, dtype, base.view(np.ndarray).ravel("K").view(np.uint8), offset, strides)
    if view.flags.writeable and not writeable:
        view.flags.writeable = False
    return view


def _view_of_objects(flat: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """Return a view of an array of objects, which numpy does not make from a buffer."""
    backwards = tuple(slice(None, None, -1) if stride < 0 else slice(None) for stride in strides)
    offset += sum(stride * (n - 1) for n, stride in zip(shape, strides, strict=True) if stride < 0)
    steps = tuple(map(abs, strides))
    start, size = offset // flat.itemsize, math.prod(shape)
    if start + size > flat.size:  # elements that occur several times
        return sys.modules["numpy"].lib.stride_tricks.as_strided(flat[start:], shape, steps)[backwards]
    view = flat[start : start + size].reshape(shape)
    if view.strides != steps:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # What numpy advises instead makes a view whose base is no array.
            view.strides = steps
    return view[backwards]
