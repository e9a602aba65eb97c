"""What Dask runs for us: bytes in, nothing out; outcomes leave as events. Importable, so nothing of it is pickled."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Final

import psutil
from dask.typing import Key
from distributed import Worker, get_worker

from covalab.core.protocol import Batch, decoder
from covalab.worker.batch_runner import TaskWorker
from covalab.worker.interrupt import family, signal_all

TOPIC: Final = "covalab"
GRACE_SECONDS: Final = 2.0
"""How long a task that was interrupted has to end before its process is."""
_LOOK_SECONDS: Final = 0.02
_WANTED_SECONDS: Final = 1.0
"""How often a worker that is not ours looks whether its batch is still wanted."""

_decoder = decoder(Batch)
_workers: dict[str, TaskWorker] = {}
# Output belongs to a process, so a worker with several threads runs one batch at a time.
_one_at_a_time = threading.Lock()
_owner = ""


def run(payload: bytes, owner: str) -> None:
    """Run an encoded batch on this worker.

    Every pool of a scheduler hears every event, and numbers its batches from one: `owner` says whose this one is.
    """
    _run(_decoder.decode(payload), owner)


def _run(batch: Batch, owner: str) -> None:
    global _owner  # noqa: PLW0603 - one batch runs at a time in a process
    dask_worker = get_worker()
    with _one_at_a_time:
        task_worker = _workers.get(batch.spool)
        if task_worker is None:
            task_worker = _workers[batch.spool] = TaskWorker(batch.spool)
        _owner = owner
        task_worker.run(batch, lambda message: dask_worker.log_event(TOPIC, (owner, message)))


def run_elsewhere(payload: bytes, owner: str) -> None:
    """Run an encoded batch on a worker that outlives its pool."""
    batch: Batch = _decoder.decode(payload)
    dask_worker = get_worker()
    watching = asyncio.run_coroutine_threadsafe(
        _end_when_unwanted(dask_worker, dask_worker.get_current_task(), owner, batch.id),
        dask_worker.loop.asyncio_loop,  # type: ignore[attr-defined] # tornado's, which is always asyncio's
    )
    try:
        _run(batch, owner)
    finally:
        watching.cancel()


async def _end_when_unwanted(dask_worker: Worker, key: Key, owner: str, batch: int) -> None:
    """Stop a batch that the scheduler has let go of, as it does when the pool is gone; Dask itself never stops one."""
    while True:
        await asyncio.sleep(_WANTED_SECONDS)
        task = dask_worker.state.tasks.get(key)
        is_wanted = task is not None and task.state in ("executing", "long-running")
        if not is_wanted and not await stop(owner, batch, []):
            kill_family(os.getpid())


async def stop(owner: str, batch: int, nodes: list[int]) -> bool:
    """Ask what is running of a batch on this worker to stop. Returns whether it did, within `GRACE_SECONDS`.

    Runs on the worker's event loop, beside the task. Child processes that the task leaves behind are ended.
    """
    if owner != _owner:
        return True  # it is somebody else's batch that runs here
    asked = [one for one in _workers.values() if one.interruptible.interrupt(batch, nodes)]
    if not asked:
        return True
    task, pid = asked[0].interruptible, os.getpid()
    since = task.since
    signal_all(family(pid, since=since), signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    while owner == _owner and task.is_at(batch, nodes):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    signal_all(family(pid, since=since), signal.SIGKILL)
    return True


def kill_family(pid: int) -> None:
    """End a process of this machine and everything it started."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        signal_all(family(pid), signal.SIGKILL)
        process.kill()
