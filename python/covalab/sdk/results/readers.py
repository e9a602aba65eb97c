"""The part of `Result` that asks the store each time: state, metadata, final result, interventions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from covalab.core.lifecycle import TERMINAL
from covalab.sdk.executions import execution as executions

if TYPE_CHECKING:
    from typing_extensions import Self

    from covalab.client import Client
    from covalab.core.model import DispatchRecord


class Readers:
    """What `Result` reads beside the graph. Every value is a copy."""

    _client: Client
    _record: DispatchRecord

    @property
    def execution(self) -> executions.Execution:
        """The dispatch as something that lives; see `covalab.get_execution`."""
        return executions.Execution(self._client, self._record.summary.id, self)  # type: ignore[arg-type]

    @property
    def _reader(self) -> executions.Reader:
        return executions.Reader(self._client, self._record.summary.id, self)  # type: ignore[arg-type]

    def refresh(self) -> Self:
        """Ask for everything again: status, value and outputs are then as they stand now."""
        self._record = self._client.record(self._record.summary.id)
        self._values.update(self._record.outputs)  # type: ignore[attr-defined]
        return self

    def get_state(self, key: str | Sequence[str | int] | None = None, default: Any = None) -> Any:
        """Return what tasks wrote with `covalab.set_state`, or a part of it, as it stands now.

        Parameters
        ----------
        key
            A path with dots, which goes through dictionaries only; or a list or tuple of keys, for keys with dots.
            ``"nodes.<name>.output"`` (or ``status``, ``error``, ``attempts``, ``start_time``, ``end_time``,
            ``stdout``, ``stderr``) reads the graph; of several nodes with one name the others are ``name_1``, ...; a
            node's number does as well. If not given: all, as a mapping that opens values when they are read.
        default
            What to return where there is nothing.

        Notes
        -----
        Live while the dispatch runs, frozen when it has ended. TriggerFlow, "Execution Result".
        """
        return self._reader.state(key, default)

    def get_meta(self) -> dict[str, Any]:
        """Return what is known of the execution itself; times are texts (ISO 8601, UTC), not numbers as in TriggerFlow.

        Returns
        -------
        dict
            ``execution_id``, ``run_id``, ``flow_name``, ``status`` (``created``, ``running``, ``waiting``,
            ``completed``, ``failed``, ``cancelled``), ``lifecycle_state`` (``open``, ``sealed``, ``closed``),
            ``created_at``, ``started_at``, ``closed_at``, ``close_reason``, ``state_version``; and ``dispatch_id``,
            ``root_dispatch_id``, ``sealed_at``, ``recovered_count``, ``paused``, ``waiting_for``.
        """
        return self._reader.meta()

    @property
    def snapshot(self) -> dict[str, Any] | None:
        """The state as it was when the dispatch ended, a copy each time; None while it runs."""
        standing = self._reader.standing()
        return self._reader.whole_state(standing) if standing.summary.status in TERMINAL else None

    def get_final_result(self, timeout: float | None = None, *, raise_on_timeout: bool = False) -> Any:
        """Wait for the final result: what a task set, else the lattice's value, else the snapshot.

        Parameters
        ----------
        timeout
            How many seconds to wait; for ever, if not given.
        raise_on_timeout
            Raise ``TimeoutError`` when the time is up, where otherwise there is a warning, and None.

        Notes
        -----
        A dispatch that failed has a snapshot; `raise_for_status` raises. One that is kept open (``auto_close=False``)
        has its value when its last node has completed.
        """
        reader, deadline = self._reader, executions.deadline_after(timeout)
        while True:
            left = executions.left_until(deadline, executions.FOR_EVER)
            is_there, value = reader.final(reader.standing(wait=left, final=True))
            if is_there:
                return value
            if deadline is not None and time.monotonic() >= deadline:
                return reader.expired(timeout, raise_on_timeout=raise_on_timeout)

    async def async_get_final_result(self, timeout: float | None = None, *, raise_on_timeout: bool = False) -> Any:
        """Do the same as `get_final_result` without blocking the event loop."""
        reader, deadline = self._reader, executions.deadline_after(timeout)
        while True:
            left = executions.left_until(deadline, executions.ROUND_SECONDS)
            standing = await executions.waited_for(reader.standing, wait=left, final=True)
            is_there, value = await executions.in_thread(reader.final, standing)
            if is_there:
                return value
            if deadline is not None and time.monotonic() >= deadline:
                return reader.expired(timeout, raise_on_timeout=raise_on_timeout)

    def get_interventions(
        self,
        status: str | None = None,
        target: str | None = None,
        since_version: int | None = None,
        consumed_by: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return what people said to the dispatch, in order; empty where its lattice takes no interventions.

        Parameters
        ----------
        status
            Only those that are ``pending``, ``inserted`` or ``expired``.
        target
            Only those meant for this node or point.
        since_version
            Only those after this one.
        consumed_by
            Only those that this consumer did something about.
        """
        found = list(self._reader.standing().folded.interventions.values())
        return executions.records(
            found, status=status, target=target, since_version=since_version, consumed_by=consumed_by
        )

    def get_latest_intervention(self, default: Any = None, **filters: Any) -> Any:
        """Return the last record that `get_interventions` returns for these filters, or `default`."""
        found = self.get_interventions(**filters)
        return found[-1] if found else default

    def get_interrupts(self, status: str | None = None) -> list[dict[str, Any]]:
        """Return what the dispatch waits for, or waited for; with `status` only ``waiting``, ``resumed``, ..."""
        found = self._reader.standing().folded.interrupts.values()
        return [executions.interrupt_dict(one) for one in found if status is None or one.status == status]
