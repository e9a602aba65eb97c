"""Cells that run side by side: the session's side of it.

The session runs its cells in their order, as always. Before each it forks a process (`beside_process`) in which cells
after it may run meanwhile. When the turn of such a cell comes, its run is compared with the session as it is by then,
exactly as the run of an earlier dispatch is (`worker.session.reuse`), and stands for the cell if nothing is different;
else the cell runs here. So records, counts, outputs and errors come in the notebook's order.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from covalab.core.codec import USERS_ERRORS, decode
from covalab.core.errors import CovalabError
from covalab.core.protocol import Batch, TaskSpec
from covalab.worker import context, reporting
from covalab.worker.capture import Capture, folder_of_forks
from covalab.worker.channel import Channel
from covalab.worker.reuse.runs import CellRun
from covalab.worker.session import beside_process as process
from covalab.worker.session.beside_output import BesideOutput
from covalab.worker.session.beside_process import (
    BesideProcess,
    Finished,
    Left,
    Next,
    Session,
    Tokens,
    fork,
    has_other_threads,
)
from covalab.worker.session.cell_text import CellText

_COPY_SECONDS: Final = 0.2
"""Pause between two looks at what a cell beside the session shows, whose turn has come."""
_WINDOW: Final = 24
"""Cells after the one that runs that are looked at."""


class Beside:
    """Processes beside one session.

    Attributes
    ----------
    reason
        Why the cell whose turn it is does not come from beside, for people; empty: the cells before it were quick.
    finished
        The run that was taken last.
    """

    def __init__(self) -> None:
        self._places = _processors() - 1
        self._tokens: Tokens | None = None
        self._debt = 0
        self._processes: list[_Forked] = []
        self._ending: list[_Forked] = []
        self._reasons: dict[int, str] = {}
        self._cells: dict[str, CellText | None] = {}
        self._number = 0
        self._without = ""  # why no cell comes from beside; empty: there was nothing to wait for
        self.reason = ""
        self.finished: Finished | None = None

    def take(self, number: int) -> CellRun | None:
        """Return the run of a cell whose turn has come, if it was begun beside the session; wait for its end."""
        self.reason, self.finished = "", None
        try:
            found = self._taken(number)
        except OSError:  # one of them is gone
            self.end()
            self.reason = "the process beside the session is gone"
            return None
        if found is None:
            self.reason = self._reasons.pop(number, "") or self._without
        elif found.obstacle:
            self.reason = f"again, in its turn: it was begun beside cell {found.beside}, and {found.obstacle}"
        else:
            self.finished = found
            return msgspec.msgpack.decode(found.run, type=CellRun)
        return None

    def _taken(self, number: int) -> Finished | None:
        for one in self._processes:
            kind, data = one.ask(process.TAKE, number.to_bytes(8, "big"))
            if kind == process.WAIT:
                assert self._tokens is not None
                self._tokens.put()  # meanwhile another cell has the place of the session
                try:
                    while kind == process.WAIT:
                        kind, data = _shown_meanwhile(one, int.from_bytes(data, "big"))
                finally:
                    self._debt += 1
                    self._pay()
            if kind == process.RESULT:
                if one.left is not None:
                    one.left = Left([other for other in one.left.begun if other != number], {})
                return msgspec.msgpack.decode(data, type=Finished)
            self._note(one, data)
        return None

    def _note(self, one: _Forked, data: bytes) -> None:
        """Note what a process has left, which begins no more cells."""
        one.left = msgspec.msgpack.decode(data, type=Left)
        self._reasons.update(one.left.reasons)

    def _pay(self) -> None:
        """Take back the places that were lent while the session waited, as far as they are free."""
        while self._debt and self._tokens is not None and self._tokens.take():
            self._debt -= 1

    def begin(self, session: Session, cell: CellText, number: int) -> None:
        """Begin a cell: what is independent of it may run meanwhile."""
        try:
            taken = self._settle()
        except OSError:
            self.end()
            taken = set()
        cells = [Next(number, -1, cell), *self._following(number)]
        others = [one for one in cells[1:] if one.cell.parallel and one.number not in taken]
        places = self._places or int(any(one.cell.eager for one in others))
        self._without = "" if places else "in its turn: this process may use one processor"
        if not others or not places:
            return
        capture = _capture()
        if has_other_threads():
            self._without = "in its turn: the process has threads of its own, which a fork would not have"
            return
        if capture is None or session.state.broken:
            return
        capture.flush()
        if self._tokens is None:
            self._tokens, self._debt = Tokens(places), 0
        self._pay()
        ours, theirs = socket.socketpair()
        self._number += 1
        folder = str(folder_of_forks(capture.folder, os.getpid()) / str(self._number))
        pid = fork()
        if not pid:
            try:
                ours.close()
                BesideProcess(session, cells, taken, theirs, self._tokens, folder).serve()
            finally:
                os._exit(1)
        theirs.close()
        self._processes.append(_Forked(pid, Channel(ours), folder))

    def _settle(self) -> set[int]:
        """Let no process begin more cells; return the numbers of those that were begun, and end who has none."""
        begun: set[int] = set()
        for one in [*self._processes]:
            if one.left is None:
                self._note(one, one.ask(process.LEAVE)[1])
            if one.left is not None and one.left.begun:
                begun |= {*one.left.begun}
            else:
                self._processes.remove(one)
                one.hang_up()
                self._ending.append(one)
        self._ending = [one for one in self._ending if not one.has_ended()]
        return begun

    def _following(self, number: int) -> list[Next]:
        """Return the cells of the batch after the one that runs, as far as one follows the other."""
        reporter = reporting.process.reporter
        node = context.process.task.task_id
        if reporter is None or node is None:
            return []
        tasks: Sequence[TaskSpec] = reporter.batch.tasks
        at = next((n for n, task in enumerate(tasks) if task.node == node), len(tasks))
        found: list[Next] = []
        for task in tasks[at + 1 : at + 1 + _WINDOW]:
            cell = self._cell_of(task, reporter.batch) if _follows(task, node) else None
            if cell is None:
                break
            node = task.node
            found.append(Next(number + len(found) + 1, node, cell))
        return found

    def _cell_of(self, task: TaskSpec, batch: Batch) -> CellText | None:
        if task.function not in self._cells:
            function = None
            with suppress(*USERS_ERRORS, CovalabError):
                function = decode(reporting.blobs_of_batch().code(task.function, batch.code))
            cell = getattr(function, "cell", None)
            self._cells[task.function] = cell if type(cell) is CellText else None
        return self._cells[task.function]

    def end(self) -> None:
        """End everything beside the session."""
        for one in (*self._processes, *self._ending):
            one.end()
        self._processes.clear()
        self._ending.clear()
        if self._tokens is not None:
            self._tokens.close()
            self._tokens = None


class _Forked:
    """A process beside the session.

    Attributes
    ----------
    left
        What it has left, if it begins no more cells.
    folder
        The folder for what its forks show.
    """

    def __init__(self, pid: int, channel: Channel, folder: str) -> None:
        self._pid, self._channel, self.folder = pid, channel, folder
        self.left: Left | None = None

    def ask(self, kind: bytes, data: bytes = b"") -> tuple[bytes, bytes]:
        """Ask, and return the answer. Raises `OSError` if it is gone."""
        self._channel.send(kind, data)
        return self.answer()

    def answer(self, meanwhile: Callable[[], object] | None = None) -> tuple[bytes, bytes]:
        """Return the next answer; `meanwhile` is called from time to time until it comes."""
        while meanwhile is not None and not self._channel.is_ready(_COPY_SECONDS):
            meanwhile()
        frame = self._channel.receive()
        if frame is None:
            message = "the process beside the session is gone"
            raise OSError(message)
        return frame

    def hang_up(self) -> None:
        """Let it end by itself."""
        self._channel.close()

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        with suppress(OSError):
            if not os.waitpid(self._pid, os.WNOHANG)[0]:
                return False
        self._tidy()
        return True

    def end(self) -> None:
        """End it, and what it runs."""
        with suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(OSError):
            os.waitpid(self._pid, 0)
        self._channel.close()
        self._tidy()

    def _tidy(self) -> None:
        if Path(self.folder).exists():
            shutil.rmtree(self.folder, ignore_errors=True)


def _capture() -> Capture | None:
    """Return the output of this process, if it runs a batch."""
    reporter = reporting.process.reporter
    return None if reporter is None else reporter.capture


def _shown_meanwhile(one: _Forked, pid: int) -> tuple[bytes, bytes]:
    """Return the answer of a process whose fork runs the cell whose turn it is; what it shows is seen until then."""
    capture = _capture()
    if capture is None or not pid:  # it has yet to begin
        return one.answer()
    output = BesideOutput(capture, one.folder, pid)
    try:
        return one.answer(output.copy)
    finally:
        output.drop()


def _follows(task: TaskSpec, node: int) -> bool:
    return len(task.args) == 1 and task.args[0].node == node and not task.kwargs and not task.hooks


def _processors() -> int:
    """Return how many processors this process may use."""
    if sys.platform != "linux":  # forks are not safe there
        return 1
    return len(os.sched_getaffinity(0))
