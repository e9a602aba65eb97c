"""Search for the variable that cannot be pickled, once pickling has failed, so that the message can name it.

First a second pickling, which writes nothing and records what it comes to, finds the object. Then a walk through
functions, their globals, attributes and elements finds the shortest way to it. Both end after a while: then the message
has no name.
"""

from __future__ import annotations

import functools
import io
import re
import reprlib
import time
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

from covalab.core.global_names import global_names
from covalab.core.pickling import NotebookPickler, is_found_by_name, travels_by_value
from covalab.core.plain_types import ATOMS

_SECONDS: Final = 1.0  # of each of the two searches
_ASKED_EVERY: Final = 256  # objects; the clock is slower than a step
_CONTAINERS: Final = (dict, list, tuple, set, frozenset, deque)
_THROUGH: Final = (*_CONTAINERS, functools.partial, functools.partialmethod, functools.cached_property)
"""Kinds that are looked into although an installed module defines them: their parts are the user's own."""

_ADVICE: Final = (
    (("generator", "async_generator"), "make a list of it first, or call what makes it where it is used"),
    (("coroutine",), "await it first, or call what makes it where it is used"),
    (("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO"), "pass its path, and open it"),
    (("Connection", "Engine", "socket", "SSLSocket", "Session", "Client"), "connect"),
    (("ReferenceType", "ProxyType"), "pass what it refers to"),
    (("Match",), "pass its groups"),
)

_Edge: TypeAlias = "tuple[_Step, Any]"


class _Step(NamedTuple):
    """Step from an object to a part of it: `kind` says how it is called, `label` which one it is."""

    kind: str
    label: Any = None


class _Place(NamedTuple):
    """Place of an object in a value: the variable or expression, whose it is, and the functions on the way."""

    expression: str
    origin: str
    functions: tuple[str, ...]


class _EnoughError(Exception):
    """The time for the search is over."""


def message(obj: object, what: str, error: BaseException, culprit: tuple[Any] | None = None) -> str:
    """Return the message about a value that cannot be pickled; never raises.

    Parameters
    ----------
    obj
        The value.
    what
        How the message calls it, e.g. ``"argument 'x' of electron 'f' (node 3)"``.
    error
        The exception of the pickler.
    culprit
        The object that cannot be pickled, if it is known already.
    """
    reason = f"{type(error).__name__}: {error}"
    plain = f"{what} of type {_kind(obj)} cannot be pickled: {reason}"
    if isinstance(error.__cause__ or error, RecursionError):
        return f"{plain} It is nested too deeply, or its `__reduce__` makes new objects without end"
    try:
        culprit = culprit or _culprit(obj)
        path = [] if culprit is None else _path(obj, culprit[0])
        if path and not (_is_known(obj) and not _users_part(path)):
            return _sentence(obj, what, path, reason)
        return f"{plain}; {_advice(obj)}" if culprit is not None else plain
    except (Exception, SystemExit):  # noqa: BLE001 - the search runs the user's code, and a message without a name is better than none
        return plain


# The object.


class _Nowhere(io.RawIOBase):
    """File that keeps nothing."""

    def write(self, data: Any) -> int:
        """Return how much would have been written."""
        return len(data)


class _Recorder(NotebookPickler):
    """Pickler that knows the last object that it came to."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), protocol=5, buffer_callback=lambda _: False)
        self.last: Any = None
        self._left = _ASKED_EVERY
        self._until = time.monotonic() + _SECONDS

    def persistent_id(self, obj: Any) -> None:
        """Record an object; nothing has a persistent id."""
        self.last = obj
        self._left -= 1
        if not self._left:
            self._left = _ASKED_EVERY
            if time.monotonic() > self._until:
                raise _EnoughError


def _culprit(obj: object) -> tuple[Any] | None:
    """Return the object in a value that cannot be pickled; None if the time is over before it is found."""
    recorder = _Recorder()
    try:
        recorder.dump(obj)
    except _EnoughError:
        return None
    except (Exception, SystemExit):  # noqa: BLE001 - expected: it failed before
        return (recorder.last,)
    return None


# The way to it.


def _path(root: object, culprit: object) -> list[_Edge]:
    """Return the steps from a value to an object in it, each with what it leads to; none if there is no way."""
    until = time.monotonic() + _SECONDS
    seen: dict[int, Any] = {id(root): root}  # kept alive: a new object must not get an id that was seen
    came_from: dict[int, tuple[int, _Step, Any]] = {}
    waiting: deque[Any] = deque([root])
    count = 0
    while waiting and id(culprit) not in came_from:
        parent = waiting.popleft()
        for step, part in _parts(parent):
            count += 1
            if not count % _ASKED_EVERY and time.monotonic() > until:
                return []
            if id(part) in seen or type(part) in ATOMS:
                continue
            seen[id(part)] = part
            came_from[id(part)] = (id(parent), step, part)
            waiting.append(part)
    found: list[_Edge] = []
    at = id(culprit)
    while at in came_from:
        at, step, part = came_from[at]
        found.append((step, part))
    return found[::-1]


def _parts(obj: Any) -> Iterator[_Edge]:
    """Yield what of an object is pickled with it, and how it is called."""
    for kinds, parts, is_all in _PARTS:
        if isinstance(obj, kinds):
            yield from parts(obj)
            if is_all:
                return
    yield from _parts_of_instance(obj)


def _parts_of_dict(obj: dict[Any, Any]) -> Iterator[_Edge]:
    for key, value in list(dict.items(obj)):
        yield _Step("key"), key
        yield _Step("item", key), value


def _parts_of_sequence(obj: Any) -> Iterator[_Edge]:
    return ((_Step("item", index), element) for index, element in enumerate(list(obj)))


def _parts_of_set(obj: Any) -> Iterator[_Edge]:
    return ((_Step("element"), element) for element in list(obj))


def _parts_of_class(obj: type) -> Iterator[_Edge]:
    if not is_found_by_name(obj):
        for name, value in list(vars(obj).items()):
            yield _Step("attribute", name), value
        for base in obj.__bases__:
            yield _Step("class"), base


def _parts_of_method(obj: types.MethodType) -> Iterator[_Edge]:
    yield _Step("function"), obj.__func__
    yield _Step("self", obj.__func__.__name__), obj.__self__


def _parts_of_builtin(obj: types.BuiltinMethodType) -> Iterator[_Edge]:
    yield _Step("self", obj.__name__), obj.__self__


def _parts_of_descriptor(obj: staticmethod[..., Any] | classmethod[Any, ..., Any]) -> Iterator[_Edge]:
    yield _Step("function"), obj.__func__


def _parts_of_property(obj: property) -> Iterator[_Edge]:
    return ((_Step("function"), part) for part in (obj.fget, obj.fset, obj.fdel) if part is not None)


def _parts_of_module(obj: types.ModuleType) -> Iterator[_Edge]:
    return ((_Step("attribute", name), value) for name, value in list(vars(obj).items()))


def _parts_of_partial(obj: functools.partial[Any]) -> Iterator[_Edge]:
    yield _Step("function"), obj.func
    yield from ((_Step("argument", index), value) for index, value in enumerate(obj.args))
    yield from ((_Step("argument", name), value) for name, value in obj.keywords.items())


def _parts_of_exception(obj: BaseException) -> Iterator[_Edge]:
    yield _Step("attribute", "args"), obj.args


def _parts_of_function(function: types.FunctionType) -> Iterator[_Edge]:
    if is_found_by_name(function):
        return
    own = function.__dict__
    if "electron_object" in own:
        yield _Step("function"), own["electron_object"].function
    if "__wrapped__" in own:
        yield _Step("function"), own["__wrapped__"]
    for implementation in getattr(function, "registry", {}).values():  # of a single-dispatch function
        yield _Step("function"), implementation
    for name in global_names(function.__code__):
        if name in function.__globals__:
            yield _Step("global", name), function.__globals__[name]
    yield from _parts_of_closure(function)
    defaults = function.__defaults__ or ()
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    with_default = zip(positional[len(positional) - len(defaults) :], defaults, strict=False)
    for name, value in (*with_default, *(function.__kwdefaults__ or {}).items()):
        yield _Step("default", name), value
    for name, value in list(own.items()):
        yield _Step("attribute", name), value
    for value in function.__annotations__.values():
        yield _Step("annotation"), value


def _parts_of_closure(function: types.FunctionType) -> Iterator[_Edge]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # not set yet
            yield _Step("closure", name), cell.cell_contents


def _parts_of_instance(obj: Any) -> Iterator[_Edge]:
    kind = type(obj)
    own = getattr(obj, "__dict__", None)
    if isinstance(own, dict):
        # First what it calls: the way through a decorated function is shorter for its reader.
        for name in sorted(own, key=lambda name: name not in ("__wrapped__", "func", "function")):
            step = _Step("function") if name == "__wrapped__" else _Step("attribute", name)
            yield step, own[name]
    for base in kind.__mro__:
        for name in _slots_of(base):
            try:
                yield _Step("attribute", name), getattr(obj, name)
            except AttributeError:
                continue
    if not is_found_by_name(kind):
        yield _Step("class"), kind
    # A way of its own to be pickled may use what is no attribute.
    if _reduces_itself(kind) and not isinstance(obj, BaseException):
        yield from _parts_of_reduced(obj)


def _slots_of(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _reduces_itself(kind: type) -> bool:
    names = ("__reduce__", "__reduce_ex__", "__getstate__")
    return any(getattr(kind, name, None) is not getattr(object, name, None) for name in names)


def _parts_of_reduced(obj: Any) -> Iterator[_Edge]:
    try:
        reduced = obj.__reduce_ex__(5)
    except (Exception, SystemExit):  # noqa: BLE001 - the user's code
        return
    if not isinstance(reduced, tuple):
        return
    for index, part in enumerate(reduced):
        if isinstance(part, dict):
            for name, value in part.items():
                yield _Step("attribute", name), value
        elif isinstance(part, tuple):
            yield from ((_Step("state"), value) for value in part)
        elif part is not None and index:
            yield _Step("state"), part


_PARTS: Final[tuple[tuple[Any, Callable[[Any], Iterator[_Edge]], bool], ...]] = (
    (dict, _parts_of_dict, False),
    ((list, tuple, deque), _parts_of_sequence, False),
    ((set, frozenset), _parts_of_set, False),
    (BaseException, _parts_of_exception, False),
    (functools.partial, _parts_of_partial, False),
    (types.FunctionType, _parts_of_function, True),
    (type, _parts_of_class, True),
    (types.MethodType, _parts_of_method, True),
    (types.BuiltinMethodType, _parts_of_builtin, True),
    ((staticmethod, classmethod), _parts_of_descriptor, True),
    (property, _parts_of_property, True),
    (types.ModuleType, _parts_of_module, True),
)
"""Kinds, their parts, and whether these are all: else there may be attributes beside them."""


# The sentence.


def _sentence(root: object, what: str, path: list[_Edge], reason: str) -> str:
    path = _to_what_the_user_knows(path)
    culprit = path[-1][1]
    kind = _kind(culprit)
    called = re.search(r"^(?:argument|the variable) '([^']+)'", what)
    place = _place(root, path, called[1] if called else "it")
    article = "an" if kind[:1] in "aeiouAEIOU" else "a"
    advice = f"{_advice(culprit)} ({reason})"
    if place.functions:
        way = f", by way of {' -> '.join(place.functions)}" if len(place.functions) > 1 else ""
        origin = f" ({place.origin}{way})" if place.origin or way else ""
        return (
            f"{what} uses {place.expression!r}{origin}, which is {article} {kind} and cannot be pickled, so it "
            f"cannot be sent to another process; {advice}"
        )
    return (
        f"{what} of type {_kind(root)} cannot be pickled: {place.expression} is {article} {kind}, which cannot be sent "
        f"to another process; {advice}"
    )


def _to_what_the_user_knows(path: list[_Edge]) -> list[_Edge]:
    """Cut a way where it enters an object of an installed class: its user knows it by name, not what is inside."""
    users = _users_part(path)
    for at, (step, part) in enumerate(path):
        if at >= users and step.kind not in ("class", "function", "state") and _is_known(part):
            return path[: at + 1]
    return path


def _users_part(path: list[_Edge]) -> int:
    """Return how much of a way leads to the last function, class or object that the notebook defined."""
    for at in range(len(path), 0, -1):
        part = path[at - 1][1]
        if travels_by_value((part if isinstance(part, type) or _is_function(part) else type(part)).__module__ or ""):
            return at
    return 0


def _is_known(obj: object) -> bool:
    """Return whether an object is of an installed class, and no container of the user's own."""
    if isinstance(obj, (type, types.ModuleType, *_THROUGH)) or callable(obj):
        return False
    return is_found_by_name(type(obj))


def _place(root: object, path: list[_Edge], called: str) -> _Place:
    functions = [_name(root)] if _is_function(root) else []
    owner, expression, origin = root, functions[0] if functions else called, ""
    for step, part in path:
        inside = _INSIDE.get(step.kind)
        if inside is not None:
            label = reprlib.repr(step.label) if step.kind == "item" else step.label
            expression = inside.format(whole=expression, label=label)
        else:
            expression, origin = _variable(step, owner, part) or (expression, origin)
        if _is_function(part) and functions[-1:] != [_name(part)]:
            functions.append(_name(part))
        owner = part
    if _is_function(owner) and functions and not _is_function(root):
        functions.pop()  # it is the culprit itself
    return _Place(expression, origin, tuple(functions))


_INSIDE: Final = {
    "attribute": "{whole}.{label}",
    "item": "{whole}[{label}]",
    "key": "a key of {whole}",
    "element": "a member of {whole}",
    "state": "something in {whole}",
}
"""Steps to a part of what was called so far; the others lead to something with a name of its own."""


def _variable(step: _Step, owner: Any, part: Any) -> tuple[str, str] | None:  # noqa: PLR0911 - one per kind of step
    """Return the name of a variable, and whose it is; None for a step that the reader need not know of."""
    kind, label = step
    if kind == "global":
        module = owner.__module__ or "__main__"
        return label, "a global of the notebook" if module == "__main__" else f"a global of the module {module}"
    if kind == "closure":
        around = _name(owner, whole=True).rpartition(".<locals>.")[0].rpartition("<locals>.")[2]
        return label, f"a variable of the function around it, {around}" if around else "a variable around it"
    if kind == "default":
        return label, f"the default of a parameter of {_name(owner)}"
    if kind == "self":
        return "self", f"the object that {label} is a method of, of type {_kind(part)}"
    if kind == "argument":
        name = label if isinstance(label, str) else f"args[{label}]"
        return name, f"an argument of the partial {_name(owner)}"
    if kind == "class":
        notebook = part.__module__ == "__main__"
        return part.__qualname__, "a class of the notebook" if notebook else f"a class of {part.__module__}"
    return None


def _is_function(obj: object) -> bool:
    return isinstance(obj, types.FunctionType | types.MethodType | functools.partial)


def _name(obj: Any, *, whole: bool = False) -> str:
    if isinstance(obj, functools.partial):
        return _name(obj.func, whole=whole)
    name = str(getattr(obj, "__qualname__", type(obj).__qualname__))
    return name if whole else name.rpartition("<locals>.")[2]


def _kind(obj: object) -> str:
    kind = type(obj)
    known = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"


def _advice(culprit: object) -> str:
    name = type(culprit).__name__
    for kinds, advice in _ADVICE:
        if name in kinds:
            return f"{advice} inside the electron" if advice in ("connect", "pass its path, and open it") else advice
    return "create it inside the electron, or pass what it is made of"
