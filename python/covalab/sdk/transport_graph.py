"""A transport graph as Covalent's programs look at one: by node number and attribute name. Read-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from covalab.core.codec import decode
from covalab.core.model import Digest, Edge, EdgeKind, Graph, NodeKind, Value
from covalab.sdk.transportable import TransportableObject

if TYPE_CHECKING:
    import networkx as nx

    from covalab.sdk.trace import Blobs

_PARAM_TYPE = {EdgeKind.ARG: "arg", EdgeKind.KWARG: "kwarg"}


class TransportGraph:
    """The nodes and edges of a lattice.

    Attributes
    ----------
    graph
        The graph itself, as a `covalab.core.model.Graph`.
    lattice_metadata
        The settings of the lattice.
    """

    def __init__(
        self,
        graph: Graph,
        values: Sequence[Value],
        code: Mapping[Digest, bytes],
        blobs: Blobs,
        *,
        metadata: Mapping[str, Any] | None = None,
        recorded: Callable[[int], Mapping[str, Any]] | None = None,
    ) -> None:
        self.graph = graph
        self.lattice_metadata = dict(metadata or {})
        self.dirty_nodes: list[int] = []
        self._values, self._code, self._blobs, self._recorded = values, code, blobs, recorded

    def __len__(self) -> int:
        return len(self.graph.nodes)

    def get_node_value(self, node_id: int, key: str) -> Any:
        """Return one attribute of a node.

        Parameters
        ----------
        node_id
            The node's number.
        key
            ``name``, ``metadata``, ``function_string``, ``task_group_id``; ``value`` and ``output`` of a parameter;
            ``function`` of an electron; of a dispatch also ``status``, ``start_time``, ``end_time``, ``output``,
            ``error``, ``stdout`` and ``stderr``.

        Raises
        ------
        KeyError
            If there is no such node, or it has no such attribute.
        """
        attributes = self._attributes(node_id)
        if key not in attributes and self._recorded is not None:
            attributes |= self._recorded(node_id)
        if key not in attributes:
            message = f"node {node_id} ({attributes['name']}) has no {key!r}; it has {', '.join(sorted(attributes))}"
            raise KeyError(message)
        return attributes[key]

    def get_edge_data(self, dep_key: int, node_key: int) -> dict[int, dict[str, Any]]:
        """Return the attributes of every edge from one node to another, numbered from 0."""
        edges = [edge for edge in self.graph.edges if (edge.source, edge.target) == (dep_key, node_key)]
        return {number: _edge_attributes(edge) for number, edge in enumerate(edges)}

    def get_dependencies(self, node_key: int) -> list[int]:
        """Return the nodes that have an edge to this one, each once."""
        return list(dict.fromkeys(edge.source for edge in self.graph.edges if edge.target == node_key))

    def get_internal_graph_copy(self) -> nx.MultiDiGraph[int]:
        """Return a new networkx graph of the same nodes and edges."""
        import networkx as nx  # noqa: PLC0415 - an optional package

        copy: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        for node in range(len(self.graph.nodes)):
            copy.add_node(node, **self._attributes(node))
        for edge in self.graph.edges:
            copy.add_edge(edge.source, edge.target, **_edge_attributes(edge))
        return copy

    @property
    def _graph(self) -> nx.MultiDiGraph[int]:
        return self.get_internal_graph_copy()

    def _attributes(self, node_id: int) -> dict[str, Any]:
        nodes = self.graph.nodes
        if not 0 <= node_id < len(nodes):
            message = f"there is no node {node_id}; lattice {self.graph.name!r} has {len(nodes)}"
            raise KeyError(message)
        node = nodes[node_id]
        attributes: dict[str, Any] = {"name": node.name, "task_group_id": node_id, "metadata": self._metadata(node_id)}
        if node.kind is NodeKind.PARAMETER:
            attributes["value"] = attributes["output"] = self._transportable(self._values[node.value])
        if node.function >= 0:
            function = self.graph.functions[node.function]
            attributes["function_string"] = function.source
            code = self._code.get(function.digest)
            if code is not None:
                attributes["function"] = TransportableObject.recorded(function.name, lambda: decode(code))
        return attributes

    def _metadata(self, node_id: int) -> dict[str, Any]:
        number = self.graph.nodes[node_id].settings
        if number < 0:
            return {"executor": None, "executor_data": None, "hooks": {}}
        settings = self.graph.settings[number]
        return {"executor": settings.executor, "executor_data": settings.executor_data, "hooks": {}}

    def _transportable(self, value: Value) -> TransportableObject:
        return TransportableObject.recorded(value.text, lambda: self._blobs.open(value))


def _edge_attributes(edge: Edge) -> dict[str, Any]:
    if edge.kind is EdgeKind.WAIT:
        return {"edge_name": edge.name}
    index = edge.index if edge.kind is EdgeKind.ARG else None
    return {"edge_name": edge.name, "param_type": _PARAM_TYPE[edge.kind], "arg_index": index}
