"""Code that was recorded with a dispatch: deserializes its lattice; a description of it where that is not possible."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NoReturn, Protocol

from covalab.blobs import BlobStore
from covalab.core.errors import GraphError, SerializationError
from covalab.core.model import Digest, DispatchRecord
from covalab.core.transportable import TransportableObject
from covalab.sdk.building.transport_graph import TransportGraph
from covalab.sdk.code.storing import open_code
from covalab.sdk.values import FieldDict, UserFunction, UserValue


class StoredLattice(Protocol):
    """The part of `Lattice` that is read of a recorded one.

    `Lattice` itself is not imported: its methods `dispatch` and `dispatch_sync` need the results, so that would be a
    circle.
    """

    __name__: str
    inputs: TransportableObject | None
    transport_graph: TransportGraph

    @property
    def function(self) -> UserFunction:
        """The workflow function."""
        ...

    @property
    def workflow_function(self) -> TransportableObject:
        """The workflow function, serialized."""
        ...

    @property
    def workflow_function_string(self) -> str:
        """The source of the workflow function."""
        ...

    @property
    def metadata(self) -> FieldDict:
        """The settings by Covalent's names."""
        ...

    def __call__(self, /, *args: UserValue, **kwargs: UserValue) -> UserValue:
        """Run the workflow function plainly."""
        ...

    def recorded_as(
        self, inputs: TransportableObject | None, graph: TransportGraph, source: str, versions: Mapping[str, str]
    ) -> None:
        """Take over the arguments, graph, source and versions of the dispatch it was recorded with."""
        ...

    def replace(self, electrons: Mapping[str, UserFunction]) -> Collection[str]:
        """Replace electrons, from the next graph on."""
        ...


class RecordedLattice:
    """The lattice of a dispatch that cannot be deserialized here: it can be read, but not run."""

    def __init__(self, record: DispatchRecord, inputs: TransportableObject, graph: TransportGraph, why: str) -> None:
        self.__name__ = record.graph.name
        self.__doc__ = record.doc
        self.workflow_function_string = record.source
        self.inputs = inputs
        self.transport_graph = graph
        self.python_version = record.environment.versions.get("python", "")
        self.covalent_version = record.environment.versions.get("covalab", "")
        self.why = why

    def __repr__(self) -> str:
        return f"<recorded lattice {self.__name__!r}>"

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Raise: there is no function to run."""
        message = f"lattice {self.__name__!r} can be read here, but not run: {self.why}"
        raise GraphError(message)


def load_lattice(dispatch: str, digest: Digest, code: Mapping[Digest, bytes], blobs: BlobStore) -> StoredLattice:
    """Return the lattice that was recorded with a dispatch.

    Parameters
    ----------
    dispatch : str
        The id of the dispatch, for error messages.
    digest : Digest
        The digest of the serialized lattice.
    code : mapping of Digest to bytes
        What was sent with the dispatch; what is not in it is a blob.
    blobs : BlobStore
        The blobs.

    Raises
    ------
    SerializationError
        If it cannot be deserialized here; the message says what is missing.
    """
    what = f"the lattice of dispatch {dispatch}"
    try:
        found: StoredLattice = open_code(digest, code, blobs, what=what)
    except SerializationError as error:
        message = f"{error}; open it where the workflow was made, or run the stored graph as it is: ct.redispatch(id)()"
        raise SerializationError(message) from error
    assert callable(getattr(found, "plan", None)), f"{what} is {found!r}"
    return found
