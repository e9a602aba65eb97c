"""A dispatch as one file, which goes to another data folder."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from covalab.client import connect
from covalab.core.requests import Archived
from covalab.sdk.ids import checked_id
from covalab.sdk.results.handle import DispatchHandle


def export_dispatch(dispatch_id: str, path: str | os.PathLike[str]) -> Path:
    """Write a dispatch that has ended as one file, with everything that is known of it.

    Graph, states, values, outputs, provenance, sources, and all dispatches below it are in the file. It is for
    `import_dispatch`.

    Parameters
    ----------
    dispatch_id : str
        The id.
    path : str or path
        The new file; its usual ending is ``.covalab``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    CovalabError
        If there is something at the path, or the dispatch has not ended.

    Examples
    --------
    >>> import covalab as ct
    >>> ct.export_dispatch(run, "run.covalab")  # doctest: +SKIP
    """
    target = Path(path).expanduser().absolute()
    _warn(connect().export(checked_id(dispatch_id), target))
    return target


def import_dispatch(path: str | os.PathLike[str], *, as_new: bool = False, trusted: bool = False) -> DispatchHandle:
    """Record the dispatch that a file of `export_dispatch` has, with all below it.

    It keeps its id. Imported again it stays as it is.

    Parameters
    ----------
    path : str or path
        The file.
    as_new : bool, default False
        Record it under a new id.
    trusted : bool, default False
        Whether its values may be opened, and its code run. Without, it can be looked at; `get_result` takes
        ``trusted=True``, too.

    Returns
    -------
    DispatchHandle
        The id, a ``str`` that shows itself in a notebook.

    Raises
    ------
    CovalabError
        If the file is damaged or no such file, or another dispatch has its id; nothing is recorded then.

    Examples
    --------
    >>> import covalab as ct
    >>> run = ct.import_dispatch("run.covalab", trusted=True)  # doctest: +SKIP
    >>> ct.get_result(run).result  # doctest: +SKIP
    """
    done = connect().bring_in(Path(path).expanduser().absolute(), as_new=as_new, trusted=trusted)
    _warn(done)
    return DispatchHandle(done.id)


def _warn(done: Archived) -> None:
    if done.missing:
        message = f"{len(done.missing)} values of dispatch {done.id} had been lost, and are not in the file"
        warnings.warn(message, stacklevel=3)
