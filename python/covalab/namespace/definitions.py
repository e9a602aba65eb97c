"""Functions, closures and classes of a notebook: how they are pickled, and made again in another namespace.

A function of the notebook travels without its globals and gets those of the namespace that it arrives in, so that it
looks names up when it is called, as in the notebook. Pickles name functions of this module: they may be moved, but
never removed (`core.old_pickle_names`).
"""

from __future__ import annotations

import copyreg
import enum
import importlib
import sys
import types
import typing
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import cloudpickle.cloudpickle as theirs

from covalab.core.pickling import travels_by_value
from covalab.namespace.classes_beside import class_of_module
from covalab.namespace.enumerations import attributes_of_members, make_members, members_of, own_numbering, set_members

_NEVER_REMOVED: Final = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "_abc_impl"})


class Target:
    """Mark for the namespace that a pickle is loaded into; an unpickler of `pickling` puts the dictionary there."""

    def __reduce__(self) -> str:
        return "TARGET"


TARGET: Final = Target()


def _resolved(target: Target | dict[str, Any]) -> dict[str, Any]:
    # Any other unpickler leaves the mark.
    return vars(sys.modules["__main__"]) if isinstance(target, Target) else target


# Functions.


def reduce_function(function: types.FunctionType, tracker: str | None = None) -> tuple[Any, ...]:
    """Return how a function of the notebook is made; one with an id is the same object each time."""
    # Attributes that nobody set would only connect the names of the function.
    attributes = function.__dict__ or None
    slots = (
        function.__name__,
        function.__qualname__,
        function.__module__,
        function.__doc__,
        function.__defaults__,
        tuple((function.__kwdefaults__ or {}).items()),
        tuple(function.__annotations__.items()),
    )
    # The cells come first and get their contents later: they may contain the function.
    made = make_function, (function.__code__, TARGET, function.__closure__, tracker)
    return (*made, (attributes, slots), None, None, set_function)


def make_function(
    code: types.CodeType,
    target: Target | dict[str, Any],
    closure: tuple[types.CellType, ...] | None,
    tracker: str | None = None,
) -> types.FunctionType:
    """Return a function without its attributes; pickles name this function."""
    namespace = _resolved(target)
    function = types.FunctionType(code, namespace, None, None, closure)
    if tracker is not None:
        known = _functions_by_id.get((tracker, id(namespace)))
        if known is not None:
            return known
        _remember(function, tracker)
    return function


_ids_of_functions: Final[weakref.WeakKeyDictionary[types.FunctionType, str]] = weakref.WeakKeyDictionary()
_functions_by_id: Final[weakref.WeakValueDictionary[tuple[str, int], types.FunctionType]] = (
    weakref.WeakValueDictionary()
)
"""By id, and the namespace of their globals: a result that is read has functions of its own, of the same ids."""


def _remember(function: types.FunctionType, tracker: str) -> None:
    _ids_of_functions[function] = tracker
    _functions_by_id[tracker, id(function.__globals__)] = function


def track_function(function: types.FunctionType) -> None:
    """Give a function an id, so that all who refer to it can do so by that."""
    if function not in _ids_of_functions:
        _remember(function, uuid.uuid4().hex)


def tracker_of_function(function: types.FunctionType) -> str | None:
    """Return the id of a function, if it has one."""
    return _ids_of_functions.get(function)


def set_function(function: types.FunctionType, state: tuple[dict[str, Any] | None, tuple[Any, ...]]) -> None:
    """Give a function its attributes; pickles name this function."""
    attributes, slots = state
    function.__name__, function.__qualname__, function.__module__, function.__doc__ = slots[:4]
    function.__defaults__ = slots[4]
    function.__kwdefaults__ = dict(slots[5]) or None
    function.__annotations__ = dict(slots[6])
    if attributes:
        function.__dict__.update(attributes)


def globals_of(code: types.CodeType) -> Any:
    """Return the names of the globals that a function mentions, also in functions inside it."""
    return theirs._extract_code_globals(code)  # noqa: SLF001 - remembered for each code object


def reduce_cell(cell: types.CellType, owners: Iterable[tuple[str, int]] = ()) -> tuple[Any, ...]:
    """Return how a variable of a closure is made: empty, then filled, because what is in it may refer to it.

    `owners` are the functions with ids that have it: where one of them is, it is that one's.
    """
    arguments: tuple[Any, ...] = (tuple(sorted(owners)), TARGET) if owners else ()
    try:
        contents = cell.cell_contents
    except ValueError:  # not set yet
        return make_cell, arguments
    return make_cell, arguments, contents, None, None, set_cell


def make_cell(owners: tuple[tuple[str, int], ...] = (), target: Target | dict[str, Any] = TARGET) -> types.CellType:
    """Return an empty variable of a closure, or that of the functions which have it; pickles name this function."""
    for tracker, position in owners:
        known = _functions_by_id.get((tracker, id(_resolved(target))))
        if known is not None and known.__closure__ is not None and position < len(known.__closure__):
            return known.__closure__[position]
    return types.CellType()


def owners_of_cells(namespace: Mapping[str, Any]) -> dict[int, list[tuple[str, int]]]:
    """Return for the variables of closures, by id, the ids of the functions that have them, and where."""
    found: dict[int, list[tuple[str, int]]] = {}
    for function, tracker in list(_ids_of_functions.items()):
        if function.__globals__ is namespace:
            for position, cell in enumerate(function.__closure__ or ()):
                found.setdefault(id(cell), []).append((tracker, position))
    return found


def set_cell(cell: types.CellType, contents: Any) -> None:
    """Fill a variable of a closure; pickles name this function."""
    cell.cell_contents = contents


# Classes.


def reduce_class(cls: type, how: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return how a class of the notebook is made, given how cloudpickle would make it."""
    _, arguments, (attributes, slots) = how[:3]
    if "_is_protocol" in vars(cls):  # cloudpickle leaves it out
        attributes = {**attributes, "_is_protocol": vars(cls)["_is_protocol"]}
    if isinstance(cls, enum.EnumMeta):
        return _reduce_enumeration(cls, how, attributes, slots)
    attributes = {**_like_those_of_bases(cls, attributes), **attributes}
    order = {name: at for at, name in enumerate(vars(cls))}
    attributes = dict(sorted(attributes.items(), key=lambda item: order.get(item[0], len(order))))
    kind, name, bases, keywords, tracker, _ = arguments
    if "__slots__" in vars(cls):  # without them its instances would have a dictionary
        keywords = {**keywords, "__slots__": attributes.pop("__slots__")}
    if cls.__qualname__ != cls.__name__:
        keywords = {**keywords, "__qualname__": cls.__qualname__}
    for attribute in [one for one in attributes if _is_guarded(one, cls)]:
        keywords = {**keywords, attribute: attributes.pop(attribute)}
    if typing.NamedTuple in bases:  # it would make fields of nothing
        bases = cls.__bases__
    return make_class, (kind, name, bases, keywords, tracker), (attributes, slots), None, None, set_class


def _reduce_enumeration(
    cls: enum.EnumMeta, how: tuple[Any, ...], attributes: dict[str, Any], slots: Any
) -> tuple[Any, ...]:
    """Return how an enumeration is made; its members come with their attributes."""
    maker, arguments = how[:2]
    numbering = own_numbering(cls)
    if numbering is not None:
        attributes = {**attributes, "_generate_next_value_": numbering}
    found = members_of(cls)
    if found is None:
        return maker, arguments, (attributes, slots), None, None, set_class
    attributes = {name: value for name, value in attributes.items() if name not in cls.__members__}
    bases, name, qualified_name, _, module, tracker, _ = arguments
    boundary = vars(cls).get("_boundary_")
    made = make_enumeration, (type(cls), name, qualified_name, module, bases, tracker, *found, boundary)
    return (*made, (attributes, slots, attributes_of_members(cls)), None, None, set_class)


def make_enumeration(
    kind: type,
    name: str,
    qualified_name: str,
    module: str,
    bases: tuple[type, ...],
    tracker: str,
    content: type,
    members: list[tuple[str, Any, Any]],
    boundary: Any,
) -> type:
    """Return an enumeration without its attributes, the same object each time; pickles name this function."""
    known = tracked_definition(tracker)
    if isinstance(known, type):
        return known
    beside = class_of_module(module, qualified_name)
    if isinstance(beside, enum.EnumMeta) and _has_members(beside, members):
        return _tracked(tracker, beside)
    with _hidden_hooks(bases):
        made = make_members(kind, name, bases, content, members, boundary)
    type.__setattr__(made, "__module__", module)
    type.__setattr__(made, "__qualname__", qualified_name)
    return _tracked(tracker, made)


def _has_members(cls: enum.EnumMeta, members: list[tuple[str, Any, Any]]) -> bool:
    there: Any = cls.__members__.items()
    return {name: one.value for name, one in there} == {name: value for name, value, _ in members}


def _like_those_of_bases(cls: type, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that a class has itself and cloudpickle leaves out, because a base has the same object."""
    return {
        name: value
        for name, value in vars(cls).items()
        if name not in attributes
        and name not in _NEVER_REMOVED
        and not isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
        and any(vars(base).get(name, TARGET) is value for base in cls.__bases__)
    }


def _is_guarded(attribute: str, cls: type) -> bool:
    """Return whether the metaclass has a property of that name, so that the class can only be made with it."""
    kind: Any = type(cls)
    owners = [one for one in kind.__mro__ if one not in (type, object)]
    return any(isinstance(vars(one).get(attribute), property) for one in owners)


def make_class(kind: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], tracker: str) -> type:
    """Return a class without its attributes, the same object each time; pickles name this function."""
    known = tracked_definition(tracker)
    if isinstance(known, type):
        return known
    beside = class_of_module(namespace.get("__module__"), namespace.get("__qualname__", name))
    if beside is not None:
        return _tracked(tracker, beside)
    with _hidden_hooks(bases):
        plain = next(base for base in kind.__mro__ if not travels_by_value(base.__module__))
        if plain is kind:
            made = types.new_class(name, bases, {"metaclass": kind}, lambda ns: ns.update(namespace))
        else:  # a metaclass of the notebook, whose code ran when the class was defined
            resolved = types.resolve_bases(bases)
            made = plain.__new__(kind, name, resolved, dict(namespace))
            plain.__init__(made, name, resolved, dict(namespace))  # type: ignore[misc]
    return _tracked(tracker, made)


def _tracked(tracker: str, cls: type) -> type:
    found: type = theirs._lookup_class_or_track(tracker, cls)  # noqa: SLF001
    return found


@contextmanager
def _hidden_hooks(bases: tuple[Any, ...]) -> Iterator[None]:
    """Take `__init_subclass__` off the notebook's classes meanwhile: it ran when the class was defined."""
    hidden: list[tuple[type, Any]] = []
    for base in bases:
        for owner in getattr(base, "__mro__", ()):
            if "__init_subclass__" in vars(owner) and travels_by_value(owner.__module__):
                hidden.append((owner, vars(owner)["__init_subclass__"]))
                type.__delattr__(owner, "__init_subclass__")
    try:
        yield
    finally:
        for owner, hook in hidden:
            type.__setattr__(owner, "__init_subclass__", hook)


def set_class(cls: type, state: tuple[Any, ...]) -> None:
    """Give a class its attributes, and take away those that it no longer has; pickles name this function."""
    attributes = state[0]
    now = vars(cls)
    kept = {*attributes, *now.get("_member_map_", ())}  # the members of an enumeration do not travel as attributes
    for name in [name for name in now if name not in kept]:
        if is_plain_attribute(name, now[name]):
            with suppress(AttributeError, TypeError):
                type.__delattr__(cls, name)
    for name, value in attributes.items():
        if name == "_abc_impl":
            for subclass in value:
                cls.register(subclass)  # type: ignore[attr-defined]
        elif now.get(name, TARGET) is not value:
            # Not the class's own way: a metaclass of the notebook may do anything.
            type.__setattr__(cls, name, value)
    if isinstance(cls, enum.EnumMeta):
        set_members(cls, *state[2:])


def is_plain_attribute(name: str, value: object) -> bool:
    """Return whether an attribute of a class was put there by its definition or an assignment."""
    if name in _NEVER_REMOVED or isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
        return False
    return not (name.startswith("_") and name.endswith("_"))


def tracker_of(cls: type) -> str:
    """Return the id of a class of a notebook, the same in all processes that it comes to."""
    tracker: str = theirs._get_or_create_tracker_id(cls)  # noqa: SLF001
    return tracker


def tracked_definition(tracker: str, target: Target | Mapping[str, Any] = TARGET) -> type | types.FunctionType | None:
    """Return the class or function with an id, if a namespace of this process has it; pickles name this function."""
    found: type | None = theirs._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)  # noqa: SLF001
    if found is not None:
        return found
    namespace = _resolved(target) if isinstance(target, Target) else target
    return _functions_by_id.get((tracker, id(namespace)))


def is_class_made_here(how: Any) -> bool:
    """Return whether cloudpickle makes a class anew, in place of finding it by its name."""
    return isinstance(how, tuple) and how[-1] is theirs._class_setstate  # noqa: SLF001


# Lists and dictionaries of a class of the notebook.


def is_container_with_own_methods(kind: type) -> bool:
    """Return whether objects of a class would be filled by methods of the notebook, which may do anything."""
    is_own = travels_by_value(kind.__module__ or "") and issubclass(kind, list | dict)
    if not is_own or any(getattr(kind, name) is not getattr(object, name) for name in ("__reduce__", "__reduce_ex__")):
        return False
    base = list if issubclass(kind, list) else dict
    return any(getattr(kind, name, None) is not getattr(base, name, None) for name in _FILLING)


_FILLING: Final = ("__setitem__", "append", "extend")


def reduce_container(obj: Any) -> tuple[Any, ...]:
    """Return how a list or dictionary is made without its own methods."""
    make, arguments, state, *_ = obj.__reduce_ex__(4)
    content: Any = list.copy(obj) if isinstance(obj, list) else dict.copy(obj)
    return make, arguments, (content, state), None, None, fill_container


def fill_container(obj: Any, state: tuple[Any, Any]) -> None:
    """Give a list or dictionary its content; pickles name this function."""
    content, attributes = state
    if isinstance(obj, list):
        list.extend(obj, content)
    else:
        dict.update(obj, content)
    by_name, slots = attributes if isinstance(attributes, tuple) else (attributes, None)
    set_attributes(obj, (by_name, slots))


# Objects that hand on what they do not have themselves.


def hands_on(kind: type) -> bool:
    """Return whether a class finds or sets attributes by its own code, which may need those that it has, or refuse."""
    is_own = any(isinstance(getattr(kind, name, None), types.FunctionType) for name in _ASKED) or (
        isinstance(getattr(kind, "__setattr__", None), types.FunctionType) and copyreg._slotnames(kind)  # type: ignore[attr-defined] # noqa: SLF001 - what pickles have of it
    )
    reduces: Any = kind.__reduce_ex__
    return bool(is_own) and not hasattr(kind, "__setstate__") and reduces is object.__reduce_ex__


_ASKED: Final = ("__getattr__", "__getattribute__")


def reduce_handing_on(obj: Any) -> Any:
    """Return how an object is made without being asked for an attribute before it has any."""
    how = obj.__reduce_ex__(4)
    if not isinstance(how, tuple) or len(how) < 3 or how[2] is None:
        return how
    return (*how, *[None] * (5 - len(how)), set_attributes)


def set_attributes(obj: Any, state: Any) -> None:
    """Give an object its attributes, without its own methods; pickles name this function."""
    by_name, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if by_name:
        object.__getattribute__(obj, "__dict__").update(by_name)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


# Modules.


def reduce_module(module: types.ModuleType) -> tuple[Any, ...]:
    """Return how a module is found."""
    if module.__name__ in sys.modules and not carry_made_module(module.__name__):
        return find_module, (module.__name__,)
    made: tuple[Any, ...] = theirs._module_reduce(module)  # noqa: SLF001 - one that the notebook made
    return made


def carry_made_module(name: str) -> bool:
    """Let functions and classes of a module travel with their code from now on, if no import finds it.

    Return whether it is such a module: one that code has made and put among those that are loaded.
    """
    module = sys.modules.get(name.partition(".")[0])
    is_made = (
        type(module) is types.ModuleType
        and getattr(module, "__spec__", None) is None
        and module.__name__ not in _NO_MADE_MODULES
        and not hasattr(module, "__file__")
        and not hasattr(module, "__path__")
    )
    if is_made and name in sys.modules:
        theirs.register_pickle_by_value(sys.modules[name])
    return is_made


_NO_MADE_MODULES: Final = frozenset({"__main__", "__mp_main__", "builtins"})


def find_module(name: str) -> types.ModuleType:
    """Import a module, whose submodules are imported when they are used; pickles name this function.

    `import xml.dom` binds `xml`, so that name alone must be enough for `xml.dom` to be found.
    """
    module = importlib.import_module(name)
    if hasattr(module, "__path__") and not isinstance(vars(module).get("__getattr__"), _Submodules):
        module.__getattr__ = _Submodules(name, vars(module).get("__getattr__"))  # type: ignore[method-assign]
    return module


class _Submodules:
    """Way to find what a package does not have: first its own, then a submodule."""

    def __init__(self, package: str, own: Callable[[str], Any] | None) -> None:
        self._package = package
        self._own = own

    def __call__(self, name: str) -> Any:
        if self._own is not None:
            with suppress(AttributeError):
                return self._own(name)
        if not name.startswith("__"):
            with suppress(ImportError):
                return find_module(f"{self._package}.{name}")
        message = f"module {self._package!r} has no attribute {name!r}"
        raise AttributeError(message, name=name)
