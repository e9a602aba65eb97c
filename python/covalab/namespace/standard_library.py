"""Objects of the standard library that notebooks keep in variables and that cannot be pickled, or only as copies.

A closed file is a closed file, an open one is refused. A match is found again, a view of a dictionary is a view of that
dictionary, a lock that nobody holds is a new one. Weak references are in `weak_references`. Pickles name functions of
this module.
"""

from __future__ import annotations

import gc
import io
import itertools
import operator
import os
import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from covalab.core.pickling import reduce_own_way
from covalab.namespace import weak_references

_Reduced: TypeAlias = "tuple[Any, ...]"

_STREAMS: Final = ("stdout", "stderr", "stdin", "__stdout__", "__stderr__", "__stdin__")


def _reduce_file(file: Any) -> Any:
    for name in _STREAMS:
        if file is getattr(sys, name):
            return getattr, (sys, name)
    if not file.closed:
        text = f"cannot pickle {type(file).__name__!r} object: it is open"
        raise TypeError(text)
    raw = getattr(getattr(file, "buffer", file), "raw", file)
    return closed_file, (file.name, file.mode, raw.mode, getattr(file, "encoding", None))


def closed_file(name: Any, mode: str, raw_mode: str, encoding: str | None) -> Any:
    """Return a closed file; pickles name this function."""
    plain = raw_mode.replace("x", "w").replace("b", "")
    with open(os.devnull, plain if encoding else f"{plain}b", encoding=encoding) as file:  # noqa: PTH123
        made: Any = file
    if encoding:
        made.mode = mode
    getattr(getattr(made, "buffer", made), "raw", made).name = name
    return made


def reduce_exception(error: BaseException) -> Any:
    """Return how to make an exception with all that it has; its class's own `__init__` ran when it was raised."""
    kind = type(error)
    builtin = _builtin_of(kind)
    own: Any = getattr(kind, "__reduce__", None)
    if own is not builtin.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__:
        return reduce_own_way(error)
    _, arguments, *attributes = builtin.__reduce__(error)  # without making a dictionary of attributes where none is
    state = (*(attributes or [None]), error.__cause__, error.__context__, error.__suppress_context__)
    return make_exception, (kind, arguments), state, None, None, set_exception


def _builtin_of(kind: type[BaseException]) -> Any:
    """Return the built-in class that makes objects of a class: of several, the one whose objects have the most."""
    while kind.__module__ != "builtins":
        kind = kind.__base__  # type: ignore[assignment] # an exception's
    return kind


def make_exception(kind: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    """Return an exception without its attributes; pickles name this function."""
    builtin = _builtin_of(kind)
    made: BaseException = builtin.__new__(kind, *arguments)
    builtin.__init__(made, *arguments)
    return made


def set_exception(error: BaseException, state: tuple[dict[str, Any] | None, Any, Any, bool]) -> None:
    """Give an exception its attributes, and what it was raised from; pickles name this function."""
    attributes, error.__cause__, error.__context__, error.__suppress_context__ = state
    if attributes:
        vars(error).update(attributes)


def _reduce_match(match: re.Match[Any]) -> _Reduced:
    again = match_again(match.re, match.string, match.start(), match.endpos)
    if again is None or again.regs != match.regs:
        text = "cannot pickle a match that is not found again from its beginning"
        raise TypeError(text)
    return match_again, (match.re, match.string, match.start(), match.endpos)


def match_again(pattern: re.Pattern[Any], text: Any, start: int, end: int) -> re.Match[Any] | None:
    """Return the match of a pattern at a place; pickles name this function."""
    return pattern.match(text, start, end)


def _reduce_view(view: Any) -> Any:
    owner = next(iter(gc.get_referents(view)), None)
    if type(owner) not in (dict, OrderedDict):
        return NotImplemented
    return view_of_dictionary, (owner, type(view).__name__.removeprefix("odict_").removeprefix("dict_"))


def view_of_dictionary(owner: dict[Any, Any], kind: str) -> Any:
    """Return the keys, values or items of a dictionary; pickles name this function."""
    return getattr(owner, kind)()


def _reduce_memory(view: memoryview) -> Any:
    owner = view.obj
    if type(owner) is not bytearray or view.nbytes != len(owner) or not view.c_contiguous:
        return NotImplemented
    return view_of_memory, (owner, view.format, view.shape, view.readonly)


def view_of_memory(owner: bytearray, format_: Any, shape: tuple[int, ...], readonly: bool) -> memoryview:
    """Return a view of all bytes of an object; pickles name this function."""
    view = memoryview(owner).cast(format_, shape) if len(shape) != 1 else memoryview(owner).cast(format_)
    return view.toreadonly() if readonly else view


def _reduce_cycle(cycle: Any) -> Any:
    """Return how to make a cycle in its second round or a later one; in the first it shares what it reads."""
    (source,), (saved, is_round) = cycle.__reduce_ex__(4)[1:]
    left = operator.length_hint(source, -1)
    return (cycle_from, (tuple(saved), len(saved) - left)) if is_round and left >= 0 else NotImplemented


def cycle_from(values: tuple[Any, ...], position: int) -> Any:
    """Return a cycle that goes on at a position; pickles name this function."""
    made: Any = itertools.cycle(())
    made.__setstate__((list(values), True))
    for _ in values[:position]:
        next(made)
    return made


def _reduce_list_iterator(iterator: Any) -> Any:
    """Return how to make an iterator that has told its end; Python makes one that may still go on, and forwards."""
    how = iterator.__reduce_ex__(4)
    has_ended = len(how) == 2  # it has no position
    return (ended_iterator, (type(iterator) is _BACKWARDS,)) if has_ended else NotImplemented


def ended_iterator(is_backwards: bool) -> Any:
    """Return an iterator of a list that is at its end; pickles name this function."""
    made: Any = reversed([]) if is_backwards else iter([])
    next(made, None)
    return made


def _reduce_lock(lock: Any) -> _Reduced:
    if not repr(lock).startswith("<unlocked"):
        text = f"cannot pickle {type(lock).__name__!r} object: it is held"
        raise TypeError(text)
    return threading.Lock if type(lock) is type(threading.Lock()) else threading.RLock, ()


_BACKWARDS: Final[type] = type(reversed([]))
_SOME: Final[dict[str, int]] = {}
_ORDERED: Final[OrderedDict[str, int]] = OrderedDict()
_VIEWS: Final = [type(getattr(one, kind)()) for one in (_SOME, _ORDERED) for kind in ("keys", "values", "items")]

REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    io.TextIOWrapper: _reduce_file,
    io.BufferedReader: _reduce_file,
    io.BufferedWriter: _reduce_file,
    io.BufferedRandom: _reduce_file,
    io.FileIO: _reduce_file,
    re.Match: _reduce_match,
    memoryview: _reduce_memory,
    **weak_references.REDUCERS,
    itertools.cycle: _reduce_cycle,
    type(iter([])): _reduce_list_iterator,
    _BACKWARDS: _reduce_list_iterator,
    type(threading.Lock()): _reduce_lock,
    type(threading.RLock()): _reduce_lock,
    **dict.fromkeys(_VIEWS, _reduce_view),
}
"""By exact type; NotImplemented means the pickler's own way."""
