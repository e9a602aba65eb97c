"""Process beside a session: forked before a cell runs, it runs cells after that one in forks of its own.

It has the session as it was at that moment, and one thread. It waits a little first: where cells are quick, nothing is
worth the work. A fork that is about to do anything that is seen outside of it ends at once, and its cell runs in its
turn. Everything here ends with the session's process.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn, Protocol

import msgspec

from covalab.namespace.covariables import Tracker
from covalab.worker.channel import Channel
from covalab.worker.process_tree import describe_end, end_first, end_with_parent, waits_for_itself
from covalab.worker.reuse.watch import Watch
from covalab.worker.session.beside_plan import Plan
from covalab.worker.session.cell_text import CellText
from covalab.worker.session.record import RecordState

TAKE: Final = b"T"
"""To the process: the turn of a cell has come (its number)."""
LEAVE: Final = b"L"
"""To the process: begin no more cells."""
RESULT: Final = b"R"
"""To the session: what a cell has left (an encoded `Finished`)."""
WAIT: Final = b"W"
"""To the session: the cell runs in this process (8 bytes; 0: in none yet); its `RESULT` follows."""
LEFT: Final = b"N"
"""To the session: the cell was not begun, and no more will be: what is left (`Left`)."""

_PATIENCE: Final = 0.1
_STUCK_SECONDS: Final = 2.0
"""Pause between two looks at whether a fork waits for itself."""
_CHUNK: Final = 1 << 20


class Session(Protocol):
    """The session, as a process beside it has it."""

    namespace: dict[str, Any]

    @property
    def tracker(self) -> Tracker:
        """The tracker of what its names share."""

    @property
    def state(self) -> RecordState:
        """The state after the last cell."""

    def run_beside(self, cell: CellText, node: int, folder: str, watch: Watch) -> bytes | str:
        """Run a cell in a fork; return its encoded run, or why that cannot be taken."""


class Next(msgspec.Struct, frozen=True):
    """Cell after the one that is about to run, with its number, as people count, and its node."""

    number: int
    node: int
    cell: CellText


class Finished(msgspec.Struct, frozen=True):
    """End of a cell that ran beside the session: its run (an encoded `CellRun`), or why that cannot be taken."""

    started_at: float
    ended_at: float
    beside: int  # the cell before which the session was as it found it
    run: bytes = b""
    obstacle: str = ""


class Left(msgspec.Struct, frozen=True):
    """Cells that were begun, and why others were not, by number."""

    begun: list[int]
    reasons: dict[int, str]


class _Running(msgspec.Struct):
    number: int
    pid: int
    started_at: float
    data: bytearray
    n_stuck: int = 0  # looks at which it waited for itself
    obstacle: str = ""  # why it was ended


class Tokens:
    """Places for cells beside the session: bytes in a pipe that all its processes share."""

    def __init__(self, count: int) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        for _ in range(count):
            self.put()

    def take(self) -> bool:
        """Take a place; return whether there was one."""
        try:
            return bool(os.read(self.reader, 1))
        except BlockingIOError:
            return False

    def put(self) -> None:
        """Give a place back."""
        os.write(self._writer, b".")

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.reader)
        os.close(self._writer)


class BesideProcess:
    """The process, from its fork on.

    Parameters
    ----------
    session
        The session.
    cells
        The cell that is about to run, and those after it.
    taken
        The numbers of those that another such process has begun.
    connection
        The socket to the session.
    tokens
        The places.
    folder
        A folder for output.
    """

    def __init__(
        self,
        session: Session,
        cells: Sequence[Next],
        taken: set[int],
        connection: socket.socket,
        tokens: Tokens,
        folder: str,
    ) -> None:
        self._session = session
        self._base = cells[0].number
        self._cells = deque(cells)
        self._taken = taken
        self._channel = Channel(connection)
        self._tokens = tokens
        self._folder = folder
        self._plan = Plan(session.namespace, session.tracker, session.state)
        self._ready: deque[Next] = deque()
        self._running: dict[int, _Running] = {}  # by the descriptor of its pipe
        self._done: dict[int, Finished] = {}
        self._reasons: dict[int, str] = {}
        self._awaited = 0
        self._next_look = 0.0
        self._is_eager = any(one.cell.eager for one in cells)

    def serve(self) -> NoReturn:
        """Serve the session until it hangs up."""
        code = 1
        try:
            end_with_parent()
            if not self._is_eager and select.select([self._channel], [], [], _PATIENCE)[0]:
                self._cells.clear()
            self._loop()
            code = 0
        finally:
            os._exit(code)

    def _loop(self) -> None:
        while True:
            watched: list[Any] = [self._channel, *self._running]
            if self._ready:
                watched.append(self._tokens.reader)
            pause = 0 if self._cells else _STUCK_SECONDS if self._running else None
            found = select.select(watched, [], [], pause)[0]
            if self._running and time.monotonic() >= self._next_look:
                self._end_stuck()
            if self._channel in found and not self._answer():
                return
            for fd in [fd for fd in found if fd in self._running]:
                self._read(fd)
            if self._cells:
                self._look_at(self._cells.popleft())
            while self._ready and self._tokens.take():
                self._start(self._ready.popleft())

    def _end_stuck(self) -> None:
        """End forks all of whose threads wait for each other, in two looks: their cells run again in their turn.

        A fork has only the thread that forked it. A lock that another one held then is never released there.
        """
        self._next_look = time.monotonic() + _STUCK_SECONDS
        for one in self._running.values():
            one.n_stuck = one.n_stuck + 1 if waits_for_itself(one.pid) else 0
            if one.n_stuck == 2:
                one.obstacle = "it waited for a lock that nobody held any more"
                os.kill(one.pid, signal.SIGKILL)

    def _look_at(self, one: Next) -> None:
        reason = self._plan.add(one.number, one.cell)
        if one.number == self._base or one.number in self._taken:
            return
        if reason:
            self._reasons[one.number] = reason
        else:
            self._ready.append(one)

    # The session asks.

    def _answer(self) -> bool:
        """Answer a question; return whether there was one."""
        frame = self._channel.receive()
        if frame is None:
            return False
        kind, data = frame
        while self._is_eager and self._cells:
            self._look_at(self._cells.popleft())
        if kind == TAKE:
            self._give(int.from_bytes(data, "big"))
        elif kind == LEAVE:
            self._leave()
        return True

    def _leave(self) -> None:
        """Begin no more cells, but those that are to begin as soon as they can."""
        self._cells.clear()
        self._ready = deque(one for one in self._ready if one.cell.eager)
        begun = [*self._done, *(one.number for one in self._running.values()), *(one.number for one in self._ready)]
        self._channel.send(LEFT, msgspec.msgpack.encode(Left(begun, self._reasons)))

    def _give(self, number: int) -> None:
        if number in self._done:
            self._channel.send(RESULT, msgspec.msgpack.encode(self._done.pop(number)))
        elif (pid := self._pid_of(number)) or self._is_waited_for(number):
            self._awaited = number
            self._channel.send(WAIT, pid.to_bytes(8, "big"))
        else:
            self._leave()

    def _pid_of(self, number: int) -> int:
        return next((one.pid for one in self._running.values() if one.number == number), 0)

    def _is_waited_for(self, number: int) -> bool:
        """Return whether a cell is begun although its turn has come: the place of the session is free for it."""
        return any(one.number == number and one.cell.eager for one in self._ready)

    # Cells.

    def _start(self, one: Next) -> None:
        reader, writer = os.pipe()
        started_at = time.time()
        pid = fork()
        if not pid:
            with suppress(BaseException):
                end_with_parent()
                end_first()
                os.close(reader)
                self._run(one, writer, started_at)
            os._exit(1)
        os.close(writer)
        self._running[reader] = _Running(one.number, pid, started_at, bytearray())
        if self._awaited == one.number:
            self._channel.send(WAIT, pid.to_bytes(8, "big"))

    def _run(self, one: Next, writer: int, started_at: float) -> None:
        """Run a cell, in a process of its own, and write how it ended."""

        def end(obstacle: str, run: bytes = b"") -> NoReturn:
            data = msgspec.msgpack.encode(Finished(started_at, time.time(), self._base, run, obstacle))
            with open(writer, "wb", closefd=False) as file:
                file.write(data)
            os._exit(0)

        try:
            run = self._session.run_beside(one.cell, one.node, self._folder, Guard(end))
        except BaseException as error:  # noqa: BLE001 - of the cell: it raises it again in its turn
            end(f"it raised {type(error).__name__}")
        end("", run) if type(run) is bytes else end(str(run))

    def _read(self, fd: int) -> None:
        one = self._running[fd]
        data = os.read(fd, _CHUNK)
        if data:
            one.data += data
            return
        os.close(fd)
        del self._running[fd]
        status = os.waitpid(one.pid, 0)[1]
        self._tokens.put()
        try:
            finished = msgspec.msgpack.decode(one.data, type=Finished)
        except msgspec.DecodeError:
            obstacle = one.obstacle or describe_end(status)
            finished = Finished(one.started_at, time.time(), self._base, obstacle=obstacle)
        if self._awaited == one.number:
            self._awaited = 0
            self._channel.send(RESULT, msgspec.msgpack.encode(finished))
        else:
            self._done[one.number] = finished


class Guard(Watch):
    """Watch that ends the process before the first effect outside of it.

    Parameters
    ----------
    end
        What is called with the effect; it does not return.
    """

    def __init__(self, end: Any) -> None:
        super().__init__()
        self._end = end
        self._pid = os.getpid()

    def effect(self, text: str) -> None:
        """End the process."""
        if os.getpid() == self._pid:
            self._end(f"it {text}")
        os._exit(1)


def fork() -> int:
    """Fork this process; in the fork the random generator of Python goes on as it does here."""
    state = random.getstate()
    # Later versions of Python warn of threads; those of this package are idle, and hold nothing that a fork needs.
    # Not by `catch_warnings`: what was shown already would be shown again.
    warnings.filters.insert(0, ("ignore", None, DeprecationWarning, None, 0))  # type: ignore[attr-defined]
    try:
        pid = os.fork()
    finally:
        del warnings.filters[0]  # type: ignore[attr-defined]
    if not pid:
        random.setstate(state)  # Python has given it another seed
    return pid


def has_other_threads() -> bool:
    """Whether threads run here beside those of this package, also such as Python does not know."""
    own = [one for one in threading.enumerate() if one is threading.main_thread() or one.name.startswith("covalab")]
    if len(own) != threading.active_count() or len(own) < len(sys._current_frames()):  # noqa: SLF001
        return True
    try:
        return len(os.listdir("/proc/self/task")) > len(own)  # noqa: PTH208 - as text
    except OSError:
        return True
