"""Liveness of Dask workers: finds those that have stopped answering while batches are at them.

A worker answers by its heartbeat, which the scheduler notes; so one request per tick asks about all workers, and works
also where only the scheduler can reach them. User code does not run in the worker process, so a heartbeat that stays
away means that the process is stopped or stuck.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from distributed import Client

from covalab.core import silence

_log = logging.getLogger("covalab.pool")
_SCHEDULER: Final = "scheduler"  # no address of a worker


class WorkerLiveness:
    """Observer of the workers that have batches. Without batches it asks nothing.

    Parameters
    ----------
    client
        The client of the cluster.
    limit
        Number of seconds without an answer after which a worker is taken for lost; 0: never.
    busy
        Returns the workers that have batches.
    on_lost
        Called with a worker that is taken for lost, and why.
    on_return
        Called with a worker that was taken for lost and answers again.
    """

    def __init__(
        self,
        client: Client,
        limit: float,
        *,
        busy: Callable[[], Collection[str]],
        on_lost: Callable[[str, str], None],
        on_return: Callable[[str], None],
    ) -> None:
        self._client = client
        self._limit = limit
        self._busy = busy
        self._on_lost = on_lost
        self._on_return = on_return
        self._last_seen: dict[str, float] = {}
        self._silent: dict[str, int] = {}
        self._scheduler: dict[str, int] = {}
        self._lost: set[str] = set()

    async def watch(self) -> str:
        """Watch the workers; return, with the reason, when the scheduler itself is silent for the limit."""
        if not self._limit:
            await asyncio.Event().wait()
        tick = silence.tick_seconds(self._limit)
        while not silence.lost(self._scheduler):
            await asyncio.sleep(tick)
            # Those that are lost are watched without batches too: nothing is sent to them until they answer.
            watched = {*self._busy(), *self._lost}
            if watched:
                seen = await self._ask(tick)
                answered = () if seen is None else (_SCHEDULER,)
                self._scheduler = silence.count_tick(self._scheduler, [_SCHEDULER], answered)
                if seen is not None:
                    self._judge(watched, seen)
            else:
                self._silent, self._scheduler = {}, {}
        return f"the Dask scheduler has not answered for {self._limit:g} s"

    async def _ask(self, tick: float) -> dict[str, float] | None:
        """Return when the scheduler last saw each worker; None if it does not answer within a tick."""
        assert self._client.scheduler is not None
        try:
            identity = await asyncio.wait_for(self._client.scheduler.identity(n_workers=-1), tick)
        except Exception as error:  # noqa: BLE001 - Dask raises what it likes for a scheduler that is away
            _log.info("the scheduler does not answer: %s", error)
            return None
        workers: dict[str, dict[str, Any]] = identity["workers"]
        return {name: float(worker["last_seen"]) for name, worker in workers.items()}

    def _judge(self, watched: set[str], seen: dict[str, float]) -> None:
        """Count a tick; report the workers that are lost by it, and those that are back."""
        # Only whether the time changed counts, not which it is: the scheduler may be on another machine.
        answered = {name for name, at in seen.items() if at != self._last_seen.get(name)}
        self._last_seen = seen
        self._lost &= seen.keys()  # the scheduler has removed the others, and reports when they register again
        self._silent = silence.count_tick(self._silent, watched & seen.keys(), answered)
        for name in silence.lost(self._silent):
            if name not in self._lost:
                self._lost.add(name)
                self._on_lost(name, f"worker {name} has not answered for {self._limit:g} s")
        for name in self._lost & answered:
            self._lost.remove(name)
            self._on_return(name)
