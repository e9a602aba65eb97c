"""Links: the two ways in which a pool reaches its workers.

Workers of our own cluster are connected by private sockets: Dask starts, watches and replaces them, and a job costs
less than a tenth of a Dask task. Workers of another's cluster are reached through its scheduler.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from distributed import Client, Future

from covalab.client.framing import read_frame, write_frame
from covalab.core.worker_protocol import (
    FROM_WORKER,
    BatchLost,
    EndDispatches,
    Hello,
    Job,
    JobDone,
    Kill,
    Learn,
    Return,
    Stop,
)
from covalab.pool import dask_tasks

_log = logging.getLogger("covalab.pool")
_READ_LIMIT: Final = 1 << 20
_LAST_SECONDS: Final = 0.05


class Listener(Protocol):
    """Receiver of what comes from workers."""

    def on_worker_message(self, message: Any, frame: bytes) -> None:
        """A worker sent a message: decoded, and as it came."""

    def on_line_lost(self, worker: str) -> None:
        """Nothing more comes from a worker."""


class Link(Protocol):
    """Way to the workers of a cluster."""

    def run(self, worker: str, job: Job, resources: Mapping[str, float]) -> None:
        """Send a job, which occupies resources that the cluster counts."""

    def withdraw(self, worker: str, number: int) -> None:
        """Drop a job that has not begun."""

    def forget(self, number: int) -> None:
        """Release what is kept for a job that has ended."""

    def ask(self, worker: str, request: Stop | Kill | Return | Learn) -> None:
        """Send a request to one worker."""

    def broadcast(self, request: EndDispatches | Learn) -> None:
        """Send a request to every worker."""

    def is_connected(self, worker: str) -> bool:
        """Whether a worker can take a job."""

    def is_carried(self, worker: str) -> bool:
        """Whether values travel to and from a worker, which does not see the data folder."""

    def drop(self, worker: str) -> bool:
        """Forget a worker that left the cluster. Return whether `on_line_lost` still follows."""


class PrivateLink:
    """Sockets of the workers of our own cluster.

    Parameters
    ----------
    path
        The address at which workers connect.
    listener
        Receiver of their messages.
    """

    def __init__(self, path: Path, listener: Listener) -> None:
        self._path = path
        self._listener = listener
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._encoder = msgspec.msgpack.Encoder()

    async def open(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        await asyncio.start_unix_server(self._serve, self._path, limit=_READ_LIMIT)
        self._path.chmod(0o600)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker = ""
        try:
            while (frame := await read_frame(reader)) is not None:
                message = FROM_WORKER.decode(frame)
                if isinstance(message, Hello):
                    worker = message.address
                    self._writers[worker] = writer
                else:
                    self._listener.on_worker_message(message, frame)
        except (OSError, ValueError, msgspec.MsgspecError):  # bytes that no worker of ours sends; it is replaced
            _log.exception("the line of worker %s", worker)
        finally:
            writer.close()
            if self._writers.pop(worker, None) is not None:
                self._listener.on_line_lost(worker)

    def run(self, worker: str, job: Job, resources: Mapping[str, float]) -> None:
        """Send a job. Workers of our own have no resources that others could want."""
        self._send(worker, job)

    def withdraw(self, worker: str, number: int) -> None:
        """Drop a job that has not begun."""
        self._send(worker, Stop("", number, []))

    def forget(self, number: int) -> None:
        """Release nothing."""

    def ask(self, worker: str, request: Stop | Kill | Return | Learn) -> None:
        """Send a request to one worker."""
        self._send(worker, request)

    def broadcast(self, request: EndDispatches | Learn) -> None:
        """Send a request to every worker."""
        for worker in self._writers:
            self._send(worker, request)

    def is_connected(self, worker: str) -> bool:
        """Whether a worker is connected."""
        return worker in self._writers

    def is_carried(self, worker: str) -> bool:
        """Return False: workers of our own are on this machine."""
        return False

    def drop(self, worker: str) -> bool:
        """Wait for what a worker has sent: its last outcomes may still come."""
        return worker in self._writers

    def _send(self, worker: str, message: msgspec.Struct) -> None:
        writer = self._writers.get(worker)
        if writer is not None:
            write_frame(writer, self._encoder.encode(message))


class DaskLink:
    """Jobs as tasks of a Dask client.

    Parameters
    ----------
    client
        The client of the cluster.
    listener
        Receiver of what workers send.
    spawn
        Runs a coroutine in the background.
    fit
        The workers that are fit, as they come and go: the others of the cluster may not know our functions.
    """

    def __init__(
        self,
        client: Client,
        listener: Listener,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        fit: Collection[str],
    ) -> None:
        self._client = client
        self._listener = listener
        self._spawn = spawn
        self._fit = fit
        self._futures: dict[int, Future[None]] = {}
        self._encoder = msgspec.msgpack.Encoder()
        client.subscribe_topic(dask_tasks.TOPIC, self._on_event)

    def run(self, worker: str, job: Job, resources: Mapping[str, float]) -> None:
        """Submit a task that runs a job."""
        future = self._client.submit(
            dask_tasks.run,
            self._encoder.encode(job),
            # Batch numbers begin anew with each dispatcher; a scheduler may outlive many of them.
            key=f"covalab-batch-{self._client.id}-{job.number}",
            workers=[worker],
            allow_other_workers=False,
            pure=False,
            resources=dict(resources) or None,  # so that other clients of the cluster do not get them meanwhile
            retries=0,  # the dispatcher decides about that
        )
        self._futures[job.number] = future
        self._spawn(self._watch(job.number, future))

    async def _watch(self, number: int, future: Future[None]) -> None:
        try:
            error = await future.exception()
        except asyncio.CancelledError:
            error = None  # Dask raises it for a future that was cancelled on purpose
        trouble = ""
        if type(error).__name__ == "KilledWorker":
            await asyncio.sleep(_LAST_SECONDS)  # the report of the worker's death comes after its last outcomes
            self._listener.on_worker_message(BatchLost(number, -1, "the worker process died"), b"")
            error = None
        if error is not None and future.status != "cancelled":
            # A batch never raises by itself, so it was not run: covalab is missing on the worker, or its disk is full.
            trouble = f"{type(error).__name__}: {error}"
        self._listener.on_worker_message(JobDone(number, trouble), b"")

    def withdraw(self, worker: str, number: int) -> None:
        """Cancel the task of a job."""
        future = self._futures.get(number)
        if future is not None:
            self._spawn(self._client.cancel([future], force=True))

    def forget(self, number: int) -> None:
        """Release the future of a job."""
        future = self._futures.pop(number, None)
        if future is not None:
            future.release()

    def ask(self, worker: str, request: Stop | Kill | Return | Learn) -> None:
        """Call a function on a worker."""
        self._spawn(self._call(request, [worker]))

    def broadcast(self, request: EndDispatches | Learn) -> None:
        """Call a function on every worker that is fit."""
        if self._fit:
            self._spawn(self._call(request, list(self._fit)))

    async def _call(self, request: msgspec.Struct, workers: list[str]) -> None:
        with suppress(Exception):  # Dask raises what it likes for a worker that is gone
            payload = self._encoder.encode(request)
            await self._client.run(dask_tasks.handle, payload, workers=workers, on_error="ignore")

    def is_connected(self, worker: str) -> bool:
        """Return True."""
        return True

    def is_carried(self, worker: str) -> bool:
        """Return False; see `CarriedLink`."""
        return False

    def drop(self, worker: str) -> bool:
        """Return False: events of a worker come before the report of its death."""
        return False

    def _on_event(self, event: tuple[float, tuple[str, bytes]]) -> None:
        owner, frame = event[1]
        if owner in ("", self._client.id):  # else of another pool on this scheduler, or of one that is gone
            self._listener.on_worker_message(FROM_WORKER.decode(frame), frame)
