"""Reuse of cells: whether values and outputs of an earlier run may stand for a run of a cell, and what is kept of it.

Decided before the cell runs, in the process of its session. Everything that it could read is compared by digest: names,
also those in code that it reaches, settings and random generators, files and variables that it read, packages and
modules. A cell that does anything outside of its process, or asks for what is another thing each time, runs.
"""

from __future__ import annotations

import logging
import sys
import time
import types
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core import outputs
from covalab.core.cell_source import words_in
from covalab.core.codec import digest_of, inline_value
from covalab.core.errors import CovalabError
from covalab.core.model import DispatchId, Outcome, Reuse, Value
from covalab.namespace.array_kinds import maps_a_file
from covalab.namespace.covariables import Snapshot, StoredCovariable, Tracker
from covalab.namespace.hidden_state import HiddenState, difference
from covalab.namespace.sharing import can_change
from covalab.reuse_index import ReuseIndex
from covalab.worker import context
from covalab.worker.learned_imports import preloaded
from covalab.worker.reuse import local_code, surroundings
from covalab.worker.reuse.runs import (
    FORMAT,
    CellRun,
    Virtual,
    digest_of_all,
    digest_of_covariable,
    label_of,
    obstacle,
)
from covalab.worker.reuse.watch import Watch
from covalab.worker.session import hidden_parts
from covalab.worker.session.cell_text import CellText
from covalab.worker.session.looking import Look
from covalab.worker.session.reach import reached
from covalab.worker.session.record import RESULT, RecordState

_log = logging.getLogger("covalab.worker")
_TEXT_LIMIT: Final = 2_000
_OUTPUT_LIMIT: Final = 4_000_000


def key_of(cell: CellText) -> str:
    """Return the key under which runs of a cell are kept: what is compared by digest is not in it."""
    parts = [FORMAT, sys.version, sys.prefix, cell.text, cell.first_line, cell.parameters]
    return digest_of([msgspec.msgpack.encode(parts)])


class Beginning(msgspec.Struct):
    """Beginning of a cell that is about to run: all that it may read, as it is then."""

    cell: CellText
    state: RecordState
    words: set[str]
    names: set[str]  # that it can reach
    states: dict[str, str]  # of local modules
    modules: set[str]  # loaded then
    started: float


class SessionReuse:
    """Reuse in one session.

    Attributes
    ----------
    virtual
        The state of the session beside its names, after its last cell.
    now
        The hidden state after the last cell that ran here.
    """

    def __init__(
        self,
        namespace: dict[str, Any],
        blobs: BlobStore,
        now: HiddenState,
        state: RecordState,
        sources: Mapping[str, str],
        *,
        is_kept: bool = True,
    ) -> None:
        self._namespace = namespace
        self._blobs = blobs
        self._index = ReuseIndex.beside(blobs.folder)
        self._is_kept = is_kept  # whether earlier runs are looked for, and runs kept for later ones
        self.makes_runs = is_kept
        self.now = now
        self._digests: dict[int, tuple[StoredCovariable, str]] = {}
        if state.virtual:
            self.virtual = msgspec.msgpack.decode(state.virtual, type=Virtual)
        else:
            world = ""
            if state.number >= 0:  # cells that take no part have run before
                known = [sorted(sources.values()), sorted(self._digests_of(state.snapshot).values())]
                world = digest_of([msgspec.msgpack.encode(known)])
            self.virtual = Virtual(hidden_parts.digests(now, HiddenState({})), world=world)
        self.virtual.sticky = sorted({*self.virtual.sticky, *preloaded().read})
        self._draft: tuple[str, CellRun] | None = None
        self._result = Reuse()
        self._times: tuple[float, float] | None = None
        hidden_parts.watch_imports()

    # Before the cell.

    def find(self, cell: CellText, state: RecordState) -> CellRun | None:
        """Return a run that may stand for a run of a cell now; None if there is none, for the reasons that are kept."""
        self._draft = self._times = None
        self._result = Reuse()
        if not self._is_kept:
            return None
        reasons: dict[str, None] = {}
        for data in self._index.runs(key_of(cell)):
            try:
                run = msgspec.msgpack.decode(data, type=CellRun)
            except msgspec.DecodeError:
                continue
            text = self.obstacle(run, cell, state)
            if not text:
                named = [label for label in run.inputs if label.isidentifier() and len(label) < 32]
                same = ["its text", *sorted(named)[:8], "settings, files and packages that count"]
                self._result = Reuse(DispatchId(run.dispatch), run.node, (f"as they were: {', '.join(same)}",))
                return run
            reasons[text] = None
        self._result = Reuse(reasons=tuple(reasons) or ("no run of this text is kept",))
        return None

    def obstacle(self, run: CellRun, cell: CellText, state: RecordState) -> str:
        """Return why a run cannot stand for a run of a cell now, for people; empty if it can."""
        if self.virtual.held:
            return f"a package may have kept {', '.join(self.virtual.held)}, and change it"
        kept = tuple(one for one in state.snapshot.covariables if not _is_only_shown(one))
        snapshot = Snapshot(kept, state.snapshot.unstorable)
        text = obstacle(run, snapshot, self._digests_of(snapshot), self.virtual, cell.filename)
        if not text and not all(map(self._blobs.keep, [*(one.value for one in run.covariables), run.outputs])):
            text = "values of its earlier run were deleted"
        return text

    def note(self, reason: str) -> None:
        """Note why a cell ran when it did, for people; empty: there is nothing to say."""
        if reason:
            self._result = msgspec.structs.replace(self._result, reasons=(*self._result.reasons, reason))

    def accept(self, cell: CellText, run: CellRun, times: tuple[float, float]) -> None:
        """Accept a run of a cell that was made before its turn; it is kept like any other."""
        self._draft = key_of(cell), run
        self._times = times

    def begin(self, cell: CellText, state: RecordState, tracker: Tracker) -> Beginning:
        """Return what a cell may read that is about to run."""
        words = {*words_in(cell.text)}
        names = self._reach(words, tracker)
        modules = local_code.reached_modules(words, self._modules_of(names, tracker))
        states = {name: local_code.state_of_module(sys.modules[name]) for name in modules}
        return Beginning(cell, state, words, names, states, {*sys.modules}, time.perf_counter())

    def _reach(self, words: Iterable[str], tracker: Tracker) -> set[str]:
        names = tracker.connected(reached(words, self._namespace))
        values = [self._namespace.get(name) for name in names]
        texts = [value for value in values if type(value) is str and len(value) < _TEXT_LIMIT]
        more = {word for text in texts for word in words_in(text)} - names
        return names | tracker.connected(reached(more, self._namespace)) if more else names

    def _modules_of(self, names: Iterable[str], tracker: Tracker) -> set[str]:
        found: set[str] = set()
        for name in names:
            value = self._namespace.get(name)
            if isinstance(value, types.ModuleType):
                found.add(value.__name__)
            else:
                found.update(map(str, (type(value).__module__, getattr(value, "__module__", ""))))
            found.update(tracker.mentioned(name).modules)
        return found

    def _digests_of(self, snapshot: Snapshot) -> dict[str, str]:
        known, self._digests = self._digests, {}
        for one in snapshot.covariables:
            if _is_only_shown(one):
                continue
            self._digests[id(one)] = known.get(id(one)) or (one, digest_of_covariable(one))
        return {label_of(one): digest for one, digest in self._digests.values()}

    # After the cell.

    def end(
        self,
        begun: Beginning,
        watch: Watch,
        after: RecordState,
        now: HiddenState,
        tracker: Tracker,
        *,
        has_failed: bool = False,
    ) -> None:
        """Note what a cell has done that ran; if it may be reused, its run is kept when its outcome is known."""
        seconds = time.perf_counter() - begun.started
        watch.settle()
        inputs = self._inputs(begun)
        needed = {tracker for one in inputs for tracker in (*one.definitions, *one.needs)}
        reached_names = begun.names | reached(begun.words, self._namespace)
        looked = Look(
            begun.cell.text,
            begun.cell.first_line,
            reached_names,
            needed,
            self._namespace,
            self._modules_of(reached_names, tracker),
        )
        changed = difference(now, self.now)
        before, self.now = self.virtual, now
        imported = [name for name in sys.modules if name not in begun.modules and not name.startswith("covalab")]
        parts = hidden_parts.after(before.parts, changed, now, looked.identifiers | begun.words, bool(imported))
        modules = local_code.reached_modules(begun.words | looked.identifiers, looked.modules)
        states = {name: local_code.state_of_module(sys.modules[name]) for name in modules if name in sys.modules}
        doubts = [*watch.effects, *looked.doubts(modules, imported), *_unstorable(begun, after)]
        doubts += ["raises an exception"] if has_failed else []
        mapped = sorted(name for name in reached_names if maps_a_file(self._namespace.get(name)))
        doubts += [f"uses a file as memory: {name}" for name in mapped]
        unknown = hidden_parts.used_unknown(before.parts, parts)
        doubts += [f"uses the random numbers of {name}, which begin elsewhere each time" for name in unknown]
        changing = [name for name, state in begun.states.items() if states.get(name) != state]
        doubts += [f"changes data of the module {name}" for name in changing]
        doubts += [f"may change {name}, which a package may have kept" for name in before.held]
        held = sorted({*before.held, *self._kept_of(looked.handed)})
        sticky = sorted({*before.sticky, *watch.variables.read}) if imported else before.sticky
        world = self._world(begun, looked.settings, doubts)
        self.virtual = Virtual(parts, {**before.states, **states}, world, sticky, held)
        self._result = msgspec.structs.replace(self._result, doubts=tuple(dict.fromkeys(doubts)))
        if doubts or not self.makes_runs:
            return
        digests = self._digests_of(begun.state.snapshot)
        kept = {*begun.state.snapshot.covariables}
        made = [one for one in after.snapshot.covariables if one not in kept]
        names = {name for one in made for name in one.names} - {RESULT}
        there = {*begun.state.order}
        parts_before = {name: before.parts.get(name, "") for name in before.parts.keys() | parts.keys()}
        read = {*watch.variables.read, *before.sticky}
        task = context.process.task
        run = CellRun(
            str(task.dispatch_id),
            -1 if task.task_id is None else task.task_id,
            seconds,
            begun.cell.filename,
            {label_of(one): digests[label_of(one)] for one in inputs},
            sorted((begun.words | looked.identifiers) - begun.names),
            digest_of_all(digests.values()) if looked.is_dynamic else "",
            hidden_parts.read(parts_before, parts, begun.words | looked.identifiers),
            {name: begun.states.get(name, "") for name in states},
            before.world,
            surroundings.take(watch.files, read, looked.tops(imported), modules, watch.variables_before),
            made,
            sorted({*begun.state.snapshot.names} - {*after.snapshot.names, RESULT}),
            {name: tracker.mentioned(name) for name in names},
            hidden_parts.packed(changed, parts),
            {name: digest for name, digest in parts.items() if before.parts.get(name) != digest},
            states,
            imported,
            sticky,
            {begun.cell.filename: begun.cell.text},
            after.has_value,
            after.value_name,
            order=[name for name in after.order if name not in there],
        )
        self._draft = key_of(begun.cell), run

    def _kept_of(self, handed: Iterable[str]) -> list[str]:
        """Return the names of what a package may have kept that can change."""
        found = reached(handed, self._namespace) if handed else ()
        values = {name: self._namespace[name] for name in found if name in self._namespace}
        return [name for name, value in values.items() if can_change(type(value))]

    def _inputs(self, begun: Beginning) -> list[StoredCovariable]:
        """Return the co-variables that a cell could read, with the definitions that they need."""
        by_tracker = {tracker: one for one in begun.state.snapshot.covariables for tracker in one.definitions}
        wanted = [one for one in begun.state.snapshot.covariables if not begun.names.isdisjoint(one.names)]
        found: dict[str, StoredCovariable] = {}
        while wanted:
            one = wanted.pop()
            if label_of(one) not in found and not _is_only_shown(one):
                found[label_of(one)] = one
                wanted += [by_tracker[tracker] for tracker in one.needs if tracker in by_tracker]
        return [*found.values()]

    def _world(self, begun: Beginning, settings: Collection[str], doubts: Collection[str]) -> str:
        """Return the digest of what cells have done to the process that nobody sees."""
        if not settings:
            return self.virtual.world
        digests = self._digests_of(begun.state.snapshot)
        inputs = sorted(digests[label_of(one)] for one in self._inputs(begun))
        # What depends on more than its inputs may be another thing each time.
        more = repr(time.time_ns()) if len(doubts) > len(settings) else ""
        return digest_of([msgspec.msgpack.encode([self.virtual.world, begun.cell.text, inputs, more])])

    def plain(self, cell: CellText, now: HiddenState, before: RecordState) -> None:
        """Note that a cell has run that takes no part: nothing is known of what it has done to packages."""
        words = {*words_in(cell.text)}
        changed = difference(now, self.now)
        parts = hidden_parts.after(self.virtual.parts, changed, now, words, has_imported=False)
        inputs = sorted(self._digests_of(before.snapshot).values())
        world = digest_of([msgspec.msgpack.encode([self.virtual.world, cell.text, inputs])])
        states = {name: local_code.state_of_module(one) for name, one in local_code.loaded_local_modules().items()}
        self.now, self.virtual = now, Virtual(parts, states, world, self.virtual.sticky, self.virtual.held)

    def take_over(self, run: CellRun) -> None:
        """Note that a run stands for a cell."""
        before = self.virtual
        self.virtual = Virtual(
            {**before.parts, **run.parts_after},
            {**before.states, **run.states_after},
            before.world,
            sorted({*before.sticky, *run.sticky}),
            before.held,
        )

    # When the outcome is known.

    def complete(self, outcome: Outcome) -> Outcome:
        """Return an outcome with what is known about its reuse; keep the run."""
        try:
            made = self.made(outcome) if self._is_kept else None
            if made is not None:
                key, run = made
                self._index.add(key, run.dispatch, msgspec.msgpack.encode(run))
        except (OSError, CovalabError) as error:
            _log.warning("the run of node %d cannot be kept for reuse: %s", outcome.node, error)
        doubts = self._result.doubts if self._is_kept else ()
        outcome = msgspec.structs.replace(outcome, reuse=msgspec.structs.replace(self._result, doubts=doubts))
        if self._times is None:
            return outcome
        started_at, ended_at = self._times
        return msgspec.structs.replace(outcome, started_at=started_at, ended_at=ended_at)

    def made(self, outcome: Outcome) -> tuple[str, CellRun] | None:
        """Return the key and the run of the cell that ended, with its outputs, if it may be used again."""
        draft, self._draft = self._draft, None
        if draft is None or outcome.status != "completed":
            return None
        data = outputs.encode(outputs.recorded(outcome, self._blobs.load))
        if len(data) > _OUTPUT_LIMIT:
            return None
        value = self._blobs.store(data, "outputs") if outcome.outputs else _inline(data)
        return draft[0], msgspec.structs.replace(draft[1], outputs=value)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Doubts about the use of the run of the cell that ended, for people."""
        return self._result.doubts


def _is_only_shown(one: StoredCovariable) -> bool:
    """Return whether a co-variable is what the last cell has shown, which a cell reads by other means."""
    return one.names == (RESULT,) and not one.definitions


def _inline(data: bytes) -> Value:
    return inline_value(data, "outputs")


def _unstorable(begun: Beginning, after: RecordState) -> list[str]:
    """Return what cannot be stored of the names that a cell could read, and of those that it made."""
    before = begun.state.snapshot.unstorable
    doubts = [f"reads {name}, which cannot be stored" for name in sorted(begun.names & before.keys())]
    there = {name for name in before if after.snapshot.unstorable.get(name) == before[name]}
    return doubts + [f"makes {name}, which cannot be stored" for name in after.snapshot.unstorable if name not in there]
