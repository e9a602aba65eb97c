"""Results that `functools.cache` and `lru_cache` keep: read from a function, and put into another one.

There is no public way. The collector of garbage sees them, from the oldest to the latest; and a function whose code
only gives one result puts that into the cache when it is called. What is read is checked against what the function says
of its cache, and is left out where it does not fit: another version of Python may arrange it otherwise.
"""

from __future__ import annotations

import functools
import gc
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import Any, Final, NamedTuple, TypeAlias

Entry: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any], Any]"
Content: TypeAlias = "tuple[list[Entry], int, int]"
"""Arguments, named arguments and result of each call; numbers of hits and misses."""

CACHED: Final = type(functools.lru_cache(lambda: None))
_MANY: Final = 100_000


class _Parts(NamedTuple):
    """Parts of a cached function: the function behind it, and each key with its result, from the oldest on."""

    function: Any  # of Python
    pairs: list[tuple[Any, Any]]


def _parts_of(cached: Any) -> _Parts | None:
    """Return the parts of a cached function; None if they are not found, or change meanwhile.

    Where each entry is a link of three objects (key, result, type), these come before the table of all entries, and
    that before the function. There is one object more at the beginning where Python visits the type.
    """
    is_linked = cached.cache_parameters()["maxsize"] is not None
    referents = gc.get_referents(cached)
    for begin in (0, 1):
        at = begin
        if is_linked:
            at += 3 * cached.cache_info().currsize
        if at + 1 >= len(referents):
            continue
        table, function = referents[at : at + 2]
        if type(table) is not dict or not isinstance(function, types.FunctionType) or table is vars(cached):
            continue
        if not is_linked:
            return _Parts(function, [*table.items()])
        pairs = [*zip(referents[begin:at:3], referents[begin + 1 : at : 3], strict=True)]
        if {*map(id, table)} == {id(key) for key, _ in pairs}:
            return _Parts(function, pairs)
    return None


def content_of(cached: Any) -> Content | None:
    """Return what a cached function has kept; None if that cannot be read, or is nothing."""
    info = cached.cache_info()
    parts = _parts_of(cached) if info.misses else None
    if parts is None or len(parts.pairs) != info.currsize or len(parts.pairs) > _MANY:
        return None
    is_typed = cached.cache_parameters()["typed"]
    entries = [(*_arguments_of(key, is_typed=is_typed), result) for key, result in parts.pairs]
    return entries, info.hits, info.misses


def _arguments_of(key: Any, *, is_typed: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if type(key) is not tuple:  # one argument that is a number or a text
        return (key,), {}
    at = next((n for n, one in enumerate(key) if one is _MARK), -1)
    if at < 0:
        return (key[: len(key) // 2] if is_typed else key), {}
    named = key[at + 1 :]
    if is_typed:
        named = named[: 2 * ((len(named) - at) // 3)]
    return key[:at], dict(zip(named[::2], named[1::2], strict=True))


def _mark() -> object:
    """Return the object that is between arguments and named arguments in the keys of all caches."""
    probe: Any = functools.lru_cache(maxsize=None)(lambda **_: None)
    probe(one=1)
    parts = _parts_of(probe)
    key = parts.pairs[0][0] if parts is not None and parts.pairs else ()
    return key[0] if type(key) is tuple and key[1:] == ("one", 1) else object()


_MARK: Final = _mark()


def set_cached(cached: Any, state: tuple[dict[str, Any], Content]) -> None:
    """Give a cached function its attributes and results; pickles name this function."""
    attributes, content = state
    vars(cached).update(attributes)
    fill(cached, content)


def fill(cached: Any, content: Content | None) -> None:
    """Put results into the cache of a function, in place of those that it has.

    A key that cannot be looked up is left out. Calls from other threads are calls of the function as it is.
    """
    cached.cache_clear()
    parts = _parts_of(cached)
    if content is None or parts is None:
        return
    entries, hits, misses = content
    with _answering(parts.function) as answer:
        for _ in range(min(misses - len(entries), _MANY)):
            with suppress(_NoResult):  # a miss, and nothing is kept
                cached()
        answer.is_given = True
        for arguments, named, answer.result in entries:
            with suppress(Exception):  # of the user's `__hash__` or `__eq__`
                cached(*arguments, **named)
        for _ in range(min(hits, _MANY) if entries else 0):
            with suppress(Exception):
                cached(*entries[-1][0], **entries[-1][1])


class _NoResult(Exception):
    """A call that keeps nothing."""


class _Answer:
    """Answers to calls of a function: the given result in this thread, in others that of the function itself."""

    def __init__(self, function: types.FunctionType) -> None:
        self.is_given = False
        self.result: Any = None
        self._thread = get_ident()
        self._function = function

    def to(self, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Return the result of one call."""
        if get_ident() != self._thread:
            return self._function(*arguments, **named)
        if not self.is_given:
            raise _NoResult
        return self.result


_PLACE: Final = "the answer"
_ASKING: Final = (lambda *args, **named: "the answer".to(args, named)).__code__  # type: ignore[attr-defined]


@contextmanager
def _answering(function: types.FunctionType) -> Iterator[_Answer]:
    """Let a function answer as it is said until the block ends; whoever calls it has its defaults and variables."""
    own = function.__code__
    itself = types.FunctionType(
        own, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    itself.__kwdefaults__ = function.__kwdefaults__
    answer = _Answer(itself)
    constants = tuple(answer if one == _PLACE else one for one in _ASKING.co_consts)
    function.__code__ = _ASKING.replace(co_consts=constants, co_freevars=own.co_freevars)
    try:
        yield answer
    finally:
        function.__code__ = own
