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
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.cell_source import remember, remember_all, words_in
from covalab.core.codec import USERS_ERRORS
from covalab.core.errors import STORAGE_ERRORS, CellNotRun, CovalabError, RecordNotReadable
from covalab.core.model import Outcome
from covalab.namespace import exchange, hidden_state, pickling
from covalab.namespace.covariables import Snapshot, Tracker, is_hidden, restore
from covalab.worker import after, context, reporting
from covalab.worker.local_modules import finder
from covalab.worker.main_module import NodeMain
from covalab.worker.outputs import history
from covalab.worker.outputs.recorder import recorder
from covalab.worker.outputs.replays import without_outputs
from covalab.worker.outputs.shell import CellEnd, run_cell, shell
from covalab.worker.outputs.stored import stored_outputs
from covalab.worker.reuse.runs import CellRun
from covalab.worker.reuse.shown import show_again
from covalab.worker.reuse.watch import Watch
from covalab.worker.session.beside import Beside
from covalab.worker.session.beside_plan import beside_obstacle, shown_warnings
from covalab.worker.session.cell_text import CellText, NotebookNames
from covalab.worker.session.independence import SessionNames, broken, dependence, without_rebound
from covalab.worker.session.reach import is_of_shell, reached
from covalab.worker.session.record import (
    ANNOTATIONS,
    HISTORY,
    RESULT,
    CellRecord,
    RecordState,
    Replay,
    needed_replays,
    put_in_order,
    unfinished,
)
from covalab.worker.session.reuse import SessionReuse
from covalab.worker.session.reused import Reused
from covalab.worker.session.sources import CellSources
from covalab.worker.session.tied import tied_names
from covalab.worker.session.unnamed import ReplacedStreams, Unnamed, names_in_use

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
        self._fresh = self._hidden = hidden_state.capture()
        self._sources = CellSources(blobs)
        self._replaced = ReplacedStreams()
        self._unnamed = Unnamed(self.namespace, self._replaced)
        self.token = ""
        self._state = RecordState(-1, "", Snapshot())
        self._reuse: SessionReuse | None = None
        self._reused = Reused()
        self._beside = Beside()
        finder.follow_files()

    @property
    def state(self) -> RecordState:
        """The state after the last cell."""
        return self._state

    @property
    def tracker(self) -> Tracker:
        """The tracker of what its names share."""
        return self._tracker

    def _is_hidden(self, name: str) -> bool:
        return is_hidden(name) or is_of_shell(name, self.namespace.get(name))

    def restore(self, record: CellRecord) -> None:
        """Put the session together as it was after a cell of another process."""
        state = record.state
        self._sources.restore(record)
        made: set[str] = set()
        for replay in state.replays:
            self._replay(replay, made)
            made.update(replay.names)
        again = {name: self.namespace[name] for name in state.made_again if name in self.namespace}
        self._clear()
        with self._as_main():
            restore(state.snapshot, self._blobs, self.namespace)
        self.namespace.update(again)
        self._unnamed.take_out()
        put_in_order(self.namespace, state.order)
        self._apply(state.hidden)
        value = self.namespace.pop(RESULT, None)
        history.go_on(state.count, self.namespace.get(state.value_name, value))
        self._tracker = Tracker(self.namespace, self._is_hidden)
        self.token, self._state = state.token, state

    def _replay(self, replay: Replay, made: AbstractSet[str]) -> None:
        """Run a cell again for the values that could not be stored, beside those that earlier such cells made."""
        # What could be stored before this cell is restored as it was then, not as a cell before that left it.
        wanted = [name for name in made if name in self.namespace and name not in replay.before.names]
        kept = {name: self.namespace[name] for name in wanted}
        self._clear()
        with self._as_main():
            restore(replay.before, self._blobs, self.namespace)
        self.namespace.update(kept)
        self._apply(replay.hidden)
        with without_outputs():
            end = self._run(replay.text, replay.filename, replay.first_line)
        if end.error is not None:
            raise end.error

    def _apply(self, hidden: bytes) -> None:
        with self._as_main():
            _apply(hidden)

    def _clear(self) -> None:
        for name in [name for name in self.namespace if not self._is_hidden(name)]:
            del self.namespace[name]

    def run(self, cell: CellText, notebook: NotebookNames | None, values: Mapping[str, Any]) -> CellRecord:
        """Run a cell and store what it made and changed, or take that from an earlier run of it.

        Raises
        ------
        BaseException
            What the cell raised. The session is then given up: another run of the cell begins with what was stored.
            What this one did before is in `unfinished`; cells that are shown to be independent may go on from there.
        CellNotRun
            If that cannot be shown of this cell.
        """
        self.token = ""  # half way, until the cell has ended well
        if self._state.broken:
            self._refuse_dependent(cell)
        if notebook is not None or values:
            self._catch_up()
        before = self._state
        received = self._take(notebook)
        self.namespace.update(values)
        given = (*(notebook.names if notebook is not None else ()), *values)
        if (cell.reuse or cell.parallel) and received is None:
            try:
                state = self._run_or_reuse(cell, given, values)
            except BaseException:
                if not self.token:  # it ends here
                    self._beside.end()
                raise
        else:
            self._catch_up()
            state = self._run_plain(cell, given, values, received)
        if self._reuse is not None:
            state = msgspec.structs.replace(state, virtual=msgspec.msgpack.encode(self._reuse.virtual))
        if before.broken:
            state = msgspec.structs.replace(state, broken=without_rebound(before.broken, cell))
        self._state, self.token = state, state.token
        return CellRecord(state, self._blobs)

    # Cells after one that failed.

    def _refuse_dependent(self, cell: CellText) -> None:
        """Refuse a cell that is not shown to be independent of those that failed; the session is where it was."""
        self._catch_up()
        before = self._state
        names = SessionNames(self.namespace, self._tracker, before)
        reason = dependence(cell, names)
        if not reason:
            return
        mine = broken(before.number + 2, cell, names, has_failed=False)
        self._leave(msgspec.structs.replace(before, number=before.number + 1, broken=[*before.broken, mine]))
        raise CellNotRun(reason)

    def _leave(self, state: RecordState) -> None:
        """Go on from a cell that did not complete."""
        state = msgspec.structs.replace(state, token=secrets.token_hex(8))
        self._state, self.token = state, state.token
        unfinished.record = CellRecord(state, self._blobs)

    def _leave_failed(self, cell: CellText, state: RecordState) -> None:
        """Go on from a cell that failed: what it may have done, or might have done after the error, is noted."""
        names = SessionNames(self.namespace, self._tracker, msgspec.structs.replace(state, broken=self._state.broken))
        mine = broken(state.number + 1, cell, names, has_failed=True)
        # No cell that goes on uses what this one made, so it need not run again for that.
        replays = [one for one in state.replays if one in self._state.replays]
        self._leave(msgspec.structs.replace(state, replays=replays, broken=[*self._state.broken, mine]))

    def _run_plain(
        self, cell: CellText, given: Iterable[str], values: Mapping[str, Any], received: exchange.Received | None
    ) -> RecordState:
        """Run a cell that takes no part in reuse."""
        before = hidden_state.capture() if received is not None else None

        def answered(state: RecordState, bound: Iterable[str]) -> RecordState:
            if received is None or before is None:
                return state
            reply = self._blobs.serialize(received.reply(tuple(bound), self._is_hidden), text="")
            return msgspec.structs.replace(state, reply=reply, hidden_change=_pickled(hidden_state.capture(before)))

        state, _ = self._run_and_store(cell, given, values, answered)
        if self._reuse is not None:
            self._reuse.plain(cell, self._hidden, self._state)
        return state

    def _run_and_store(
        self,
        cell: CellText,
        given: Iterable[str],
        values: Mapping[str, Any],
        answered: Callable[[RecordState, Iterable[str]], RecordState] = lambda state, _: state,
        watch: AbstractContextManager[Any] | None = None,
    ) -> tuple[RecordState, bool]:
        """Run a cell; return the state after it, and whether it raised an exception, which it may."""
        replay = self._replay_of(cell, {*words_in(cell.text)})
        with watch or nullcontext():
            end = self._run(cell.text, cell.filename, cell.first_line)
        self.namespace.update({name: values[name] for name in cell.parameters if name in values})
        if end.error is not None and not (cell.may_raise and isinstance(end.error, Exception)):
            if not isinstance(end.error, KeyboardInterrupt):  # it is to stop now
                with suppress(*USERS_ERRORS, CovalabError):  # the error itself is worth more
                    # What it did not come to is not bound.
                    left = answered(self._stored(cell, given, end, replay), ())
                    unfinished.record = CellRecord(left, self._blobs)
                    if not cell.stop_on_error:
                        self._leave_failed(cell, left)
            raise end.error
        return answered(self._stored(cell, given, end, replay), cell.bound), end.error is not None

    # Reuse of earlier runs.

    def _run_or_reuse(self, cell: CellText, given: Iterable[str], values: Mapping[str, Any]) -> RecordState:
        if cell.parallel:
            shell()  # which sets something when it is made, and that is no cell's doing
        reuse = self._reuse = self._reuse or SessionReuse(
            self.namespace,
            self._blobs,
            hidden_state.capture(),
            self._state,
            self._sources.known,
            is_kept=cell.reuse,
        )
        after.process.complete = reuse.complete
        if given:  # what came in counts like what cells have made
            snapshot = self._tracker.store(self._blobs, {*given})
            self._state = msgspec.structs.replace(self._state, snapshot=snapshot)
        run = reuse.find(cell, self._state) or (self._run_of_beside(cell, reuse) if cell.parallel else None)
        if run is not None:
            self._sources.add({**run.sources, cell.filename: cell.text})
            remember_all(run.sources)
            sources, older = self._sources.stored()
            state = self._reused.after(run, self._state)
            state = msgspec.structs.replace(state, sources=sources, older_sources=older)
            show_again(run.outputs, self._blobs, state.count)
            reuse.take_over(run)
            return state
        self._catch_up()
        if cell.parallel and not self._replaced.now:
            self._beside.begin(self, cell, self._state.number + 2)
        begun = reuse.begin(cell, self._state, self._tracker)
        watch = Watch()
        try:
            state, has_failed = self._run_and_store(cell, given, values, watch=watch)
        except BaseException:
            if self.token:  # the session goes on
                reuse.end(begun, watch, self._state, self._hidden, self._tracker, has_failed=True)
                self._leave(msgspec.structs.replace(self._state, virtual=msgspec.msgpack.encode(reuse.virtual)))
            raise
        reuse.end(begun, watch, state, self._hidden, self._tracker, has_failed=has_failed)
        return state

    # Cells side by side.

    def _run_of_beside(self, cell: CellText, reuse: SessionReuse) -> CellRun | None:
        """Return the run of a cell that ran beside those before it, if it stands for a run now."""
        run = self._beside.take(self._state.number + 2)
        finished = None if self._replaced.now else self._beside.finished  # what it shows went elsewhere
        if run is None or finished is None:
            reuse.note(
                "again, in its turn: a cell has replaced the streams" if run is not None else self._beside.reason
            )
            return None
        text = reuse.obstacle(run, cell, self._state)
        if text:
            reuse.note(f"again, in its turn: it was begun beside cell {finished.beside}, and since then {text}")
            return None
        reuse.note(f"side by side with cell {finished.beside}")
        reuse.accept(cell, run, (finished.started_at, finished.ended_at))
        return run

    def run_beside(self, cell: CellText, node: int, folder: str, watch: Watch) -> bytes | str:
        """Run a cell in a fork of the session's process; return its encoded run, or why that cannot be taken."""
        reporter, reuse = reporting.process.reporter, self._reuse
        assert reporter is not None
        assert reporter.capture is not None
        assert reuse is not None
        reporter.capture.move(folder)
        context.process.task = context.Context(reporter.batch.dispatch, node)
        reuse.makes_runs = True
        begun = reuse.begin(cell, self._state, self._tracker)
        warned = shown_warnings()
        state, has_failed = self._run_and_store(cell, (), {}, watch=watch)
        reuse.end(begun, watch, state, self._hidden, self._tracker, has_failed=has_failed)
        if reuse.doubts:
            return f"it {reuse.doubts[0]}"
        if shown_warnings() != warned:
            return "a package warned, which it does once, in the first cell"
        outputs = None
        if not recorder.is_empty:
            outputs, _ = stored_outputs(*reporter.capture.texts(), None, self._blobs)
        stdout, stderr = reporter.capture.take()
        outcome = Outcome(node, "completed", 0.0, 0.0, stdout=stdout, stderr=stderr, outputs=outputs)
        made = reuse.made(outcome)
        if made is None:
            return "it shows too much"
        return beside_obstacle(made[1], cell) or msgspec.msgpack.encode(made[1])

    def close(self) -> None:
        """End what runs beside it."""
        self._beside.end()

    def _catch_up(self) -> None:
        """Load what cells have made that did not run here."""
        if self._reused:
            with self._as_main():
                self._reused.load(self._state, self._tracker, self._blobs, self.namespace)
            if self._reuse is not None:
                self._reuse.now = hidden_state.capture()

    def _take(self, notebook: NotebookNames | None) -> exchange.Received | None:
        """Take names from the notebook."""
        if notebook is None:
            return None
        _apply(notebook.hidden)
        self._sources.add(notebook.sources)
        remember_all(notebook.sources)
        with self._as_main(), hidden_state.kept_generators():
            if notebook.is_exchange:
                return exchange.receive(notebook.data, self.namespace)
            self.namespace.update(pickling.loads(notebook.data, self.namespace))
        return None

    def _run(self, text: str, filename: str, first_line: int) -> CellEnd:
        remember(filename, text)
        self._sources.add({filename: text})
        code = "\n".join(text.split("\n")[first_line - 1 :])
        with self._as_main(), self._replaced.in_place():
            return run_cell(code, filename=filename, namespace=self.namespace, first_line=first_line)

    @contextmanager
    def _as_main(self) -> Iterator[None]:
        """Let `__main__` be the notebook: while a cell runs, and while values arrive, of which one may be it."""
        own, sys.modules[_MAIN] = sys.modules[_MAIN], self._main
        try:
            yield
        finally:
            sys.modules[_MAIN] = own

    def _replay_of(self, cell: CellText, words: set[str]) -> Replay:
        """Return how to run a cell again: what it may read, as it is before it runs."""
        wanted = words | reached(words, self.namespace)
        stored = [one for one in self._state.snapshot.covariables if {*self._state.tied}.isdisjoint(one.names)]
        needs = tuple(name for name in self._state.made_again if name in wanted)
        # Nobody can look into a value that cannot be stored: its code may read any name.
        kept = tuple(one for one in stored if needs or not one.names or not wanted.isdisjoint(one.names))
        return Replay(cell.text, cell.filename, cell.first_line, (), Snapshot(kept, {}), self._state.hidden, needs)

    def _stored(self, cell: CellText, given: Iterable[str], end: CellEnd, replay: Replay) -> RecordState:
        before = self._state
        known = {*before.snapshot.names, *before.snapshot.unstorable}
        touched = {*given, *(self.namespace.keys() - known), *reached(words_in(cell.text), self.namespace)}
        touched |= names_in_use(self.namespace)
        self._hidden, change = hidden_state.capture_both(self._fresh)
        value_name = self._name_of(end.value) if end.has_value else ""
        if end.has_value and not value_name:
            self.namespace[RESULT] = end.value
            touched.add(RESULT)
        try:
            # Not where cells may be reused: those that replace streams or read annotations never are.
            with nullcontext() if cell.reuse else self._unnamed.among_names(touched, with_history=cell.history):
                snapshot = self._tracker.store(self._blobs, touched)
        finally:
            self.namespace.pop(RESULT, None)
        unstorable = {name: reason for name, reason in snapshot.unstorable.items() if not _is_left_out(name)}
        tied = tied_names(self.namespace, unstorable, [one.names for one in snapshot.covariables])
        involved = [name for name in unstorable if name in touched]
        is_involved = bool(involved) or bool(tied and not _changed_names(before.snapshot, snapshot).isdisjoint(tied))
        last = [msgspec.structs.replace(replay, names=(*involved, *tied))] if is_involved else []
        replays = needed_replays([*before.replays, *last], [*unstorable, *tied])
        sources, older = self._sources.stored()
        with self._as_main():  # functions among the settings have its globals
            hidden = _pickled(change)
        return RecordState(
            before.number + 1,
            secrets.token_hex(8),
            msgspec.structs.replace(snapshot, unstorable=unstorable),
            hidden,
            replays,
            end.has_value and (value_name or RESULT) not in snapshot.unstorable,
            sources=sources,
            count=shell().execution_count - 1,
            older_sources=older,
            value_name=value_name,
            order=[name for name in self.namespace if not self._is_hidden(name)],
            tied=tied,
        )

    def _name_of(self, value: Any) -> str:
        """Return a name that has a value; empty if none has."""
        return next((name for name, one in self.namespace.items() if one is value and not self._is_hidden(name)), "")


def _is_left_out(name: str) -> bool:
    """Return whether it is no reason to run a cell again that a value cannot be stored."""
    return name in (RESULT, ANNOTATIONS) or name.startswith(HISTORY)


def _pickled(state: hidden_state.HiddenState) -> bytes:
    return pickle.dumps(state) if state else b""


def _changed_names(before: Snapshot, after: Snapshot) -> set[str]:
    known = {*before.covariables}
    return {name for one in after.covariables if one not in known for name in one.names}


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
    if session is not None:
        session.close()
    session = process.session = LiveSession(reporting.blobs_of_batch())
    if record is not None:
        try:
            session.restore(record)
        except STORAGE_ERRORS as error:
            message = f"what the cells before left cannot be read, so this cell cannot go on from it: {error}"
            raise RecordNotReadable(message) from error
    return session
