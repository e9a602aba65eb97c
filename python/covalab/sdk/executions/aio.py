"""Awaiting in threads: the blocking verbs as coroutines, and the deadlines of waits.

A blocking call runs in a thread, so that other work of the event loop goes on meanwhile.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from covalab.client import Client

if TYPE_CHECKING:
    import asyncio

ROUND_SECONDS: Final = 2.0
"""Longest wait of one request of an asynchronous call: its thread goes on when the call is cancelled."""

FOR_EVER: Final = 3600.0
"""Longest wait of one request of a blocking call, in seconds; then it is made again."""

_WAKE_SECONDS: Final = 0.5
_AT_ONCE: Final = 100
"""Most calls of one event loop that wait at a time: each has a thread and a connection."""

_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()
_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Make a call that the dispatcher answers at once without blocking the event loop."""
    import asyncio  # noqa: PLC0415 - a program without a loop does not need it

    return await asyncio.to_thread(call, *args, **kwargs)


async def waited_for(call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Make a call that may take for ever without blocking the event loop, nor the threads of `in_thread`.

    A caller that stops waiting leaves a daemon thread behind, which keeps no process from ending; `asyncio.to_thread`
    would.
    """
    import asyncio  # noqa: PLC0415 - a program without a loop does not need it

    done: Future[_T] = Future()
    done.set_running_or_notify_cancel()

    def work() -> None:
        try:
            done.set_result(call(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)

    async with _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)):
        threading.Thread(target=work, name="covalab-wait", daemon=True).start()
        answer = asyncio.wrap_future(done)
        try:
            while not answer.done():
                # A kernel notices its stop button when its loop wakes up, and a loop that waits for a thread would not.
                await asyncio.wait({answer}, timeout=_WAKE_SECONDS)
            return answer.result()
        finally:
            answer.cancel()


def async_twin(call: Callable[_P, _T]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Return `call` as a coroutine function: the same parameters, made by `in_thread`, so cancelled as that is.

    Examples
    --------
    >>> import asyncio
    >>> async_len = async_twin(len)
    >>> async_len.__name__, asyncio.run(async_len("abc"))
    ('async_len', 3)
    """

    @functools.wraps(call)
    async def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await in_thread(call, *args, **kwargs)

    run.__name__ = run.__qualname__ = f"async_{call.__name__}"
    run.__doc__ = f"Do the same as `{call.__name__}` without blocking the event loop."
    return run


def deadline_after(timeout: float | None) -> float | None:
    """Return when a wait is over, by the monotonic clock; None: never."""
    return None if timeout is None else time.monotonic() + timeout


def answered_by(
    client: Client, deadline: float | None, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Make a call whose requests raise `DispatcherSilent` when the dispatcher does not answer until a deadline."""
    with client.until(deadline):
        return call(*args, **kwargs)


def left_until(deadline: float | None, most: float) -> float:
    """Return how many seconds are left of a wait, at most so many."""
    return most if deadline is None else min(most, max(0.0, deadline - time.monotonic()))


def is_past(deadline: float | None) -> bool:
    """Return whether a wait is over."""
    return deadline is not None and time.monotonic() >= deadline
