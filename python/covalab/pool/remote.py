"""The function that Dask runs: bytes in, nothing out; outcomes leave as events. Importable, so nothing is pickled."""

from __future__ import annotations

from typing import Final

from distributed import get_worker

from covalab.core.protocol import Step, decoder
from covalab.worker.step import TaskWorker

TOPIC: Final = "covalab"

_decoder = decoder(Step)
_workers: list[TaskWorker] = []  # one per process, made by the first step; output redirection is per process


def run(payload: bytes) -> None:
    """Run an encoded step on this worker."""
    step: Step = _decoder.decode(payload)
    if not _workers:
        _workers.append(TaskWorker(step.spool))
    dask_worker = get_worker()
    _workers[0].run(step, lambda message: dask_worker.log_event(TOPIC, message))
