"""Stem: a process with one thread that has imported all that tasks need, and forks task processes.

Started by a worker: `python -m covalab.worker.stem --control FD`. It runs nothing of the user's.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import cloudpickle  # noqa: F401 - here, so that no task process imports it
import msgspec

from covalab.crash_points import crash_point
from covalab.worker import learned_imports, task_process
from covalab.worker.batch_runner import TaskWorker
from covalab.worker.host_cache import remove_unused
from covalab.worker.process_tree import adopt_orphans, children, end_descendants, end_tree, exited_with
from covalab.worker.variables import HASH_SEED, current_variables, set_variables

_HEAD: Final = 4
_READ: Final = 65536
_FDS: Final = 2


class Start(msgspec.Struct, frozen=True, tag=True):
    """First message to the stem: modules to import beforehand, and variables to set afterwards (None: to delete)."""

    imports: list[str]
    is_ours: bool
    put_back: dict[bytes, bytes | None] = {}


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The stem is up. With `unsafe`, it may not fork after the import of that package."""

    unsafe: str = ""


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Request for a task process; its socket and its mark come with the message."""

    is_new: bool = False  # started anew, not forked


class RemoveAtEnd(msgspec.Struct, frozen=True, tag=True):
    """Request to remove the cache folder of this host at the end, if no worker uses it then."""

    cache: str


class Forked(msgspec.Struct, frozen=True, tag=True):
    """Answer to a `Fork`."""

    pid: int
    error: str = ""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """A task process ended, with its wait status."""

    pid: int
    status: int


def write_message(connection: socket.socket, message: msgspec.Struct, fds: tuple[int, ...] = ()) -> None:
    """Send a message, and descriptors with it."""
    data = msgspec.msgpack.encode(message)
    frame = len(data).to_bytes(_HEAD, "big") + data
    if fds:
        socket.send_fds(connection, [frame], fds)  # a few bytes: never cut
    else:
        connection.sendall(frame)


def read_message(connection: socket.socket, type_: Any) -> tuple[Any, list[int]]:
    """Return the next message and its descriptors; None when the other side is gone."""
    data, fds, _, _ = socket.recv_fds(connection, _HEAD, _FDS)
    while 0 < len(data) < _HEAD:
        more = connection.recv(_HEAD - len(data))
        data = data + more if more else b""
    if not data:
        return None, fds
    length = int.from_bytes(data, "big")
    content = b""
    while len(content) < length:
        more = connection.recv(min(_READ, length - len(content)))
        if not more:
            return None, fds
        content += more
    return msgspec.msgpack.decode(content, type=type_), fds


class Stem:
    """Forking for a worker: the socket to it, and the task processes that were forked."""

    def __init__(self, control: socket.socket, start: Start, prepared: TaskWorker) -> None:
        self._prepared = prepared
        self._control = control
        self._is_ours = start.is_ours
        self._tasks: set[int] = set()
        self._caches: set[str] = set()

    def serve(self, unsafe: str) -> None:
        """Fork on request, report ends, until the worker is gone; then end every task process."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler there is no wake-up
        write_message(self._control, Ready(unsafe))
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(woken, select.POLLIN)
        with suppress(OSError):  # a reset: the worker was killed
            while True:
                ready = [fd for fd, _ in poller.poll()]
                if woken in ready:
                    with suppress(BlockingIOError):
                        os.read(woken, 4096)
                    self._reap()
                if self._control.fileno() in ready:
                    message, fds = read_message(self._control, Fork | RemoveAtEnd)
                    if isinstance(message, RemoveAtEnd):
                        self._caches.add(message.cache)
                    elif isinstance(message, Fork):
                        self._fork(message, fds)
                    else:
                        break
        for pid in self._tasks:
            end_tree(pid)
        end_descendants(os.getpid())
        for cache in self._caches:
            remove_unused(Path(cache))

    def _fork(self, request: Fork, fds: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            write_message(self._control, Forked(0, f"{error.strerror}"))
            pid = -1
        if pid == 0:
            try:
                self._control.close()
                if request.is_new:
                    os.execv(sys.executable, task_process.command_of(*fds, is_ours=self._is_ours))  # noqa: S606 - no shell
                task_process.begin(*fds, is_ours=self._is_ours, prepared=self._prepared)
            finally:
                os._exit(1)
        for fd in fds:
            os.close(fd)
        if pid > 0:
            crash_point("stem.forked")
            self._tasks.add(pid)
            write_message(self._control, Forked(pid))

    def _reap(self) -> None:
        """Take the ends of task processes, and end what they left behind."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            if pid in self._tasks:
                self._tasks.remove(pid)
                if not exited_with(status, task_process.CLEAN_EXIT):
                    self._sweep()
                write_message(self._control, Ended(pid, status))

    def _sweep(self) -> None:
        """End the processes whose task process is gone: they are children of this one now."""
        for pid in children(os.getpid()):
            if pid not in self._tasks:
                end_tree(pid)


def _rehearsed() -> TaskWorker:
    """Run a batch here once, so that forks find done what is done once in a process; return its runner."""
    with tempfile.TemporaryDirectory() as folder:
        runner = TaskWorker(folder)
        task_process.rehearse(runner, folder)
        runner.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return runner


def _put_back(variables: Mapping[bytes, bytes | None]) -> None:
    """Set the variables of the worker: a task gets from here what its dispatch has not set."""
    set_by_packages = learned_imports.preloaded().changed
    wanted = current_variables() | {name: value for name, value in variables.items() if name not in set_by_packages}
    set_variables({name: value for name, value in wanted.items() if value is not None})


def main() -> None:
    """Import what tasks need, then serve one worker."""
    parser = argparse.ArgumentParser(prog="python -m covalab.worker.stem", description=__doc__)
    parser.add_argument("--control", type=int, required=True)
    arguments = parser.parse_args()
    sys.argv[:] = [""]  # as in the task processes: it is put back to this one after every task
    adopt_orphans()
    os.chdir(tempfile.gettempdir())  # a folder of the user's may be removed under it
    faulthandler.enable()  # in task processes: the place of a crash in C code is in the output of the task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=arguments.control)
    start, _ = read_message(control, Start)
    if start is None:
        os._exit(0)  # the worker is gone
    if HASH_SEED not in start.put_back:
        os.environb.pop(HASH_SEED, None)  # as in `variables_of_worker`
    unsafe = learned_imports.preload(start.imports)
    _put_back(start.put_back)
    learned_imports.take_stock()
    prepared = _rehearsed()
    # What is here now never changes: the collector of a fork would only copy the pages.
    gc.collect()
    gc.freeze()
    Stem(control, start, prepared).serve(unsafe)
    os._exit(0)


if __name__ == "__main__":
    main()
