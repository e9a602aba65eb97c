"""`Result`: a dispatch as it was when it was asked for, with Covalent's properties.

One answer of the dispatcher holds what the result is made of; the outputs of single nodes are fetched when asked for.
The lattice's value is put together here, from the recorded values, each time it is read.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
from collections.abc import Callable, Collection, Iterator, KeysView, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import msgspec

from covalab.client import Client
from covalab.core.codec import Buffer
from covalab.core.covalent_status import Status, shown, status
from covalab.core.dispatch_provenance import provenance_of
from covalab.core.errors import CovalabError, GraphError, SerializationError, TaskFailed, ValueLost
from covalab.core.labels import labels
from covalab.core.lifecycle import TERMINAL
from covalab.core.local_modules import LocalModules
from covalab.core.model import Digest, DispatchId, DispatchRecord, Failure, NodeDetail, NodeKind, does_work
from covalab.core.model import Status as CoreStatus
from covalab.core.outputs import recorded
from covalab.core.transportable import TransportableObject
from covalab.core.trigger_states import TriggerState
from covalab.sdk.building.postprocess import called_nodes, rerun
from covalab.sdk.building.transport_graph import TransportGraph
from covalab.sdk.building.value_table import deserialize_inputs
from covalab.sdk.code.local_modules import read_local_modules
from covalab.sdk.configuration import get_config
from covalab.sdk.recorded_values import RecordedValues
from covalab.sdk.results.inputs import RecordedInputs
from covalab.sdk.results.notebooks import executed_notebook
from covalab.sdk.results.readers import Readers
from covalab.sdk.results.result_files import ResultFiles
from covalab.sdk.results.result_text import TEXT_LIMIT, result_text
from covalab.sdk.results.session_names import names_of, session_record, value_of_session
from covalab.sdk.results.stored_code import RecordedLattice, StoredLattice, load_lattice
from covalab.sdk.tasks.records import TaskRecord, attempts_of, node_additions
from covalab.sdk.tasks.tasks import get_task_result
from covalab.sdk.values import FieldDict, UserValue
from covalab.worker.missing_modules import missing_modules
from covalab.worker.session.record import CellRecord


class Result(Readers):
    """Result of a dispatch. `covalab.get_result` makes one; in a notebook it shows itself.

    A result is a snapshot: `refresh`, or `covalab.get_result` again, shows more. Values are deserialized each time they
    are read.

    See Also
    --------
    covalab.get_result : Fetch one, with or without waiting.
    covalab.get_task_result : One task alone, with OmniQ's keys.
    covalab.get_result_manager : The parts of a result as files.
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
    CANCELED = status.CANCELLED  # as Covalent's page on dispatching spells it

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
        self._values = RecordedValues(record, client.blobs, self._opening)
        self._graph = TransportGraph(
            record.graph, record.values, self._code_of, client.blobs, recorded=self._node_attributes
        )

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
        """The status of the dispatch."""
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
    def inputs(self) -> RecordedInputs:
        """The arguments of the workflow, as a dictionary: ``{"args": tuple, "kwargs": dict}``.

        Also a `TransportableObject`, as in Covalent: ``inputs.get_deserialized()`` is the same.
        """
        record, blobs = self._record, self._client.blobs
        return RecordedInputs.recorded(
            record.inputs.text, lambda: deserialize_inputs(record.inputs, record.values, blobs)
        )

    @functools.cached_property
    def lattice(self) -> StoredLattice | RecordedLattice:
        """The lattice that was dispatched, with its inputs and its transport graph: it can be called and dispatched.

        A `RecordedLattice`, which can only be read, where it cannot be deserialized: a module is missing, another
        Python.
        """
        client, record = self._client, self._record
        try:
            found = load_lattice(self.dispatch_id, record.lattice, self._code, client.blobs)
        except (SerializationError, ValueLost) as error:
            return RecordedLattice(record, self.inputs, self._graph, str(error))
        found.recorded_as(self.inputs, self._graph, record.source, record.environment.versions)
        return found

    @property
    def transport_graph(self) -> TransportGraph:
        """The transport graph, with the state and the outputs of its nodes."""
        return self._graph

    def full_record(self) -> DispatchRecord:
        """Return everything that is known without asking for single nodes, every output included."""
        self._fetch_all()
        return msgspec.structs.replace(self._record, outputs=self._values.outputs)

    def save_result(self, results_dir: str | os.PathLike[str] | None = None) -> None:
        """Write everything to files, as `covalab.get_result` does with ``results_dir=``.

        Parameters
        ----------
        results_dir : str or path, optional
            The folder, made if it is not there; `results_dir`, if not given. ``ResultManager.load`` reads it.
        """
        files = ResultFiles(self, results_dir)
        files.download_all(workflow_output=self._workflow_output, intermediate_outputs=self._intermediate_outputs)

    @functools.cached_property
    def _code(self) -> Mapping[Digest, bytes]:
        return self._client.submission(self.dispatch_id).code

    def _code_of(self, digest: Digest) -> Buffer:
        return self._client.blobs.code(digest, self._code)

    @property
    def triggers(self) -> list[TriggerState]:
        """The triggers of the dispatch at this moment, and which dispatches they have started; not in Covalent."""
        return self._client.triggers(self.dispatch_id)

    # The lattice's value.

    @property
    def result(self) -> UserValue:
        """The lattice's value, or None while there is none.

        That of a lattice of bare cells is the value of the last line of its last cell; ``result["name"]`` is what the
        cells left in a name.
        """
        return value_of_session(self._values.result()) if self._has_value else None

    @functools.cached_property
    def _names(self) -> Mapping[str, UserValue]:
        value = self._values.result() if self._has_value else None
        return names_of(self._record, self._values, self._client, value)

    @property
    def session_record(self) -> CellRecord | None:
        """The record of the last cell that ran of those that share a session, None where none does."""
        return session_record(self._record, self._values, self._client)

    def __getitem__(self, name: str) -> UserValue:
        """Return the value that the cells of the dispatch left in a name.

        Names of one result share objects as they did in the cells; `covalab.get_result` again gives other copies.

        Raises
        ------
        KeyError
            If there is no such name; the message lists those that there are.
        """
        names = self._names
        try:
            return names[name]
        except KeyError as error:
            if error.args and error.args[0] != name:
                raise
            there = ", ".join(sorted(names)) or "no names"
            message = f"dispatch {self.dispatch_id} ({self._record.summary.name}) has no {name!r}; it has {there}"
            raise KeyError(message) from None

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def keys(self) -> KeysView[str]:
        """Return the names that the cells of the dispatch have made."""
        return self._names.keys()

    def notebook(self) -> FieldDict:
        """Return the executed notebook of a notebook run, as far as it has run now: nbformat's JSON. Not in Covalent.

        Raises
        ------
        GraphError
            If the dispatch is no notebook run.

        See Also
        --------
        covalab.export_notebook : Write it to a file.
        """
        return executed_notebook(self.dispatch_id, self._client)

    def provenance(self) -> FieldDict:
        """Return how the dispatch came about, as far as it was recorded. Not in Covalent.

        Returns
        -------
        dict
            ``source``, ``functions``, ``arguments`` (as short texts), ``python``, ``packages`` (names and versions of
            all that were installed), ``git`` (commit, branch, remote, and whether files were changed), ``notebook``,
            ``cell``, ``folder``, ``host``, ``system`` and the times. It was taken when the dispatch was made.
        """
        submission = self._client.submission(self.dispatch_id)
        known: FieldDict = msgspec.to_builtins(provenance_of(self._record.summary, submission))
        return known

    @property
    def encoded_result(self) -> TransportableObject | None:
        """The lattice's value, serialized, or None while there is none."""
        return self._output(self._record.graph.output) if self._has_value else None

    def post_process(self) -> UserValue:
        """Run the workflow function here, with the recorded values in place of its electrons, and return its value.

        No task runs again. Unlike in `result`, what was returned as a tuple or a set is one.

        Raises
        ------
        GraphError
            If not all electrons have a value, or the lattice cannot be deserialized here.
        """
        nodes = called_nodes(self._record.graph)
        outputs = self._client.record(self._record.summary.id, outputs=nodes).outputs
        missing = [f"{self._record.graph.nodes[node].name} ({node})" for node in nodes if node not in outputs]
        if missing:
            message = f"dispatch {self.dispatch_id} cannot be post-processed: no value yet of {', '.join(missing[:5])}"
            raise GraphError(message)
        self._values.outputs.update(outputs)
        lattice, given = self.lattice, self.inputs.get_deserialized()
        if isinstance(lattice, RecordedLattice):
            return lattice(*given["args"], **given["kwargs"])  # raises, with the reason
        return rerun(lattice.function, given["args"], given["kwargs"], map(self._values.deserialized, nodes))

    @property
    def _has_value(self) -> bool:
        return self._workflow_output and self._record.summary.status == "completed"

    # Errors.

    @property
    def error(self) -> str | None:
        """None, or a headline and one line for each task that failed: its number, name and exception."""
        summary = self._record.summary
        if summary.status != "failed":
            return None
        lines = ["The following tasks failed:"]
        graph = self._record.graph
        told_apart = labels(graph.nodes, graph.edges)
        for node in sorted(self._record.failures):
            failure = self._record.failures[node]
            lines.append(f"{node}: {graph.nodes[node].name}{told_apart.get(node, '')}: {_headline(failure)}")
        if len(lines) == 1:
            return summary.error or "The dispatch failed."
        return "\n".join(lines)

    def raise_for_status(self) -> Result:
        """Raise if the dispatch ended without a value, else return this result.

        Raises
        ------
        TaskFailed
            With every failed node and the traceback of the first; also for a dispatch that was cancelled.
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

    def get_node_result(self, node_id: int) -> FieldDict:
        """Return everything known about one node.

        Parameters
        ----------
        node_id : int
            The node's number in the transport graph.

        Returns
        -------
        dict
            Covalent's keys, each None where there is nothing (yet):

            - ``node_id`` (int), ``node_name`` (str), ``status`` (`Status`)
            - ``start_time``, ``end_time`` (datetime.datetime, UTC, without a time zone)
            - ``output`` (`TransportableObject`)
            - ``error`` (str): the traceback
            - ``sublattice_result`` (`Result`): of the dispatch that a sublattice's node has become
            - ``stdout``, ``stderr`` (str)
            - ``outputs`` (list of dict): as a notebook would show them, in nbformat's shape; not in Covalent

            Of a node that does work also, which Covalent does not have:

            - ``attempts``, ``retry_count``, ``max_retries`` (int)
            - ``time_limit`` (float or None): in seconds
            - ``error_type`` (str or None), ``error_details`` (dict or None): as `TaskError.to_dict` returns it
            - ``enqueued_at`` (str), ``started_at`` (str or None): ISO-8601 texts
            - ``worker`` (str or None)

        Raises
        ------
        KeyError
            If there is no such node.

        See Also
        --------
        Result.get_task_result : How the node ended, with OmniQ's keys.
        Result.get_node_attempts : Each of its runs.
        Result.get_all_node_results : All nodes.
        covalab.get_result : The whole dispatch.
        """
        graph = self._record.graph
        if not 0 <= node_id < len(graph.nodes):
            message = f"dispatch {self.dispatch_id} has no node {node_id}; its nodes are 0 to {len(graph.nodes) - 1}"
            raise KeyError(message)
        if not does_work(graph.nodes[node_id]):
            return self._node_dict(node_id)
        detail = self._client.node(self._record.summary.id, node_id)
        if detail.value is not None:
            self._values.outputs[node_id] = detail.value
        found = self._node_dict(node_id)
        found |= {
            "start_time": _utc(detail.started_at),
            "end_time": _utc(detail.ended_at),
            "status": _shown(detail.status, detail.child),
            "sublattice_result": self._sublattice_result(detail.child),
            "stdout": detail.stdout or None,
            "stderr": detail.stderr or None,
            "outputs": self._outputs_of(detail),
        }
        if detail.failure is not None:
            found["error"] = detail.failure.traceback or _headline(detail.failure)
        return found | node_additions(detail, self._record.summary.created_at, self._client.blobs.deserialize)

    @property
    def outputs(self) -> dict[int, list[FieldDict]]:
        """Outputs of each node that has some, as a notebook would show them: in nbformat's shape, by number.

        Printed text, figures, tables and errors, in order; of nodes that run, what there is at this moment.
        """
        return self._read_outputs()[0]

    def _read_outputs(self, choose: Callable[[list[int]], list[int]] = list) -> tuple[dict[int, list[FieldDict]], int]:
        """Return the outputs of the nodes that are chosen of those that may have some, and how many others may."""
        client = self._client
        ended = client.all_outputs(self.dispatch_id)
        running = {state.node for state in self._record.nodes if state.status == "running"} - ended.keys()
        numbers = sorted([*ended, *running])
        found: dict[int, list[FieldDict]] = {}
        wanted = choose(numbers)
        for number in wanted:
            if number in ended:
                found[number] = recorded(ended[number], client.blobs.load)
            else:
                found[number] = client.outputs(self.dispatch_id, number).outputs
        return {number: outputs for number, outputs in found.items() if outputs}, len(numbers) - len(wanted)

    def _outputs_of(self, detail: NodeDetail) -> list[FieldDict]:
        if detail.status == "running" and detail.child is None:
            return self._client.outputs(detail.dispatch, detail.node).outputs
        return [] if detail.status == "skipped" else recorded(detail, self._client.blobs.load)

    def get_node_attempts(self, node_id: int) -> list[FieldDict]:
        """Return every run of a node, the first one first.

        Parameters
        ----------
        node_id : int
            The node's number in the transport graph.

        Returns
        -------
        list of Record
            By item and by attribute: ``attempt`` (int, from 1), ``started_at``, ``ended_at`` (ISO-8601 text or None; as
            attributes, datetimes), ``outcome`` (`TaskStatus`), ``error_details`` (dict or None) and ``worker`` (str or
            None).

        See Also
        --------
        Result.get_node_result : The node as a whole.
        """
        detail = self._client.node(self._record.summary.id, node_id)
        return list(attempts_of(detail, self._client.blobs.deserialize))

    def get_task_result(self, node_id: int) -> TaskRecord | None:
        """Return how a node ended as `covalab.get_task_result` does; None while it has not.

        See Also
        --------
        Result.get_node_result : The same node, with Covalent's keys.
        """
        return get_task_result(f"{self.dispatch_id}:{node_id}")

    def get_all_node_results(self) -> list[FieldDict]:
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
        has_all = self.is_terminal and len(self._values.outputs) >= self._record.summary.counts.completed
        if self._intermediate_outputs and not has_all:
            self._values.outputs.update(self._client.record(self._record.summary.id, outputs="all").outputs)

    def _node_dict(self, node_id: int) -> FieldDict:
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
            "outputs": [],
        }

    def _node_attributes(self, node_id: int) -> Mapping[str, UserValue]:
        return {**self.get_node_result(node_id), "sub_dispatch_id": self._record.children.get(node_id)}

    def _sublattice_result(self, child: DispatchId | None) -> Result | None:
        """Return the result of a child dispatch, which a node of this one has become."""
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
        """Return the serialized output of a node, or None while not all that it is made of is there."""
        node, values = self._record.graph.nodes[node_id], self._values
        is_wanted = self._workflow_output if node.kind is NodeKind.OUTPUT else self._intermediate_outputs
        if not is_wanted or not values.has_all_of(node_id):
            return None
        if not does_work(node) and node.kind is not NodeKind.PARAMETER:
            return TransportableObject.recorded(self._text(node_id), lambda: values.at(node_id))
        value, what = values.serialized(node_id), values.description_of(node_id)

        def opened() -> UserValue:
            with self._opening():
                return self._client.blobs.deserialize(value, what=what)

        return TransportableObject.recorded(value.text, opened)

    def _opening(self) -> AbstractContextManager[None]:
        """Return the context in which a value is opened: modules that lay beside the notebook may not be found here."""
        return missing_modules.of(lambda: self._local_modules)

    @functools.cached_property
    def _local_modules(self) -> LocalModules:
        return read_local_modules(self._client.submission(self.dispatch_id), self._client.blobs)

    def _text(self, node: int) -> str:
        return self._values.text_of(node)[:TEXT_LIMIT]

    # Display.

    def __repr__(self) -> str:
        summary = self._record.summary
        return f"<Result of {summary.name!r}: {self.status}, dispatch {summary.id}>"

    def __str__(self) -> str:
        text = self._text(self._record.graph.output) if self._has_value else None
        if self._has_value and self._has_session:  # its text is how the names travel
            text = repr(self.result)[:TEXT_LIMIT]
        return result_text(self, text, leaves_out_virtual=self._has_session)

    @property
    def _has_session(self) -> bool:
        return any(one.session for one in self._record.graph.settings)

    def _repr_mimebundle_(
        self,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
    ) -> FieldDict:
        from covalab.view.bundle import dispatch_bundle  # noqa: PLC0415 - only when it is shown
        from covalab.view.node_outputs import chosen, node_displays  # noqa: PLC0415

        record, displays = self._record, None
        with suppress(CovalabError):  # without the dispatcher it is shown as far as it is known
            found, n_more = self._read_outputs(lambda numbers: chosen(numbers, record.failures))
            displays = node_displays(self.dispatch_id, record.graph, found, n_more)
        return dispatch_bundle(record.summary, record.graph, record.nodes, displays=displays)


def _shown(core: CoreStatus, child: DispatchId | None) -> Status:
    """Return the status of a node; one that has become a dispatch and runs is called after that, as in Covalent."""
    return status.DISPATCHING if core == "running" and child is not None else shown(core)


def _headline(failure: Failure) -> str:
    return failure.reason.partition("\n")[0]


def _utc(seconds: float | None) -> dt.datetime | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).replace(tzinfo=None)
