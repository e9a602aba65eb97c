"""`get_result_manager`: the files of a dispatch as an object, and their removal."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from covalab.client import connect
from covalab.core.errors import SerializationError
from covalab.core.model import DispatchRecord
from covalab.sdk.configuration import get_config
from covalab.sdk.results.fetch import fetch_result
from covalab.sdk.results.result import Result
from covalab.sdk.results.result_files import ResultFiles


class ResultManager(ResultFiles):
    """Parts of a dispatch, one by one: written to files (`download_...`) and read back (`load_...`).

    A part that does not exist (the error of a dispatch that completed, say) has no file; asking for it gives None.

    Parameters
    ----------
    result_object : Result
        The dispatch.
    results_dir : str or path, optional
        The folder of the files; made when the first is written. ``Result.results_dir``, if not given.

    Attributes
    ----------
    result_object : Result
        The dispatch.
    results_dir : str
        The folder.
    """

    def __init__(self, result_object: Result, results_dir: str | os.PathLike[str] | None = None) -> None:
        super().__init__(result_object, results_dir)
        self.result_object = result_object

    @classmethod
    def from_dispatch_id(
        cls,
        dispatch_id: str,
        results_dir: str | os.PathLike[str] | None = None,
        wait: bool = False,
        dispatcher_addr: str | None = None,
    ) -> ResultManager:
        """Return the manager of a dispatch; the parameters are those of `get_result_manager`."""
        return cls(fetch_result(dispatch_id, wait, dispatcher_addr, stacklevel=3), results_dir)

    @staticmethod
    def load(path: str | os.PathLike[str], results_dir: str | os.PathLike[str]) -> ResultManager:
        """Return the manager of the dispatch whose manifest `save` wrote.

        Small values are in the manifest; larger ones, and the output that nodes printed, stay in the data folder.

        Parameters
        ----------
        path : str or path
            The manifest.
        results_dir : str or path
            The folder of the files.

        Raises
        ------
        SerializationError
            If the file is no manifest.
        """
        try:
            record = msgspec.json.decode(Path(path).read_bytes(), type=DispatchRecord)
        except msgspec.MsgspecError as error:
            message = f"{path} is not a manifest that covalab wrote: {error}"
            raise SerializationError(message) from error
        return ResultManager(Result(record, connect(), results_dir=str(results_dir)), results_dir)


def get_result_manager(
    dispatch_id: str,
    results_dir: str | os.PathLike[str] | None = None,
    wait: bool = False,
    dispatcher_addr: str | None = None,
) -> ResultManager:
    """Return the manager that writes the parts of a dispatch to files, one by one.

    Parameters
    ----------
    dispatch_id : str
        The id.
    results_dir : str or path, optional
        The folder of the files; the dispatch's own folder in ``sdk.results_dir``, if not given.
    wait : bool, default False
        Whether to wait until the dispatch has ended.
    dispatcher_addr : str, optional
        Covalent's; refused when it names another machine.

    Returns
    -------
    ResultManager
        It has written nothing yet.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.

    See Also
    --------
    get_result : The same without files; with ``results_dir=`` it writes all of them.

    Examples
    --------
    >>> import covalab as ct
    >>> manager = get_result_manager(ct.dispatch(ct.lattice(ct.electron(abs)))(-1), wait=True)  # doctest: +SKIP
    >>> manager.load_node_asset(0, "output").get_deserialized()  # doctest: +SKIP
    1
    """
    return ResultManager.from_dispatch_id(dispatch_id, results_dir, wait, dispatcher_addr)


def _delete_result(
    dispatch_id: str, results_dir: str | os.PathLike[str] | None = None, remove_parent_directory: bool = False
) -> None:
    """Delete the files that a dispatch was written to; the dispatch itself stays (`covalab purge` deletes those).

    Parameters
    ----------
    dispatch_id : str
        The id.
    results_dir : str or path, optional
        The folder in which the dispatch has a folder of its own; ``sdk.results_dir``, if not given.
    remove_parent_directory : bool, default False
        Also delete `results_dir`, if nothing is left in it.
    """
    parent = Path(results_dir or get_config("sdk.results_dir"))
    name = os.path.basename(str(dispatch_id))  # noqa: PTH119 - of a text, which may be anything
    if name in ("", ".", ".."):
        message = f"{dispatch_id!r} is not the id of a dispatch"
        raise ValueError(message)
    shutil.rmtree(parent / name, ignore_errors=True)
    if remove_parent_directory:
        with suppress(OSError):  # other files are in it
            parent.rmdir()
