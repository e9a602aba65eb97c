"""Cells that did not run: the record after them, what they show, and how the session catches up when a cell runs."""

from __future__ import annotations

import importlib
import pickle
import secrets
import sys
from contextlib import suppress
from typing import Any, Final

from covalab.blobs import BlobStore
from covalab.namespace import hidden_state
from covalab.namespace.covariables import Mentioned, Snapshot, Tracker, restore
from covalab.namespace.hidden_state import HiddenState
from covalab.worker.outputs import history
from covalab.worker.outputs.replays import without_outputs
from covalab.worker.outputs.shell import shell
from covalab.worker.reuse.runs import CellRun
from covalab.worker.session.record import RESULT, RecordState, put_in_order

_AT_ONCE: Final = ("environment",)


class Reused:
    """Cells of a session that did not run, since the last one that did."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._n = 0
        self._mentioned: dict[str, Mentioned] = {}
        self._imported: dict[str, None] = {}
        self._hidden = HiddenState({})

    def __bool__(self) -> bool:
        return self._n > 0

    def after(self, run: CellRun, before: RecordState) -> RecordState:
        """Return the state of a session after a cell for which an earlier run stands; texts of cells are not in it."""
        change = pickle.loads(run.hidden) if run.hidden else HiddenState({})  # noqa: S301 - of this data folder
        self._n += 1
        self._mentioned.update(run.mentioned)
        self._imported.update(dict.fromkeys(run.imported))
        self._hidden = hidden_state.merged(self._hidden, change)
        # What is compared one by one with the process must be right there before the next cell.
        now = {name: settings for name, settings in change.parts.items() if name in _AT_ONCE}
        if now:
            hidden_state.apply(HiddenState(now))
        hidden = pickle.loads(before.hidden) if before.hidden else HiddenState({})  # noqa: S301 - as above
        touched = {name for one in run.covariables for name in one.names} | {*run.gone}
        definitions = {tracker for one in run.covariables for tracker in one.definitions}
        kept = [
            one
            for one in before.snapshot.covariables
            if touched.isdisjoint(one.names)
            and definitions.isdisjoint(one.definitions)
            and (one.names != (RESULT,) or one.definitions)
        ]
        unstorable = {name: why for name, why in before.snapshot.unstorable.items() if name not in touched}
        tied = [name for name in before.tied if name not in touched]
        whole = hidden_state.merged(hidden, change)
        return RecordState(
            before.number + 1,
            secrets.token_hex(8),
            Snapshot((*kept, *run.covariables), unstorable),
            pickle.dumps(whole) if whole else b"",
            [one for one in before.replays if any(name in unstorable or name in tied for name in one.names)],
            run.has_value,
            count=before.count + 1,
            value_name=run.value_name,
            order=[*(name for name in before.order if name not in run.gone), *run.order],
            tied=tied,
        )

    def load(self, state: RecordState, tracker: Tracker, blobs: BlobStore, namespace: dict[str, Any]) -> None:
        """Put values, modules and settings into the process, as if the cells had run here."""
        shell()  # some modules look for it when they are imported
        with without_outputs():
            for name in self._imported:
                if name not in sys.modules:
                    with suppress(Exception):  # values that need it say so
                        importlib.import_module(name)
        wanted = {*state.snapshot.covariables}
        here = {*tracker.stored()}
        stale = [name for one in here - wanted for name in one.names]
        kept = {name for one in here & wanted for name in one.names}
        for name in stale:
            if name not in kept:
                namespace.pop(name, None)
        tracker.drop(name for name in stale if name not in kept)
        missing = tuple(one for one in state.snapshot.covariables if one not in here)
        restore(Snapshot(missing), blobs, namespace)
        value = namespace.pop(RESULT, None)
        put_in_order(namespace, state.order)
        tracker.adopt(missing, self._mentioned)
        hidden_state.apply(self._hidden)
        history.go_on(state.count, namespace.get(state.value_name, value))
        self._clear()
