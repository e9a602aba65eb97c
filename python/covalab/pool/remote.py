"""What Dask runs for us: bytes in, nothing out; outcomes leave as events. Importable, so nothing of it is pickled."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

import psutil
from distributed import get_worker

from covalab.core.protocol import Step, decoder
from covalab.worker.step import TaskWorker

TOPIC: Final = "covalab"

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


def kill_family(pid: int) -> None:
    """End a process of this machine and everything it started."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [*process.children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                member.kill()
