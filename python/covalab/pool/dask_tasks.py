"""Functions that run inside Dask workers: how the workers of a cluster get their jobs.

Workers of our own cluster get them over a private line, opened when they start. On another's cluster every batch is a
Dask task: bytes in, nothing out; what it reports leaves as events. Dask pickles functions by name, so these are small.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Final

import msgspec
from dask.typing import Key
from distributed import Worker, get_worker, secede

from covalab import config
from covalab.core.carriage import CacheSettings
from covalab.core.worker_protocol import TO_WORKER, Job, JobDone, Stop
from covalab.pool.closed_http import close_http
from covalab.pool.worker_jobs import SOCKET, PrivateLine, WorkerJobs
from covalab.worker.host_cache import HostCache, localized
from covalab.worker.process_tree import end_with_parent

TOPIC: Final = "covalab"
_WANTED_SECONDS: Final = 1.0
"""The interval at which a worker of another's cluster checks that its batch is still wanted."""

_lock = threading.Lock()
_found: list[WorkerJobs] = []


def dask_setup(worker: Worker) -> None:
    """Open the private line of a worker of our own cluster (Dask's name for what a preloaded module does)."""
    close_http(worker)
    if config.load().dask.forks:
        # Otherwise it would go on beside the one that replaces it, when the starter of workers is killed.
        end_with_parent()
    line = PrivateLine(os.environ[SOCKET], worker.address, worker.memory_manager.memory_limit or 0)
    threading.Thread(target=line.serve, name="covalab-line", daemon=True).start()


def jobs_of(worker: Worker) -> WorkerJobs:
    """Return the jobs of this worker process, which may serve several pools."""
    with _lock:
        if not _found:
            limit = worker.memory_manager.memory_limit or 0
            _found.append(WorkerJobs(limit, lambda message: worker.log_event(TOPIC, ("", message)), is_ours=False))
        return _found[0]


def cache_of(worker: Worker, settings: CacheSettings = CacheSettings()) -> HostCache:  # noqa: B008 - frozen
    """Return the cache of this worker's host, made when it is first needed. Raises `OSError` if it cannot be."""
    processes = jobs_of(worker).processes
    with _lock:
        if processes.cache is None:
            processes.use_cache(HostCache(Path(worker.local_directory).parent, settings))
        assert processes.cache is not None
        return processes.cache


def run(payload: bytes) -> None:
    """Run an encoded job on this worker, which may outlive its pool.

    Every pool of a scheduler gets every event, and numbers its batches from one: the job's owner identifies the pool.
    """
    worker = get_worker()
    job: Job = TO_WORKER.decode(payload)
    if job.is_carried:
        cache = cache_of(worker)
        batch = localized(job.payload, cache.folder)
        job = msgspec.structs.replace(job, payload=batch, spool=str(cache.folder / "spool"))

    def emit(message: bytes) -> None:
        worker.log_event(TOPIC, (job.owner, message))

    unwanted = threading.Event()
    watching = asyncio.run_coroutine_threadsafe(
        _end_when_unwanted(worker, worker.get_current_task(), job, unwanted),
        worker.loop.asyncio_loop,  # type: ignore[attr-defined] # tornado's, which is always asyncio's
    )
    # Its pool may be killed, and the scheduler then forgets the task but leaves it running: nothing else stops it.
    try:
        jobs_of(worker).processes.run(job, emit, secede)
    finally:
        watching.cancel()
        if unwanted.is_set():  # nobody says to its process that the dispatch has ended
            jobs_of(worker).processes.end_dispatches([job.root])
    emit(msgspec.msgpack.encode(JobDone(job.number)))


async def _end_when_unwanted(worker: Worker, key: Key, job: Job, unwanted: threading.Event) -> None:
    """Stop a batch that the scheduler released, as it does when the pool is gone; Dask itself never stops one."""
    while True:
        await asyncio.sleep(_WANTED_SECONDS)
        task = worker.state.tasks.get(key)
        if task is None or task.state not in ("executing", "long-running"):
            unwanted.set()
            jobs_of(worker).handle(Stop(job.owner, job.number, []))


async def handle(payload: bytes, dask_worker: Worker) -> None:
    """Do what a pool asks beside its jobs."""
    jobs_of(dask_worker).handle(TO_WORKER.decode(payload))
