"""Jobs at a worker: run in processes beside it, never in the worker itself.

A worker of our own cluster is connected to its pool by a private socket (`serve`); on another's cluster jobs come as
Dask tasks (`pool.dask_tasks`).
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from covalab import config
from covalab.client.framing import frame_of, read_blocking
from covalab.core.worker_protocol import (
    TO_WORKER,
    Answer,
    EndDispatches,
    Hello,
    Job,
    JobDone,
    Kill,
    Learn,
    PackagesImported,
    Return,
    Stop,
)
from covalab.crash_points import crash_point
from covalab.worker.task_processes import GRACE_SECONDS, TaskProcesses

SOCKET: Final = "COVALAB_WORKER_SOCKET"
"""The environment variable with the address of the pool, in workers of our own cluster."""
_POLL_SECONDS: Final = 0.005


class WorkerJobs:
    """Jobs of one worker process.

    Parameters
    ----------
    memory_limit
        Bytes that the processes of one batch may use; 0: any.
    report
        Takes encoded messages that belong to no job.
    is_ours
        Whether it is one of our own cluster.
    """

    def __init__(self, memory_limit: int, report: Callable[[bytes], None], *, is_ours: bool) -> None:
        self.processes = TaskProcesses(
            memory_limit=memory_limit,
            is_new=not config.load().dask.forks,
            is_ours=is_ours,
            on_learned=lambda names: report(msgspec.msgpack.encode(PackagesImported(names))),
        )

    def stop(self, request: Stop) -> None:
        """Interrupt nodes; kill their process if they run on for `GRACE_SECONDS`."""
        has_stopped = self.processes.ask_to_stop(request.owner, request.number, request.nodes)
        deadline = time.monotonic() + GRACE_SECONDS
        while has_stopped is not None and not has_stopped():
            if time.monotonic() > deadline:
                self.processes.kill_batch(request.owner, request.number, "it ignored that it was cancelled")
                return
            time.sleep(_POLL_SECONDS)

    def handle(self, message: Stop | Kill | Return | EndDispatches | Learn | Answer) -> None:
        """Do what a pool asks beside its jobs; what takes time in a thread."""
        if isinstance(message, Stop):
            threading.Thread(target=self.stop, args=(message,), daemon=True).start()
        elif isinstance(message, Kill):
            asked = (message.owner, message.number, message.why)
            threading.Thread(target=self.processes.kill_batch, args=asked, daemon=True).start()
        elif isinstance(message, Return):
            self.processes.ask_to_return(message.owner, message.number)
        elif isinstance(message, EndDispatches):
            self.processes.end_dispatches(message.roots)
        elif isinstance(message, Answer):
            self.processes.answer(message)
        else:
            self.processes.learn(message.names)


class PrivateLine:
    """Connection of a worker to the pool that started it: jobs one after the other, other requests at once.

    The next job of a session whose process waits here does not wait for others: the pool sends it to a worker that is
    busy only if another one is idle, so there is a processor for it.

    Parameters
    ----------
    path
        The address of the pool.
    address
        The worker's name in the cluster.
    memory_limit
        As for `WorkerJobs`.
    """

    def __init__(self, path: str, address: str, memory_limit: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._reader = self._socket.makefile("rb")
        self._sending = threading.Lock()
        self._jobs = WorkerJobs(memory_limit, self._send, is_ours=True)
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._state = threading.Lock()
        self._not_begun: set[int] = set()
        self._send(msgspec.msgpack.encode(Hello(address)))

    def serve(self) -> None:
        """Take requests until the pool is gone; then end this process, whose work nobody wants."""
        self._start_thread()
        while (data := self._receive()) is not None:
            message = TO_WORKER.decode(data)
            if isinstance(message, Job):
                self._add(message)
            elif not (isinstance(message, Stop | Return) and self._withdraw(message)):
                self._jobs.handle(message)
        self._jobs.processes.close()
        os._exit(0)

    def _add(self, job: Job) -> None:
        with self._state:
            self._not_begun.add(job.number)
        if ":" in job.root and self._jobs.processes.has_idle(job.root):
            threading.Thread(target=self._run, args=(job, _keep_place), name="covalab-session", daemon=True).start()
        else:
            self._waiting.put(job)

    def _withdraw(self, request: Stop | Return) -> bool:
        """Drop a job that has not begun. Return False if it has."""
        with self._state:
            if (isinstance(request, Stop) and request.nodes) or request.number not in self._not_begun:
                return False
            self._not_begun.discard(request.number)
            return True

    def _start_thread(self) -> None:
        threading.Thread(target=self._run_jobs, name="covalab-jobs", daemon=True).start()

    def _run_jobs(self) -> None:
        has_place = True

        def give_place() -> None:
            """Leave the jobs behind this one to another thread."""
            nonlocal has_place
            has_place = False
            self._start_thread()

        while has_place:
            self._run(self._waiting.get(), give_place)

    def _run(self, job: Job, give_place: Callable[[], None]) -> None:
        with self._state:
            is_wanted = job.number in self._not_begun
            self._not_begun.discard(job.number)
        crash_point("worker.job")
        trouble = ""
        try:
            if is_wanted:
                self._jobs.processes.run(job, self._send, give_place)
        except Exception as error:  # noqa: BLE001 - reported: nobody else waits for this thread
            trouble = f"{type(error).__name__}: {error}"
        crash_point("worker.done")
        self._send(msgspec.msgpack.encode(JobDone(job.number, trouble)))

    def _send(self, message: bytes) -> None:
        with self._sending, suppress(OSError):  # the pool is gone: `serve` notices
            self._socket.sendall(frame_of(message))

    def _receive(self) -> bytes | None:
        with suppress(OSError):
            return read_blocking(self._reader)
        return None


def _keep_place() -> None:
    """Do nothing: a job beside the others has no place in their line."""
