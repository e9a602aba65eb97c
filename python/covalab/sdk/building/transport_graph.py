"""Transport graph as Covalent's programs read it: by node number and attribute name, or as a networkx graph.

The networkx graph is made when it is first asked for. From then on it is the graph: what is changed is changed there,
and neither the lattice nor the dispatch that it came from sees it.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from covalab.blobs import Blobs
from covalab.core.codec import Buffer, decode, unpickle
from covalab.core.covalent_status import RESULT_STATUS, Status
from covalab.core.errors import SerializationError
from covalab.core.hooks import Hooks
from covalab.core.model import Digest, Edge, EdgeKind, Graph, NodeKind, Value
from covalab.core.transportable import TransportableObject
from covalab.sdk.hooks.hook_set import HookSet
from covalab.sdk.values import FieldDict, UserValue

if TYPE_CHECKING:
    import networkx as nx

_PARAM_TYPE: Final = {EdgeKind.ARG: "arg", EdgeKind.KWARG: "kwarg"}
_HEAVY: Final = (
    *("function", "function_string", "value", "output", "hooks", "sublattice_result"),
    *("stdout", "stderr", "outputs"),
)
"""What `serialize(metadata_only=True)` leaves out."""


class TransportGraph:
    """Nodes and edges of a lattice; without arguments an empty one, to be filled by `add_node` and `add_edge`.

    Attributes
    ----------
    graph
        The graph that was built or dispatched, as a `covalab.core.model.Graph`.
    lattice_metadata
        The settings of the lattice.
    dirty_nodes
        The nodes that `reset_node` and `set_node_value` changed, in that order.

    Examples
    --------
    >>> graph = TransportGraph()
    >>> one, two = graph.add_node("one", abs, {}), graph.add_node("two", None, {})
    >>> graph.add_edge(two, one, "x", param_type="arg", arg_index=0)
    >>> graph.get_node_value(one, "function").get_deserialized()(-1), graph.get_dependencies(one)
    (1, [1])
    """

    def __init__(
        self,
        graph: Graph | None = None,
        values: Sequence[Value] = (),
        code: Mapping[Digest, bytes] | Callable[[Digest], Buffer] | None = None,
        blobs: Blobs | None = None,
        *,
        metadata: Mapping[str, UserValue] | None = None,
        recorded: Callable[[int], Mapping[str, UserValue]] | None = None,
        hook_sets: Mapping[Digest, HookSet] | None = None,
    ) -> None:
        self.graph = graph or Graph("", [], [], [], [], -1)
        self.lattice_metadata = dict(metadata or {})
        self.dirty_nodes: list[int] = []
        self._values, self._code, self._blobs, self._recorded = values, code or {}, blobs, recorded
        self._made: nx.MultiDiGraph[int] | None = None
        self._hook_sets, self._hooks = hook_sets or {}, dict[Digest, FieldDict]()

    def __len__(self) -> int:
        return len(self.graph.nodes) if self._made is None else len(self._made)

    def get_node_value(self, node_id: int, key: str) -> UserValue:
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
        if self._made is not None:
            attributes = self._made_node(node_id)
        else:
            attributes = self._attributes(node_id)
            if key not in attributes and self._recorded is not None:
                attributes |= self._recorded(node_id)
        if key not in attributes:
            name = attributes.get("name", "")
            message = f"node {node_id} ({name}) has no {key!r}; it has {', '.join(sorted(attributes))}"
            raise KeyError(message)
        return attributes[key]

    def set_node_value(self, node_key: int, value_key: str, value: UserValue) -> None:
        """Set one attribute of a node, of this graph only.

        Raises
        ------
        KeyError
            If there is no such node.
        """
        self._graph  # noqa: B018 - from here on the networkx graph is what is read
        self._made_node(node_key)[value_key] = value
        self.dirty_nodes.append(node_key)

    def add_node(
        self,
        name: str,
        function: UserValue,
        metadata: Mapping[str, UserValue],
        task_group_id: int | None = None,
        **attr: UserValue,
    ) -> int:
        """Add a node and return its number: the next one.

        Parameters
        ----------
        name
            What the node is called.
        function
            What it runs; kept as a `TransportableObject`.
        metadata
            Its settings.
        task_group_id
            The node that it belongs to; itself, if not given.
        attr
            Further attributes.
        """
        graph = self._graph
        node_id = len(graph)
        function = TransportableObject.make_transportable(function)
        group = node_id if task_group_id is None else task_group_id
        graph.add_node(node_id, name=name, function=function, metadata=metadata, task_group_id=group, **attr)
        return node_id

    def add_edge(self, x: int, y: int, edge_name: str, **attr: UserValue) -> None:
        """Let the value of node `x` enter node `y` as `edge_name`; `attr` are further attributes of the edge."""
        self._graph.add_edge(x, y, edge_name=edge_name, **attr)

    def reset(self) -> None:
        """Take out every node."""
        self._graph.clear()

    def reset_node(self, node_id: int) -> None:
        """Forget how a node ran: it is new again."""
        fresh: FieldDict = dict.fromkeys(("start_time", "end_time", "output", "error", "stdout", "stderr"))
        fresh |= {"outputs": [], "status": RESULT_STATUS.NEW_OBJECT, "sub_dispatch_id": None, "sublattice_result": None}
        for key, value in fresh.items():
            self.set_node_value(node_id, key, value)

    def get_edge_data(self, dep_key: int, node_key: int) -> dict[int, FieldDict]:
        """Return the attributes of every edge from one node to another, numbered from 0."""
        if self._made is not None:
            return dict(self._made.get_edge_data(dep_key, node_key) or {})
        edges = [edge for edge in self.graph.edges if (edge.source, edge.target) == (dep_key, node_key)]
        return {number: _edge_attributes(edge) for number, edge in enumerate(edges)}

    def get_dependencies(self, node_key: int) -> list[int]:
        """Return the nodes that have an edge to this one, each once."""
        if self._made is not None:
            return list(self._made.predecessors(node_key))
        return list(dict.fromkeys(edge.source for edge in self.graph.edges if edge.target == node_key))

    def get_internal_graph_copy(self) -> nx.MultiDiGraph[int]:
        """Return a copy of the networkx graph."""
        return self._graph.copy()

    @property
    def _graph(self) -> nx.MultiDiGraph[int]:
        """The networkx graph, with the attributes of nodes and edges that Covalent's has."""
        if self._made is None:
            import networkx as nx  # noqa: PLC0415 - it takes longer to import than covalab - only who asks for it loads it

            made: nx.MultiDiGraph[int] = nx.MultiDiGraph()
            for node in range(len(self.graph.nodes)):
                recorded = {} if self._recorded is None else self._recorded(node)
                made.add_node(node, **{**recorded, **self._attributes(node)})
            for edge in self.graph.edges:
                made.add_edge(edge.source, edge.target, **_edge_attributes(edge))
            self._made = made
        return self._made

    # How it travels: node-link data, as networkx calls it.

    def serialize(self, metadata_only: bool = False) -> bytes:
        """Return the graph pickled; with `metadata_only` without functions, values and what was printed."""
        from covalab.core.pickling import dumps  # noqa: PLC0415 - only who pickles pays for it

        return dumps(self._node_link(_HEAVY if metadata_only else ()))

    def deserialize(self, pickled_data: bytes) -> None:
        """Become the graph that `serialize` made these bytes of. They are unpickled: they must be your own."""
        self._become(unpickle(pickled_data))

    def serialize_to_json(self, metadata_only: bool = False) -> str:
        """Return the graph as JSON text; serialized values are in it as they are, results of sublattices are not."""
        leave = _HEAVY if metadata_only else ("sublattice_result",)
        return json.dumps(self._node_link(leave), default=_to_json)

    def deserialize_from_json(self, json_data: str) -> None:
        """Become the graph that `serialize_to_json` made this text of."""
        self._become(json.loads(json_data, object_hook=_from_json))

    def _node_link(self, leave: Sequence[str]) -> FieldDict:
        graph = self._graph
        nodes = [
            {**{key: value for key, value in attributes.items() if key not in leave}, "id": node}
            for node, attributes in graph.nodes(data=True)
        ]
        links = [
            {**attributes, "source": source, "target": target, "key": key}
            for source, target, key, attributes in graph.edges(data=True, keys=True)
        ]
        return {
            "directed": True,
            "multigraph": True,
            "graph": {},
            "nodes": nodes,
            "links": links,
            "lattice_metadata": self.lattice_metadata,
        }

    def _become(self, data: Mapping[str, UserValue]) -> None:
        import networkx as nx  # noqa: PLC0415 - it takes longer to import than covalab

        made: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        for node in data["nodes"]:
            made.add_node(node["id"], **{key: value for key, value in node.items() if key != "id"})
        for link in data["links"]:
            attributes = {key: value for key, value in link.items() if key not in ("source", "target", "key")}
            made.add_edge(link["source"], link["target"], link["key"], **attributes)
        self._made, self._recorded, self.dirty_nodes = made, None, []
        self.lattice_metadata = data["lattice_metadata"]

    def _made_node(self, node_id: int) -> FieldDict:
        assert self._made is not None
        if node_id not in self._made:
            message = f"there is no node {node_id}; the graph has {len(self._made)}"
            raise KeyError(message)
        attributes: FieldDict = self._made.nodes[node_id]
        return attributes

    def _attributes(self, node_id: int) -> FieldDict:
        nodes = self.graph.nodes
        if not 0 <= node_id < len(nodes):
            message = f"there is no node {node_id}; lattice {self.graph.name!r} has {len(nodes)}"
            raise KeyError(message)
        node = nodes[node_id]
        attributes: FieldDict = {"name": node.name, "task_group_id": node_id, "metadata": self._metadata(node_id)}
        if node.kind is NodeKind.PARAMETER:
            attributes["value"] = attributes["output"] = self._transportable(
                self._values[node.value], f"{node.name!r} (node {node_id} of lattice {self.graph.name!r})"
            )
        if node.function >= 0:
            function = self.graph.functions[node.function]
            attributes["function_string"] = function.source
            code = self._code
            if callable(code):
                opened = functools.partial(_decode_from, code, function.digest)
                attributes["function"] = TransportableObject.recorded(function.name, opened)
            elif function.digest in code:
                opened = functools.partial(decode, code[function.digest])
                attributes["function"] = TransportableObject.recorded(function.name, opened)
        return attributes

    def _metadata(self, node_id: int) -> FieldDict:
        number = self.graph.nodes[node_id].settings
        if number < 0:
            return {"executor": None, "executor_data": None, "hooks": {}}
        settings = self.graph.settings[number]
        hooks = self._hooks_metadata(settings.hooks) if settings.hooks else {}
        return {"executor": settings.executor, "executor_data": settings.executor_data, "hooks": hooks}

    def _hooks_metadata(self, digest: Digest) -> FieldDict:
        """Return hooks as Covalent's metadata has them; each set is opened once."""
        if digest not in self._hooks:
            try:
                self._hooks[digest] = self._opened_hooks(digest).metadata
            except SerializationError as error:
                # Whoever asks for a node's status needs none of the modules that its hooks use.
                self._hooks[digest] = {"error": str(error)}
        return dict(self._hooks[digest])

    def _opened_hooks(self, digest: Digest) -> HookSet:
        known = self._hook_sets.get(digest)
        if known is not None:
            return known
        if not callable(self._code):
            return HookSet()
        data = self._code(digest)
        return HookSet.recorded(msgspec.msgpack.decode(data, type=Hooks))

    def _transportable(self, value: Value, what: str) -> TransportableObject:
        blobs = self._blobs
        assert blobs is not None
        return TransportableObject.recorded(value.text, lambda: blobs.deserialize(value, what=what))


def _edge_attributes(edge: Edge) -> FieldDict:
    if edge.kind is EdgeKind.WAIT:
        return {"edge_name": edge.name}
    index = edge.index if edge.kind is EdgeKind.ARG else None
    return {"edge_name": edge.name, "param_type": _PARAM_TYPE[edge.kind], "arg_index": index}


def _decode_from(code: Callable[[Digest], Buffer], digest: Digest) -> UserValue:
    return decode(code(digest))


def _to_json(value: object) -> UserValue:
    if isinstance(value, TransportableObject):
        return value.to_dict()
    if isinstance(value, dt.datetime):
        return {"type": "datetime", "attributes": value.isoformat()}
    if isinstance(value, Status):
        return {"type": "Status", "attributes": value.STATUS}
    message = f"{type(value).__name__} cannot be JSON; write the graph with serialize()"
    raise TypeError(message)


def _from_json(found: FieldDict) -> UserValue:
    if set(found) != {"type", "attributes"}:
        return found
    kind, attributes = found["type"], found["attributes"]
    if kind == "TransportableObject":
        return TransportableObject.from_dict(found)
    if kind == "datetime":
        return dt.datetime.fromisoformat(attributes)
    return Status(attributes) if kind == "Status" else found
