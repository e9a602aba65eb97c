"""Readers of `Result` that ask the dispatcher each time: state, metadata, final result, interventions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, overload

from covalab.client import Client
from covalab.core.errors import GraphError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchRecord, Graph, NodeState
from covalab.sdk.executions.aio import (
    FOR_EVER,
    ROUND_SECONDS,
    deadline_after,
    in_thread,
    is_past,
    left_until,
    waited_for,
)
from covalab.sdk.executions.execution import Execution
from covalab.sdk.executions.interrupts import interrupt_dict, intervention_dicts
from covalab.sdk.executions.state_reader import StateReader
from covalab.sdk.recorded_values import RecordedValues
from covalab.sdk.results.run_log import checked_kinds, line_text, log_lines
from covalab.sdk.values import FieldDict, UserValue

if TYPE_CHECKING:
    from typing_extensions import Self


class Readers:
    """Base class of `Result`: reads what is beside the graph. Every value is a copy."""

    _client: Client
    _record: DispatchRecord
    _values: RecordedValues

    def get_node_result(self, node_id: int) -> FieldDict:
        """Return everything known about one node; `Result` does."""
        raise NotImplementedError

    @property
    def execution(self) -> Execution[Self]:
        """The dispatch while it runs: to seal, close and follow; see `covalab.get_execution`."""
        return Execution(self._client, self._record.summary.id, lambda: self)

    @property
    def _reader(self) -> StateReader:
        return StateReader(self._client, self._record.summary.id, self._record.graph.nodes, self.get_node_result)

    def refresh(self) -> Self:
        """Ask for everything again: status, value and outputs are then those of this moment."""
        self._record = self._client.record(self._record.summary.id)
        self._values.outputs.update(self._record.outputs)
        self.__dict__.pop("_names", None)
        return self

    def log(self, kinds: str | Iterable[str] | None = None, text: str = "") -> str:
        """Return what all nodes printed and how their states changed, in the order of time, as far as it has come.

        Parameters
        ----------
        kinds : str or iterable of str, optional
            Only lines of these kinds: ``"state"``, ``"failure"``, ``"stdout"``, ``"stderr"``.
        text : str, optional
            Only lines in which, or in the name of whose node, each of these words is.

        Returns
        -------
        str
            A line for each: its time, the node (``fit(depth=3)``), the text.

        Examples
        --------
        >>> print(result.log("failure"))  # doctest: +SKIP
        2026-01-31 23:00:04.121  fit(depth=3)  Failed after 120 ms: ValueError: too deep
        """
        found = log_lines(self._client, self._record.summary.id, checked_kinds(kinds), text)
        return "\n".join(map(line_text, found))

    @overload
    def graph(self, kind: Literal["dot", "svg"] = "dot") -> str: ...
    @overload
    def graph(self, kind: Literal["pdf"]) -> bytes: ...
    def graph(self, kind: Literal["dot", "svg", "pdf"] = "dot") -> str | bytes:
        """Return the transport graph with the states of its nodes, as text or as a picture.

        Parameters
        ----------
        kind : {"dot", "svg", "pdf"}, default "dot"
            DOT source (str), for Graphviz and what reads it; or a picture, SVG (str) or PDF (bytes), by Graphviz's
            program ``dot``. Where that is not installed, both have our own layout, as a notebook shows it; matplotlib
            then draws the PDF.

        Raises
        ------
        GraphError
            If there is no such kind, or a PDF is wanted and neither ``dot`` nor matplotlib is installed.

        Examples
        --------
        >>> from pathlib import Path
        >>> Path("graph.pdf").write_bytes(result.graph("pdf"))  # doctest: +SKIP
        """
        from covalab.view.dot import dot_pdf, dot_source, dot_svg  # noqa: PLC0415 - only when it is drawn

        ways: dict[str, Callable[[Graph, Iterable[NodeState]], str | bytes]] = {
            "dot": dot_source,
            "svg": dot_svg,
            "pdf": dot_pdf,
        }
        if kind not in ways:
            message = f"the graph of dispatch {self._record.summary.id} is given as dot, svg or pdf, not {kind!r}"
            raise GraphError(message)
        return ways[kind](self._record.graph, self._record.nodes)

    def get_state(self, key: str | Sequence[str | int] | None = None, default: UserValue = None) -> UserValue:
        """Return what tasks wrote with `covalab.set_state`, or a part of it, as it is at this moment.

        Parameters
        ----------
        key : str or sequence of str or int, optional
            A path with dots, which goes through dictionaries only; or a list or tuple of keys, for keys with dots.
            ``"nodes.<name>.output"`` (or ``status``, ``error``, ``attempts``, ``start_time``, ``end_time``,
            ``stdout``, ``stderr``) reads the graph; of several nodes with one name the others are ``name_1``, ...; a
            node's number does as well. If not given: all, as a mapping that deserializes values when they are read.
        default : object, optional
            What to return where there is nothing.

        Notes
        -----
        Live while the dispatch runs, frozen when it has ended. TriggerFlow, "Execution Result".
        """
        return self._reader.state(key, default)

    def get_meta(self) -> FieldDict:
        """Return what is known of the execution itself; times are texts (ISO 8601, UTC), not numbers as in TriggerFlow.

        Returns
        -------
        dict
            ``execution_id``, ``run_id``, ``flow_name`` (str), ``status`` (str: ``created``, ``running``, ``waiting``,
            ``completed``, ``failed``, ``cancelled``), ``lifecycle_state`` (str: ``open``, ``sealed``, ``closed``),
            ``created_at`` (str), ``started_at``, ``closed_at``, ``close_reason`` (str or None), ``state_version``
            (int); and, not in TriggerFlow, ``dispatch_id``, ``root_dispatch_id`` (str), ``sealed_at`` (str or None),
            ``recovered_count`` (int), ``paused`` (bool), ``waiting_for`` (list of str, the ids of interrupts).
        """
        return self._reader.meta()

    @property
    def snapshot(self) -> dict[str, UserValue] | None:
        """The state as it was when the dispatch ended, a copy each time; None while it runs."""
        snapshot = self._reader.snapshot()
        return self._reader.whole_state(snapshot) if snapshot.summary.status in TERMINAL else None

    def get_final_result(self, timeout: float | None = None, *, raise_on_timeout: bool = False) -> UserValue:
        """Wait for the final result: what a task set, else the lattice's value, else the snapshot at its end.

        The snapshot is that of a lattice that returns nothing, and of a dispatch that failed or was cancelled.

        Parameters
        ----------
        timeout : float, optional
            How many seconds to wait; for ever, if not given.
        raise_on_timeout : bool, default False
            Raise ``TimeoutError`` when the time is up, where otherwise there is a warning, and None.

        Notes
        -----
        A dispatch that failed has a snapshot; `raise_for_status` raises. One that is kept open (``auto_close=False``)
        has its value when its last node has completed.
        """
        reader, deadline = self._reader, deadline_after(timeout)
        while True:
            left = left_until(deadline, FOR_EVER)
            snapshot = reader.snapshot(wait=left, final=True, deadline=deadline)
            is_there, value = reader.final_result(snapshot)
            if is_there:
                return value
            if is_past(deadline):
                return reader.expired(timeout, raise_on_timeout=raise_on_timeout)

    async def async_get_final_result(
        self, timeout: float | None = None, *, raise_on_timeout: bool = False
    ) -> UserValue:
        """Do the same as `get_final_result` without blocking the event loop."""
        reader, deadline = self._reader, deadline_after(timeout)
        while True:
            left = left_until(deadline, ROUND_SECONDS)
            snapshot = await waited_for(reader.snapshot, wait=left, final=True, deadline=deadline)
            is_there, value = await in_thread(reader.final_result, snapshot)
            if is_there:
                return value
            if is_past(deadline):
                return reader.expired(timeout, raise_on_timeout=raise_on_timeout)

    def get_interventions(
        self,
        status: str | None = None,
        target: str | None = None,
        since_version: int | None = None,
        consumed_by: str | None = None,
    ) -> list[FieldDict]:
        """Return the interventions of people, in order; empty where the lattice takes none.

        Parameters
        ----------
        status : {"pending", "inserted", "expired"}, optional
            Only those with this status.
        target : str, optional
            Only those meant for this node or point.
        since_version : int, optional
            Only those after this one.
        consumed_by : str, optional
            Only those that this consumer marked as consumed.

        Returns
        -------
        list of dict
            Each with ``id`` (str), ``version`` (int), ``payload``, ``status`` (str), ``target``, ``author``, ``note``
            (str or None), ``metadata`` (dict), ``created_at`` (str), ``inserted_at``, ``rejected_at``, ``expired_at``
            (str or None), ``insertion`` (dict or None), ``reject_reason`` (str or None), ``consumers`` (dict).

        See Also
        --------
        covalab.intervene : Add one.
        """
        found = list(self._reader.snapshot().state.interventions.values())
        return intervention_dicts(found, status, target, since_version, consumed_by)

    def get_latest_intervention(self, default: UserValue = None, **filters: UserValue) -> UserValue:
        """Return the last record that `get_interventions` returns for these filters, or `default`."""
        found = self.get_interventions(**filters)
        return found[-1] if found else default

    def get_interrupts(self, status: str | None = None) -> list[FieldDict]:
        """Return the interrupts of this dispatch, as `covalab.get_interrupts` does; with `status` only those."""
        found = self._reader.snapshot().state.interrupts.values()
        return [interrupt_dict(one) for one in found if status is None or one.status == status]
