"""Pickler of the codec: cloudpickle's, with reducers for what notebooks have and cloudpickle cannot do.

What can be found by its name in an installed module is pickled by that name, as cloudpickle does it; what a notebook
defined travels by value. What it becomes is named by the standard library where that is possible, so that a process
without covalab can open it, too.
"""

from __future__ import annotations

import contextvars
import copyreg
import functools
import io
import operator
import pickle
import sys
import threading
import types
import typing
import weakref
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import cloudpickle
from cloudpickle.cloudpickle import _class_setstate  # what the pickle of every class names

_T = TypeVar("_T")
_Reduced: TypeAlias = "str | tuple[Any, ...]"

_DEEP_STACK: Final = 512 * 1024**2  # bytes of address space; only what is used of it becomes memory
_DEEP_LIMIT: Final = 200_000  # calls inside each other: about 50,000 objects, which take a tenth of that stack
_NONE: Final[Mapping[str, object]] = types.MappingProxyType({})
_CASTABLE: Final = frozenset("cbB?hHiIlLqQnNfdP")  # formats of one letter that `memoryview.cast` knows

_deep: Final = threading.Lock()
"""Held while recursion limit and stack size are others: they are settings of the whole process."""


def dumps(
    obj: object,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    *,
    attributes: Mapping[str, object] = _NONE,
) -> bytes:
    """Pickle a value, with protocol 5. If it is a function that travels by value, it arrives with more attributes."""
    with io.BytesIO() as file:
        pickler = NotebookPickler(file, protocol=5, buffer_callback=buffer_callback)
        pickler.attributes = attributes
        pickler.dump(obj)
        return file.getvalue()


def dumps_deep(
    obj: object,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    *,
    attributes: Mapping[str, object] = _NONE,
) -> bytes:
    """Pickle a value that is too deep for `dumps`, on a stack that is large enough. Slow to start: a second choice."""
    return call_deep(lambda: dumps(obj, buffer_callback, attributes=attributes))


def call_deep(function: Callable[[], _T]) -> _T:
    """Call a function on a stack that is large enough for values that are nested very deeply."""
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
            errors.append(error)

    with _deep:
        before, limit = threading.stack_size(_DEEP_STACK), sys.getrecursionlimit()
        try:
            # First: a thread that has begun would reach the limit of before.
            sys.setrecursionlimit(max(limit, _DEEP_LIMIT))
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            threading.stack_size(before)
            thread.join()
        finally:
            threading.stack_size(before)
            sys.setrecursionlimit(limit)
    if errors:
        raise errors[0]
    return results[0]


# Reducers: what `object.__reduce__` would return, if the type had one that works across processes.


def reduce_cached(obj: Any) -> _Reduced:
    """`functools.lru_cache` and `cache`: the function with an empty cache."""
    if is_found_by_name(obj):
        return str(obj.__qualname__)
    how = obj.cache_parameters()
    state = {name: value for name, value in vars(obj).items() if name != "cache_parameters"}
    # The usual one is a function of `functools.lru_cache`, which would travel as byte code.
    state["cache_parameters"] = functools.partial(dict, how)
    kind, info = type(obj), functools._CacheInfo  # noqa: SLF001 - the type asks for it
    return kind, (obj.__wrapped__, how["maxsize"], how["typed"], info), state


def _reduce_cached_property(obj: Any) -> _Reduced:
    """`functools.cached_property`: before Python 3.12 it has a lock."""
    state = {name: value for name, value in vars(obj).items() if name != "lock"}
    return type(obj), (obj.func,), state


_SINGLE_DISPATCH: Final = functools.singledispatch(lambda _: None).__code__  # type: ignore[attr-defined]


def _reduce_single_dispatch(obj: Any) -> _Reduced:
    """`functools.singledispatch`: the function with its implementations, without what it remembers of classes."""
    return functools.singledispatch, (obj.registry[object],), implementations(obj), None, None, set_implementations


def implementations(obj: Any) -> tuple[dict[type, Any], dict[str, Any]]:
    """Return the implementations and attributes of a single-dispatch function."""
    own = ("register", "dispatch", "registry", "_clear_cache")
    attributes = {name: value for name, value in vars(obj).items() if name not in own}
    named = {name: getattr(obj, name) for name in ("__name__", "__qualname__", "__module__", "__doc__")}
    return dict(obj.registry), {**attributes, **named}


def set_implementations(obj: Any, state: tuple[Mapping[type, Any], Mapping[str, Any]]) -> None:
    """Give a single-dispatch function its implementations and attributes; pickles name this function."""
    found, attributes = state
    for kind, implementation in found.items():
        obj.register(kind, implementation)
    for name, value in attributes.items():
        setattr(obj, name, value)


def _reduce_new_type(obj: Any) -> _Reduced:
    """`typing.NewType`, whose own `__reduce__` is its name."""
    if is_found_by_name(obj):
        return str(obj.__qualname__)
    return typing.NewType, (obj.__name__, obj.__supertype__), dict(vars(obj))


def _reduce_param_spec(obj: Any) -> _Reduced:
    """`typing.ParamSpec`, whose own `__reduce__` is its name."""
    if is_found_by_name(obj):
        return str(obj.__name__)
    options = {"bound": obj.__bound__, "covariant": obj.__covariant__, "contravariant": obj.__contravariant__}
    kind: Callable[..., Any] = type(obj)
    return functools.partial(kind, obj.__name__, **options), ()


def _reduce_type_var_tuple(obj: Any) -> _Reduced:
    """`typing.TypeVarTuple`, whose own `__reduce__` is its name."""
    return str(obj.__name__) if is_found_by_name(obj) else (type(obj), (obj.__name__,))


def _reduce_context_variable(obj: contextvars.ContextVar[Any]) -> _Reduced:
    """`contextvars.ContextVar`: that of an installed module, or a new one with the default and the value of now."""
    for name, module in list(sys.modules.items()):
        # It does not say where it is defined. There, others use it, and a copy would be another variable.
        if isinstance(module, types.ModuleType) and not travels_by_value(name):
            for attribute, found in vars(module).items():
                if found is obj:
                    return getattr, (module, attribute)
    default, value = contextvars.Context().run(_values_of, obj), _values_of(obj)
    made = context_variable, (obj.name, *default)
    is_default = len(value) == len(default) and all(map(operator.is_, value, default))
    return made if is_default else (*made, value, None, None, set_context_variable)


def _values_of(variable: contextvars.ContextVar[Any]) -> tuple[Any, ...]:
    try:
        return (variable.get(),)
    except LookupError:
        return ()


def context_variable(name: str, *default: Any) -> contextvars.ContextVar[Any]:
    """Return a context variable; pickles name this function."""
    return contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)


def set_context_variable(obj: contextvars.ContextVar[Any], state: tuple[Any]) -> None:
    """Give a context variable its value; pickles name this function."""
    obj.set(state[0])


def _reduce_weak_dictionary(obj: Any) -> _Reduced:
    """`weakref.WeakValueDictionary`, `WeakKeyDictionary`: what nothing else holds where it arrives, it forgets."""
    return type(obj), (dict(obj),)


def _reduce_view(obj: memoryview) -> _Reduced:
    """`memoryview`: a view of a copy, with its format and shape."""
    if not obj.c_contiguous or obj.format not in _CASTABLE or 0 in (obj.shape or ()):
        return bytes, (obj.tobytes(),)
    # No buffer of it: while that is there, the view cannot be released.
    content = obj.tobytes() if obj.readonly else bytearray(obj)
    return view_of, (content, obj.format, obj.shape, obj.readonly)


def view_of(buffer: Any, format_: Any, shape: tuple[int, ...], readonly: bool) -> memoryview:
    """Return a view of a buffer; pickles name this function."""
    flat = memoryview(buffer).cast("B")
    view = flat.cast(format_, shape) if len(shape) != 1 else flat.cast(format_)
    return view.toreadonly() if readonly else view


def _reduce_stream(obj: Any) -> _Reduced:
    """A kernel's `sys.stdout` and `sys.stderr`: those of the process where it is opened."""
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        if obj is getattr(sys, name):
            return getattr, (sys, name)
    own: _Reduced = obj.__reduce_ex__(5)
    return own


def _reduce_method(obj: types.MethodType) -> _Reduced:
    """Methods: `get_ipython` of a notebook is that of the process where it is opened, which has a shell of its own."""
    ipython: Any = sys.modules.get("IPython")
    if obj.__name__ == "get_ipython" and ipython is not None and obj.__self__ is ipython.get_ipython():
        return getattr, (ipython, "get_ipython")
    return types.MethodType, (obj.__func__, obj.__self__)


def reduce_own_way(error: BaseException) -> Any:
    """Return how an exception says that it is made, also where a library has said it for all exceptions.

    `import dask.multiprocessing` lets tblib do that: with tracebacks, which are the frames of this process, and so that
    an exception of two built-in classes cannot be opened.
    """
    registered = copyreg.dispatch_table.get(type(error))
    by_tblib = getattr(registered, "__module__", None) == "tblib.pickling_support"
    return error.__reduce_ex__(pickle.HIGHEST_PROTOCOL) if by_tblib else NotImplemented


def is_found_by_name(obj: Any) -> bool:
    """Return whether an object lies under its name in a module that does not travel by value."""
    module = getattr(obj, "__module__", None)
    if not isinstance(module, str) or module not in sys.modules or travels_by_value(module):
        return False
    name = getattr(obj, "__qualname__", None)
    if not isinstance(name, str) or not name:
        name = getattr(obj, "__name__", None)
    if not isinstance(name, str):
        return False
    try:
        return operator.attrgetter(name)(sys.modules[module]) is obj
    except AttributeError:
        return False


def travels_by_value(module: str) -> bool:
    """Return whether functions and classes of a module travel with their code and not by their names."""
    if module in ("__main__", "__mp_main__"):
        return True
    by_value = cloudpickle.list_registry_pickle_by_value()
    return any(module == name or module.startswith(f"{name}.") for name in by_value)


_REDUCERS: Final[dict[type, Callable[[Any], _Reduced]]] = {
    type(functools.cache(len)): reduce_cached,
    functools.cached_property: _reduce_cached_property,
    typing.NewType: _reduce_new_type,  # a class since Python 3.10
    typing.ParamSpec: _reduce_param_spec,
    contextvars.ContextVar: _reduce_context_variable,
    weakref.WeakValueDictionary: _reduce_weak_dictionary,
    weakref.WeakKeyDictionary: _reduce_weak_dictionary,
    memoryview: _reduce_view,
    types.MethodType: _reduce_method,
}
if hasattr(typing, "TypeVarTuple"):
    _REDUCERS[typing.TypeVarTuple] = _reduce_type_var_tuple
for _stream in (sys.stdout, sys.stderr):
    if type(_stream) is not io.TextIOWrapper:  # cloudpickle knows that one
        _REDUCERS.setdefault(type(_stream), _reduce_stream)


def reduced(obj: Any) -> _Reduced:
    """Return how the pickler would make an object that is neither a function nor a class."""
    reduce = NotebookPickler.dispatch_table.get(type(obj))
    made: _Reduced = obj.__reduce_ex__(4) if reduce is None else reduce(obj)
    return made


def is_single_dispatch(function: types.FunctionType) -> bool:
    """Return whether a function was made by `functools.singledispatch`.

    Examples
    --------
    >>> is_single_dispatch(functools.singledispatch(lambda x: x)), is_single_dispatch(lambda x: x)
    (True, False)
    """
    return function.__code__ is _SINGLE_DISPATCH


_THEIRS: Final = cloudpickle.Pickler.dispatch_table.maps
_OVERRIDDEN: Final = (type, types.FunctionType, BaseException)


class NotebookPickler(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle has no types
    """Pickler for what a notebook defines."""

    # One map with cloudpickle's: each further one is asked about every object that is in none of them.
    dispatch_table: ClassVar = ChainMap({**_THEIRS[0], **_REDUCERS}, *_THEIRS[1:])

    attributes: Mapping[str, object] = _NONE
    """Attributes that the value gets, if it is a function; it does not have them here, where other threads use it."""

    def dump(self, obj: Any) -> None:
        """Write the pickle of a value."""
        self._root = obj
        super().dump(obj)

    def reducer_override(self, obj: Any) -> Any:
        """Return how to make a function or class that travels by value, or an exception; else NotImplemented."""
        if not isinstance(obj, _OVERRIDDEN):  # so cloudpickle answers, too, after longer thought
            return NotImplemented
        how = super().reducer_override(obj)
        if how is NotImplemented:
            return reduce_own_way(obj) if isinstance(obj, BaseException) else how
        if type(obj) is types.FunctionType:
            if obj.__code__ is _SINGLE_DISPATCH:
                return _reduce_single_dispatch(obj)
            return _with_attributes(how, self.attributes) if obj is self._root and self.attributes else how
        if isinstance(obj, type) and how[-1] is _class_setstate and obj is not self._root:
            if obj not in _opened_classes:
                _defined_classes.add(obj)
            return (*how[:-1], set_class_state)
        return how


def _with_attributes(how: tuple[Any, ...], attributes: Mapping[str, object]) -> tuple[Any, ...]:
    """Add attributes to what a function that travels by value is made of."""
    make, args, (own, slots), *rest = how
    return make, args, ({**own, **attributes}, slots), *rest


_defined_classes: Final[weakref.WeakSet[type]] = weakref.WeakSet()
_opened_classes: Final[weakref.WeakSet[type]] = weakref.WeakSet()


def set_class_state(cls: type, state: Any) -> None:
    """Give a class its attributes, unless this process defined it; pickles name this function.

    A class that comes home with one of its instances would otherwise take the attributes that it had when it left.
    """
    if cls not in _defined_classes:
        _opened_classes.add(cls)
        _class_setstate(cls, state)
