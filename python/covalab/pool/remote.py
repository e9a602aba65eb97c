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
from distributed import get_worker

from covalab.core.protocol import Step, decoder
from covalab.worker.step import TaskWorker
from covalab.worker.turn import family, signal_all

TOPIC: Final = "covalab"
_LOOK_SECONDS: Final = 0.02

_decoder = decoder(Step)
_workers: dict[str, TaskWorker] = {}
# Output belongs to a process, so a worker with several threads runs one step at a time.
_one_at_a_time = threading.Lock()


def run(payload: bytes) -> None:
    """Run an encoded step on this worker."""
    step: Step = _decoder.decode(payload)
    dask_worker = get_worker()
    with _one_at_a_time:
        task_worker = _workers.get(step.spool)
        if task_worker is None:
            task_worker = _workers[step.spool] = TaskWorker(step.spool)
        task_worker.run(step, lambda message: dask_worker.log_event(TOPIC, message))


async def stop(step: int, nodes: list[int], grace: float) -> bool:
    """Ask what is running of a step on this worker to stop. Returns whether it did, within `grace` seconds.

    Runs on the worker's event loop, beside the task. Child processes that the task leaves behind are ended.
    """
    asked = [one for one in _workers.values() if one.turn.interrupt(step, nodes)]
    if not asked:
        return True
    turn, pid = asked[0].turn, os.getpid()
    since = turn.since
    signal_all(family(pid, since=since), signal.SIGINT)
    deadline = time.monotonic() + grace
    while turn.is_at(step, nodes):
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
