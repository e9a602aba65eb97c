"""Options of a notebook run, and the request for one with its answer. Loads nothing that a server does not have."""

from __future__ import annotations

from typing import Any

import msgspec

from covalab.core.notebook_run import NotebookCell


class RunOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Options of a notebook run.

    Attributes
    ----------
    cell_timeout
        The limit for one run of a cell that has none of its own, in seconds.
    allow_errors
        Whether the cells after one that raised an exception run.
    stop_on_error
        Whether no cell runs after one that failed; else those run that are shown to be independent of it.
    reuse
        Whether cells that did not change take values and outputs from earlier runs.
    parallel
        Whether cells that are shown to be independent of those before them run beside them.
    check
        Whether packages that are missing are looked for before anything runs.
    """

    cell_timeout: float | None = None
    allow_errors: bool = False
    stop_on_error: bool = False
    reuse: bool = True
    parallel: bool = True
    check: bool = True


class RunRequest(msgspec.Struct, frozen=True):
    """Request: the notebook as a file and as a document, and how to run it, or which run to go on with."""

    path: str
    document: Any
    parameters: dict[str, Any] = {}
    options: RunOptions = RunOptions()
    first: str = ""
    resume: str = ""


class Started(msgspec.Struct, frozen=True):
    """Answer: the dispatch, and which cell is which node."""

    dispatch_id: str
    cells: tuple[NotebookCell, ...]
