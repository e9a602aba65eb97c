"""Pickles of many names of a namespace: what names share stays shared, functions get the globals of where they arrive.

Beyond what the codec's pickler does: functions of the namespace travel without their globals, closures share their
variables, classes get attributes that changed later, views of arrays stay views, objects of modules stay those of the
module. A file that is open is refused: a copy of its content would be another thing.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import pickle
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import cloudpickle
import msgspec

from covalab.core.codec import USERS_ERRORS, Encoded, frames_of, pack
from covalab.core.errors import SerializationError
from covalab.core.old_pickle_names import current_name
from covalab.core.pickling import NotebookPickler, call_deep, is_single_dispatch, reduce_cached, travels_by_value
from covalab.core.unpicklable import message
from covalab.namespace import caches, standard_library
from covalab.namespace.array_kinds import reducer_of_kind
from covalab.namespace.arrays import ArrayReducer
from covalab.namespace.definitions import (
    TARGET,
    Target,
    carry_made_module,
    globals_of,
    hands_on,
    is_class_made_here,
    is_container_with_own_methods,
    owners_of_cells,
    reduce_cell,
    reduce_class,
    reduce_container,
    reduce_function,
    reduce_handing_on,
    reduce_module,
    tracked_definition,
    tracker_of,
    tracker_of_function,
)
from covalab.namespace.libraries import (
    attribute_of_module,
    is_block,
    model_data,
    objects_of_module,
    reduce_block,
    refuse_mapped,
    special_reducer,
)

_WORD: Final = re.compile(r"[^\W\d]\w*")
_PROTOCOL: Final = 5
_OUT_OF_BAND: Final = 32 * 1024  # smaller buffers are cheaper inside the pickle
_OWN: Final = TARGET.__class__.__module__
_EMPTY: Final[frozenset[int]] = frozenset()


class NamespacePickler(NotebookPickler):
    """Pickler of values of a namespace.

    Attributes
    ----------
    namespace
        The notebook's names.
    mentioned
        The globals that the functions in the pickle mention.
    modules
        The modules of the types, functions, classes and modules that were met.
    definitions
        The classes of the notebook that were met, by their ids; with `by_value` also the functions that have ids.
    of_modules
        The ids of the objects that are pickled as attributes of their modules.
    arrays
        The reducer of arrays.
    in_formulas
        The words in the formulas of models, which are evaluated again where a model is opened, and in other code that
        runs then.
    """

    def __init__(
        self,
        file: Any,
        namespace: Mapping[str, Any],
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
        *,
        whole: frozenset[int] = _EMPTY,
        by_value: Iterable[object] | None = None,
    ) -> None:
        """Begin a pickle. With `by_value`, all other classes, and functions with ids, become references."""
        super().__init__(file, protocol=_PROTOCOL, buffer_callback=buffer_callback)
        self.namespace = namespace
        self._by_value = None if by_value is None else {id(one) for one in by_value}
        # Functions, of which some are given the pickler: methods would refer to it, and all that it has met would be
        # held until garbage is collected; `del data` of a cell would free nothing, and call no `__del__`.
        self._reducers: dict[type, tuple[Callable[..., Any] | None, bool]] = {}
        self.modules: set[str] = set()
        self.mentioned: set[str] = set()
        self.definitions: dict[str, Any] = {}
        self.of_modules: set[int] = set()
        self.arrays = ArrayReducer(whole)
        self.in_formulas: set[str] = set()
        self._owners: dict[int, list[tuple[str, int]]] | None = None

    def reducer_override(self, obj: Any) -> Any:
        """Return how to make an object that is no plain container; NotImplemented for its own way."""
        kind = type(obj)
        try:
            reduce, is_method = self._reducers[kind]
        except KeyError:
            reduce, is_method = self._reducers[kind] = self._without_pickler(self._reducer_for(kind))
        if reduce is None:
            return NotImplemented
        return reduce(self, obj) if is_method else reduce(obj)

    def _without_pickler(self, reduce: Any) -> tuple[Callable[..., Any] | None, bool]:
        return (reduce.__func__, True) if getattr(reduce, "__self__", None) is self else (reduce, False)

    def _reducer_for(self, kind: type) -> Callable[[Any], Any] | None:
        self.modules.add(str(kind.__module__))
        if kind is Target:  # and no object of its module
            return None
        if kind in standard_library.REDUCERS:
            return standard_library.REDUCERS[kind]
        own = standard_library.reduce_exception if issubclass(kind, BaseException) else self._for_definitions(kind)
        if own is None:
            own = self._for_arrays(kind)
        if own is None and is_container_with_own_methods(kind):
            own = reduce_container
        special = special_reducer(kind) if own is None else own
        if special is None:
            special = self._for_statsmodels(kind)
        if special is None and hands_on(kind):
            special = reduce_handing_on
        found = objects_of_module(kind) if special is None else {}
        if not found:
            return special

        of_modules = self.of_modules  # not the pickler, as above

        def by_name(obj: Any) -> Any:
            if id(obj) not in found:
                return NotImplemented
            of_modules.add(id(obj))
            return attribute_of_module(kind, found[id(obj)])

        return by_name

    def _for_definitions(self, kind: type) -> Callable[[Any], Any] | None:
        for base, reduce in (
            (types.FunctionType, self._function),
            (type, self._class),
            (types.CellType, self._cell),
            (caches.CACHED, self._cached),
            (types.ModuleType, self._module),
        ):
            if issubclass(kind, base):
                return reduce
        return None

    def _for_arrays(self, kind: type) -> Callable[[Any], Any] | None:
        if kind.__name__ == "ndarray" and kind is getattr(sys.modules.get("numpy"), "ndarray", None):
            return self.arrays.reduce
        if is_block(kind):
            return self._block
        return reducer_of_kind(kind)

    def _block(self, block: Any) -> Any:
        """Return how values of a table are made; an array of the notebook's own kind is asked for its type by then."""
        kind = type(block.values)
        if travels_by_value(str(kind.__module__)):
            parts = [getattr(one, "fget", None) or getattr(one, "__func__", one) for one in vars(kind).values()]
            self.in_formulas.update(*(globals_of(one.__code__) for one in parts if hasattr(one, "__code__")))
        return reduce_block(block, arrays_=self.arrays)

    def _for_statsmodels(self, kind: type) -> Callable[[Any], Any] | None:
        for module, name, reduce in (("model", "Model", self._model), ("data", "ModelData", self._model_data)):
            base = getattr(sys.modules.get(f"statsmodels.base.{module}"), name, None)
            if base is not None and issubclass(kind, base):
                return reduce
        return None

    def _see(self, module: object) -> None:
        """Note the module of a function or class; if the notebook has made it, what is in it travels by value."""
        name = str(module)
        if name not in self.modules:
            self.modules.add(name)
            carry_made_module(name)

    def _module(self, module: types.ModuleType) -> Any:
        self.modules.add(module.__name__)
        return reduce_module(module)

    def _cell(self, cell: types.CellType) -> Any:
        if self._owners is None:
            self._owners = owners_of_cells(self.namespace) if self._by_value is not None else {}
        return reduce_cell(cell, self._owners.get(id(cell), ()))

    def _function(self, function: types.FunctionType) -> Any:
        self._see(function.__module__)
        if function.__globals__ is not self.namespace or is_single_dispatch(function):
            return super().reducer_override(function)
        tracker = tracker_of_function(function) if self._by_value is not None else None
        if tracker is not None:
            self.definitions[tracker] = function
            if self._is_reference(function):
                return tracked_definition, (tracker,)
        self.mentioned.update(globals_of(function.__code__))
        return reduce_function(function, tracker)

    def _model(self, model: Any) -> Any:
        self.in_formulas.update(_WORD.findall(str(getattr(model, "formula", ""))))
        return NotImplemented

    def _model_data(self, data: Any) -> Any:
        """Return how the data of a model are made; they are read where it is opened, so they must be there by then."""
        make, arguments, state = data.__reduce_ex__(_PROTOCOL)[:3]
        frame = state.get("frame") if isinstance(state, dict) else None
        if frame is None or not self.comes_later(frame):
            return NotImplemented
        return model_data, (make, arguments, {**state, "frame": frame.copy()}, frame)

    def comes_later(self, _obj: object) -> bool:
        """Return whether an object is a reference here, whose content comes after all values."""
        return False

    def _cached(self, function: Any) -> Any:
        """Return how a cached function is made, with the results that it has kept if all can be pickled."""
        how = reduce_cached(function)
        if isinstance(how, str) or id(function) in _looked_at:
            return how
        content = caches.content_of(function)
        if content is None:
            return how
        _looked_at.add(id(function))  # a result may refer to the function
        try:
            pickled(content, self.namespace)
        except USERS_ERRORS:  # a connection, say: it is opened once more where the function is called
            return how
        finally:
            _looked_at.discard(id(function))
        make, arguments, state = how
        return make, arguments, (state, content), None, None, caches.set_cached

    def _is_reference(self, definition: object) -> bool:
        return self._by_value is not None and id(definition) not in self._by_value

    def _class(self, cls: type) -> Any:
        self._see(cls.__module__)
        _import_module_of(cls)
        # Not the codec's way: there a class that comes home keeps the attributes that it has here.
        how = cloudpickle.Pickler.reducer_override(self, cls)
        if not is_class_made_here(how):
            return how
        refuse_mapped(cls)
        tracker = tracker_of(cls)
        self.definitions[tracker] = cls
        if self._is_reference(cls):
            return tracked_definition, (tracker,)
        return reduce_class(cls, how)


def _import_module_of(cls: type) -> None:
    """Import the module that a class says it is of, if its package is loaded: `np.recarray` is one of `numpy.rec`.

    Where that is not loaded, the class would count as one of the notebook, and a copy of it would travel.
    """
    name = str(cls.__module__)
    package, _, rest = name.partition(".")
    if rest and name not in sys.modules and package in sys.modules and package != "__main__":
        with suppress(Exception):
            importlib.import_module(name)


_CALLER: Final = lambda load: load()  # noqa: E731 - its code, as that of the notebook


class NamespaceUnpickler(pickle.Unpickler):
    """Unpickler of values into a namespace."""

    def __init__(
        self,
        file: Any,
        namespace: dict[str, Any],
        buffers: Iterable[Any] = (),
        find_definition: Callable[[str], Any] | None = None,
    ) -> None:
        super().__init__(file, buffers=iter(buffers))
        self._namespace = namespace
        self._loaded: dict[str, Any] = {}
        find = functools.partial(tracked_definition, target=namespace) if find_definition is None else find_definition
        self._own = {"TARGET": namespace, "tracked_definition": find}

    def load(self) -> Any:
        """Return the next object, for whose own code the caller is the notebook.

        A model of statsmodels evaluates its formula again, with the functions that it finds where it is opened: those
        of the namespace, and what was loaded before.
        """
        # Compiled code of a library (Cython's) looks for `__builtins__` among the globals of its caller.
        found_here = {"__builtins__": builtins, **self._namespace, **self._loaded}
        caller = types.FunctionType(_CALLER.__code__, found_here)
        found = caller(super().load)
        if type(found) is dict:
            self._loaded.update(found)
        return found

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names."""
        if module == _OWN and name in self._own:
            return self._own[name]
        return super().find_class(*current_name(module, name))


_looked_at: Final[set[int]] = set()


class Pickled(msgspec.Struct):
    """A pickle with its large buffers, and the pickler that made it."""

    head: bytes
    buffers: list[Any]
    pickler: NamespacePickler

    @property
    def frames(self) -> list[Any]:
        """The pickle and its buffers."""
        return [self.head, *self.buffers]


def pickled(obj: object, namespace: Mapping[str, Any], by_value: Sequence[object] | None = None) -> Pickled:
    """Pickle an object of a namespace. Raises whatever the user's code raises."""
    whole = _EMPTY
    while True:
        try:
            made = _pickled(obj, namespace, whole, by_value)
        except (pickle.PicklingError, RecursionError) as error:
            if not isinstance(error.__cause__ or error, RecursionError):
                raise
            made = call_deep(lambda: _pickled(obj, namespace, whole, by_value))  # noqa: B023 - called at once
        missing = made.pickler.arrays.needed_whole()
        if not missing - whole:
            return made
        whole |= missing


def _pickled(
    obj: object, namespace: Mapping[str, Any], whole: frozenset[int], by_value: Sequence[object] | None
) -> Pickled:
    buffers: list[Any] = []
    with io.BytesIO() as file:
        pickler = NamespacePickler(file, namespace, out_of_band(buffers), whole=whole, by_value=by_value)
        pickler.dump(obj)
        return Pickled(file.getvalue(), buffers, pickler)


def out_of_band(buffers: list[Any]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return what decides about each buffer of a pickle, and keeps the large ones in a list."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    return keep


def marked(values: Mapping[str, Any], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return values, with a mark in place of the namespace itself (`g = globals()`)."""
    return {name: TARGET if value is namespace else value for name, value in values.items()}


def dumps(values: Mapping[str, object], namespace: dict[str, Any]) -> Encoded:
    """Serialize values of a namespace together.

    Raises
    ------
    SerializationError
        If one of them cannot be pickled; the message names the variable.

    Examples
    --------
    >>> a = [1]
    >>> values = loads(dumps({"a": a, "b": a}, {}).join(), {})
    >>> values["a"] is values["b"]
    True
    """
    values = marked(values, namespace)
    try:
        return pack(pickled(values, namespace).frames)
    except USERS_ERRORS as error:
        for name, value in values.items():
            reason = reason_against(name, value, namespace)
            if reason is not None:
                raise SerializationError(reason) from error
        text = f"the variables {', '.join(values)} cannot be pickled together: {type(error).__name__}: {error}"
        raise SerializationError(text) from error


def loads(data: Any, namespace: dict[str, Any]) -> dict[str, Any]:
    """Deserialize values into a namespace, which becomes the globals of their functions; it is not changed itself.

    Raises
    ------
    SerializationError
        If the bytes are not such values, or cannot be unpickled here.
    """
    frames, _ = frames_of(data, what="the variables")
    try:
        values: dict[str, Any] = NamespaceUnpickler(io.BytesIO(frames[0]), namespace, frames[1:]).load()
    except USERS_ERRORS as error:
        text = f"the variables cannot be opened here: {type(error).__name__}: {error}"
        raise SerializationError(text) from error
    return values


def reason_against(name: str, value: object, namespace: Mapping[str, Any]) -> str | None:
    """Return why a variable cannot be pickled; None if it can."""
    try:
        pickled(value, namespace)
    except USERS_ERRORS as error:
        return unpicklable_message(name, value, error, recorded(value, namespace))
    return None


def unpicklable_message(name: str, value: object, error: BaseException, recorder: Recorder) -> str:
    """Return the message about a variable that cannot be pickled."""
    return message(value, f"the variable {name!r}", error, (recorder.last,))


def recorded(value: object, namespace: Mapping[str, Any]) -> Recorder:
    """Return a pickler that came as far as it could."""
    recorder = Recorder(io.BytesIO(), namespace, lambda _: False)
    with suppress(Exception, SystemExit):
        recorder.dump(value)
    return recorder


class Recorder(NamespacePickler):
    """Pickler that knows the last object that it came to."""

    last: Any = None

    def persistent_id(self, obj: Any) -> None:
        """Record an object; nothing has a persistent id."""
        self.last = obj
