"""Live session: the namespace that the cells of a dispatch share in this process, and how it is put together again.

After each cell what it made or changed is stored. A session that was lost with its process, or moves to another worker,
is restored from the record of its last cell; cells that made what cannot be stored run again, without output.
"""

from __future__ import annotations

import builtins
import pickle
import secrets
import sys
import types
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.cell_source import remember, remember_all, words_in
from covalab.core.codec import USERS_ERRORS
from covalab.core.errors import CovalabError
from covalab.core.model import INLINE_LIMIT, Value
from covalab.namespace import exchange, hidden_state, pickling
from covalab.namespace.covariables import Snapshot, Tracker, is_hidden, restore
from covalab.worker import reporting
from covalab.worker.main_module import NodeMain
from covalab.worker.outputs.replays import set_history, without_outputs
from covalab.worker.outputs.shell import CellEnd, run_cell, shell
from covalab.worker.session.cell_text import CellText, NotebookNames
from covalab.worker.session.reach import is_of_shell, reached
from covalab.worker.session.record import RESULT, CellRecord, RecordState, Replay, unfinished

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
        self._sources = _Sources(blobs)
        self.token = ""
        self._state = RecordState(-1, "", Snapshot())

    def _is_hidden(self, name: str) -> bool:
        return is_hidden(name) or is_of_shell(name, self.namespace.get(name))

    def restore(self, record: CellRecord) -> None:
        """Put the session together as it was after a cell of another process."""
        state = record.state
        self._sources.restore(record)
        for replay in state.replays:
            self._replay(replay)
        unstorable = {name: self.namespace[name] for name in state.snapshot.unstorable if name in self.namespace}
        self._clear()
        restore(state.snapshot, self._blobs, self.namespace)
        self.namespace.update(unstorable)
        _apply(state.hidden)
        set_history(state.count, self.namespace.pop(RESULT, None))
        self._tracker = Tracker(self.namespace, self._is_hidden)
        self.token, self._state = state.token, state

    def _replay(self, replay: Replay) -> None:
        """Run a cell again for the values that could not be stored."""
        kept = {name: self.namespace[name] for name in replay.names if name in self.namespace}
        self._clear()
        restore(replay.before, self._blobs, self.namespace)
        self.namespace.update(kept)
        _apply(replay.hidden)
        with without_outputs():
            end = self._run(replay.text, replay.filename, replay.first_line)
        if end.error is not None:
            raise end.error

    def _clear(self) -> None:
        for name in [name for name in self.namespace if not self._is_hidden(name)]:
            del self.namespace[name]

    def run(self, cell: CellText, notebook: NotebookNames | None, values: Mapping[str, Any]) -> CellRecord:
        """Run a cell and store what it made and changed.

        Raises
        ------
        BaseException
            What the cell raised. The session is then given up: another run of the cell begins with what was stored.
            What this one did before is in `unfinished`.
        """
        self.token = ""  # half way, until the cell has ended well
        received = self._take(notebook)
        self.namespace.update(values)
        before = hidden_state.capture() if received is not None else None
        replay = self._replay_of(cell, {*words_in(cell.text)})
        end = self._run(cell.text, cell.filename, cell.first_line)
        self.namespace.update({name: values[name] for name in cell.parameters if name in values})
        given = (*(notebook.names if notebook is not None else ()), *values)

        def record(bound: Iterable[str]) -> CellRecord:
            state = self._stored(cell, given, end, replay)
            if received is not None and before is not None:
                reply = self._blobs.serialize(received.reply(tuple(bound), self._is_hidden), text="")
                change = _pickled(hidden_state.capture(before))
                state = msgspec.structs.replace(state, reply=reply, hidden_change=change)
            return CellRecord(state, self._blobs)

        if end.error is not None and not (cell.may_raise and isinstance(end.error, Exception)):
            if not isinstance(end.error, KeyboardInterrupt):  # it is to stop now
                with suppress(*USERS_ERRORS, CovalabError):  # the error itself is worth more
                    unfinished.record = record(())  # what it did not come to is not bound
            raise end.error
        made = record(cell.bound)
        self._state, self.token = made.state, made.state.token
        return made

    def _take(self, notebook: NotebookNames | None) -> exchange.Received | None:
        """Take names from the notebook."""
        if notebook is None:
            return None
        _apply(notebook.hidden)
        self._sources.add(notebook.sources)
        remember_all(notebook.sources)
        with hidden_state.kept_generators():
            if notebook.is_exchange:
                return exchange.receive(notebook.data, self.namespace)
            self.namespace.update(pickling.loads(notebook.data, self.namespace))
        return None

    def _run(self, text: str, filename: str, first_line: int) -> CellEnd:
        remember(filename, text)
        self._sources.add({filename: text})
        code = "\n".join(text.split("\n")[first_line - 1 :])
        own, sys.modules[_MAIN] = sys.modules[_MAIN], self._main
        try:
            return run_cell(code, filename=filename, namespace=self.namespace, first_line=first_line)
        finally:
            sys.modules[_MAIN] = own

    def _replay_of(self, cell: CellText, words: set[str]) -> Replay:
        """Return how to run a cell again: what it may read, as it is before it runs."""
        wanted = words | reached(words, self.namespace)
        stored = self._state.snapshot.covariables
        kept = tuple(one for one in stored if not one.names or not wanted.isdisjoint(one.names))
        return Replay(cell.text, cell.filename, cell.first_line, (), Snapshot(kept, {}), self._state.hidden)

    def _stored(self, cell: CellText, given: Iterable[str], end: CellEnd, replay: Replay) -> RecordState:
        before = self._state
        known = {*before.snapshot.names, *before.snapshot.unstorable}
        touched = {*given, *(self.namespace.keys() - known), *reached(words_in(cell.text), self.namespace)}
        if end.has_value:
            self.namespace[RESULT] = end.value
            touched.add(RESULT)
        try:
            snapshot = self._tracker.store(self._blobs, touched)
        finally:
            self.namespace.pop(RESULT, None)
        unstorable = {name: reason for name, reason in snapshot.unstorable.items() if name != RESULT}
        replays = [one for one in before.replays if any(name in unstorable for name in one.names)]
        involved = tuple(name for name in unstorable if name in touched)
        if involved:
            replays.append(msgspec.structs.replace(replay, names=involved))
        sources, older = self._sources.stored()
        return RecordState(
            before.number + 1,
            secrets.token_hex(8),
            msgspec.structs.replace(snapshot, unstorable=unstorable),
            _pickled(hidden_state.capture(self._fresh)),
            replays,
            end.has_value and RESULT not in snapshot.unstorable,
            sources=sources,
            count=shell().execution_count - 1,
            older_sources=older,
        )


class _Sources:
    """Texts of the cells so far. Each is in a record until there are many, which then become a blob of all records."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._known: dict[str, str] = {}
        self._recent: dict[str, str] = {}
        self._older: list[Value] = []

    def add(self, sources: Mapping[str, str]) -> None:
        """Add texts, by the names of their files."""
        new = {name: text for name, text in sources.items() if self._known.get(name) != text}
        self._known.update(new)
        self._recent.update(new)

    def restore(self, record: CellRecord) -> None:
        """Go on from a record."""
        self._known = record.sources
        self._recent, self._older = dict(record.state.sources), list(record.state.older_sources)
        remember_all(self._known)

    def stored(self) -> tuple[dict[str, str], list[Value]]:
        """Return the texts for a record, and the values with those before them."""
        if sum(map(len, self._recent.values())) > INLINE_LIMIT:  # smaller ones would not be blobs
            self._older.append(self._blobs.serialize(self._recent, what="texts of cells"))
            self._recent = {}
        return dict(self._recent), list(self._older)


def _pickled(state: hidden_state.HiddenState) -> bytes:
    return pickle.dumps(state) if state else b""


def _apply(hidden: bytes) -> None:
    if hidden:
        hidden_state.apply(pickle.loads(hidden))  # noqa: S301 - of this data folder


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
