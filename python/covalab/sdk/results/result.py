"""`Result`: a dispatch as it stood when it was asked for, with Covalent's properties.

One answer of the dispatcher holds what the result is made of; the outputs of single nodes are fetched when asked for.
The lattice's value is put together here, from the recorded values, each time it is read.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from covalab.core.assemble import edges_into, sources_of, value_at
from covalab.core.codec import Buffer
from covalab.core.covalent_status import Status, shown, status
from covalab.core.errors import BlobNotFound, GraphError, SerializationError, TaskFailed
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import (
    Digest,
    DispatchId,
    DispatchRecord,
    Edge,
    Failure,
    NodeKind,
    TriggerState,
    Value,
    does_work,
)
from covalab.core.model import Status as CoreStatus
from covalab.core.transportable import TransportableObject
from covalab.sdk.building.postprocess import called_nodes, rerun
from covalab.sdk.building.transport_graph import TransportGraph
from covalab.sdk.building.value_table import deserialize_inputs
from covalab.sdk.configuration import get_config
from covalab.sdk.dispatching.redispatch import load_lattice
from covalab.sdk.results.readers import Readers

if TYPE_CHECKING:
    from covalab.client import Client
    from covalab.sdk.building.lattice import Lattice
    from covalab.sdk.tasks.task_records import TaskRecord

_TEXT_LIMIT = 4_000


class RecordedLattice:
    """The lattice of a dispatch that cannot be opened here: to be read, not to be run."""

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
        """Refuse: there is no function to run."""
        message = f"lattice {self.__name__!r} can be read here, but not run: {self.why}"
        raise GraphError(message)


class Result(Readers):
    """What became of a dispatch. `covalab.get_result` makes one; in a notebook it shows itself.

    A result is a snapshot: ask again to see more. Values are opened each time they are read.
    """

    NEW_OBJ = status.NEW_OBJECT
    PENDING_REUSE = status.PENDING_REUSE
    COMPLETED = status.COMPLETED
    POSTPROCESSING = status.POSTPROCESSING
    PENDING_POSTPROCESSING = status.PENDING_POSTPROCESSING
    POSTPROCESSING_FAILED = status.POSTPROCESSING_FAILED
    RUNNING = status.RUNNING
    FAILED = status.FAILED
    CANCELLED = status.CANCELLED

    def __init__(
        self,
        record: DispatchRecord,
        client: Client,
        *,
        results_dir: str | None = None,
        workflow_output: bool = True,
        intermediate_outputs: bool = True,
        sublattice_results: bool = True,
    ) -> None:
        self._record = record
        self._client = client
        self._results_dir = results_dir
        self._workflow_output = workflow_output
        self._intermediate_outputs = intermediate_outputs
        self._sublattice_results = sublattice_results
        self._values: dict[int, Value] = dict(record.outputs)
        self._graph = TransportGraph(
            record.graph, record.values, self._code_of, client.blobs, recorded=self._node_attributes
        )

    @functools.cached_property
    def _into(self) -> list[list[Edge]]:
        return edges_into(len(self._record.graph.nodes), self._record.graph.edges)

    # The dispatch.

    @property
    def dispatch_id(self) -> str:
        """The id of the dispatch."""
        return self._record.summary.id

    @property
    def root_dispatch_id(self) -> str:
        """The id of the outermost dispatch; its own, if it is not a sublattice's."""
        return self._record.summary.root or self._record.summary.id

    @property
    def status(self) -> Status:
        """Where the dispatch stood."""
        return shown(self._record.summary.status)

    @property
    def is_terminal(self) -> bool:
        """Whether the dispatch had ended."""
        return self._record.summary.status in TERMINAL

    @property
    def start_time(self) -> dt.datetime | None:
        """When the dispatch began (UTC, without a time zone), or None."""
        return _utc(self._record.summary.started_at)

    @property
    def end_time(self) -> dt.datetime | None:
        """When the dispatch ended (UTC, without a time zone), or None."""
        return _utc(self._record.summary.ended_at)

    @property
    def results_dir(self) -> str:
        """The folder for files: that given to `get_result`, else one of its own in ``sdk.results_dir``.

        Values need none; see `covalab.get_result_manager`.
        """
        return self._results_dir or str(Path(get_config("sdk.results_dir")) / self.dispatch_id)

    @property
    def inputs(self) -> TransportableObject:
        """The arguments of the workflow: ``{"args": tuple, "kwargs": dict}``, closed."""
        record, blobs = self._record, self._client.blobs
        return TransportableObject.recorded(
            record.inputs.text, lambda: deserialize_inputs(record.inputs, record.values, blobs)
        )

    @functools.cached_property
    def lattice(self) -> Lattice | RecordedLattice:
        """The lattice that was dispatched, with its inputs and its transport graph: it can be called and dispatched.

        A `RecordedLattice`, which can only be read, where it cannot be opened: a module is missing, another Python.
        """
        client, record = self._client, self._record
        try:
            found = load_lattice(self.dispatch_id, record.lattice, self._code, client.blobs)
        except (SerializationError, BlobNotFound) as error:
            return RecordedLattice(record, self.inputs, self._graph, str(error))
        found.recorded_as(self.inputs, self._graph, record.source, record.environment.versions)
        return found

    @property
    def transport_graph(self) -> TransportGraph:
        """The transport graph, with what became of its nodes."""
        return self._graph

    def full_record(self) -> DispatchRecord:
        """Return everything that is known without asking for single nodes, every output included."""
        self._fetch_all()
        return msgspec.structs.replace(self._record, outputs=self._values)

    @functools.cached_property
    def _code(self) -> Mapping[Digest, bytes]:
        return self._client.submission(self.dispatch_id).code

    def _code_of(self, digest: Digest) -> Buffer:
        return self._code[digest] if digest in self._code else self._client.blobs.read(digest)

    @property
    def triggers(self) -> list[TriggerState]:
        """How the triggers of the dispatch stand now, and which dispatches they have started; not in Covalent."""
        return self._client.triggers(self.dispatch_id)

    # The lattice's value.

    @property
    def result(self) -> Any:
        """The lattice's value, or None while there is none."""
        if not self._has_value:
            return None
        return self._value_at(self._record.graph.output)

    @property
    def encoded_result(self) -> TransportableObject | None:
        """The lattice's value, closed, or None while there is none."""
        return self._output(self._record.graph.output) if self._has_value else None

    def post_process(self) -> Any:
        """Run the workflow function here, with the recorded values in place of its electrons, and return its value.

        No task runs again. Unlike in `result`, what was returned as a tuple or a set is one.

        Raises
        ------
        GraphError
            If not all electrons have a value, or the lattice cannot be opened here.
        """
        nodes = called_nodes(self._record.graph)
        outputs = self._client.record(self._record.summary.id, outputs=nodes).outputs
        missing = [f"{self._record.graph.nodes[node].name} ({node})" for node in nodes if node not in outputs]
        if missing:
            message = f"dispatch {self.dispatch_id} cannot be post-processed: no value yet of {', '.join(missing[:5])}"
            raise GraphError(message)
        self._values.update(outputs)
        lattice, given = self.lattice, self.inputs.get_deserialized()
        if isinstance(lattice, RecordedLattice):
            return lattice(*given["args"], **given["kwargs"])  # it says why it cannot be called
        return rerun(lattice.function, given["args"], given["kwargs"], map(self._opened, nodes))

    @property
    def _has_value(self) -> bool:
        return self._workflow_output and self._record.summary.status == "completed"

    # What went wrong.

    @property
    def error(self) -> str | None:
        """None, or a line saying that tasks failed and one line for each: its number, name and exception."""
        summary = self._record.summary
        if summary.status != "failed":
            return None
        lines = ["The following tasks failed:"]
        for node in sorted(self._record.failures):
            failure = self._record.failures[node]
            lines.append(f"{node}: {self._record.graph.nodes[node].name}: {_headline(failure)}")
        if len(lines) == 1:
            return summary.error or "The dispatch failed."
        return "\n".join(lines)

    def raise_for_status(self) -> Result:
        """Raise if the dispatch ended without a value, else return this result.

        Raises
        ------
        TaskFailed
            With every failed node and the traceback of the first.
        """
        summary = self._record.summary
        if summary.status == "cancelled":
            message = f"dispatch {summary.id} ({summary.name}) was cancelled"
            raise TaskFailed(message)
        if summary.status == "failed":
            first = next((self._record.failures[node] for node in sorted(self._record.failures)), None)
            trace = f"\n\n{first.traceback}" if first is not None and first.traceback else ""
            message = f"dispatch {summary.id} ({summary.name}) failed. {self.error}{trace}"
            raise TaskFailed(message)
        return self

    # The nodes.

    def get_node_result(self, node_id: int) -> dict[str, Any]:
        """Return what is known about one node.

        Parameters
        ----------
        node_id
            The node's number in the transport graph.

        Returns
        -------
        dict
            ``node_id``, ``node_name``, ``start_time``, ``end_time``, ``status``, ``output`` (a `TransportableObject`),
            ``error`` (the traceback), ``sublattice_result`` (the `Result` of the dispatch that a sublattice's node has
            become), ``stdout`` and ``stderr``; what there is not is None. Of a node that does work also ``attempts``,
            ``retry_count``, ``max_retries``, ``time_limit``, ``error_type``, ``error_details``, ``enqueued_at``,
            ``started_at`` and ``worker``, which Covalent does not have.

        Raises
        ------
        KeyError
            If there is no such node.
        """
        graph = self._record.graph
        if not 0 <= node_id < len(graph.nodes):
            message = f"dispatch {self.dispatch_id} has no node {node_id}; its nodes are 0 to {len(graph.nodes) - 1}"
            raise KeyError(message)
        if not does_work(graph.nodes[node_id]):
            return self._node_dict(node_id)
        detail = self._client.node(self._record.summary.id, node_id)
        if detail.value is not None:
            self._values[node_id] = detail.value
        found = self._node_dict(node_id)
        found |= {
            "start_time": _utc(detail.started_at),
            "end_time": _utc(detail.ended_at),
            "status": _shown(detail.status, detail.child),
            "sublattice_result": self._sublattice_result(detail.child),
            "stdout": detail.stdout or None,
            "stderr": detail.stderr or None,
        }
        if detail.failure is not None:
            found["error"] = detail.failure.traceback or _headline(detail.failure)
        from covalab.sdk.tasks.tasks import node_additions  # noqa: PLC0415 - it needs this module

        return found | node_additions(detail, self._record.summary.created_at, self._client)

    def get_node_attempts(self, node_id: int) -> list[dict[str, Any]]:
        """Return every run of a node, the first one first.

        Returns
        -------
        list
            Of records with ``attempt``, ``started_at``, ``ended_at``, ``outcome``, ``error_details`` and ``worker``.
        """
        from covalab.sdk.tasks.tasks import attempts_of  # noqa: PLC0415 - it needs this module

        return list(attempts_of(self._client.node(self._record.summary.id, node_id), self._client))

    def get_task_result(self, node_id: int) -> TaskRecord | None:
        """Return how a node ended as `covalab.get_task_result` does; None while it has not."""
        from covalab.sdk.tasks.tasks import get_task_result  # noqa: PLC0415 - it needs this module

        return get_task_result(f"{self.dispatch_id}:{node_id}")

    def get_all_node_results(self) -> list[dict[str, Any]]:
        """Return `get_node_result` of every node, in order."""
        self._fetch_all()
        return [self.get_node_result(node) for node in range(len(self._record.graph.nodes))]

    def get_all_node_outputs(self) -> dict[str, TransportableObject | None]:
        """Return the output of every node by ``name(number)``; None where there is none."""
        self._fetch_all()
        nodes = self._record.graph.nodes
        return {f"{node.name}({number})": self._output(number) for number, node in enumerate(nodes)}

    def _fetch_all(self) -> None:
        """Fetch the outputs that are not here yet, all with one request."""
        has_all = self.is_terminal and len(self._values) >= self._record.summary.counts.completed
        if self._intermediate_outputs and not has_all:
            self._values.update(self._client.record(self._record.summary.id, outputs="all").outputs)

    def _node_dict(self, node_id: int) -> dict[str, Any]:
        state = self._record.nodes[node_id]
        failure = self._record.failures.get(node_id)
        return {
            "node_id": node_id,
            "node_name": self._record.graph.nodes[node_id].name,
            "start_time": _utc(state.started_at),
            "end_time": _utc(state.ended_at),
            "status": _shown(state.status, self._record.children.get(node_id)),
            "output": self._output(node_id),
            "error": None if failure is None else failure.traceback or _headline(failure),
            "sublattice_result": None,
            "stdout": None,
            "stderr": None,
        }

    def _node_attributes(self, node_id: int) -> Mapping[str, Any]:
        return {**self.get_node_result(node_id), "sub_dispatch_id": self._record.children.get(node_id)}

    def _sublattice_result(self, child: DispatchId | None) -> Result | None:
        """Return the result of a dispatch that stands for a node of this one."""
        if child is None or not self._sublattice_results:
            return None
        return Result(
            self._client.record(child, outputs="result" if self._workflow_output else "none"),
            self._client,
            results_dir=self._results_dir,
            workflow_output=self._workflow_output,
            intermediate_outputs=self._intermediate_outputs,
        )

    def _output(self, node_id: int) -> TransportableObject | None:
        """Return the closed output of a node, or None while not all that it is made of is there."""
        graph = self._record.graph
        kind = graph.nodes[node_id].kind
        wanted = self._workflow_output if kind is NodeKind.OUTPUT else self._intermediate_outputs
        if not wanted or not all(self._is_here(node) for node in sources_of([node_id], graph.nodes, self._into)):
            return None
        if not does_work(graph.nodes[node_id]) and kind is not NodeKind.PARAMETER:
            text = self._text(node_id)
            return TransportableObject.recorded(text, lambda: self._value_at(node_id))
        return self._transportable(self._closed(node_id), self._what(node_id))

    def _is_here(self, node: int) -> bool:
        return self._record.graph.nodes[node].kind is NodeKind.PARAMETER or node in self._values

    def _closed(self, node: int) -> Value:
        it = self._record.graph.nodes[node]
        return self._record.values[it.value] if it.kind is NodeKind.PARAMETER else self._values[node]

    def _value_at(self, node: int) -> Any:
        return value_at(node, self._record.graph.nodes, self._into, self._opened)

    def _opened(self, node: int) -> Any:
        return self._client.blobs.deserialize(self._closed(node), what=self._what(node))

    def _text(self, node: int) -> str:
        """Return the text of a value that is put together, without opening any part of it."""
        text = value_at(node, self._record.graph.nodes, self._into, lambda part: _Text(self._closed(part)))
        return str(text)[:_TEXT_LIMIT]

    def _what(self, node: int) -> str:
        name = self._record.graph.nodes[node].name
        return f"the output of {name!r} (node {node} of dispatch {self.dispatch_id})"

    def _transportable(self, value: Value, what: str) -> TransportableObject:
        return TransportableObject.recorded(value.text, lambda: self._client.blobs.deserialize(value, what=what))

    # How it shows itself.

    def __repr__(self) -> str:
        summary = self._record.summary
        return f"<Result of {summary.name!r}: {self.status}, dispatch {summary.id}>"

    def __str__(self) -> str:
        result = self._text(self._record.graph.output) if self._has_value else None
        lines = [
            "",
            "Lattice Result",
            "==============",
            f"status: {self.status}",
            f"result: {result}",
            *self._input_lines(),
            f"error: {self.error}",
            "",
            f"start_time: {self.start_time}",
            f"end_time: {self.end_time}",
            "",
            f"results_dir: {self.results_dir}",
            f"dispatch_id: {self.dispatch_id}",
            "",
            "Node Outputs",
            "------------",
        ]
        for name, output in self.get_all_node_outputs().items():
            lines.append(f"{name}: {None if output is None else output.object_string}")
        return "\n".join(lines) + "\n"

    def _input_lines(self) -> list[str]:
        inputs = self.inputs.get_deserialized()
        args = [str(value)[:_TEXT_LIMIT] for value in inputs["args"]]
        kwargs = {name: str(value)[:_TEXT_LIMIT] for name, value in inputs["kwargs"].items()}
        return [f"input args: {args}", f"input kwargs: {kwargs}"]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        from covalab.view.bundle import dispatch_bundle  # noqa: PLC0415 - only when it is shown

        return dispatch_bundle(self._record.summary, self._record.graph, self._record.nodes)


class _Text:
    """Stands for a closed value in a text, and can be the key of a dict."""

    def __init__(self, value: Value) -> None:
        self._text = value.text
        self._is_text = value.type == "str"

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:  # as a part of something
        return repr(self._text) if self._is_text else self._text


def _shown(core: CoreStatus, child: DispatchId | None) -> Status:
    """Return the status of a node; one that has become a dispatch and runs is called after that, as in Covalent."""
    return status.DISPATCHING if core == "running" and child is not None else shown(core)


def _headline(failure: Failure) -> str:
    return failure.reason.partition("\n")[0]


def _utc(seconds: float | None) -> dt.datetime | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).replace(tzinfo=None)
