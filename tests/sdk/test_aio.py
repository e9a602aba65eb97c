"""Blocking calls as coroutines: any keyword goes through, an exception comes back, a loop may stop waiting."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest

import covalab as ct
from covalab.sdk.executions.aio import async_twin, in_thread, waited_for


def given(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments."""
    return args, kwargs


def failing() -> None:
    """Raise."""
    message = "no"
    raise ValueError(message)


@pytest.mark.parametrize("call", [in_thread, waited_for])
def test_every_keyword_goes_through(call: Any) -> None:
    """Also those that a parameter of the way could be called."""
    found = asyncio.run(call(given, 1, call=2, func=3, args=4))

    assert found == ((1,), {"call": 2, "func": 3, "args": 4})


@pytest.mark.parametrize("call", [in_thread, waited_for])
def test_an_exception_comes_back(call: Any) -> None:
    """As it was raised in the thread."""
    with pytest.raises(ValueError, match="no"):
        asyncio.run(call(failing))


def test_a_wait_can_be_cancelled() -> None:
    """The coroutine ends at once; the thread is a daemon and goes on by itself."""
    release, threads = threading.Event(), []

    def work() -> bool:
        threads.append(threading.current_thread())
        return release.wait(30)

    async def program() -> None:
        waiting = asyncio.ensure_future(waited_for(work))
        while not threads:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 5)

    asyncio.run(program())

    assert threads[0].daemon
    assert threads[0].is_alive()
    release.set()
    threads[0].join(5)


def test_a_twin_is_a_coroutine_function_with_the_same_parameters() -> None:
    """It is found under its own name, as pickling by reference needs it."""
    twin = async_twin(given)

    assert inspect.iscoroutinefunction(twin)
    assert asyncio.run(twin(1, call=2)) == ((1,), {"call": 2})


@pytest.mark.parametrize("name", [name for name in ct.__all__ if name.startswith("async_")])
def test_a_public_twin_is_found_by_its_name(name: str) -> None:
    """Its module has it under its name, and it says what it does."""
    found = getattr(ct, name)

    assert inspect.getmodule(found).__dict__[name] is found
    assert found.__qualname__ == name
    assert found.__doc__
