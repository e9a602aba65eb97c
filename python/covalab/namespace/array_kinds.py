"""Arrays of NumPy's further kinds, and rows of structured arrays: they share memory where they arrive, too.

An array that maps a file maps it there, too. Pickles name functions of this module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from covalab.namespace.arrays import base_of


def reducer_of_kind(kind: type) -> Callable[[Any], Any] | None:
    """Return how objects of one of NumPy's further kinds are made; None if it is none of them."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return None
    if issubclass(kind, numpy.void):
        return _reduce_row
    if not issubclass(kind, numpy.ndarray):
        return None
    if kind is numpy.memmap:
        return _reduce_mapped
    if kind is numpy.recarray or kind is numpy.matrix:
        return _reduce_view
    return _reduce_masked if kind is numpy.ma.MaskedArray else None


def _reduce_row(row: Any) -> Any:
    """`table[1]` of a structured array: what is written to it is written to the array."""
    numpy = sys.modules["numpy"]
    table = row.base
    if not isinstance(table, numpy.ndarray) or table.ndim != 1 or not table.strides[0] or table.dtype.hasobject:
        return NotImplemented
    address = numpy.frombuffer(row, numpy.uint8).__array_interface__["data"][0]
    n = (address - table.__array_interface__["data"][0]) // table.strides[0]
    if not 0 <= n < len(table) or table.dtype != row.dtype:
        return NotImplemented
    return first_row, (table.view(numpy.ndarray)[n : n + 1],)


def first_row(table: Any) -> Any:
    """Return the only row of a structured array; pickles name this function."""
    return table[0]


def _reduce_view(array: Any) -> Any:
    """Return how a view is made that is of another kind than its base."""
    if base_of(array) is array:
        return NotImplemented
    return view_of_kind, (array.view(sys.modules["numpy"].ndarray), type(array))


def view_of_kind(array: Any, kind: type) -> Any:
    """Return an array as one of another kind; pickles name this function."""
    return array.view(kind)


def _reduce_masked(array: Any) -> Any:
    if base_of(array) is array:
        return NotImplemented
    plain = array.view(sys.modules["numpy"].ndarray)
    return view_of_kind, (plain, type(array)), dict(vars(array)), None, None, set_masked


def set_masked(array: Any, attributes: dict[str, Any]) -> None:
    """Give an array its mask and what else it has; pickles name this function."""
    vars(array).update(attributes)


def maps_a_file(value: Any) -> bool:
    """Return whether a value is an array that maps a file, or a view of one: to write to it is to write to the file."""
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray) and type(base_of(value)) is numpy.memmap


def is_mapped(array: Any) -> bool:
    """Return whether an array maps a file by itself, and not as a view."""
    return type(array).__name__ == "memmap" and base_of(array) is array and getattr(array, "filename", None) is not None


def _reduce_mapped(array: Any) -> Any:
    if base_of(array) is not array:
        return _reduce_view(array)
    if not is_mapped(array) or array.mode == "c":  # what is written to that one is nowhere but here
        return NotImplemented
    order = "C" if array.flags.c_contiguous else "F"
    mode = "r" if array.mode == "r" else "r+"
    return map_file, (str(array.filename), array.dtype, mode, array.offset, array.shape, order)


def map_file(filename: str, dtype: Any, mode: Any, offset: int, shape: Any, order: Any) -> Any:
    """Return an array that maps a file; pickles name this function."""
    import numpy as np  # noqa: PLC0415 - only a process that has an array needs it

    if not Path(filename).exists():
        text = f"the file that the array maps is gone: {filename}"
        raise FileNotFoundError(text)
    return np.memmap(filename, dtype, mode, offset, shape, order)
