"""Stem process as its worker sees it: started, asked for task processes, replaced when it is gone."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from covalab.worker import learned_imports
from covalab.worker.channel import Channel
from covalab.worker.process_tree import end_tree, exited_with
from covalab.worker.stem import Ended, Fork, Forked, Ready, RemoveAtEnd, Start, read_message, write_message
from covalab.worker.task_process import CLEAN_EXIT, MARK_BYTES, Mark
from covalab.worker.variables import current_variables, variables_of_worker

_START_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 15.0


class StemLost(Exception):
    """The stem ended, or does not answer; the worker starts another."""


class TaskProcessHandle:
    """A task process as its worker sees it.

    Attributes
    ----------
    root
        The dispatch that it belongs to; empty for a spare.
    batch
        Owner and number of the batch that it runs; None while it is idle.
    """

    def __init__(self, pid: int, channel: Channel, mark: Mark) -> None:
        self.pid = pid
        self.channel = channel
        self.mark = mark
        self.root = ""
        self.batch: tuple[str, int] | None = None
        self.is_waiting = False
        self.is_over = False
        """Whether its dispatch has ended, so that it ends after the batch that it runs."""
        self.killed_because = ""
        self.memory_limit = 0
        """Bytes that the batch which it runs asks for, and may use; 0: as much as its worker lets it."""
        self.is_over_memory = False
        self.used_at = time.monotonic()
        self.spool = ""
        self.imported_under: Mapping[bytes, bytes | None] | None = None
        """The variables of its first batch under which packages are to be imported: `StemProcess.variables`."""
        self.looked_at = 0.0
        """The time before which its memory is not looked at again."""
        self.stopped = 0
        """The number of the last request to stop that it has answered."""
        self.ended = threading.Event()
        self.status: int | None = None

    @property
    def has_ended_cleanly(self) -> bool:
        """Whether it ended because it was asked to."""
        return exited_with(self.status, CLEAN_EXIT)

    def kill(self, why: str = "") -> None:
        """Kill the process with everything that it started."""
        if not self.ended.is_set():
            self.killed_because = self.killed_because or why
            end_tree(self.pid)


class StemProcess:
    """One stem.

    Parameters
    ----------
    imports
        Packages that it imports beforehand.
    variables
        Variables under which it imports them, as far as they are not those of this process; None: without that one.
    on_end
        Called with a task process that ended, from a thread.
    is_new
        Task processes are started anew instead of forked.
    is_ours
        Whether the worker is one of our own cluster.
    """

    def __init__(
        self,
        imports: Sequence[str],
        variables: Mapping[bytes, bytes | None],
        on_end: Callable[[TaskProcessHandle], None],
        *,
        is_new: bool,
        is_ours: bool,
    ) -> None:
        self.imports = tuple(imports)
        self.variables = dict(variables)
        self.stamp = learned_imports.stamp()
        self.unsafe = ""
        """The package after whose import it may not fork; it will not."""
        self.tasks: dict[int, TaskProcessHandle] = {}
        self.is_gone = False
        self._is_new = is_new
        self._on_end = on_end
        self._one_at_a_time = threading.Lock()
        self._changed = threading.Condition()
        self._is_up = False
        self._asked: tuple[socket.socket, Mark] | None = None
        self._made: TaskProcessHandle | str = ""
        self._control, its = socket.socketpair()
        with its:
            # It starts with the hash seed of this worker: two processes of a dispatch are to agree about hashes.
            started_with = current_variables() | self.variables
            command = [sys.executable, "-m", "covalab.worker.stem", "--control", str(its.fileno())]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                env={name: value for name, value in started_with.items() if value is not None},
                # A session of its own: it outlives a pool that is killed by the moment that ending its tasks takes.
                start_new_session=True,
            )
        with suppress(OSError):  # it is gone: `_listen` notices
            own = variables_of_worker()
            put_back = {name: own.get(name) for name in self.variables}
            write_message(self._control, Start(list(imports), is_ours, put_back))
        threading.Thread(target=self._listen, name="covalab-stem", daemon=True).start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it forks at once."""
        return self._is_up and not self.is_gone and not self.unsafe

    def wait_ready(self) -> bool:
        """Wait until it can fork. Return False if it never will."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_up or self.is_gone, _START_SECONDS)
        return self.is_ready

    def fork(self) -> TaskProcessHandle:
        """Return a new task process.

        Raises
        ------
        StemLost
            If the stem is gone, or the machine has no room for a process.
        """
        if not self.wait_ready():
            message = f"the process that starts tasks (pid {self.pid}) did not come up"
            raise StemLost(message)
        with self._one_at_a_time, tempfile.TemporaryFile() as file:
            file.truncate(MARK_BYTES)
            ours, its = socket.socketpair()
            with its, self._changed:
                self._asked, self._made = (ours, Mark(file.fileno())), ""
                with suppress(OSError):  # it is gone: `_listen` notices, too
                    write_message(self._control, Fork(self._is_new), (its.fileno(), file.fileno()))
                self._changed.wait_for(lambda: bool(self._made) or self.is_gone, _ANSWER_SECONDS)
                made, self._asked = self._made, None
                if not made and not self.is_gone:
                    self._process.kill()  # it was stopped, or hangs: the next one does not
        if isinstance(made, TaskProcessHandle):
            return made
        ours.close()
        message = f"the process that starts tasks (pid {self.pid}) {made or 'is gone'}"
        raise StemLost(message)

    def remove_at_end(self, cache: str) -> None:
        """Let the stem remove a cache folder when it ends and no worker uses it: it ends after this process."""
        with self._one_at_a_time, suppress(OSError):  # it is gone: another one gets it
            write_message(self._control, RemoveAtEnd(cache))

    def close(self) -> None:
        """End the stem, and every task process that it has forked."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        """Take messages, in a thread, until the process is gone."""
        with suppress(OSError):
            while (message := read_message(self._control, Ready | Forked | Ended)[0]) is not None:
                self._on_message(message)
        self._control.close()
        self._process.wait()
        with self._changed:
            self.is_gone = True
            self._changed.notify_all()
            left = list(self.tasks.values())
            self.tasks.clear()
        for handle in left:
            # Nobody takes the ends of its task processes now. One that waits for another dispatch did not do this.
            if not handle.is_waiting:
                handle.kill("its parent process, which starts tasks, was killed")
            self._end(handle, None)

    def _on_message(self, message: msgspec.Struct) -> None:
        with self._changed:
            if isinstance(message, Ready):
                self._is_up, self.unsafe = True, message.unsafe
            elif isinstance(message, Forked) and self._asked is not None:
                connection, mark = self._asked
                self._made = f"cannot start another: {message.error}"
                if message.pid:
                    made = self._made = TaskProcessHandle(message.pid, Channel(connection), mark)
                    made.imported_under = self.variables
                    self.tasks[message.pid] = made
            self._changed.notify_all()
            handle = self.tasks.pop(message.pid, None) if isinstance(message, Ended) else None
        if isinstance(message, Ended) and handle is not None:
            self._end(handle, message.status)

    def _end(self, handle: TaskProcessHandle, status: int | None) -> None:
        handle.status = status
        handle.ended.set()
        self._on_end(handle)
