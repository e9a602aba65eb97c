"""`ResultFiles`: writes the parts of a dispatch to files, in a folder that one chooses, and reads them back.

Results need no files: every value is in the data folder, and stays there. Files are written when they are asked for,
each whole or not at all, under the names that Covalent gives them.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec

from covalab.core.errors import SerializationError
from covalab.core.model import DispatchRecord
from covalab.core.transportable import TransportableObject
from covalab.sdk.building.transport_graph import TransportGraph
from covalab.sdk.results.stored_code import RecordedLattice, StoredLattice
from covalab.sdk.values import FieldDict, UserValue

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


class SavedResult(Protocol):
    """The part of `Result` that is written to files."""

    @property
    def results_dir(self) -> str:
        """The folder for files, where none is given."""
        ...

    @property
    def transport_graph(self) -> TransportGraph:
        """The transport graph, with the state and the outputs of its nodes."""
        ...

    @property
    def encoded_result(self) -> TransportableObject | None:
        """The lattice's value."""
        ...

    @property
    def error(self) -> str | None:
        """The tasks that failed, as text."""
        ...

    @property
    def inputs(self) -> TransportableObject:
        """The arguments of the workflow."""
        ...

    @property
    def lattice(self) -> StoredLattice | RecordedLattice:
        """The lattice that was dispatched."""
        ...

    def get_node_result(self, node_id: int) -> FieldDict:
        """Return everything known about one node."""
        ...

    def full_record(self) -> DispatchRecord:
        """Return everything that is known without asking for single nodes."""
        ...


class ResultFiles:
    """Parts of a dispatch, one by one: written to files (`download_...`) and read back (`load_...`).

    A part that does not exist (the error of a dispatch that completed, say) has no file; asking for it gives None.

    Parameters
    ----------
    result_object : Result
        The dispatch.
    results_dir : str or path, optional
        The folder of the files; made when the first is written. ``Result.results_dir``, if not given.
    """

    def __init__(self, result_object: SavedResult, results_dir: str | os.PathLike[str] | None = None) -> None:
        self._saved = result_object
        self.results_dir = str(Path(results_dir or result_object.results_dir).absolute())

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
        return _replace(target, msgspec.json.encode(self._saved.full_record()))

    @property
    def _graph(self) -> TransportGraph:
        return self._saved.transport_graph

    def _result_asset(self, key: str) -> UserValue:
        result = self._saved
        return result.encoded_result if key == "result" else result.error

    def _lattice_asset(self, key: str) -> UserValue:
        result = self._saved
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
            return self._saved.get_node_result(node_id)[key]
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
