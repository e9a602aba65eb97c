"""`python -m covalab.executors.host --socket PATH`: the process that runs executors.

Started by the dispatcher under the interpreter of the dispatch, beside the pool, with the same protocol. It has slots
instead of workers: its tasks mostly wait for another machine. One batch has one node. User code runs here,
so this process may die; it is started again like a pool.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import ctypes
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from covalab import config, open_files
from covalab.blobs import BlobStore
from covalab.client.framing import read_frame, write_frame
from covalab.core import protocol
from covalab.core.covalent_status import status
from covalab.core.errors import CovalabError, ExecutorNotFound
from covalab.core.model import ErrorType, Failure, Outcome, Status, Value
from covalab.core.protocol import (
    Batch,
    BatchEnded,
    CancelBatch,
    Outcomes,
    Ping,
    Pong,
    PoolFailed,
    PoolReady,
    RunBatch,
    StopPool,
    TaskSpec,
    TaskStarted,
    WorkersChanged,
)
from covalab.executors import streams
from covalab.executors.base import AsyncBaseExecutor, BaseExecutor, Runtime
from covalab.executors.call_values import instance_of, ready, value_of
from covalab.executors.manager import _executor_manager
from covalab.worker import context, reporting
from covalab.worker.environment import enter_folder, enter_local_modules
from covalab.worker.failures import failure_of

_log = logging.getLogger("covalab.executors")
SLOTS: Final = 64
GRACE_SECONDS: Final = 2.0
"""The time a job has to end after its executor cancelled it, and again after it was interrupted."""

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)


class _Running:
    """A batch that runs here."""

    def __init__(self, request: RunBatch, batch: Batch, runtime: Runtime) -> None:
        self.request = request
        self.batch = batch
        self.runtime = runtime
        self.executor: Any = None
        self.thread = 0  # the identity of the thread that runs it, where it has one
        self.job: asyncio.Task[Outcome] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The `task_metadata` of an executor's methods."""
        batch = self.batch
        folder = config.sdk().results_dir or str(Path(batch.blobs).parent / "results")
        return {"dispatch_id": batch.dispatch, "node_id": batch.tasks[0].node, "results_dir": folder}

    @property
    def folder(self) -> Path:
        """The dispatch's folder for files, in that of the results."""
        return Path(self.metadata["results_dir"], self.batch.dispatch)


class _Done(NamedTuple):
    """Result of a call. An error is returned, not raised: some would end the event loop."""

    value: Any
    error: BaseException | None


async def _in_thread(call: Callable[[], Any], started: Callable[[int], None] = lambda _: None) -> _Done:
    """Call a function in a thread of its own, which may never end, in the caller's context."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Done] = loop.create_future()
    here = contextvars.copy_context()

    def settle(result: _Done) -> None:
        if not done.done():  # the caller was cancelled meanwhile
            done.set_result(result)

    def run() -> None:
        started(threading.get_ident())
        try:
            result = _Done(here.run(call), None)
        except BaseException as error:  # noqa: BLE001 - returned to the caller
            result = _Done(None, error)
        with suppress(RuntimeError):  # the loop is closed, and with it the caller
            loop.call_soon_threadsafe(settle, result)

    # No pool of threads: one that never ends would take a place in it for good.
    threading.Thread(target=run, daemon=True).start()
    return await done


async def _guarded(work: Coroutine[Any, Any, Any]) -> _Done:
    try:
        return _Done(await work, None)
    except BaseException as error:  # noqa: BLE001 - also SystemExit, which would end the loop
        return _Done(None, error)


class ExecutorHost:
    """Server of one executor host: slots on one side, the dispatcher's socket on the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._encoder = protocol.encoder()
        self._batches = protocol.decoder(Batch)
        self._running: dict[int, _Running] = {}
        self._abandoned = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_worn_out = asyncio.Event()

    async def serve(self) -> None:
        """Run until the dispatcher sends `StopPool` or is gone."""
        self._send(PoolReady(protocol.version_header(), os.getpid(), sys.executable))
        # All at once and for good: a slot costs nothing while it is empty.
        self._send(WorkersChanged([f"slot-{number}" for number in range(SLOTS)]))
        handling, worn_out = asyncio.create_task(self._handle_messages()), asyncio.create_task(self._is_worn_out.wait())
        await asyncio.wait((handling, worn_out), return_when=asyncio.FIRST_COMPLETED)
        if worn_out.done():
            self._send(PoolFailed("a task ignored that it was cancelled, so its executor host was ended"))
        await self._writer.drain()

    async def _handle_messages(self) -> None:
        messages = protocol.decoder(protocol.ToPool)
        while (frame := await read_frame(self._reader)) is not None:
            message = messages.decode(frame)
            if isinstance(message, RunBatch):
                self._spawn(self._run_batch(message))
            elif isinstance(message, CancelBatch):
                running = self._running.get(message.batch)
                if running is not None:
                    self._spawn(self._cancel(running))
            elif isinstance(message, Ping):
                self._send(Pong())
            elif isinstance(message, StopPool):
                return

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # The loop holds tasks only weakly; one that nothing else refers to may be collected while it waits.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, message: msgspec.Struct) -> None:
        write_frame(self._writer, self._encoder.encode(message))

    # -- one batch ------------------------------------------------------------------------------------------------

    async def _run_batch(self, request: RunBatch) -> None:
        batch: Batch = self._batches.decode(request.payload)
        stem = f"{socket.gethostname()}-{os.getpid()}-{batch.id}"
        buffers = [streams.Spooled(batch.spool, f"{stem}{suffix}") for suffix in (".out", ".err")]
        running = _Running(request, batch, Runtime(*buffers))
        self._running[batch.id] = running
        self._send(TaskStarted(batch.id, batch.tasks[0].node, time.time(), os.getpid(), stem))
        running.job = asyncio.create_task(self._run(running))
        await asyncio.wait({running.job}, timeout=request.time_limit)
        if not running.job.done():
            await self._cancel(running, timeout=True)
        else:
            self._finish(running)
        for buffer in buffers:
            buffer.remove_file()

    def _finish(self, running: _Running, *, timeout: bool = False) -> None:
        """Report the end of a batch, once."""
        if self._running.pop(running.batch.id, None) is None:
            return
        job = running.job
        if job is not None and job.done() and not job.cancelled() and not timeout:
            self._send(Outcomes(running.batch.id, self._encoder.encode([job.result()])))
        self._send(BatchEnded(running.batch.id, timeout=timeout))
        if all(other.batch.dispatch != running.batch.dispatch for other in self._running.values()):
            with suppress(OSError):  # something was left in it, or it was never made
                running.folder.rmdir()
        if self._abandoned and not self._running:
            self._is_worn_out.set()  # threads cannot be killed; a new process has none that go on in vain

    async def _cancel(self, running: _Running, *, timeout: bool = False) -> None:
        """Cancel a job by its executor; if it goes on, interrupt it, and at last abandon it."""
        job, executor = running.job, running.executor
        assert job is not None
        if running.runtime.cancel_requested:
            return  # by a person and by the time limit at once
        running.runtime.cancel_requested = True
        if executor is not None:
            cancelling = asyncio.ensure_future(self._ask_to_cancel(running))
            await asyncio.wait({cancelling}, timeout=GRACE_SECONDS)
        # A task whose time is up has had its time.
        await asyncio.wait({job}, timeout=0.0 if timeout else GRACE_SECONDS)
        if not job.done():
            # Only a thread that runs user code can be interrupted; a coroutine is cancelled at its next `await`.
            if running.thread:
                _raise_in(running.thread, ctypes.py_object(KeyboardInterrupt))
            else:
                job.cancel()
            await asyncio.wait({job}, timeout=GRACE_SECONDS)
        if not job.done():
            _log.warning("node %d of %s does not end", running.batch.tasks[0].node, running.batch.dispatch)
            self._abandoned += 1
        self._finish(running, timeout=timeout)

    @staticmethod
    async def _ask_to_cancel(running: _Running) -> None:
        executor, metadata, handle = running.executor, running.metadata, running.runtime.job_handle
        if isinstance(executor, AsyncBaseExecutor):
            done = await _guarded(executor.cancel(metadata, handle))
        else:
            done = await _in_thread(lambda: executor.cancel(metadata, handle))
        if done.error is not None:
            _log.warning("executor %s cannot cancel job %r: %s", executor.short_name(), handle, done.error)

    async def _run(self, running: _Running) -> Outcome:
        batch, runtime = running.batch, running.runtime
        task = batch.tasks[0]
        blobs = BlobStore(batch.blobs)
        # Context variables, not process-wide state: many tasks run here at once, and threads inherit them.
        context.in_thread.set(context.Context(batch.dispatch, task.node))
        loop = asyncio.get_running_loop()

        def emit(frame: bytes) -> None:
            """Send a frame from any thread, in order."""
            loop.call_soon_threadsafe(write_frame, self._writer, frame)

        reporting.in_thread.set(reporting.Reporter(batch, blobs, emit))
        started_at, start = time.time(), time.perf_counter()
        # In a thread: importing a plug-in may take seconds, in which other tasks would stand still.
        is_alone = len(self._running) == 1
        done = await _in_thread(lambda: self._prepare(running, blobs, is_alone=is_alone))
        phase: ErrorType = "serialization"
        if done.error is None:
            phase = "runtime"
            function, args, kwargs = done.value
            done = await self._execute(running, function, args, kwargs)
        value, failure = None, None
        if done.error is not None:
            failure = failure_of(done.error, "executor" if isinstance(done.error, ExecutorNotFound) else phase)
        elif done.value[-1] == status.COMPLETED:
            value, failure = await _serialized(done.value[0], blobs, task)
        elif done.value[-1] == status.CANCELLED:
            failure = Failure("cancelled", "its executor says that it was cancelled")
        else:
            failure = Failure("runtime", _last_line(runtime.stderr.getvalue()) or "its executor says that it failed")
        ended: Status = "completed"
        if failure is not None:
            # An executor may end a job that is cancelled by raising anything.
            ended = "cancelled" if failure.type == "cancelled" or runtime.cancel_requested else "failed"
        stdout, stderr = runtime.stdout.getvalue(), runtime.stderr.getvalue()
        if failure is not None and failure.traceback:
            stderr += failure.traceback
        ended_at = started_at + (time.perf_counter() - start)
        worker = f"{batch.executor.executor if batch.executor else ''} {os.getpid()}"
        return Outcome(task.node, ended, started_at, ended_at, value, failure, stdout, stderr, worker)

    @staticmethod
    def _prepare(running: _Running, blobs: BlobStore, *, is_alone: bool) -> Any:
        batch = running.batch
        assert batch.executor is not None
        # Process-wide: with dispatches from several folders in one host, the folder of the last one counts.
        enter_folder(batch.cwd, batch.path)
        # So are modules, but those of a dispatch that still runs must not be taken away from it.
        if is_alone:
            enter_local_modules(batch)
        if batch.executor.instance:
            executor = instance_of(batch, blobs)
        else:
            executor = ExecutorHost._named(batch.executor.executor, batch.tasks[0].name)
        if not isinstance(executor, BaseExecutor | AsyncBaseExecutor):
            message = (
                f"executor {batch.executor.executor!r} is a {type(executor).__name__}; derive it from "
                "covalab.executor.BaseExecutor or AsyncBaseExecutor"
            )
            raise CovalabError(message)
        # Plug-ins put files there that they fetch, and do not make it: Covalent has it anyway.
        running.folder.mkdir(parents=True, exist_ok=True)
        executor._init_runtime(running.runtime)  # noqa: SLF001 - host and base class are one mechanism
        running.executor = executor
        return ready(batch, blobs)

    @staticmethod
    def _named(name: str, electron: str) -> Any:
        try:
            return _executor_manager.get_executor(name)
        except ExecutorNotFound as error:
            raise ExecutorNotFound(name, electron, error.known, error.why) from None

    @staticmethod
    async def _execute(running: _Running, function: Any, args: list[Any], kwargs: dict[str, Any]) -> _Done:
        executor, metadata = running.executor, running.metadata

        def execute() -> Any:
            return executor.execute(function=function, args=args, kwargs=kwargs, **metadata)

        if isinstance(executor, AsyncBaseExecutor):
            return await _guarded(execute())

        def started(thread: int) -> None:
            running.thread = thread

        done = await _in_thread(execute, started)
        running.thread = 0
        return done


async def _serialized(result: Any, blobs: BlobStore, task: TaskSpec) -> tuple[Value | None, Failure | None]:
    """Serialize the result of an executor, in a thread: the user's code may take long over it."""
    what = f"the value of electron {task.name!r} (node {task.node})"
    done = await _in_thread(lambda: value_of(result, blobs, what))
    if done.error is None:
        return done.value, None
    return None, failure_of(done.error, "serialization")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


async def _serve(path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    await ExecutorHost(reader, writer).serve()


def main() -> None:
    """Serve one dispatcher, then end, with every thread that is left."""
    parser = argparse.ArgumentParser(prog="python -m covalab.executors.host", description=__doc__)
    parser.add_argument("--socket", required=True)
    arguments = parser.parse_args()
    open_files.take_limit()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s host %(levelname)s %(message)s")
    streams.install()
    try:
        asyncio.run(_serve(arguments.socket))
    finally:
        os._exit(0)  # does not wait for abandoned threads; the dispatcher ends the rest of this session


if __name__ == "__main__":
    main()
