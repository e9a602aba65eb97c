"""Carried link: a `DaskLink` whose workers may not see the data folder; then values, questions and output travel.

What a batch reports after it has offered a value is held back until that value is in the data folder, on the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from distributed import Client

from covalab.blobs import BlobStore
from covalab.core.carriage import QUESTION, AddRun, CacheSettings, Fetch, Keep, Reply, Runs
from covalab.core.errors import BlobDamaged, CovalabError, ValueLost
from covalab.core.model import Digest
from covalab.core.protocol import TaskProgress, TaskStarted
from covalab.core.worker_protocol import (
    Answer,
    BatchLost,
    EndDispatches,
    Job,
    Learn,
    ValueAsked,
    ValueOffered,
)
from covalab.pool import host_calls
from covalab.pool.links import DaskLink, Listener
from covalab.pool.output_copy import OutputCopy
from covalab.pool.route import NoAnswer, Route
from covalab.pool.shared_store import SharedStore
from covalab.pool.store_line import StoreLine
from covalab.pool.value_line import ValueLine
from covalab.pool.whereabouts import HOME, Whereabouts
from covalab.reuse_index import ReuseIndex

_log = logging.getLogger("covalab.pool")
_WAIT_SECONDS: Final = 2.0
_RATE: Final = 10_000_000
"""Seconds, and bytes per second, for which a host waits until another one can give it a value."""


class _Batch:
    """A batch at a worker that does not see the data folder, with what it has reported since an awaited value."""

    __slots__ = ("is_open", "line", "reported", "root", "started", "worker")

    def __init__(self, worker: str, root: str, line: ValueLine) -> None:
        self.worker = worker
        self.root = root
        self.line = line
        self.is_open = True
        self.started: TaskStarted | None = None
        self.reported: deque[_Awaited | tuple[Any, bytes]] = deque()


class _Awaited:
    """Something that the next report of a batch waits for."""

    __slots__ = ("is_there",)

    def __init__(self) -> None:
        self.is_there = False


class CarriedLink(DaskLink):
    """Jobs as tasks of a Dask client, on workers with and without the data folder.

    Parameters
    ----------
    client, listener, spawn, fit
        As for `DaskLink`.
    blobs
        The blobs of the data folder.
    spool
        Its folder of output.
    settings
        The settings of the caches on other hosts.
    store
        The object store, if values are to go through one.
    """

    def __init__(
        self,
        client: Client,
        listener: Listener,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        fit: Collection[str],
        *,
        blobs: BlobStore,
        spool: Path,
        settings: CacheSettings,
        store: SharedStore | None = None,
    ) -> None:
        super().__init__(client, self, spawn, fit)
        self._receiver = listener
        self._blobs = blobs
        self._index = ReuseIndex.beside(blobs.folder)
        self._settings = msgspec.msgpack.encode(settings)
        self._store = store
        self._where = Whereabouts()
        self._lines: dict[str, ValueLine] = {}
        self._batches: dict[int, _Batch] = {}
        self._pushes: dict[tuple[str, Digest], asyncio.Task[None]] = {}
        self._output = OutputCopy(spool, self._spawn)

    # -- the link --------------------------------------------------------------------------------------------------

    async def carry(self, worker: str) -> str:
        """Let values travel to and from a worker. Return why they cannot; nothing if they can."""
        route = Route(self._client, worker)
        try:
            answer = await route.find(host_calls.open_cache, self._settings)
            opened = msgspec.msgpack.decode(answer, type=host_calls.Opened)
        except Exception as error:  # noqa: BLE001 - Dask raises what it likes for a worker that is gone
            return f"values cannot travel to it: {type(error).__name__}: {error}"
        if opened.trouble:
            return f"it has no place for values that travel to it: {opened.trouble}"
        _log.warning("worker %s does not see the data folder: values travel", worker)
        by_store = None if self._store is None else StoreLine(self._store, route, worker, self._spawn)
        if by_store is not None:
            await by_store.open()
        self._lines[worker] = ValueLine(route, opened.id, self._blobs, self._spawn, by_store)
        return ""

    def run(self, worker: str, job: Job, resources: Mapping[str, float]) -> None:
        """Submit a task that runs a job."""
        line = self._lines.get(worker)
        if line is not None:
            self._batches[job.number] = _Batch(worker, job.root.partition(":")[0], line)
            job = msgspec.structs.replace(job, is_carried=True)
        super().run(worker, job, resources)

    def forget(self, number: int) -> None:
        """Release what is kept for a job that has ended."""
        batch = self._batches.pop(number, None)
        if batch is not None:
            batch.is_open = False
            if batch.started is not None:
                self._output.end(batch.started.spool)
        super().forget(number)

    def broadcast(self, request: EndDispatches | Learn) -> None:
        """Call a function on every worker that is fit; remove from the object store what ended dispatches had there."""
        if isinstance(request, EndDispatches):
            gone = self._where.end(request.roots)
            if self._store is not None:
                self._store.forget(gone)
        super().broadcast(request)

    @property
    def store_trouble(self) -> str:
        """Why values do not go through the object store everywhere; nothing if they do, or there is none."""
        if self._store is None:
            return ""
        return self._store.home.trouble or next((one.store_trouble for one in self._lines.values()), "")

    async def close(self) -> None:
        """Remove what is in the object store."""
        if self._store is not None:
            await self._store.close()

    def is_carried(self, worker: str) -> bool:
        """Whether values travel to and from a worker."""
        return worker in self._lines

    def drop(self, worker: str) -> bool:
        """Close the line of a worker that is gone."""
        line = self._lines.pop(worker, None)
        if line is not None:
            line.close()
        return super().drop(worker)

    # -- what workers send -----------------------------------------------------------------------------------------

    def on_line_lost(self, worker: str) -> None:
        """Nothing more comes from a worker."""
        self._receiver.on_line_lost(worker)

    def on_worker_message(self, message: Any, frame: bytes) -> None:
        """A worker sent a message: pass it on when the values that it may speak of are there."""
        batch = self._batches.get(getattr(message, "batch", -1))
        if batch is None:
            if not isinstance(message, ValueOffered | ValueAsked):
                self._receiver.on_worker_message(message, frame)
        elif isinstance(message, ValueAsked):
            self._spawn(self._answer(batch, message))
        elif isinstance(message, ValueOffered):
            awaited = self._await(batch)
            self._where.use(message.digest, batch.root)
            self._where.put(message.digest, batch.line.cache)
            batch.line.pull(message.digest, message.size, lambda: self._on_there(batch, awaited))
        elif isinstance(message, TaskProgress):
            self._receiver.on_worker_message(message, frame)
        else:
            if isinstance(message, TaskStarted):
                message, frame = self._output_of(batch, message)
            elif isinstance(message, BatchLost) and batch.started is not None:
                awaited = self._await(batch)  # its last words
                self._spawn(self._copy_last(batch, awaited))
            batch.reported.append((message, frame))
            self._pass_on(batch)

    def _await(self, batch: _Batch) -> _Awaited:
        awaited = _Awaited()
        batch.reported.append(awaited)
        return awaited

    def _on_there(self, batch: _Batch, awaited: _Awaited) -> None:
        awaited.is_there = True
        self._pass_on(batch)

    def _pass_on(self, batch: _Batch) -> None:
        while batch.is_open and batch.reported:
            first = batch.reported[0]
            if isinstance(first, _Awaited):
                if not first.is_there:
                    return
                batch.reported.popleft()
            else:
                batch.reported.popleft()
                self._receiver.on_worker_message(*first)

    # -- output ----------------------------------------------------------------------------------------------------

    def _output_of(self, batch: _Batch, begun: TaskStarted) -> tuple[TaskStarted, bytes]:
        """Copy the output of a running node from now on. Return the message with the name of the copy."""
        host = hashlib.sha256(batch.line.cache.encode()).hexdigest()[:8]
        copied = msgspec.structs.replace(begun, spool=f"{host}-{begun.spool}")
        self._output.begin(batch.line.route, begun.spool, copied.spool)
        batch.started = copied
        return copied, self._encoder.encode(copied)

    async def _copy_last(self, batch: _Batch, awaited: _Awaited) -> None:
        assert batch.started is not None
        await self._output.copy_last(batch.started.spool)
        self._on_there(batch, awaited)

    # -- questions -------------------------------------------------------------------------------------------------

    async def _answer(self, batch: _Batch, asked: ValueAsked) -> None:
        try:
            reply = await self._reply(batch, QUESTION.decode(asked.content))
        except NoAnswer:
            return
        except ValueLost as error:
            reply = Reply(found=False, trouble=str(error), kind="damaged" if isinstance(error, BlobDamaged) else "gone")
        except (OSError, CovalabError, RuntimeError) as error:
            reply = Reply(found=False, trouble=str(error))
        owner = self._client.id
        answer = Answer(owner, asked.batch, asked.number, msgspec.msgpack.encode(reply))
        try:
            await batch.line.say(msgspec.msgpack.encode(answer))
        except (NoAnswer, RuntimeError) as error:
            _log.info("an answer to %s did not arrive: %s", batch.worker, error)

    async def _reply(self, batch: _Batch, question: Fetch | Keep | Runs | AddRun) -> Reply:
        if isinstance(question, Fetch):
            self._where.use(question.digest, batch.root)
            await self._push(batch.line, question.digest)
            return Reply()
        if isinstance(question, Keep):
            return Reply(found=self._blobs.keep_blob(question.digest, question.size))
        if isinstance(question, Runs):
            return Reply(runs=await asyncio.to_thread(self._index.runs, question.key))
        await asyncio.to_thread(self._index.add, question.key, question.dispatch, question.data)
        return Reply()

    async def _push(self, line: ValueLine, digest: Digest) -> None:
        """Bring a value to a host, once for all of its workers that ask at the same time."""
        key = line.cache, digest
        push = self._pushes.get(key)
        if push is not None:
            try:
                await asyncio.shield(push)
            except NoAnswer:  # of the worker that asked first
                await line.push(self._client.id, digest)
            return
        push = self._pushes[key] = asyncio.create_task(self._bring(line, digest))
        push.add_done_callback(lambda _: self._pushes.pop(key, None))
        await asyncio.shield(push)

    async def _bring(self, line: ValueLine, digest: Digest) -> None:
        """Bring a value to a host from another one that has it, from the object store, or from here."""
        if line.uses_store:
            await line.push(self._client.id, digest)
            self._where.put(digest, line.cache)
            return
        size = len(await asyncio.to_thread(self._blobs.read, digest))
        while True:
            reached = {
                other.cache: worker for worker, other in self._lines.items() if other.cache not in line.unreached
            }
            async with self._where.source(digest, line.cache, reached, _WAIT_SECONDS + size / _RATE) as source:
                if source == HOME:
                    await line.push(self._client.id, digest)
                    break
                end = await line.push_from(reached[source], source, self._client.id, digest, size)
            if not end.trouble:
                break
            if end.blame == "value":
                self._where.lose(digest, source)
            elif end.blame == "host":  # which says it again, with what can be done
                await line.push(self._client.id, digest)
                break
        self._where.put(digest, line.cache)
