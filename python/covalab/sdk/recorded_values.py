"""Values of a recorded dispatch: which are here, and what one is when the parts it is made of are deserialized."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from covalab.blobs import BlobStore
from covalab.core.assemble import edges_into, sources_of, value_at
from covalab.core.model import DispatchRecord, Edge, NodeKind, Value
from covalab.sdk.values import UserValue
from covalab.worker.session.record import CellRecord


class RecordedValues:
    """The values of the nodes of one dispatch. `outputs` grows as outputs are fetched.

    Parameters
    ----------
    record : DispatchRecord
        The dispatch, with the outputs that were fetched with it.
    blobs : BlobStore
        The store that deserializes them.
    opening : callable, optional
        Makes the context in which a value is opened.
    """

    def __init__(
        self,
        record: DispatchRecord,
        blobs: BlobStore,
        opening: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.outputs: dict[int, Value] = dict(record.outputs)
        self._dispatch = record.summary.id
        self._graph = record.graph
        self._parameters = record.values
        self._blobs = blobs
        self.opening = opening

    @functools.cached_property
    def _into(self) -> list[list[Edge]]:
        return edges_into(len(self._graph.nodes), self._graph.edges)

    def has_all_of(self, node: int) -> bool:
        """Return whether every value that a node's value is made of is here."""
        return all(self._is_here(source) for source in sources_of([node], self._graph.nodes, self._into))

    def _is_here(self, node: int) -> bool:
        return self._graph.nodes[node].kind is NodeKind.PARAMETER or node in self.outputs

    def serialized(self, node: int) -> Value:
        """Return the serialized value of a node that has one of its own: a parameter, or one that ran."""
        it = self._graph.nodes[node]
        return self._parameters[it.value] if it.kind is NodeKind.PARAMETER else self.outputs[node]

    def deserialized(self, node: int) -> UserValue:
        """Return the value of such a node, a new copy each time."""
        with self.opening():
            value = self._blobs.deserialize(self.serialized(node), what=self.description_of(node))
        return value.bind(self._blobs, self.opening) if isinstance(value, CellRecord) else value

    def at(self, node: int) -> UserValue:
        """Return the value of any node; that of a collection, and the lattice's, is put together from its parts."""
        return value_at(node, self._graph.nodes, self._into, self.deserialized)

    def result(self) -> UserValue:
        """Return the lattice's value."""
        return self.at(self._graph.output)

    def text_of(self, node: int) -> str:
        """Return the text of a value that is put together, without deserializing any part of it."""
        return str(value_at(node, self._graph.nodes, self._into, lambda part: _Text(self.serialized(part))))

    def description_of(self, node: int) -> str:
        """Return what the value is, for error messages."""
        return f"the output of {self._graph.nodes[node].name!r} (node {node} of dispatch {self._dispatch})"


class _Text:
    """The text of a serialized value, in its place in a collection; it can be the key of a dict."""

    def __init__(self, value: Value) -> None:
        self._text = value.text
        self._is_text = value.type == "str"

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:  # as a part of a collection
        return repr(self._text) if self._is_text else self._text
