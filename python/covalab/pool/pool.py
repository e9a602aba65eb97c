"""Steps in, outcomes out. Carries both closed; decides nothing; ends when the dispatcher is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

import msgspec
import psutil
from distributed import Client, Future, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import Scheduler

from covalab.client.link import read_frame, write_frame
from covalab.core import protocol
from covalab.core.protocol import Assign, Begun, Drop, Ended, Hello, Outcomes, Quit, Trouble, Workers
from covalab.pool import remote
from covalab.pool.cluster import start_local

_log = logging.getLogger("covalab.pool")


class _Running:
    """A step that is at a worker."""

    __slots__ = ("assign", "begun", "dropped", "future", "timeout", "timer")

    def __init__(self, assign: Assign, future: Future[None]) -> None:
        self.assign = assign
        self.future = future
        self.begun: Begun | None = None
        self.dropped = False
        self.timeout = False
        self.timer: asyncio.TimerHandle | None = None


class _WorkersChanged(SchedulerPlugin):
    """Tells the pool which workers there are."""

    name = "covalab-workers"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:  # noqa: ARG002 - Dask's signature
        self._pool.worker_came(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:  # noqa: ARG002 - Dask's signature
        self._pool.worker_went(worker)


class Pool:
    """One Dask cluster on one side, the dispatcher's socket on the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._encoder = protocol.encoder()
        self._events = protocol.decoder(Begun | Outcomes)
        self._running: dict[int, _Running] = {}
        self._workers: dict[str, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: Client | None = None

    async def serve(self) -> None:
        """Run until the dispatcher says quit or is gone."""
        try:
            cluster = await start_local()
        except Exception as error:  # noqa: BLE001 - whatever it is, the dispatcher must hear of it
            _log.exception("the Dask cluster did not start")
            self._send(Trouble(f"the Dask cluster did not start under {sys.executable}: {error}"))
            await self._writer.drain()
            return
        self._watch_workers(cluster)
        self._client = await Client(cluster, asynchronous=True, set_as_default=False)
        self._client.subscribe_topic(remote.TOPIC, self._on_event)
        self._send(Hello(protocol.hello(), os.getpid(), sys.executable))
        self._send(Workers(list(self._workers)))
        messages = protocol.decoder(protocol.ToPool)
        while (frame := await read_frame(self._reader)) is not None:
            message = messages.decode(frame)
            if isinstance(message, Assign):
                self._assign(message)
            elif isinstance(message, Drop):
                self._drop(message.step)
            elif isinstance(message, Quit):
                return

    # -- workers -------------------------------------------------------------------------------------------------

    def _watch_workers(self, cluster: LocalCluster) -> None:
        scheduler = cluster.scheduler
        assert scheduler is not None
        scheduler.add_plugin(_WorkersChanged(self))
        self._workers = dict.fromkeys(scheduler.workers)

    def worker_came(self, worker: str) -> None:
        """Tell the dispatcher of a new worker."""
        self._workers[worker] = None
        self._send(Workers(list(self._workers)))

    def worker_went(self, worker: str) -> None:
        """Tell the dispatcher of a lost worker and of the steps that were lost with it."""
        self._workers.pop(worker, None)
        # Outcomes that the worker sent before it died may still be on their way to our client: let them in first.
        asyncio.get_running_loop().call_later(0.05, self._lose, worker)
        self._send(Workers(list(self._workers)))

    def _lose(self, worker: str) -> None:
        for step, running in list(self._running.items()):
            if running.assign.worker == worker:
                self._finish(step, lost=f"the worker process of {worker} died")

    # -- steps ---------------------------------------------------------------------------------------------------

    def _assign(self, assign: Assign) -> None:
        assert self._client is not None
        if assign.worker not in self._workers:
            self._send(Ended(assign.step, lost=f"worker {assign.worker} is gone"))
            return
        future = self._client.submit(
            remote.run,
            assign.payload,
            key=f"covalab-step-{assign.step}",
            workers=[assign.worker],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        self._running[assign.step] = _Running(assign, future)
        task = asyncio.create_task(self._watch(assign.step, future))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, step: int, future: Future[None]) -> None:
        try:
            error = await future.exception()
        except asyncio.CancelledError:
            error = None
        if step not in self._running:
            return
        if error is None or future.status == "cancelled":
            self._finish(step)
        elif type(error).__name__ == "KilledWorker":
            await asyncio.sleep(0.05)  # see worker_went
            if step in self._running:
                self._finish(step, lost="the worker process died")
        else:
            # The step itself never raises, so this is the way to it: covalab missing on the worker, a full disk.
            self._finish(step, trouble=f"{type(error).__name__}: {error}")

    def _finish(self, step: int, *, lost: str = "", trouble: str = "") -> None:
        running = self._running.pop(step)
        if running.timer is not None:
            running.timer.cancel()
        if lost:
            running.future.cancel(force=True)
        running.future.release()
        self._send(Ended(step, lost=lost, timeout=running.timeout, trouble=trouble))

    def _on_event(self, event: tuple[float, bytes]) -> None:
        frame = event[1]
        message = self._events.decode(frame)
        running = self._running.get(message.step)
        if isinstance(message, Begun):
            if running is None or running.dropped:
                if running is not None:
                    running.begun = message
                    self._kill(message.pid)
                return
            running.begun = message
            limit = running.assign.time_limit
            if limit is not None and running.timer is None:
                left = max(0.0, limit - max(0.0, time.time() - message.at))
                running.timer = asyncio.get_running_loop().call_later(left, self._expire, message.step)
        write_frame(self._writer, frame)

    def _drop(self, step: int) -> None:
        running = self._running.get(step)
        if running is None:
            return
        running.dropped = True
        if running.begun is not None:
            self._kill(running.begun.pid)
        else:
            running.future.cancel(force=True)

    def _expire(self, step: int) -> None:
        running = self._running.get(step)
        if running is not None and running.begun is not None:
            running.timeout = True
            self._kill(running.begun.pid)

    def _kill(self, pid: int) -> None:
        """End a worker process and everything it started; its nanny starts another."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            family = [*process.children(recursive=True), process]
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()

    def _send(self, message: msgspec.Struct) -> None:
        write_frame(self._writer, self._encoder.encode(message))


def end_with_everything() -> None:
    """End this process, its workers and whatever their tasks started. Nothing here is worth saving."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
