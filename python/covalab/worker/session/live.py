"""Live session: the namespace that the cells of a dispatch share in this process, and how it is put together again.

After each cell what it made or changed is stored. A session that was lost with its process, or moves to another worker,
is restored from the record of its last cell; cells that made what cannot be stored run again, without output.
"""

from __future__ import annotations

import builtins
import contextlib
import re
import secrets
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.cell_source import remember
from covalab.namespace import hidden_state, pickling
from covalab.namespace.covariables import Snapshot, Tracker, is_hidden, restore
from covalab.worker import reporting
from covalab.worker.main_module import NodeMain
from covalab.worker.outputs.shell import CellEnd, run_cell
from covalab.worker.session.cell import NotebookNames, SessionCell
from covalab.worker.session.reach import is_of_shell, reached
from covalab.worker.session.record import RESULT, CellRecord, RecordState, Replay

_WORD: Final = re.compile(r"[^\W\d]\w*")
_MAIN: Final = "__main__"


class LiveSession:
    """Session that lives in this process.

    Attributes
    ----------
    token
        That of the record which it is at; empty before the first cell, and after a cell failed half way.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.namespace: dict[str, Any] = {"__name__": _MAIN, "__builtins__": builtins, "__doc__": None}
        self._main = NodeMain(types.FunctionType((lambda: None).__code__, self.namespace))
        self._tracker = Tracker(self.namespace, self._is_hidden)
        self._fresh = hidden_state.capture()
        self.token = ""
        self._state = RecordState(-1, "", Snapshot())

    def _is_hidden(self, name: str) -> bool:
        return is_hidden(name) or is_of_shell(name, self.namespace.get(name))

    def restore(self, record: CellRecord) -> None:
        """Put the session together as it was after a cell of another process."""
        state = record.state
        with contextlib.nullcontext():
            for replay in state.replays:
                self._replay(replay)
        unstorable = {name: self.namespace[name] for name in state.snapshot.unstorable if name in self.namespace}
        self._clear()
        restore(state.snapshot, self._blobs, self.namespace)
        self.namespace.update(unstorable)
        if state.hidden:
            hidden_state.apply(msgspec.msgpack.decode(state.hidden, type=bytes))
        self._tracker = Tracker(self.namespace, self._is_hidden)
        self.token, self._state = state.token, state

    def _replay(self, replay: Replay) -> None:
        """Run a cell again for the values that could not be stored."""
        kept = {name: self.namespace[name] for name in replay.names if name in self.namespace}
        self._clear()
        restore(replay.before, self._blobs, self.namespace)
        self.namespace.update(kept)
        if replay.hidden:
            hidden_state.apply(msgspec.msgpack.decode(replay.hidden, type=bytes))
        remember(replay.filename, replay.text)
        end = self._run(replay.text, replay.filename, replay.first_line)
        if end.error is not None:
            raise end.error

    def _clear(self) -> None:
        for name in [name for name in self.namespace if not name.startswith("__")]:
            del self.namespace[name]

    def run(self, cell: SessionCell, notebook: NotebookNames | None, values: Mapping[str, Any]) -> CellRecord:
        """Run a cell and store what it made and changed.

        Raises
        ------
        BaseException
            What the cell raised. The session is then given up: another run of the cell begins with what was stored.
        """
        self.token = ""  # half way, until the cell has ended well
        if notebook is not None:
            if notebook.hidden:
                hidden_state.apply(msgspec.msgpack.decode(notebook.hidden))
            self.namespace.update(pickling.loads(notebook.data, self.namespace))
        self.namespace.update(values)
        before = self._state
        words = self._touched(cell.text)
        given = (*(notebook.names if notebook is not None else ()), *values)
        replay_before = self._before(words)
        remember(cell.filename, cell.text)
        end = self._run(cell.text, cell.filename, cell.first_line)
        if end.error is not None:
            raise end.error
        self.namespace.update({name: values[name] for name in cell.parameters if name in values})
        self._state = self._stored(cell, before, {*words, *given}, end, replay_before)
        self.token = self._state.token
        return CellRecord(self._state, self._blobs)

    def _run(self, text: str, filename: str, first_line: int) -> CellEnd:
        own, sys.modules[_MAIN] = sys.modules[_MAIN], self._main
        try:
            code = "\n".join(text.split("\n")[first_line - 1 :])
            return run_cell(code, filename=filename, namespace=self.namespace, first_line=first_line)
        finally:
            sys.modules[_MAIN] = own

    def _before(self, words: Iterable[str]) -> tuple[Snapshot, bytes]:
        """Return what a cell may read, as it is before it runs, in case it must run again."""
        wanted = set(words)
        snapshot = self._state.snapshot
        kept = tuple(stored for stored in snapshot.covariables if not wanted.isdisjoint(stored.names))
        return Snapshot(kept, {}), self._state.hidden

    def _stored(
        self,
        cell: SessionCell,
        before: RecordState,
        words: set[str],
        end: CellEnd,
        replay_before: tuple[Snapshot, bytes],
    ) -> RecordState:
        names = {name for stored in before.snapshot.covariables for name in stored.names} | {
            *before.snapshot.unstorable
        }
        touched = words | (self.namespace.keys() - names) | self._touched(cell.text)
        if end.has_value:
            self.namespace[RESULT] = end.value
            touched.add(RESULT)
        try:
            snapshot = self._tracker.store(self._blobs, touched)
        finally:
            self.namespace.pop(RESULT, None)
        unstorable = {name: reason for name, reason in snapshot.unstorable.items() if name != RESULT}
        involved = tuple(name for name in unstorable if name in touched)
        replays = [replay for replay in before.replays if any(name in unstorable for name in replay.names)]
        if involved:
            replays.append(Replay(cell.text, cell.filename, cell.first_line, involved, *replay_before))
        hidden = hidden_state.capture(self._fresh)
        old = {stored.names: stored.value for stored in before.snapshot.covariables}
        made = tuple(
            name
            for stored in snapshot.covariables
            if old.get(stored.names) != stored.value
            for name in stored.names
            if name != RESULT
        )
        return RecordState(
            before.number + 1,
            secrets.token_hex(8),
            snapshot,
            msgspec.msgpack.encode(hidden) if hidden else b"",
            replays,
            end.has_value and RESULT not in snapshot.unstorable,
            made,
            tuple(names - self.namespace.keys() - {RESULT}),
        )

    def _touched(self, text: str) -> set[str]:
        """Return the names that a cell can reach: those in its text, and those in the functions that it can reach."""
        return reached(_WORD.findall(text), self.namespace)


class _Process:
    """The session of this process."""

    session: LiveSession | None = None


process = _Process()


def live_session(record: CellRecord | None) -> LiveSession:
    """Return the session that goes on from a record: the one that lives here, if it is at that record."""
    session = process.session
    if session is not None and record is not None and session.token == record.state.token:
        return session
    session = process.session = LiveSession(reporting.blobs_of_batch())
    if record is not None:
        session.restore(record)
    return session
