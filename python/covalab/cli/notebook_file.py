"""File of the executed notebook while the run goes on: who opens it sees what is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from covalab.core.errors import CovalabError

if TYPE_CHECKING:
    from covalab.core.model import NodeState

_PAUSE: Final = 1.0
_SHARE: Final = 20
"""The pause after a write is this many times what it took, so that a large notebook does not slow its own run."""
_LONGEST: Final = 30.0
"""After so many seconds the output of a running cell is written again, as papermill does."""


class NotebookFile:
    """File that is written again when cells have ended; whole each time, or not at all.

    Parameters
    ----------
    dispatch
        The id of the run.
    target
        The file.
    """

    def __init__(self, dispatch: str, target: str) -> None:
        self._dispatch, self._target = dispatch, target
        self._written: set[int] = set()
        self._at = time.monotonic()
        self._pause = _PAUSE

    def update(self, states: Mapping[int, NodeState]) -> None:
        """Write the file if there is something new, and it is time."""
        from covalab.sdk.results.notebooks import export_notebook

        waited = time.monotonic() - self._at
        ended = {node for node, state in states.items() if state.ended_at is not None}
        if waited < self._pause or (ended == self._written and waited < _LONGEST):
            return
        began = time.monotonic()
        with suppress(OSError, CovalabError):  # the end of the run says what is wrong with the file
            export_notebook(self._dispatch, self._target)
            self._written = ended
        self._at = time.monotonic()
        self._pause = max(_PAUSE, _SHARE * (self._at - began))
