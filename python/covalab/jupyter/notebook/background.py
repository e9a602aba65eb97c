"""Cell that runs in the background with `--run`: what it shows, and what it leaves in the notebook.

A thread follows it, shows its outputs below the cell while they come, and sets the names that the plain cell would have
left when it is done. Cells that need them before that wait (`waiting`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from covalab.client import connect
from covalab.core.errors import TaskFailed
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchSummary, Status
from covalab.core.outputs import Output
from covalab.jupyter.notebook.session import CellElectron, Session
from covalab.jupyter.notebook.waiting import (
    ALL_NAMES,
    RANDOM,
    may_change_classes,
    names_changed,
    names_needed,
    objects_in,
)
from covalab.namespace.covariables import is_hidden
from covalab.namespace.delivery import Delivered
from covalab.namespace.exchange import Sent
from covalab.sdk.dispatching import api
from covalab.sdk.results.handle import DispatchHandle
from covalab.sdk.results.result import Result
from covalab.view.cell_view import CELL_STATES, CellState, CellView, cell_bundle, names_message, seconds_to_next
from covalab.view.running_cell import source_of_display

_NODE: Final = 0
"""The node of the cell in its dispatch, which has no other electron."""
_FIRST_SECONDS: Final = 0.1


def _message(delivered: Delivered) -> str:
    """Return what is said about a delivery."""
    parts = [names_message(list(dict.fromkeys([*delivered.names, *delivered.changed])))]
    if delivered.deleted:
        parts.append(f"deleted {', '.join(f'`{name}`' for name in delivered.deleted)}")
    parts += [f"`{name}` stayed there: {reason}" for name, reason in delivered.unsendable.items()]
    return "; ".join(part for part in [*parts, *delivered.warnings] if part)


class CellFailed(TaskFailed):
    """A cell failed, or was cancelled, whose names another cell waited for."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows: the cell's own error, not the wait for it."""
        return str(self).splitlines()


class BackgroundCell:
    """Cell with `--run` on its way.

    Attributes
    ----------
    names
        The names that it may set, change or delete, and `RANDOM` if it may draw from the global generators.
    hides_names
        Whether it may set others.
    error
        Why it failed or was cancelled, once it has.
    """

    def __init__(self, made: CellElectron, handle: DispatchHandle, session: Session, sent: Sent | None) -> None:
        self.made, self.handle, self._session, self._sent = made, handle, session, sent
        scope = made.part.cell.scope
        self.names = {*made.outputs, *scope.bindings, *scope.changes, *scope.deleted, ALL_NAMES}
        self.names |= {one.name for one in scope.possible}
        self.names |= {RANDOM} & names_needed(made.part.cell.tree, session.namespace)
        self.names |= names_changed(made.part.cell.tree, session.namespace)
        self._with_classes = may_change_classes(made.part.cell.tree, session.namespace)
        self.hides_names = made.part.cell.hides_names
        self._may_change: set[int] | None = None  # ids of objects of the notebook, once somebody has asked
        self.error: CellFailed | None = None
        self._is_done = threading.Event()
        self._outputs: list[Output] = []
        self._number = 0
        self._source_digest = source_of_display().get("source_digest", "")
        self.view = self._view("waiting", None)
        session.expect(self)

    @property
    def name(self) -> str:
        """The name of the electron."""
        return self.made.part.name

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until its names are here, or it has failed; return whether that is so."""
        return self._is_done.wait(seconds)

    def shares(self, names: Iterable[str]) -> list[str]:
        """Return those of some names of the notebook that share objects with what the cell may change."""
        if self._sent is None:
            return []
        if self._may_change is None:
            sent = self._sent.values
            changed = [sent[name] for name in self.names if name in sent]
            reached = objects_in(changed, self._session.namespace, with_classes=self._with_classes)
            self._may_change = reached & self._sent.states.numbers.keys()
        namespace = self._session.namespace
        return [
            name
            for name in names
            if name in namespace
            and not is_hidden(name)  # the shell's own, through which everything is reached
            and not self._may_change.isdisjoint(objects_in([namespace[name]], namespace))
        ]

    def bundle(self) -> dict[str, Any]:
        """Return the MIME bundle of what it shows now."""
        return cell_bundle(self.view)

    def follow(self, update: Callable[[dict[str, Any]], None]) -> None:
        """Show the outputs while they come, and set the names at the end. Runs in a thread."""
        message = ""
        summary: DispatchSummary | None = None
        state: CellState = "failed"
        try:
            summary = self._show_while_running(update)
            self._fetch()
            message = self._deliver(summary.status)
            state = CELL_STATES[summary.status]
        except Exception as error:  # noqa: BLE001 - shown: a thread has nobody else to say it to
            message = str(error).strip().partition("\n")[0]
            self.error = CellFailed(f"{self.name} ({self.handle}) gave nothing: {error}")
        finally:
            self._session.arrived(self)
            self._is_done.set()
            self.view = self._view(state, summary, message=message, is_final=True)
            update(self.bundle())

    def _deliver(self, status: Status) -> str:
        """Set the names in the notebook; return what is said about it."""
        result = api.get_result(self.handle)
        if status != "completed":
            return self._deliver_unfinished(result, status)
        names = result.session_record
        if names is None or self._sent is None:  # with an executor or packages of its own it is a function
            return names_message(self._session.deliver_outputs(self.made, result.result))
        return _message(self._session.deliver(names, self._sent))

    def _deliver_unfinished(self, result: Result, status: Status) -> str:
        """Set what a cell that failed had set before, as a plain cell leaves it; return what is said about it."""
        failure = next(iter(connect().record(str(self.handle), outputs="none").failures.values()), None)
        if failure is None or status == "cancelled":
            self.error = CellFailed(f"{self.name} was cancelled, and nothing in this notebook changed")
            return ""
        said = (failure.traceback or failure.reason).strip()
        left = result.session_record
        if left is None or self._sent is None:
            self.error = CellFailed(f"{self.name} failed, and nothing in this notebook changed:\n{said}")
            return failure.reason
        self.error = CellFailed(f"{self.name} failed:\n{said}")
        before = _message(self._session.deliver(left, self._sent))
        return f"{failure.reason}; before that {before}" if before else failure.reason

    def _show_while_running(self, update: Callable[[dict[str, Any]], None]) -> DispatchSummary:
        """Show what comes until the dispatch has ended; return its last summary."""
        client, pause, version = connect(), _FIRST_SECONDS, 0
        while True:
            summary = client.changes(str(self.handle), version, pause).summary
            if summary.status in TERMINAL:
                return summary
            version = summary.version
            self._fetch()
            self.view = self._view(CELL_STATES[summary.status], summary, seen_at=time.time())
            bundle = self.bundle()
            update(bundle)
            pause = seconds_to_next(len(str(bundle)))

    def _fetch(self) -> None:
        """Fetch the outputs that changed."""
        fresh = connect().outputs(str(self.handle), _NODE, self._number)
        self._outputs = [*self._outputs[: fresh.first], *fresh.outputs]
        self._number = fresh.number

    def _view(self, state: CellState, summary: DispatchSummary | None, **rest: Any) -> CellView:
        times = (None, None) if summary is None else (summary.started_at, summary.ended_at)
        return CellView(
            id=str(self.handle),
            node=_NODE,
            name=self.name,
            state=state,
            outputs=self._outputs,
            number=self._number,
            started_at=times[0],
            ended_at=times[1],
            source_digest=self._source_digest,
            **rest,
        )
