"""Run a notebook in the background, and go on with one that failed."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from covalab.client import Client, connect
from covalab.core.errors import GraphError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Submission
from covalab.jupyter.runs.document import Document, NotebookRefused, document_from, read_document
from covalab.jupyter.runs.messages import RunOptions
from covalab.jupyter.runs.submission import submission_of
from covalab.sdk.dispatching.api import AT_ONCE, Timing, timing_of
from covalab.sdk.dispatching.fingerprint import align
from covalab.sdk.dispatching.tags import checked_tags
from covalab.sdk.ids import checked_id
from covalab.sdk.results.handle import DispatchHandle
from covalab.sdk.results.notebooks import document_of, run_of


def run_notebook(
    path: str | os.PathLike[str],
    parameters: Mapping[str, Any] | None = None,
    *,
    cell_timeout: float | None = None,
    allow_errors: bool = False,
    stop_on_error: bool = False,
    reuse: bool | None = None,
    parallel: bool = True,
    check: bool = True,
    folder: str | os.PathLike[str] | None = None,
    document: Mapping[str, Any] | None = None,
    first: str = "",
    priority: int = 0,
    eta: dt.datetime | dt.timedelta | str | float | None = None,
    interval: dt.timedelta | float | None = None,
    allow_overlap: bool = False,
    cron: str | None = None,
    time_zone: str | None = None,
    tags: str | Iterable[str] = (),
) -> DispatchHandle:
    """Run a notebook in the background, unmodified and without a kernel. Not in Covalent.

    Its code cells run in one process, in their order, as "Run All" in a fresh kernel of this environment would run
    them. Each is stored when it has ended. After a cell that raises an exception, those run that are shown to be
    independent of it.

    Parameters
    ----------
    path : str or Path
        The notebook. It is read now, and not changed.
    parameters : dict, optional
        Values for a cell that is put after the one tagged ``parameters``, or at the top: papermill's convention.
    cell_timeout : float, optional
        The limit for one cell, in seconds; one that a cell has in its metadata or tags goes before it.
    allow_errors : bool
        Run the cells after one that raised an exception; for one cell, tag it ``raises-exception``.
    stop_on_error : bool
        Run no cell after one that raised an exception, as "Run All" does.
    reuse : bool, optional
        Take values and outputs of cells that did not change from earlier runs. It is the default of a run that begins
        now; one at a later time, or of a series, runs all cells unless this is true.
    parallel : bool
        Run cells that are shown to be independent of those before them beside these, in forks of the process; else
        each in its turn.
    check : bool
        Look for packages that the cells import and this environment does not have, before anything runs.
    folder : str or Path, optional
        The working folder; that of the notebook, if not given.
    document : dict, optional
        The notebook as nbformat's JSON, where it is newer than the file: an editor's unsaved text.
    first : str, optional
        The id of the cell to begin with; those before it do not run.
    priority, eta, interval, allow_overlap, cron, time_zone, tags
        See `covalab.dispatch`. Each run of a series runs the notebook as it was when the series was made.

    Returns
    -------
    str
        The dispatch id, at once; in a notebook it shows itself live. ``ct.get_result(id, wait=True)["name"]`` is what
        the notebook left in a name, ``.notebook()`` the executed notebook, `export_notebook` writes it to a file.

    Raises
    ------
    NotebookRefused
        If the notebook cannot run: it is not there, no notebook, of another language, imports packages that are
        missing (all are named), or calls ``input()``.

    See Also
    --------
    resume_notebook : After a failure, run what is left.
    export_notebook : Write the executed notebook.

    Examples
    --------
    >>> import covalab as ct
    >>> run = ct.run_notebook("report.ipynb", {"region": "north"})  # doctest: +SKIP
    >>> ct.get_result(run, wait=True)["total"]  # doctest: +SKIP
    """
    flags = {"allow_errors": allow_errors, "stop_on_error": stop_on_error, "parallel": parallel, "check": check}
    where = _checked(path, {**flags, "reuse": reuse}, cell_timeout)
    timing = timing_of(where, eta, interval, allow_overlap=allow_overlap, cron=cron, time_zone=time_zone)
    place = Path(os.path.abspath(path))  # noqa: PTH100 - a link is the notebook's name, as in Jupyter
    found = read_document(place) if document is None else document_from(msgspec.to_builtins(document), place)
    options = RunOptions(
        cell_timeout=cell_timeout,
        allow_errors=allow_errors,
        stop_on_error=stop_on_error,
        reuse=timing == AT_ONCE if reuse is None else reuse,
        parallel=parallel,
        check=check,
    )
    submission = submitted(
        found,
        dict(parameters or {}),
        options,
        connect(),
        first=first,
        folder=None if folder is None else Path(os.path.abspath(folder)),  # noqa: PTH100
        priority=priority,
        timing=timing,
        tags=checked_tags(where, tags),
    )
    return DispatchHandle(submission.id, submission.graph)


def _checked(path: Any, flags: Mapping[str, Any], cell_timeout: Any) -> str:
    """Return what the run is called in errors about its arguments."""
    if not isinstance(path, str | os.PathLike):
        message = f"ct.run_notebook needs the path of a notebook, not {path!r}"
        raise NotebookRefused(message)
    where = f"run of {os.fspath(path)}"
    for name, value in flags.items():
        if not isinstance(value, bool) and not (name == "reuse" and value is None):
            message = f"{where}: {name} is True or False, not {value!r}"
            raise NotebookRefused(message)
    if cell_timeout is not None and not (isinstance(cell_timeout, int | float) and cell_timeout > 0):
        message = f"{where}: cell_timeout is a number of seconds above 0, not {cell_timeout!r}"
        raise NotebookRefused(message)
    return where


def submitted(
    document: Document,
    parameters: Mapping[str, Any],
    options: RunOptions,
    client: Client,
    *,
    first: str = "",
    folder: Path | None = None,
    priority: int = 0,
    timing: Timing = AT_ONCE,
    tags: Sequence[str] = (),
) -> Submission:
    """Submit the run of a document and return what was submitted; see `run_notebook`."""
    submission = timing.of(
        submission_of(
            document,
            parameters,
            options,
            client.blobs,
            first=first,
            folder=_existing(document.path.parent if folder is None else folder),
            priority=priority,
        )
    )
    submission = replace(submission, tags=list(tags))
    client.submit(submission)
    return submission


def resume_notebook(dispatch_id: str, *, path: str | os.PathLike[str] | None = None) -> DispatchHandle:
    """Run what is left of a notebook run that failed or was cancelled, with the notebook as it is now.

    Cells at its beginning that completed and have the same text are kept, with their outputs; the others run, from what
    those had stored. Not in Covalent.

    Parameters
    ----------
    dispatch_id : str
        The id of the run. It does not change.
    path : str or Path, optional
        The notebook, where it was moved. Without the file, the document that was stored with the run is used.

    Returns
    -------
    str
        The id of a new dispatch.

    Raises
    ------
    GraphError
        If the dispatch is no notebook run, or has not ended.
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    client, wanted = connect(), checked_id(dispatch_id)
    recorded = client.submission(wanted)
    place = run_of(recorded).path if path is None else os.fspath(path)
    document = _document_now(place, recorded, client, must_exist=path is not None)
    made = resumed(wanted, client, document)
    return DispatchHandle(made.id, made.graph)


def resumed(dispatch_id: str, client: Client, document: Document) -> Submission:
    """Submit what is left of a run, with the notebook as it is now, and return what was submitted."""
    wanted = checked_id(dispatch_id)
    recorded = client.submission(wanted)
    run = run_of(recorded)
    summary = client.summary(wanted)
    if summary.status not in TERMINAL:
        message = (
            f"dispatch {wanted} ({summary.name}) has not ended, so there is nothing to resume; "
            f"`covalab cancel {wanted}` ends it"
        )
        raise GraphError(message)
    made = submission_of(
        document,
        run.parameters,
        msgspec.convert(run.options, RunOptions),
        client.blobs,
        first=run.first,
        folder=_existing(Path(recorded.environment.cwd)),
        priority=recorded.priority,
        resumed=wanted,
    )
    made = replace(align(made, recorded, client.blobs), reuse=wanted)
    client.submit(made)
    return made


def _document_now(path: str, recorded: Submission, client: Client, *, must_exist: bool) -> Document:
    place = Path(os.path.abspath(path))  # noqa: PTH100 - as above
    if place.exists() or must_exist:
        return read_document(place)
    return document_from(document_of(recorded, client.blobs), place)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        message = f"the working folder {folder} is not there; make it, or name another one with `folder`"
        raise NotebookRefused(message)
    return folder
