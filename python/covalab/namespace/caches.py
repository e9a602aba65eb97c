"""Results that `functools.cache` and `lru_cache` keep: read from a function, and put into another one.

There is no public way. The collector of garbage sees them, from the oldest to the latest; and a function whose code
only gives one result puts that into the cache when it is called.
"""

from __future__ import annotations

import functools
import gc
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias

Entry: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any], Any]"
Content: TypeAlias = "tuple[list[Entry], int, int]"
"""Arguments, named arguments and result of each call; numbers of hits and misses."""

CACHED: Final = type(functools.lru_cache(lambda: None))
_MANY: Final = 100_000


def content_of(cached: Any) -> Content | None:
    """Return what a cached function has kept; None if that cannot be read, or is nothing."""
    info = cached.cache_info()
    if not info.misses:
        return None
    how = cached.cache_parameters()
    referents = gc.get_referents(cached)
    own = vars(cached)
    at = next((n for n, one in enumerate(referents) if type(one) is dict and one is not own), -1)
    mark = next((one for one in referents if type(one) is object), None)
    if at < 0 or mark is None or not isinstance(cached.__wrapped__, types.FunctionType):
        return None
    table = referents[at]
    if how["maxsize"] is None:
        pairs = list(table.items())
    else:
        begin = at - 3 * len(table)
        pairs = list(zip(referents[begin:at:3], referents[begin + 1 : at : 3], strict=True)) if begin >= 0 else []
    if len(pairs) != len(table) or len(table) != info.currsize or len(table) > _MANY:
        return None
    entries = [(*_arguments_of(key, mark, is_typed=how["typed"]), result) for key, result in pairs]
    return entries, info.hits, info.misses


def _arguments_of(key: Any, mark: object, *, is_typed: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if type(key) is not tuple:  # one argument that is a number or a text
        return (key,), {}
    at = next((n for n, one in enumerate(key) if one is mark), -1)
    if at < 0:
        return (key[: len(key) // 2] if is_typed else key), {}
    named = key[at + 1 :]
    if is_typed:
        named = named[: 2 * ((len(named) - at) // 3)]
    return key[:at], dict(zip(named[::2], named[1::2], strict=True))


def set_cached(cached: Any, state: tuple[dict[str, Any], Content]) -> None:
    """Give a cached function its attributes and results; pickles name this function."""
    attributes, content = state
    vars(cached).update(attributes)
    fill(cached, content)


def fill(cached: Any, content: Content | None) -> None:
    """Put results into the cache of a function, in place of those that it has."""
    cached.cache_clear()
    if content is None:
        return
    entries, hits, misses = content
    with _other_code(cached.__wrapped__) as give:
        for _ in range(min(misses - len(entries), _MANY)):
            give(_FAIL, None)
            with suppress(AttributeError):  # a miss, and nothing is kept
                cached()
        for arguments, named, result in entries:
            give(_GIVE, result)
            cached(*arguments, **named)
        for _ in range(min(hits, _MANY) if entries else 0):
            cached(*entries[-1][0], **entries[-1][1])


_RESULT: Final = "the result"
_GIVE: Final = (lambda *_, **__: "the result").__code__
_FAIL: Final = (lambda *_, **__: "the result".no_such_attribute).__code__  # type: ignore[attr-defined]


@contextmanager
def _other_code(function: types.FunctionType) -> Iterator[Any]:
    own = function.__code__

    def give(code: types.CodeType, result: object) -> None:
        constants = tuple(result if one == _RESULT else one for one in code.co_consts)
        function.__code__ = code.replace(co_consts=constants, co_freevars=own.co_freevars)

    try:
        yield give
    finally:
        function.__code__ = own
