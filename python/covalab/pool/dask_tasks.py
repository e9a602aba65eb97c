"""Functions that run inside Dask workers: bytes in, nothing out; outcomes leave as events.

Dask pickles them by name, so they are small and importable.
"""

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
"""The time that a task has to end after an interrupt; then its process is killed."""
_POLL_SECONDS: Final = 0.02
_WANTED_SECONDS: Final = 1.0
"""The interval at which a worker of another's cluster checks that its batch is still wanted."""

_decoder = decoder(Batch)
_workers: dict[str, TaskWorker] = {}
# Output is captured by process, so a worker with several threads runs one batch at a time.
_one_at_a_time = threading.Lock()


class _Process:
    """State of this process: the pool whose batch it runs."""

    owner = ""


def run(payload: bytes, owner: str) -> None:
    """Run an encoded batch on this worker.

    Every pool of a scheduler gets every event, and numbers its batches from one: `owner` identifies the pool.
    """
    _run(_decoder.decode(payload), owner, is_ours=True)


def _run(batch: Batch, owner: str, *, is_ours: bool) -> None:
    dask_worker = get_worker()
    with _one_at_a_time:
        # By spool: a worker of another's cluster may serve several data folders, each with its own output files.
        task_worker = _workers.get(batch.spool)
        if task_worker is None:
            task_worker = _workers[batch.spool] = TaskWorker(batch.spool, is_ours=is_ours)
        _Process.owner = owner
        task_worker.run(batch, lambda message: dask_worker.log_event(TOPIC, (owner, message)))


def run_elsewhere(payload: bytes, owner: str) -> None:
    """Run an encoded batch on a worker that may outlive its pool."""
    batch: Batch = _decoder.decode(payload)
    dask_worker = get_worker()
    watching = asyncio.run_coroutine_threadsafe(
        _end_when_unwanted(dask_worker, dask_worker.get_current_task(), owner, batch.id),
        dask_worker.loop.asyncio_loop,  # type: ignore[attr-defined] # tornado's, which is always asyncio's
    )
    # Its pool may be killed, and the scheduler then forgets the task but leaves it running: nothing else stops it.
    try:
        _run(batch, owner, is_ours=False)
    finally:
        watching.cancel()


async def _end_when_unwanted(dask_worker: Worker, key: Key, owner: str, batch: int) -> None:
    """Stop a batch that the scheduler released, as it does when the pool is gone; Dask itself never stops one."""
    while True:
        await asyncio.sleep(_WANTED_SECONDS)
        task = dask_worker.state.tasks.get(key)
        is_wanted = task is not None and task.state in ("executing", "long-running")
        if not is_wanted and not await stop(owner, batch, []):
            kill_family(os.getpid())


async def stop(owner: str, batch: int, nodes: list[int]) -> bool:
    """Interrupt the running task of a batch on this worker. Return whether it ended within `GRACE_SECONDS`.

    Runs on the worker's event loop, beside the task. Child processes that the task leaves behind are ended.
    """
    if owner != _Process.owner:
        return True  # the batch of another pool runs here
    asked = [one for one in _workers.values() if one.interruptible.interrupt(batch, nodes)]
    if not asked:
        return True
    task, pid = asked[0].interruptible, os.getpid()
    since = task.since
    # A task that waits for a child process does not see its own interrupt before the child ends.
    signal_all(family(pid, since=since), signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    while owner == _Process.owner and task.is_at(batch, nodes):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    signal_all(family(pid, since=since), signal.SIGKILL)
    return True


def kill_family(pid: int) -> None:
    """Kill a process of this machine and all processes it started."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        signal_all(family(pid), signal.SIGKILL)
        process.kill()
