"""Caches of functions are read and filled without the function being called, whatever is in them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from covalab.namespace.caches import content_of, fill

LIMITS = [None, 8, 1]


def copied(cached: Any, maxsize: int | None, *, typed: bool = False) -> tuple[Any, list[Any]]:
    """Return a cached function that was filled with what another one has kept, and a list of the calls behind it."""
    calls: list[Any] = []

    @functools.lru_cache(maxsize=maxsize, typed=typed)
    def again(*args: Any, **named: Any) -> Any:
        calls.append((args, named))
        return "called"

    content = content_of(cached)
    assert content is not None
    fill(again, content)
    return again, calls


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("maxsize", LIMITS)
@pytest.mark.parametrize(
    "result",
    [
        {},
        {"a": 1},
        {1: 1, 2: 2, 3: 3},
        object(),
        (object(), {}),
        functools.partial(print),
        lambda: None,
        None,
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],  # addresses are others in each process
)
def test_results_of_every_type_travel(result: Any, maxsize: int | None, typed: bool) -> None:
    """A result that is a dict, or an object of no class of its own, is not taken for a part of the cache."""

    @functools.lru_cache(maxsize=maxsize, typed=typed)
    def function(*args: Any, **named: Any) -> Any:
        return result

    key = object()
    arguments: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}), ((1,), {}), (("a",), {}), (((1, 2),), {}), ((1, 2), {}), ((key,), {"b": key}), ((), {"b": 2, "c": 3})
    ]  # fmt: skip
    for args, named in arguments:
        function(*args, **named)

    again, calls = copied(function, maxsize, typed=typed)

    assert again.cache_info() == function.cache_info()
    for args, named in arguments[-(maxsize or 7) :]:
        assert again(*args, **named) is result
    assert calls == []


@pytest.mark.parametrize("maxsize", LIMITS)
def test_the_function_behind_a_cache_is_not_called_whatever_it_is_said_to_wrap(maxsize: int | None) -> None:
    """A decorator may set `__wrapped__` to another function."""

    @functools.lru_cache(maxsize=maxsize)
    def function(x: int) -> list[int]:
        return [x]

    kept = function(3)
    again, calls = copied(function, maxsize)
    again.__wrapped__ = function.__wrapped__
    fill(again, content_of(function))

    assert again(3) is kept
    assert again(4) == "called"
    assert calls == [((4,), {})]
    assert function.__wrapped__(5) == [5]


class _Key:
    """Key that does something when it is looked up."""

    def __init__(self, act: Callable[[], object] = lambda: None) -> None:
        self.act = act

    def __hash__(self) -> int:
        self.act()
        return 1


@pytest.mark.parametrize("maxsize", [None, 8])
def test_a_call_from_another_thread_gets_its_own_result(maxsize: int | None) -> None:
    """While a cache is filled, the function goes on to work for everybody else."""
    results: list[Any] = []
    factor = 10

    @functools.lru_cache(maxsize=maxsize)
    def times(x: Any, *, more: int = 1) -> Any:
        return x * factor + more

    def call() -> None:
        thread = threading.Thread(target=lambda: results.append((times(7), times(7, more=2))))
        thread.start()
        thread.join()

    key = _Key()
    entries: list[Any] = [((key,), {}, "kept"), ((2,), {}, "two")]
    key.act = call
    fill(times, (entries, 0, 2))
    key.act = lambda: None

    assert {*results} == {(71, 72)}
    assert times(key) == "kept"
    assert times(2) == "two"
    assert times(7) == 71
    assert times(8) == 81


def test_a_key_that_cannot_be_looked_up_is_left_out() -> None:
    """The others are kept, and the function is itself again."""

    @functools.cache
    def function(x: Any) -> Any:
        return [x]

    def fail() -> None:
        text = "not now"
        raise ValueError(text)

    key = _Key(fail)
    fill(function, ([((key,), {}, "a"), ((2,), {}, "two")], 0, 2))

    assert function(2) == "two"
    assert function(3) == [3]


def test_a_cached_class_and_a_cached_builtin_have_no_content_that_travels() -> None:
    """Only a function of Python can stand in for itself; the call counts are not made up."""
    cached: Any = functools.cache(len)
    cached((1, 2))

    assert content_of(cached) is None
    fill(cached, ([(((),), {}, 5)], 0, 1))

    assert cached(()) == 0
