"""Pool server: passes batches to Dask workers and their messages to the dispatcher, without decoding the payloads.

Decides nothing; ends when the dispatcher is gone. `protocol.BATCH_TRANSITIONS` has the order of its messages.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Collection, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from distributed import Client, Nanny, Status

from covalab import config
from covalab.blobs import BlobStore
from covalab.client import paths
from covalab.client.framing import read_frame, write_frame
from covalab.config import DaskConfig
from covalab.core import protocol
from covalab.core.errors import ConfigError
from covalab.core.protocol import (
    BatchEnded,
    CancelBatch,
    ClusterNews,
    DispatchesEnded,
    Ping,
    Pong,
    PoolFailed,
    PoolReady,
    ReturnUnstarted,
    RunBatch,
    StopPool,
    TaskStarted,
    WorkersChanged,
    WorkWaits,
)
from covalab.core.worker_protocol import (
    BatchLost,
    EndDispatches,
    Job,
    JobDone,
    Kill,
    Learn,
    PackagesImported,
    Return,
    Stop,
)
from covalab.crash_points import crash_point
from covalab.pool import batch_jobs, cluster, imports
from covalab.pool.capacities import Capacities
from covalab.pool.carried_link import CarriedLink
from covalab.pool.fitness import Examiner
from covalab.pool.links import Link, PrivateLink
from covalab.pool.liveness import WorkerLiveness
from covalab.pool.place import Place
from covalab.pool.scaling import Scaling
from covalab.pool.shared_store import SharedStore
from covalab.worker.process_tree import end_tree

_log = logging.getLogger("covalab.pool")
WALLTIME_REACHED: Final = "the job of its worker reached its wall time"
_HEALTH_SECONDS: Final = 0.5
_FORGET_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 10.0
"""The time for cancelling jobs; what is left of them ends when it does not find its scheduler."""
_CANCELLED_KEPT: Final = 100  # their last messages may be on the way
_SETTLE_SECONDS: Final = 0.02
_CONNECT_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 20.0
"""The interval at which a worker that is not fit is examined again."""
_REPLACE_SECONDS: Final = 15.0
"""The time a nanny may take to restart a worker; two busy cores have been seen to need eight seconds."""


class _Running:
    """A batch that is at a worker."""

    __slots__ = ("is_cancelled", "lost", "request", "started", "timeout", "timer")

    def __init__(self, request: RunBatch) -> None:
        self.request = request
        self.started: TaskStarted | None = None
        self.lost: BatchLost | None = None
        self.is_cancelled = False
        self.timeout = False
        self.timer: asyncio.TimerHandle | None = None


class PoolServer:
    """Server of one pool: a Dask cluster on one side, the dispatcher's socket on the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        workers_socket: Path,
        data: Path,
        place: Place,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._place = place
        self._workers_socket = workers_socket
        self._data = data
        self._link: Link | None = None
        self._carried: CarriedLink | None = None
        self._is_up = False
        self._encoder = protocol.encoder()
        self._running: dict[int, _Running] = {}
        self._cancelled: OrderedDict[int, _Running] = OrderedDict()
        self._workers: dict[str, None] = {}
        self._unfit: dict[str, str] = {}
        self._examiner: Examiner | None = None
        self._capacities: Capacities | None = None
        self._scaling: Scaling | None = None
        self._arriving: set[str] = set()
        self._complete_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: Client | None = None
        self._is_ours = True
        self._imports: dict[str, None] = dict.fromkeys(imports.read())

    async def serve(self) -> None:
        """Run until the dispatcher sends `StopPool` or is gone, or the cluster is."""
        # The dispatcher's first message, or None when it is gone, which may be before the cluster is up.
        listening = asyncio.create_task(read_frame(self._reader))
        try:
            wanted = self._place.wanted()
            self._is_ours = not wanted.ways
            if self._is_ours:
                self._link = private = PrivateLink(self._workers_socket, self)
                await private.open()
            logs = self._data / "logs" / "jobs"
            opening = asyncio.create_task(cluster.connect(wanted, self._workers_socket, logs))
            await asyncio.wait((opening, listening), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return  # the dispatcher is gone before the cluster came
            self._client = opening.result()
            if self._link is None:
                self._link = self._carried = carried = self._carried_link(self._client)
                self._examiner = Examiner(self._client, self._data, carried.carry)
            self._capacities = self._new_capacities(self._client, wanted)
        except Exception as error:  # noqa: BLE001 - a cluster class may raise anything, and the dispatcher needs the reason
            _log.exception("the Dask cluster did not start")
            what = str(error) if isinstance(error, ConfigError | OSError) else f"{type(error).__name__}: {error}"
            message = f"no Dask cluster under {sys.executable}: {what}"
            self._send(PoolFailed(message, hopeless=isinstance(error, ConfigError)))
            await self._writer.drain()
            return
        await self._watch_workers(self._client)
        # In this order: the dispatcher looks for work when it learns of workers, and needs a pool that is up for it.
        cluster_address = "" if self._is_ours else _address(self._client)
        self._send(PoolReady(protocol.version_header(), os.getpid(), sys.executable, cluster_address))
        self._is_up = True
        self._report_workers()
        if self._imports:
            self._link.broadcast(Learn(list(self._imports)))
        health = asyncio.create_task(self._check_health(self._client))
        liveness = asyncio.create_task(self._watch_liveness(self._client, wanted.silent_seconds))
        if self._scaling is not None:
            self._scaling.start()
            self._spawn(self._scaling.watch())
        await asyncio.wait(
            (asyncio.create_task(self._handle_messages(await listening)), health, liveness),
            return_when="FIRST_COMPLETED",
        )
        with suppress(OSError):
            await self._writer.drain()
        if self._scaling is not None:  # or its jobs would stay in the queue
            with suppress(Exception):
                await asyncio.wait_for(self._scaling.close(), _CLOSE_SECONDS)
        if self._carried is not None:
            with suppress(Exception):
                await asyncio.wait_for(self._carried.close(), _CLOSE_SECONDS)

    def _carried_link(self, client: Client) -> CarriedLink:
        settings = config.load().data
        blobs = BlobStore(paths.blob_folder(self._data))
        store = None
        if settings.store is not None:
            store = SharedStore(settings.store, self._data, blobs, self._spawn, self._on_store_change)
        spool = paths.spool_folder(self._data)
        return CarriedLink(
            client, self, self._spawn, self._workers, blobs=blobs, spool=spool, settings=settings.settings, store=store
        )

    def _on_store_change(self) -> None:
        if self._is_up:
            self._report_workers()

    def _new_capacities(self, client: Client, wanted: DaskConfig) -> Capacities:
        """Return the capacities of the workers; of a cluster that we have started, begin to scale that as well."""
        if wanted.cluster_class and batch_jobs.is_batch_class(type(client.cluster)) and not wanted.walltime:
            walltime = batch_jobs.configured_walltime(type(client.cluster), wanted)
            wanted = msgspec.structs.replace(wanted, walltime=walltime)
        capacities = Capacities(client, wanted, is_ours=self._is_ours)
        if wanted.cluster_class:
            self._scaling = Scaling(
                client,
                wanted,
                capacities,
                cores_in_use=self._cores_in_use,
                let_go=self._let_go,
                on_news=self._report_workers,
            )
        return capacities

    def _cores_in_use(self) -> dict[str, int]:
        in_use: dict[str, int] = {}
        for running in self._running.values():
            worker = running.request.worker
            in_use[worker] = in_use.get(worker, 0) + running.request.cores
        return in_use

    def _let_go(self, workers: Collection[str]) -> None:
        """Take workers out that are about to be closed, so that nothing is sent to them."""
        for worker in workers:
            self._workers.pop(worker, None)
        self._report_workers()

    async def _handle_messages(self, frame: bytes | None) -> None:
        messages = protocol.decoder(protocol.ToPool)
        while frame is not None:
            message = messages.decode(frame)
            if isinstance(message, RunBatch):
                self._run_batch(message)
            elif isinstance(message, CancelBatch):
                self._cancel_batch(message.batch, message.nodes)
            elif isinstance(message, ReturnUnstarted):
                self._return_unstarted(message.batch)
            elif isinstance(message, DispatchesEnded):
                assert self._link is not None
                self._link.broadcast(EndDispatches([str(root) for root in message.roots]))
            elif isinstance(message, WorkWaits):
                if self._scaling is not None:
                    self._scaling.waiting_cores = message.cores
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
        self._lose(worker, why)
        _log.warning("%s", why)
        for nanny in self._nannies():
            if nanny.worker_address == worker and nanny.pid is not None:
                end_tree(nanny.pid)  # also ends a process that is stopped; its nanny starts another

    def _on_answering(self, worker: str) -> None:
        if worker not in self._unfit:
            self._workers[worker] = None
            self._report_workers()

    def _report_workers(self) -> None:
        capacities, workers = self._capacities, list(self._workers)
        assert capacities is not None
        news = ClusterNews() if self._scaling is None else self._scaling.news()
        news = msgspec.structs.replace(news, idle=capacities.idle_text(workers))
        has, together = capacities.of(workers), capacities.shared(len(workers))
        n_carried = 0 if self._link is None else sum(map(self._link.is_carried, workers))
        trouble = "" if self._carried is None else self._carried.store_trouble
        expected = capacities.expected()
        self._send(WorkersChanged(workers, self._unfit, has, together, expected, news, n_carried, trouble))

    def _nannies(self) -> list[Nanny]:
        """Return the parents of our own cluster's workers."""
        cluster = None if self._client is None or not self._is_ours else self._client.cluster
        return [] if cluster is None else list(cluster.workers.values())

    # -- workers -------------------------------------------------------------------------------------------------

    async def _watch_workers(self, client: Client) -> None:
        # The scheduler reports workers on the stream on which their events come, so a worker's last outcomes are
        # here before the report of its death.
        client.subscribe_topic("all", self._on_scheduler_event)
        # After subscribing, or a worker that comes in between would be missed.
        assert client.scheduler is not None
        identity = await client.scheduler.identity(n_workers=-1)
        workers = list(identity["workers"])
        if self._examiner is not None:
            for worker in workers:
                self._arrive(worker)
            return
        deadline = time.monotonic() + _CONNECT_SECONDS
        while not all(map(self._is_connected, workers)) and time.monotonic() < deadline:  # noqa: ASYNC110 - it is short
            await asyncio.sleep(_SETTLE_SECONDS)
        self._workers = dict.fromkeys(filter(self._is_connected, workers))

    def _is_connected(self, worker: str) -> bool:
        return self._link is not None and self._link.is_connected(worker)

    def _on_scheduler_event(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if not isinstance(message, dict) or "worker" not in message:
            return
        worker = str(message["worker"])
        if message.get("action") == "add-worker":
            self._arrive(worker)
            return
        if message.get("action") == "remove-worker":
            self._arriving.discard(worker)
            self._spawn(self._forget_later(worker))
            if self._unfit.pop(worker, None) is not None:
                self._report_workers()
            assert self._link is not None
            if not self._link.drop(worker):
                self.on_line_lost(worker)

    async def _forget_later(self, worker: str) -> None:
        """Forget what a worker had: a little later, as the reports of its batches may come after that of its end."""
        await asyncio.sleep(_FORGET_SECONDS)
        if self._capacities is not None and worker not in self._workers and worker not in self._arriving:
            self._capacities.forget(worker)

    def on_line_lost(self, worker: str) -> None:
        """A worker is gone: its batches end."""
        self._lose(worker, f"the worker process of {worker} died")

    def _lose(self, worker: str, why: str) -> None:
        """End the batches at a worker, then report that it is not there."""
        for batch, running in list(self._running.items()):
            if running.request.worker == worker:
                self._finish(batch, lost=why)
        if worker in self._workers:
            del self._workers[worker]
            self._report_workers()

    def _arrive(self, worker: str) -> None:
        if worker not in self._arriving and worker not in self._workers:
            self._arriving.add(worker)
            self._spawn(self._admit(worker) if self._examiner is None else self._examine(self._examiner, worker))

    async def _examine(self, examiner: Examiner, worker: str) -> None:
        """Admit a worker of another's cluster if it is fit; ask one that is not again: its folder may be mounted."""
        while worker in self._arriving:
            reason = await examiner.unfit_reason(worker)
            if worker not in self._arriving:  # it is gone
                return
            if reason != self._unfit.get(worker, ""):
                if reason:
                    self._unfit[worker] = reason
                    _log.warning("worker %s gets no work: %s", worker, reason)
                else:
                    del self._unfit[worker]
                    _log.warning("worker %s can be used now", worker)
                self._report_workers()
            if not reason:
                assert self._capacities is not None
                await self._capacities.learn(worker, examiner.facts.get(worker))
                if worker in self._arriving:
                    self._put_in(worker)
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    def _put_in(self, worker: str) -> None:
        self._arriving.remove(worker)
        self._workers[worker] = None
        self._complete_at = time.monotonic()
        self._report_workers()
        if self._examiner is not None and self._imports and self._link is not None:
            self._link.ask(worker, Learn(list(self._imports)))

    async def _admit(self, worker: str) -> None:
        """Admit a new worker once its nanny has: if it died before that, it would never be restarted."""
        while worker in self._arriving and not self._is_settled(worker):  # noqa: ASYNC110 - a nanny has no event for it
            await asyncio.sleep(_SETTLE_SECONDS)
        if worker in self._arriving:
            self._put_in(worker)

    def _is_settled(self, worker: str) -> bool:
        if not self._is_connected(worker):
            return False
        return any(
            nanny.worker_address == worker and nanny.process is not None and nanny.process.status is Status.running
            for nanny in self._nannies()
        )

    # -- batches ---------------------------------------------------------------------------------------------------

    def _run_batch(self, request: RunBatch) -> None:
        assert self._link is not None
        if request.worker not in self._workers:
            self._send(BatchEnded(request.batch, lost=f"worker {request.worker} is gone"))
            return
        if self._scaling is not None:  # it waits no more, and is in use: counted twice, it would ask for another job
            self._scaling.waiting_cores = max(0, self._scaling.waiting_cores - request.cores)
        crash_point("pool.batch")
        self._running[request.batch] = _Running(request)
        assert self._capacities is not None
        job = Job(self._owner, request.batch, request.root, request.spool, request.payload, memory=request.memory)
        self._link.run(request.worker, job, self._capacities.declared(request.worker, request.resources))

    @property
    def _owner(self) -> str:
        """The name of this pool among those of a scheduler; workers of our own cluster have one pool."""
        assert self._client is not None
        return "" if self._is_ours else self._client.id

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # The loop holds tasks only weakly; one that nothing else refers to may be collected while it waits.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _finish(self, batch: int, *, lost: str = "", trouble: str = "") -> None:
        assert self._link is not None
        running = self._running.pop(batch)
        if running.timer is not None:
            running.timer.cancel()
        if lost:  # or Dask would keep it for a worker at the same address
            self._link.withdraw(running.request.worker, batch)
        self._link.forget(batch)
        ended = BatchEnded(batch, lost=lost, timeout=running.timeout, trouble=trouble)
        if running.lost is not None:
            loss = running.lost
            ended = msgspec.structs.replace(ended, lost=loss.reason, node=loss.node, over_memory=loss.over_memory)
        if (
            ended.lost
            and self._capacities is not None
            and self._capacities.is_over(running.request.worker, time.time())
        ):
            ended = msgspec.structs.replace(ended, lost=WALLTIME_REACHED, is_over=True)
        self._send(ended)

    def on_worker_message(self, message: Any, frame: bytes) -> None:
        """A worker sent a message; those for the dispatcher are passed on as they came."""
        if isinstance(message, PackagesImported):
            self._learn(message.names)
            return
        # Dask forgets a cancelled batch, but does not stop one that its worker had started a moment before.
        running = self._running.get(message.batch) or self._cancelled.pop(message.batch, None)
        if running is None:
            return
        if isinstance(message, BatchLost):
            running.lost = message
            return
        if isinstance(message, JobDone):
            if message.batch in self._running:
                self._finish(message.batch, trouble=message.trouble)
            return
        if isinstance(message, TaskStarted):
            running.started = message
            if running.is_cancelled:
                self._interrupt(running, [])
                return
            # The limit counts from the start of the task, not from when its batch was sent.
            limit = running.request.time_limit
            if limit is not None and running.timer is None:
                left = max(0.0, limit - max(0.0, time.time() - message.at))
                running.timer = asyncio.get_running_loop().call_later(left, self._on_time_limit, message.batch)
        crash_point("pool.outcome")
        write_frame(self._writer, frame)

    def _cancel_batch(self, batch: int, nodes: list[int]) -> None:
        assert self._link is not None
        running = self._running.get(batch)
        if running is None:
            return
        if running.started is not None:
            self._interrupt(running, nodes)
        else:
            running.is_cancelled = True
            self._cancelled[batch] = running
            if len(self._cancelled) > _CANCELLED_KEPT:
                self._cancelled.popitem(last=False)
            self._link.withdraw(running.request.worker, batch)

    def _return_unstarted(self, batch: int) -> None:
        assert self._link is not None
        running = self._running.get(batch)
        if running is not None:
            self._link.ask(running.request.worker, Return(self._owner, batch))

    def _interrupt(self, running: _Running, nodes: list[int]) -> None:
        assert self._link is not None
        self._link.ask(running.request.worker, Stop(self._owner, running.request.batch, nodes))

    def _on_time_limit(self, batch: int) -> None:
        assert self._link is not None
        running = self._running.get(batch)
        if running is not None and running.started is not None:
            running.timeout = True
            self._link.ask(running.request.worker, Kill(self._owner, batch, "its time was up"))

    def _learn(self, names: list[str]) -> None:
        """Note packages that tasks imported, here and for the next pool, and spread them."""
        assert self._link is not None
        new = [name for name in names if name not in self._imports]
        if new:
            self._imports.update(dict.fromkeys(new))
            imports.write(list(self._imports))
            self._link.broadcast(Learn(list(self._imports)))

    def _send(self, message: msgspec.Struct) -> None:
        write_frame(self._writer, self._encoder.encode(message))


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler is not None else "(closed)"
