"""Functions that run inside Dask workers: bytes in, nothing out; outcomes leave as events.

Dask pickles them by name, so they are small and importable. The user's code runs in processes beside the worker
(`worker.task_processes`), never in the worker itself.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any, Final

import msgspec
from dask.typing import Key
from distributed import Worker, get_worker, secede

from covalab import config
from covalab.core.protocol import PackagesImported
from covalab.worker.process_tree import end_tree
from covalab.worker.task_processes import GRACE_SECONDS, Job, TaskProcesses

TOPIC: Final = "covalab"
_POLL_SECONDS: Final = 0.005
_WANTED_SECONDS: Final = 1.0
"""The interval at which a worker of another's cluster checks that its batch is still wanted."""

_lock = threading.Lock()
_found: list[TaskProcesses] = []


def dask_setup(worker: Worker) -> None:
    """Start the first stem with the worker (Dask's name for what a preloaded module does)."""
    _processes(worker)


def _processes(worker: Worker) -> TaskProcesses:
    """Return the task processes of this worker process."""
    with _lock:
        if not _found:
            settings = config.load().dask
            _found.append(
                TaskProcesses(
                    memory_limit=worker.memory_manager.memory_limit or 0,
                    is_new=_is_spawned(settings.start_method),
                    on_learned=lambda names: _report_imports(worker, names),
                )
            )
        return _found[0]


def _is_spawned(start_method: str) -> bool:
    return start_method == "spawn" or (start_method == "auto" and sys.platform != "linux")


def _report_imports(worker: Worker, names: list[str]) -> None:
    worker.log_event(TOPIC, ("", msgspec.msgpack.encode(PackagesImported(names))))


def run(job: tuple[Any, ...]) -> None:
    """Run a batch on this worker.

    Every pool of a scheduler gets every event, and numbers its batches from one: the job's owner identifies the pool.
    """
    _run(Job(*job))


def _run(job: Job) -> None:
    worker = get_worker()
    _processes(worker).run(job, lambda message: worker.log_event(TOPIC, (job.owner, message)), secede)


def run_elsewhere(job: tuple[Any, ...]) -> None:
    """Run a batch on a worker that may outlive its pool."""
    worker = get_worker()
    it = Job(*job)
    watching = asyncio.run_coroutine_threadsafe(
        _end_when_unwanted(worker, worker.get_current_task(), it),
        worker.loop.asyncio_loop,  # type: ignore[attr-defined] # tornado's, which is always asyncio's
    )
    # Its pool may be killed, and the scheduler then forgets the task but leaves it running: nothing else stops it.
    try:
        _run(it)
    finally:
        watching.cancel()


async def _end_when_unwanted(worker: Worker, key: Key, job: Job) -> None:
    """Stop a batch that the scheduler released, as it does when the pool is gone; Dask itself never stops one."""
    while True:
        await asyncio.sleep(_WANTED_SECONDS)
        task = worker.state.tasks.get(key)
        if task is None or task.state not in ("executing", "long-running"):
            await stop(job.owner, job.number, [], worker)


async def stop(owner: str, number: int, nodes: list[int], dask_worker: Worker) -> None:
    """Interrupt nodes of a batch on this worker (none: all). Kill its process if they run on for `GRACE_SECONDS`.

    Runs on the worker's event loop, which always answers: no user code runs in this process.
    """
    processes = _processes(dask_worker)
    has_stopped = processes.ask_to_stop(owner, number, nodes)
    deadline = time.monotonic() + GRACE_SECONDS
    while has_stopped is not None and not has_stopped():
        if time.monotonic() > deadline:
            await asyncio.to_thread(processes.kill_batch, owner, number, "it ignored that it was cancelled")
            return
        await asyncio.sleep(_POLL_SECONDS)


async def kill(owner: str, number: int, why: str, dask_worker: Worker) -> None:
    """Kill the process that runs a batch on this worker."""
    await asyncio.to_thread(_processes(dask_worker).kill_batch, owner, number, why)


async def end_dispatches(roots: list[str]) -> None:
    """End idle processes of dispatches that have ended."""
    if _found:
        _found[0].end_dispatches(roots)


async def learn(names: list[str], dask_worker: Worker) -> None:
    """Have packages imported beforehand that tasks have imported somewhere."""
    _processes(dask_worker).learn(names)


def kill_worker(pid: int) -> None:
    """Kill a worker process of this machine and all processes it started."""
    end_tree(pid)
