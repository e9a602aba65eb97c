"""Objects of libraries that need more than their own way of being pickled: pandas, matplotlib, objects of modules.

A library is looked at only when it is loaded.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from covalab.core.pickling import travels_by_value
from covalab.namespace.arrays import ArrayReducer
from covalab.namespace.definitions import TARGET, Target, set_attributes

Reduce: TypeAlias = "Callable[[Any], Any]"

_NEVER_A_MODULES: Final = frozenset({"builtins", "types", "functools", "itertools", "collections", "weakref"})


def objects_of_module(kind: type) -> dict[int, str]:
    """Return the objects of a type that are attributes of the module that defines it, by id.

    `from os import environ`, `from random import randint` and `from matplotlib import rcParams` bind names to such
    objects. A copy would be of no effect on the module.
    """
    name = kind.__module__
    if not isinstance(name, str) or name in _NEVER_A_MODULES or travels_by_value(name):
        return {}
    module = sys.modules.get(name)
    return {id(value): key for key, value in list(vars(module).items()) if type(value) is kind} if module else {}


def attribute_of_module(kind: type, attribute: str) -> tuple[Any, ...]:
    """Return how an object of a module is found."""
    return getattr, (sys.modules[kind.__module__], attribute)


def special_reducer(kind: type) -> Reduce | None:
    """Return the reducer for a type of a library, if it needs one."""
    for module, name, reduce in _SPECIAL:
        base = getattr(sys.modules.get(module), name, None)
        if base is not None and issubclass(kind, base):
            return None if module.startswith("pandas.core.internals") and not _copies_on_write() else reduce
    return None


def refuse_mapped(cls: type) -> None:
    """Refuse a class that SQLAlchemy maps to a table: it is entered in a registry when its definition runs."""
    registry = getattr(sys.modules.get("sqlalchemy.orm"), "registry", None)
    if registry is not None and isinstance(getattr(cls, "registry", None), registry):
        text = (
            f"cannot pickle class {cls.__name__!r}: SQLAlchemy maps it in the process that defined it; "
            "define it in the cell that uses it, or in a module that both import"
        )
        raise TypeError(text)


def _reduce_figure(figure: Any) -> tuple[Any, ...]:
    """A figure, which pyplot would otherwise open, and show once more, where it arrives."""
    how = figure.__reduce_ex__(5)
    state = how[2]
    if isinstance(state, dict):
        state.pop("_restore_to_pylab", None)
    made: tuple[Any, ...] = how
    return made


def _reduce_frame(frame: Any) -> tuple[Any, ...]:
    """A table or column, without a list that belongs to its class and would connect all of them."""
    make, arguments, state, *rest = frame.__reduce_ex__(5)
    if isinstance(state, dict) and isinstance(state.get("_metadata"), list):
        state["_metadata"] = list(state["_metadata"])
    return make, arguments, state, *rest


def is_block(kind: type) -> bool:
    """Return whether a type is one of pandas' blocks of values, where tables copy on write."""
    base = getattr(sys.modules.get("pandas.core.internals.blocks"), "Block", None)
    return base is not None and issubclass(kind, base) and _copies_on_write()


def reduce_block(block: Any, arrays_: ArrayReducer) -> tuple[Any, ...]:
    """Return how a block of values of a table is made."""
    make, (values, *rest) = block.__reduce__()
    numpy: Any = sys.modules["numpy"]
    return make, (arrays_.values_of_block(values) if type(values) is numpy.ndarray else values.copy(), *rest)


def _reduce_single_block(manager: Any) -> tuple[Any, ...]:
    """The values of a column, as a block: its own way has the array itself."""
    return type(manager), (manager.blocks[0], manager.axes[0])


def _reduce_call(call: Any) -> tuple[Any, ...]:
    """A call that a mock has recorded: its own `__new__` would make three parts of two."""
    mock: Any = sys.modules["unittest.mock"]
    if call is mock.call:
        return getattr, (mock, "call")
    content = tuple.__getitem__(call, slice(None))
    return bare_tuple, (type(call), content), dict(vars(call)), None, None, set_attributes


def _reduce_mock(mock: Any) -> tuple[Any, ...]:
    """A mock: its own `__new__` makes a class for each, and would make one more."""
    return bare_object, (type(mock),), dict(vars(mock)), None, None, set_attributes


def bare_object(kind: type) -> Any:
    """Return an object of a class whose `__new__` does more than that; pickles name this function."""
    return object.__new__(kind)


def bare_tuple(kind: type[tuple[Any, ...]], content: tuple[Any, ...]) -> Any:
    """Return a tuple of a class that makes something else of its content; pickles name this function."""
    return tuple.__new__(kind, content)


def _copies_on_write() -> bool:
    pandas: Any = sys.modules["pandas"]
    return int(pandas.__version__.partition(".")[0]) >= 3 or pandas.options.mode.copy_on_write is True


def _reduce_dtype(dtype: Any) -> Any:
    """A type of elements that numpy has once: loaded, it is that one, so that it is pickled the same way again."""
    numpy: Any = sys.modules["numpy"]
    if dtype.metadata is None and dtype.isnative and dtype.names is None and dtype.subdtype is None:
        plain = numpy.dtype(dtype.char)
        if plain == dtype and plain is numpy.dtype(dtype.char):
            return numpy.dtype, (dtype.char,)
    return NotImplemented


def _reduce_context(context: Any) -> Any:
    """A context of `decimal`; that of the cells is theirs where they go on."""
    decimal: Any = sys.modules["decimal"]
    return (current_context, (TARGET, *context.__reduce__()[1])) if context is decimal.getcontext() else NotImplemented


def current_context(target: Target | dict[str, Any], *settings: Any) -> Any:
    """Return a context of `decimal`, in use if the namespace it is loaded into is `__main__`; pickles name this."""
    decimal: Any = importlib.import_module("decimal")
    made = decimal.Context(*settings)
    if target is vars(sys.modules["__main__"]):
        decimal.setcontext(made)
    return made


_SPECIAL: Final[tuple[tuple[str, str, Reduce], ...]] = (
    ("matplotlib.figure", "Figure", _reduce_figure),
    ("pandas.core.internals.managers", "SingleBlockManager", _reduce_single_block),
    ("pandas.core.generic", "NDFrame", _reduce_frame),
    ("numpy", "dtype", _reduce_dtype),
    ("decimal", "Context", _reduce_context),
    ("unittest.mock", "_Call", _reduce_call),
    ("unittest.mock", "NonCallableMock", _reduce_mock),
)


# Types whose objects never change, so that sharing one connects no names.

_UNCHANGING: Final[dict[str, tuple[str, ...]]] = {
    "datetime": ("date", "time", "timedelta", "tzinfo"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "pathlib": ("PurePath",),
    "re": ("Pattern", "Match"),
    "uuid": ("UUID",),
    "enum": ("Enum",),
    "logging": ("Logger",),
    "typing": ("TypeVar", "_Final", "_GenericAlias"),
    "numpy": ("dtype", "generic", "ufunc"),
    "pandas": ("Index",),
    "pandas.api.extensions": ("ExtensionDtype",),
    "pyarrow": ("Array", "ChunkedArray", "Table", "Buffer", "DataType"),
    "sympy": ("Basic",),
    "torch": ("dtype", "device"),
}


def never_changes(kind: type) -> bool:
    """Return whether objects of a library's type never change."""
    for module, names in _UNCHANGING.items():
        loaded = sys.modules.get(module)
        for name in names if loaded is not None else ():
            base = getattr(loaded, name, None)
            if isinstance(base, type) and issubclass(kind, base):
                return True
    return False


def is_internal(kind: type) -> bool:
    """Return whether objects of a library's type are parts of others that are looked at as a whole."""
    return str(kind.__module__).startswith("pandas.core.internals")


def model_data(make: Any, arguments: tuple[Any, ...], state: dict[str, Any], frame: Any) -> Any:
    """Return the data of a model of statsmodels, read from a copy of their table; pickles name this function."""
    made = make(*arguments)
    made.__setstate__(state)
    made.frame = frame
    return made
