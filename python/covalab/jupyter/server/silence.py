"""Silence of the dispatcher, as the relay notices it: requests end with an error instead of waiting for ever.

One watcher for all requests, which runs while there are any, and sends a probe when nothing was heard for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from covalab.client.launcher import Address
from covalab.core import silence
from covalab.core.errors import DispatcherSilent

_T = TypeVar("_T")
_PROBE: Final = b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class RelaySilence:
    """Watcher of the requests of one relay.

    Parameters
    ----------
    on_gone
        Called when the dispatcher that was silent is gone, so that another one is looked for.
    """

    def __init__(self, on_gone: Callable[[], None]) -> None:
        self._on_gone = on_gone
        self._address: Address | None = None
        self._text = ""  # of the silence that lasts
        self._n_open = 0
        self._n_heard = 0
        self._began: asyncio.Future[None] | None = None  # done when a silence begins
        self._watching: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raise while the silence lasts: another request would only wait with the others.

        Raises
        ------
        DispatcherSilent
            With process and time.
        """
        if self._text:
            raise DispatcherSilent(self._text)

    async def answer(self, sending: Awaitable[_T], address: Address) -> _T:
        """Return the answer to a request.

        Raises
        ------
        DispatcherSilent
            When the dispatcher has not answered this or any other request for five seconds.
        """
        self._address = address
        self._n_open += 1
        if self._watching is None or self._watching.done():
            self._began = asyncio.get_running_loop().create_future()
            self._watching = asyncio.create_task(self._watch())
        assert self._began is not None
        request = asyncio.ensure_future(sending)
        try:
            both: set[asyncio.Future[Any]] = {request, self._began}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                self.check()
            answer = await request
            self._n_heard += 1
            return answer
        finally:
            self._n_open -= 1
            request.cancel()

    async def _watch(self) -> None:
        """Count ticks while requests are open, or a silence lasts."""
        waiting, n_heard, heard_at = silence.Waiting(), self._n_heard, time.time()
        probe: asyncio.Task[bool] | None = None
        try:
            while self._n_open or self._text:
                await asyncio.sleep(silence.CALLER_TICK_SECONDS)
                assert self._address is not None
                assert self._began is not None
                heard = self._n_heard != n_heard
                if probe is not None and probe.done():
                    heard = probe.result() or heard
                    probe = None
                    if not heard and self._text:
                        self._on_gone()
                        return
                if heard:
                    n_heard, heard_at, self._text = self._n_heard, time.time(), ""
                waiting = waiting.after_tick(heard=heard)
                if waiting.is_silent and not self._text:
                    since = silence.since_text(heard_at, time.time())
                    self._text = silence.silence_text(self._address.pid, since)
                    self._began.set_result(None)
                    self._began = asyncio.get_running_loop().create_future()
                if waiting.wants_probe and probe is None:
                    probe = asyncio.create_task(_is_answered(self._address.socket))
        finally:
            self._text = ""
            if probe is not None:
                probe.cancel()


async def _is_answered(path: str) -> bool:
    """Send a probe; return, when there is an answer or the connection ends, whether there was one."""
    writer = None
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(_PROBE)
        return bool(await reader.read(16))
    except BlockingIOError:
        await asyncio.sleep(silence.CALLER_TICK_SECONDS)  # its queue is full: it may be busy, and is not gone
        return await _is_answered(path)
    except OSError:
        return False
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()
