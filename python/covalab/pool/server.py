"""Pool server: passes batches to Dask workers and their messages to the dispatcher, without decoding the payloads.

Decides nothing; ends when the dispatcher is gone. `protocol.BATCH_TRANSITIONS` has the order of its messages.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

import msgspec
from distributed import Client, Future, Nanny, Status

from covalab import config
from covalab.client.framing import read_frame, write_frame
from covalab.core import protocol
from covalab.core.errors import ConfigError
from covalab.core.protocol import (
    BatchEnded,
    CancelBatch,
    Outcomes,
    Ping,
    Pong,
    PoolFailed,
    PoolReady,
    RunBatch,
    StopPool,
    TaskMessage,
    TaskStarted,
    WorkersChanged,
)
from covalab.pool import cluster, dask_tasks
from covalab.pool.liveness import WorkerLiveness

_log = logging.getLogger("covalab.pool")
_HEALTH_SECONDS: Final = 0.5
_CANCELLED_KEPT: Final = 100  # their last messages may be on the way
_SETTLE_SECONDS: Final = 0.02
_ANSWER_SECONDS: Final = 0.5
_REPLACE_SECONDS: Final = 15.0
"""The time a nanny may take to restart a worker; two busy cores have been seen to need eight seconds."""


class _Running:
    """A batch that is at a worker."""

    __slots__ = ("future", "is_cancelled", "request", "started", "timeout", "timer")

    def __init__(self, request: RunBatch, future: Future[None]) -> None:
        self.request = request
        self.future = future
        self.started: TaskStarted | None = None
        self.is_cancelled = False
        self.timeout = False
        self.timer: asyncio.TimerHandle | None = None


class PoolServer:
    """Server of one pool: a Dask cluster on one side, the dispatcher's socket on the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scheduler: str = "") -> None:
        self._reader = reader
        self._writer = writer
        self._scheduler = scheduler
        self._encoder = protocol.encoder()
        self._events = protocol.decoder(TaskStarted | Outcomes | TaskMessage)
        self._running: dict[int, _Running] = {}
        self._cancelled: OrderedDict[int, _Running] = OrderedDict()
        self._workers: dict[str, None] = {}
        self._arriving: set[str] = set()
        self._complete_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: Client | None = None
        self._is_ours = True

    async def serve(self) -> None:
        """Run until the dispatcher sends `StopPool` or is gone, or the cluster is."""
        # The dispatcher's first message, or None when it is gone, which may be before the cluster is up.
        listening = asyncio.create_task(read_frame(self._reader))
        try:
            wanted = config.load().dask
            if self._scheduler:
                wanted = msgspec.structs.replace(wanted, scheduler_address=self._scheduler, cluster_class="")
            self._is_ours = not (wanted.scheduler_address or wanted.cluster_class)
            opening = asyncio.create_task(cluster.connect(wanted))
            await asyncio.wait((opening, listening), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return  # the dispatcher is gone before the cluster came
            self._client = opening.result()
        except Exception as error:  # noqa: BLE001 - a cluster class may raise anything, and the dispatcher needs the reason
            _log.exception("the Dask cluster did not start")
            what = str(error) if isinstance(error, ConfigError | OSError) else f"{type(error).__name__}: {error}"
            message = f"no Dask cluster under {sys.executable}: {what}"
            self._send(PoolFailed(message, hopeless=isinstance(error, ConfigError)))
            await self._writer.drain()
            return
        await self._watch_workers(self._client)
        self._send(PoolReady(protocol.version_header(), os.getpid(), sys.executable))
        self._send(WorkersChanged(list(self._workers)))
        health = asyncio.create_task(self._check_health(self._client))
        liveness = asyncio.create_task(self._watch_liveness(self._client, wanted.silent_seconds))
        await asyncio.wait(
            (asyncio.create_task(self._handle_messages(await listening)), health, liveness),
            return_when="FIRST_COMPLETED",
        )
        await self._writer.drain()

    async def _handle_messages(self, frame: bytes | None) -> None:
        messages = protocol.decoder(protocol.ToPool)
        while frame is not None:
            message = messages.decode(frame)
            if isinstance(message, RunBatch):
                self._run_batch(message)
            elif isinstance(message, CancelBatch):
                self._cancel_batch(message.batch, message.nodes)
            elif isinstance(message, Ping):
                self._send(Pong())
            elif isinstance(message, StopPool):
                return
            frame = await read_frame(self._reader)

    async def _check_health(self, client: Client) -> None:
        """End when the scheduler is gone, or workers of our own cluster stay away: the dispatcher starts a new pool."""
        wanted = len(self._workers)
        self._complete_at = time.monotonic()
        while client.status == "running":  # Dask has no event for the end of its attempts to reconnect
            await asyncio.sleep(_HEALTH_SECONDS)
            if not self._is_ours or len(self._workers) >= wanted:
                self._complete_at = time.monotonic()
            elif time.monotonic() - self._complete_at > _REPLACE_SECONDS and not self._running:
                # A worker that closes by itself is not restarted by its nanny. Batches that run may end first.
                self._send(PoolFailed(f"{wanted - len(self._workers)} of {wanted} workers are gone for good"))
                return
        self._send(PoolFailed(f"the connection to the Dask scheduler {_address(client)} is lost"))

    async def _watch_liveness(self, client: Client, limit: float) -> None:
        """Watch for workers that do not answer; end when the scheduler does not."""
        liveness = WorkerLiveness(
            client,
            limit,
            busy=lambda: {running.request.worker for running in self._running.values()},
            on_lost=self._on_silent,
            on_return=self._on_answering,
        )
        self._send(PoolFailed(f"{await liveness.watch()} ({_address(client)})"))

    def _on_silent(self, worker: str, why: str) -> None:
        """End the batches at a worker that does not answer. One of ours is killed, another is avoided."""
        self._workers.pop(worker, None)
        for batch, running in list(self._running.items()):
            if running.request.worker == worker:
                self._finish(batch, lost=why)
        self._send(WorkersChanged(list(self._workers)))
        _log.warning("%s", why)
        for nanny in self._nannies():
            if nanny.worker_address == worker and nanny.pid is not None:
                dask_tasks.kill_family(nanny.pid)  # also ends a process that is stopped; its nanny starts another

    def _on_answering(self, worker: str) -> None:
        self._workers[worker] = None
        self._send(WorkersChanged(list(self._workers)))

    def _nannies(self) -> list[Nanny]:
        """Return the parents of our own cluster's workers."""
        cluster = None if self._client is None or not self._is_ours else self._client.cluster
        return [] if cluster is None else list(cluster.workers.values())

    # -- workers -------------------------------------------------------------------------------------------------

    async def _watch_workers(self, client: Client) -> None:
        client.subscribe_topic(dask_tasks.TOPIC, self._on_event)
        # The scheduler reports workers on the stream on which their events come, so a worker's last outcomes are
        # here before the report of its death.
        client.subscribe_topic("all", self._on_scheduler_event)
        # After subscribing, or a worker that comes in between would be missed.
        assert client.scheduler is not None
        identity = await client.scheduler.identity(n_workers=-1)
        self._workers = dict.fromkeys(identity["workers"])

    def _on_scheduler_event(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if not isinstance(message, dict) or "worker" not in message:
            return
        worker = str(message["worker"])
        if message.get("action") == "add-worker":
            self._arriving.add(worker)
            self._spawn(self._admit(worker))
            return
        if message.get("action") == "remove-worker":
            self._arriving.discard(worker)
            self._workers.pop(worker, None)
            for batch, running in list(self._running.items()):
                if running.request.worker == worker:
                    self._finish(batch, lost=f"the worker process of {worker} died")
        else:
            return
        self._send(WorkersChanged(list(self._workers)))

    async def _admit(self, worker: str) -> None:
        """Admit a new worker once its nanny has: if it died before that, it would never be restarted."""
        while worker in self._arriving and not self._is_settled(worker):  # noqa: ASYNC110 - a nanny has no event for it
            await asyncio.sleep(_SETTLE_SECONDS)
        if worker in self._arriving:
            self._arriving.remove(worker)
            self._workers[worker] = None
            self._complete_at = time.monotonic()
            self._send(WorkersChanged(list(self._workers)))

    def _is_settled(self, worker: str) -> bool:
        if not self._is_ours:
            return True
        return any(
            nanny.worker_address == worker and nanny.process is not None and nanny.process.status is Status.running
            for nanny in self._nannies()
        )

    # -- batches ---------------------------------------------------------------------------------------------------

    def _run_batch(self, request: RunBatch) -> None:
        assert self._client is not None
        if request.worker not in self._workers:
            self._send(BatchEnded(request.batch, lost=f"worker {request.worker} is gone"))
            return
        future = self._client.submit(
            dask_tasks.run if self._is_ours else dask_tasks.run_elsewhere,
            request.payload,
            self._client.id,
            # Batch numbers begin anew with each dispatcher; a scheduler may outlive many of them.
            key=f"covalab-batch-{self._client.id}-{request.batch}",
            workers=[request.worker],
            allow_other_workers=False,
            pure=False,
            retries=0,  # the dispatcher decides about that
        )
        self._running[request.batch] = _Running(request, future)
        self._spawn(self._watch(request.batch, future))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # The loop holds tasks only weakly; one that nothing else refers to may be collected while it waits.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, batch: int, future: Future[None]) -> None:
        try:
            error = await future.exception()
        except asyncio.CancelledError:
            error = None  # Dask raises it for a future that was cancelled on purpose
        if batch not in self._running:
            return
        if error is None or future.status == "cancelled":
            self._finish(batch)
        elif type(error).__name__ == "KilledWorker":
            await asyncio.sleep(0.05)  # the report of the worker's death comes after its last outcomes
            if batch in self._running:
                self._finish(batch, lost="the worker process died")
        else:
            # A batch never raises by itself, so it was not run: covalab is missing on the worker, or its disk is full.
            self._finish(batch, trouble=f"{type(error).__name__}: {error}")

    def _finish(self, batch: int, *, lost: str = "", trouble: str = "") -> None:
        running = self._running.pop(batch)
        if running.timer is not None:
            running.timer.cancel()
        if lost:  # or Dask would keep it for a worker at the same address
            self._cancel_future(running.future)
        running.future.release()
        self._send(BatchEnded(batch, lost=lost, timeout=running.timeout, trouble=trouble))

    def _on_event(self, event: tuple[float, tuple[str, bytes]]) -> None:
        assert self._client is not None
        owner, frame = event[1]
        if owner != self._client.id:
            return  # of another pool on this scheduler, or of one that is gone
        message = self._events.decode(frame)
        # Dask forgets a cancelled batch, but does not stop one that its worker had started a moment before.
        running = self._running.get(message.batch) or self._cancelled.pop(message.batch, None)
        if running is None:
            return
        if isinstance(message, TaskStarted):
            running.started = message
            if running.is_cancelled:
                self._spawn(self._interrupt(running, []))
                return
            # The limit counts from the start of the task, not from when its batch was sent.
            limit = running.request.time_limit
            if limit is not None and running.timer is None:
                left = max(0.0, limit - max(0.0, time.time() - message.at))
                running.timer = asyncio.get_running_loop().call_later(left, self._on_time_limit, message.batch)
        write_frame(self._writer, frame)

    def _cancel_batch(self, batch: int, nodes: list[int]) -> None:
        running = self._running.get(batch)
        if running is None:
            return
        if running.started is not None:
            self._spawn(self._interrupt(running, nodes))
        else:
            running.is_cancelled = True
            self._cancelled[batch] = running
            if len(self._cancelled) > _CANCELLED_KEPT:
                self._cancelled.popitem(last=False)
            self._cancel_future(running.future)

    def _cancel_future(self, future: Future[None]) -> None:
        assert self._client is not None
        self._spawn(self._client.cancel([future], force=True))

    def _on_time_limit(self, batch: int) -> None:
        running = self._running.get(batch)
        if running is not None and running.started is not None:
            running.timeout = True
            self._kill(running)

    async def _interrupt(self, running: _Running, nodes: list[int]) -> None:
        """Interrupt nodes of a batch at its worker; kill the worker if they do not stop, or it does not answer."""
        assert self._client is not None
        worker = running.request.worker
        asking = self._client.run(dask_tasks.stop, self._client.id, running.request.batch, nodes, workers=[worker])
        try:
            answers = await asyncio.wait_for(asking, dask_tasks.GRACE_SECONDS + _ANSWER_SECONDS)
            if answers.get(worker) is True:
                return
        except Exception as error:  # noqa: BLE001 - Dask raises what it likes for a worker that is busy inside C, or gone
            _log.info("worker %s does not stop batch %d: %s", worker, running.request.batch, error)
        if worker in self._workers:
            self._kill(running)

    def _kill(self, running: _Running) -> None:
        """Kill a worker process and all processes it started; its nanny starts another."""
        assert running.started is not None
        if self._is_ours:
            dask_tasks.kill_family(running.started.pid)
        else:
            self._spawn(self._kill_elsewhere(running.request.worker, running.started.pid))

    async def _kill_elsewhere(self, worker: str, pid: int) -> None:
        """Kill a worker process on its own machine: from its nanny or, without one, from its own event loop."""
        assert self._client is not None
        for by_nanny in (True, False):
            try:
                await asyncio.wait_for(
                    self._client.run(dask_tasks.kill_family, pid, workers=[worker], nanny=by_nanny), timeout=5
                )
            except Exception as error:  # noqa: BLE001 - there is no nanny, or the worker died before it answered, as intended
                _log.info("ending process %d of %s: %s", pid, worker, error)
            if worker not in self._workers:
                return

    def _send(self, message: msgspec.Struct) -> None:
        write_frame(self._writer, self._encoder.encode(message))


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler is not None else "(closed)"


def end_with_everything() -> None:
    """Kill this process, its workers and the processes of their tasks. There is nothing to save."""
    if os.getpgrp() == os.getpid():
        with suppress(ProcessLookupError):
            os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)
