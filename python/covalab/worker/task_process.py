"""Task process: runs the batches of one dispatch in its main thread, in a process that nothing ran in before.

Forked by a stem (`worker.stem`), which has imported all that it needs, or started anew by one: `python -m
covalab.worker.task_process`. The worker at the other end of its channel sends batches and passes messages on.
"""

from __future__ import annotations

import atexit
import faulthandler
import mmap
import os
import queue
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Final

import msgspec

from covalab.core.codec import encode
from covalab.core.model import Digest, DispatchId
from covalab.core.place import place
from covalab.core.process_variables import IN_NOTEBOOK, ProcessVariables, different_at_import
from covalab.core.protocol import Batch, TaskResumed, TaskSpec, TaskWaits, decoder, encoder
from covalab.worker import channel as kinds
from covalab.worker import environment, learned_imports
from covalab.worker.batch_runner import OWN_THREADS, TaskWorker
from covalab.worker.carried import ChannelCarrier, carrier_of
from covalab.worker.channel import Channel
from covalab.worker.process_tree import adopt_orphans, block_signals, end_before_worker, end_descendants, has_children

CLEAN_EXIT: Final = 77
"""The exit code of a process that ended when it was asked to, and left no process behind."""
CHANNEL_LOST: Final = 78
"""The exit code of a process that can no longer be controlled."""
MARK_BYTES: Final = 16
_END_SECONDS: Final = 60.0
"""The time that threads of the user have to end, as they would have at the end of a script."""
# Made before the fork: it takes longer than the rest of a quick task.
_BATCHES: Final = decoder(Batch)
_ENCODER: Final = encoder()
_MODULE: Final = "covalab.worker.task_process"
_REHEARSAL: Final = Digest("rehearsal")


def _nothing() -> None:
    pass


class Cancel(msgspec.Struct, frozen=True, array_like=True):
    """Content of a `CANCEL` frame: the batch, its nodes (none: all), the number of the request."""

    batch: int
    nodes: list[int]
    number: int


class BatchEnd(msgspec.Struct, frozen=True, array_like=True):
    """Content of an `ENDED` frame.

    `learned` are modules of installed packages that tasks imported. A process that `is_used_up` is to be killed; one
    that `has_threads` of a task may finish them, but runs no other batch.
    """

    learned: list[str]
    is_used_up: bool = False
    has_threads: bool = False


def rehearse(runner: TaskWorker, folder: str) -> None:
    """Run a batch that does nothing: what is made when it is first needed is there for the next."""
    variables = ProcessVariables(dict(os.environb)).pack()
    batch = Batch(
        0,
        DispatchId(""),
        [TaskSpec(0, "", _REHEARSAL, [], {})],
        {_REHEARSAL: encode(_nothing).join()},
        1.0,
        folder,
        [],
        folder,
        folder,
        variables=variables,
        umask=0o077,
    )
    runner.run(_BATCHES.decode(_ENCODER.encode(batch)), lambda _message: None)


class Mark:
    """Shared memory that names the batch and node a task process is at, also when it dies at once.

    Parameters
    ----------
    fd
        A file of `MARK_BYTES`.
    """

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, MARK_BYTES)

    def set(self, batch: int, node: int) -> None:
        """Set batch and node."""
        self._map[:MARK_BYTES] = batch.to_bytes(8, "little") + node.to_bytes(8, "little", signed=True)

    def get(self) -> tuple[int, int]:
        """Return batch and node; the node is meaningless without the batch."""
        data = self._map[:MARK_BYTES]
        return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little", signed=True)


class TaskProcess:
    """Serving of a worker: the channel to it, and the runner of its batches.

    Parameters
    ----------
    connection
        The socket to the worker.
    mark_fd
        The file of its `Mark`.
    is_ours
        Whether the worker is one of our own cluster.
    prepared
        The runner that the stem has rehearsed with.
    """

    def __init__(self, connection: socket.socket, mark_fd: int, *, is_ours: bool, prepared: TaskWorker | None) -> None:
        self._is_ours = is_ours
        self._prepared = prepared
        self._channel = Channel(connection)
        self._mark_fd = mark_fd
        self._mark = Mark(mark_fd)
        self._batches: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self._runner: TaskWorker | None = None
        self._carrier: ChannelCarrier | None = None

    def serve(self) -> None:
        """Run batches until the worker asks this process to end, or is gone."""
        place.given = _GivenPlace(self)
        threading.Thread(target=self._listen, name=f"{OWN_THREADS}-listen", daemon=True).start()
        is_first = True
        while (frame := self._batches.get()) is not None:
            kind, data = frame
            if kind == kinds.PREPARE:
                self._prepare(data.decode())
                continue
            batch: Batch = _BATCHES.decode(data)
            if is_first and (different := self._different_at_import(batch)):
                self._start_anew(batch, different)
            is_first = False
            if batch.is_carried:
                self._carrier = carrier_of(batch.blobs, self._channel)
            try:
                runner = self._runner = self._runner or self._new_runner(batch.spool)
                runner.run(batch, self._emit)
                end = BatchEnd(learned_imports.new_names(), runner.is_used_up, runner.has_threads)
                self._channel.send(kinds.ENDED, msgspec.msgpack.encode(end))
            except OSError:  # the task closed all descriptors
                os._exit(CHANNEL_LOST)
        _end()

    def _prepare(self, spool: str) -> None:
        """Open the output files, and rehearse: the pages that a fork shares are copied now, not when a batch waits."""
        with suppress(OSError):
            self._runner = self._new_runner(spool)
            rehearse(self._runner, spool)

    def _new_runner(self, spool: str) -> TaskWorker:
        runner = self._prepared
        if runner is None:
            return TaskWorker(spool, self._begin_node, is_ours=self._is_ours)
        runner.resume(spool, self._begin_node, is_ours=self._is_ours)
        return runner

    def _begin_node(self, batch: int, node: int) -> None:
        """Mark what runs, unless nobody would hear of it: the task before is to blame then, and stays marked."""
        if not self._channel.is_open:
            message = "the task before closed the descriptor of the channel"
            raise OSError(message)
        self._mark.set(batch, node)

    def _different_at_import(self, batch: Batch) -> dict[bytes, bytes | None]:
        """Return the variables of a dispatch under which packages that the stem has imported may be others."""
        found = learned_imports.preloaded()
        wanted = environment.wanted_variables(batch, is_ours=self._is_ours) if found.under else None
        if wanted is None:
            return {}
        known = {**found.under, **{name: value for name, value in found.changed.items() if value is not None}}
        different = different_at_import(found.read, known, wanted)
        is_of_notebook = environment.is_of_notebook(batch)
        if found.for_notebook not in (None, is_of_notebook):
            different[IN_NOTEBOOK] = b"1" if is_of_notebook else None
        return different

    def _start_anew(self, batch: Batch, different: dict[bytes, bytes | None]) -> None:
        """Become a process in which nothing was imported yet, under the variables of a batch, and ask for it again."""
        self._channel.send(kinds.ANEW, msgspec.msgpack.encode(different))
        variables = environment.wanted_variables(batch, is_ours=self._is_ours) or {}
        command = command_of(self._channel.fileno(), self._mark_fd, is_ours=self._is_ours, asks_again=True)
        os.execve(sys.executable, command, variables)  # noqa: S606 - no shell

    def give_place(self) -> None:
        """Let the worker take another batch: the running task waits. What of its batch can run elsewhere returns."""
        runner = self._runner
        if runner is None or runner.batch is None:
            return
        self._channel.send(kinds.WAITS)
        self._emit(msgspec.msgpack.encode(TaskWaits(runner.batch.id, runner.give_back())))

    def take_place(self) -> None:
        """Go on beside what the worker runs now."""
        runner = self._runner
        if runner is None or runner.batch is None:
            return
        self._channel.send(kinds.RESUMED)
        self._emit(msgspec.msgpack.encode(TaskResumed(runner.batch.id)))

    def _emit(self, message: bytes) -> None:
        self._channel.send(kinds.MESSAGE, message)

    def ask_again(self) -> None:
        """Ask for the batch that the process in whose place this one is has dropped."""
        self._channel.send(kinds.AGAIN)

    def _listen(self) -> None:
        """Take frames from the worker, in a thread, because the main one has the user's tasks."""
        block_signals()
        while (frame := self._channel.receive()) is not None:
            kind, data = frame
            if kind in (kinds.BATCH, kinds.PREPARE):
                self._batches.put(frame)
            elif kind == kinds.CANCEL and self._runner is not None:
                threading.Thread(target=self._cancel, args=(data,), name=f"{OWN_THREADS}-cancel", daemon=True).start()
            elif kind == kinds.ANSWER and self._carrier is not None:
                self._carrier.answer(data)
            elif kind == kinds.RETURN and self._runner is not None:
                self._runner.last_batch = int.from_bytes(data, "big")
            elif kind == kinds.EXIT:
                self._batches.put(None)
        # The worker is gone, and somebody else may be running the same node already; or the task closed the channel.
        end_descendants(os.getpid())
        os._exit(CHANNEL_LOST)

    def _cancel(self, data: bytes) -> None:
        cancel = msgspec.msgpack.decode(data, type=Cancel)
        assert self._runner is not None
        task = self._runner.interruptible
        if task.interrupt(cancel.batch, cancel.nodes):
            while task.is_at(cancel.batch, cancel.nodes):
                time.sleep(0.005)
        with suppress(OSError):
            self._channel.send(kinds.STOPPED, cancel.number.to_bytes(8, "big"))


class _GivenPlace:
    """The place of the running task while it waits for another dispatch, in any number of its threads."""

    def __init__(self, process: TaskProcess) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._n_waiting = 0

    def __enter__(self) -> None:
        with self._lock:
            self._n_waiting += 1
            if self._n_waiting == 1:
                self._process.give_place()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_waiting -= 1
            if not self._n_waiting:
                self._process.take_place()


def command_of(fd: int, mark_fd: int, *, is_ours: bool, asks_again: bool = False) -> list[str]:
    """Return the command of a process that takes the place of this one; it inherits both descriptors."""
    for one in (fd, mark_fd):
        os.set_inheritable(one, True)
    return [sys.executable, "-m", _MODULE, *map(str, (fd, mark_fd, int(is_ours), int(asks_again)))]


def begin(
    fd: int, mark_fd: int, *, is_ours: bool, asks_again: bool = False, prepared: TaskWorker | None = None
) -> None:
    """Make this process a task process, and serve; one that took another's place asks for its batch again."""
    for one in (fd, mark_fd):
        os.set_inheritable(one, False)
    with suppress(PermissionError):  # it leads a session: it took another's place
        os.setsid()
    adopt_orphans()
    end_before_worker()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv[:] = [""]
    process = TaskProcess(socket.socket(fileno=fd), mark_fd, is_ours=is_ours, prepared=prepared)
    if asks_again:
        process.ask_again()
    process.serve()


def _end() -> None:
    """End as a script does: threads may finish, functions of `atexit` run. What still runs after that is killed."""
    deadline = time.monotonic() + _END_SECONDS
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(_END_SECONDS) + 1)
    threading.Thread(target=_end_pools, name=f"{OWN_THREADS}-pools", daemon=True).start()
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
    with suppress(Exception):  # functions of the user
        atexit._run_exitfuncs()  # noqa: SLF001 - the interpreter's own shutdown after this would take longer than the task
    if has_children():
        end_descendants(os.getpid())
    os._exit(CLEAN_EXIT)


def _end_pools() -> None:
    """Let the threads of pools end that nobody has shut down, as the end of a script does, however long one works."""
    for function in reversed(getattr(threading, "_threading_atexits", ())):
        with suppress(Exception):
            function()


def main() -> None:
    """Serve in a process that was started anew: its environment variables are those of the dispatch from the start."""
    faulthandler.enable()
    learned_imports.take_stock()
    fd, mark_fd, is_ours, asks_again = map(int, sys.argv[1:5])
    begin(fd, mark_fd, is_ours=bool(is_ours), asks_again=bool(asks_again))


if __name__ == "__main__":
    main()
