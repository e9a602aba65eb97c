"""Route of calls to workers: straight to the worker where this process reaches it, else through the scheduler.

Nothing listens here: the pool asks, so whatever network lets a Dask client work lets values travel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from distributed import Client
from distributed.protocol.pickle import dumps

_log = logging.getLogger("covalab.pool")
_TRY_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = (0.1, 0.5, 1.0, 2.0)


class NoAnswer(Exception):
    """The call is not wanted any more."""


class Route:
    """Way to the functions of one worker.

    Parameters
    ----------
    client
        The client of the cluster.
    worker
        The worker.
    """

    def __init__(self, client: Client, worker: str) -> None:
        self._client = client
        self._worker = worker
        self.is_direct = True
        """Whether the last call that succeeded went straight to the worker."""
        self.is_open = True
        self._tries = 0

    async def find(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in whichever way works first. Raises what Dask raises if none does."""
        try:
            return await asyncio.wait_for(self._call(function, args), _TRY_SECONDS)
        except (OSError, TimeoutError):
            self.is_direct = False
            _log.warning("worker %s is reached through the scheduler only; values go that way", self._worker)
            return await self._call(function, args)

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function; again, in the other way, while the network is away.

        Raises
        ------
        NoAnswer
            If the route was closed meanwhile: the worker is gone.
        """
        tries = 0
        while self.is_open:
            try:
                return await self._call(function, args)
            except (OSError, TimeoutError) as error:
                _log.warning(
                    "worker %s does not answer (%s: %s); trying again", self._worker, type(error).__name__, error
                )
            self.is_direct = not self.is_direct
            await asyncio.sleep(_AGAIN_SECONDS[min(tries, len(_AGAIN_SECONDS) - 1)])
            tries += 1
        raise NoAnswer(self._worker)

    async def _call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if not self.is_direct:
            return (await self._client.run(function, *args, workers=[self._worker]))[self._worker]
        answer = await self._client.rpc(self._worker).run(function=dumps(function), args=dumps(args), kwargs=dumps({}))
        if answer["status"] != "OK":
            message = (
                f"{getattr(function, '__name__', function)} failed on {self._worker}: {answer.get('exception_text')}"
            )
            raise RuntimeError(message)
        return answer["result"]
