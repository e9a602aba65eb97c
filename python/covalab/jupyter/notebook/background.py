"""Cell that runs in the background with `--run`: what it shows, and what it leaves in the notebook.

A thread follows it. The names that the plain cell would have left are set when it is done; cells that need them before
that wait (`waiting`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from covalab.core.errors import CovalabError
from covalab.jupyter.notebook.session import CellElectron, Session
from covalab.jupyter.notebook.waiting import RANDOM, names_needed
from covalab.sdk.dispatching import api
from covalab.sdk.results.handle import DispatchHandle

_POLL_SECONDS: Final = 0.3


class BackgroundCell:
    """Cell with `--run` on its way.

    Attributes
    ----------
    names
        The names that it may set, change or delete, and `RANDOM` if it may draw from the global generators.
    error
        Why it gave nothing, once it has ended so.
    """

    def __init__(self, made: CellElectron, handle: DispatchHandle, session: Session) -> None:
        self.made, self.handle, self._session = made, handle, session
        scope = made.part.cell.scope
        self.names = {*made.outputs, *scope.bindings, *scope.changes, *scope.deleted}
        self.names |= {one.name for one in scope.possible}
        self.names |= {RANDOM} & names_needed(made.part.cell.tree, session.namespace)
        self.error: CovalabError | None = None
        self._is_done = threading.Event()
        self.text = f"{made.part.name} runs in the background"
        session.expect(self)

    @property
    def name(self) -> str:
        """The name of the electron."""
        return self.made.part.name

    @property
    def is_done(self) -> bool:
        """Whether it has ended and its names are here."""
        return self._is_done.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until its names are here, or it has failed; return whether that is so."""
        return self._is_done.wait(seconds)

    def follow(self, update: Callable[[], None]) -> None:
        """Wait for the dispatch, set its names in the notebook, and let what is shown follow. Runs in a thread."""
        try:
            result = api.get_result(self.handle, wait=True)
            record = result.raise_for_status().session_record
            names = self._session.deliver(self.made, record)
        except CovalabError as error:
            self.error = error
            first = str(error).strip().partition("\n")[0]
            self.text = f"{self.name} gave nothing, and nothing in this notebook changed: {first}"
        else:
            listed = ", ".join(names)
            self.text = f"{self.name} is done" + (f"; it set {listed}" if names else "")
        finally:
            self._session.arrived(self)
            self._is_done.set()
            update()

    def __repr__(self) -> str:
        return self.text
