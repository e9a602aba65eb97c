"""`get_result_manager`: writes the parts of a dispatch to files, in a folder that one chooses.

Results need no files: every value is in the data folder, and stays there. Files are written when they are asked for,
each whole or not at all, under the names that Covalent gives them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from covalab.client import connect
from covalab.core.errors import SerializationError
from covalab.core.model import DispatchRecord
from covalab.core.transportable import TransportableObject
from covalab.sdk.building.transport_graph import TransportGraph
from covalab.sdk.configuration import get_config
from covalab.sdk.results.fetch import fetch_result
from covalab.sdk.results.result import Result
from covalab.sdk.results.stored_code import RecordedLattice
from covalab.sdk.values import UserValue

RESULT_ASSETS: Final[Mapping[str, str]] = {"result": "results.tobj", "error": "error.log"}
LATTICE_ASSETS: Final[Mapping[str, str]] = {
    "workflow_function": "function.tobj",
    "workflow_function_string": "function_string.txt",
    "doc": "function_docstring.txt",
    "inputs": "inputs.tobj",
    "hooks": "hooks.json",
}
NODE_ASSETS: Final[Mapping[str, str]] = {
    "function": "function.tobj",
    "function_string": "function_string.txt",
    "value": "value.tobj",
    "output": "results.tobj",
    "hooks": "hooks.json",
    "stdout": "stdout.log",
    "stderr": "stderr.log",
    "error": "error.log",
}
MANIFEST: Final = "manifest.json"


class ResultManager:
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
        self.result_object = result_object
        self.results_dir = str(Path(results_dir or result_object.results_dir).absolute())

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

    def download_result_asset(self, key: str) -> str | None:
        """Write ``result`` or ``error`` to its file and return the file's path; None if there is no such part."""
        return self._write(_file(RESULT_ASSETS, key, "a result"), self._result_asset(key))

    def download_lattice_asset(self, key: str) -> str | None:
        """Write ``workflow_function``, ``workflow_function_string``, ``doc``, ``inputs`` or ``hooks``."""
        return self._write(_file(LATTICE_ASSETS, key, "a lattice"), self._lattice_asset(key))

    def download_node_asset(self, node_id: int, key: str) -> str | None:
        """Write a part of a node, one of the keys of `NODE_ASSETS`, to its file."""
        return self._write(f"node_{node_id}/{_file(NODE_ASSETS, key, 'a node')}", self._node_asset(node_id, key))

    def load_result_asset(self, key: str) -> UserValue:
        """Return ``result`` or ``error`` from its file, which is written first if it is not there."""
        return self._read(_file(RESULT_ASSETS, key, "a result"), lambda: self.download_result_asset(key))

    def load_lattice_asset(self, key: str) -> UserValue:
        """Return a part of the lattice from its file, which is written first if it is not there."""
        return self._read(_file(LATTICE_ASSETS, key, "a lattice"), lambda: self.download_lattice_asset(key))

    def load_node_asset(self, node_id: int, key: str) -> UserValue:
        """Return a part of a node from its file, which is written first if it is not there."""
        file = f"node_{node_id}/{_file(NODE_ASSETS, key, 'a node')}"
        return self._read(file, lambda: self.download_node_asset(node_id, key))

    def download_all(self, *, workflow_output: bool = True, intermediate_outputs: bool = True) -> None:
        """Write every part that can be written here, and the manifest.

        Parameters
        ----------
        workflow_output, intermediate_outputs : bool, default True
            Whether to write the lattice's value, and the outputs of nodes.
        """
        self.save()
        for key in RESULT_ASSETS:
            if workflow_output or key != "result":
                self.download_result_asset(key)
        for key in LATTICE_ASSETS:
            with suppress(SerializationError):  # what cannot be deserialized here cannot be written here
                self.download_lattice_asset(key)
        for node in range(len(self._graph)):
            for key in NODE_ASSETS:
                if intermediate_outputs or key not in ("output", "value"):
                    with suppress(SerializationError):
                        self.download_node_asset(node, key)

    def save(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write the manifest: what is known of the dispatch, as JSON. Returns its path.

        Parameters
        ----------
        path : str or path, optional
            Where to; ``manifest.json`` in the folder of the files, if not given.
        """
        target = Path(path) if path is not None else Path(self.results_dir) / MANIFEST
        return _replace(target, msgspec.json.encode(self.result_object.full_record()))

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

    @property
    def _graph(self) -> TransportGraph:
        return self.result_object.transport_graph

    def _result_asset(self, key: str) -> UserValue:
        result = self.result_object
        return result.encoded_result if key == "result" else result.error

    def _lattice_asset(self, key: str) -> UserValue:
        result = self.result_object
        if key == "inputs":
            return result.inputs
        lattice = result.lattice
        if key == "workflow_function_string":
            return lattice.workflow_function_string or None
        if key == "doc":
            return lattice.__doc__ or None
        if isinstance(lattice, RecordedLattice):
            message = f"{key} of {lattice!r} cannot be had here: {lattice.why}"
            raise SerializationError(message)
        return lattice.workflow_function if key == "workflow_function" else lattice.metadata["hooks"] or None

    def _node_asset(self, node_id: int, key: str) -> UserValue:
        if key in ("output", "stdout", "stderr", "error"):
            return self.result_object.get_node_result(node_id)[key]
        if key == "hooks":
            return self._graph.get_node_value(node_id, "metadata").get("hooks") or None
        try:
            return self._graph.get_node_value(node_id, key) or None
        except KeyError:
            self._graph.get_node_value(
                node_id, "name"
            )  # raises a KeyError that names the node, if that is what is missing
            return None

    def _write(self, file: str, asset: UserValue) -> str | None:
        if asset is None:
            return None
        if isinstance(asset, TransportableObject):
            data = asset.serialize()
        else:
            data = (asset if isinstance(asset, str) else json.dumps(asset)).encode()
        return _replace(Path(self.results_dir) / file, data)

    def _read(self, file: str, download: Callable[[], str | None]) -> UserValue:
        path = Path(self.results_dir) / file
        if not path.exists() and download() is None:
            return None
        data = path.read_bytes()
        if path.suffix == ".tobj":
            return TransportableObject.deserialize(data)
        return json.loads(data) if path.suffix == ".json" else data.decode()


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


def _file(assets: Mapping[str, str], key: str, what: str) -> str:
    if key not in assets:
        message = f"{what} has no {key!r}; it has {', '.join(assets)}"
        raise KeyError(message)
    return assets[key]


def _replace(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)
