"""Reporting: state, stream and interventions of a dispatch, for the code of its running tasks.

A report is sent at once, in order, before the task's outcome, and is on the disk no later than that. A task that is run
again reports again: state is the last value written, a stream has an item for each run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from covalab.blobs import BlobStore
from covalab.core.journal import DEPTH_LIMIT, LEAVES_LIMIT, Entry, Intervention, Kind, StateNode
from covalab.core.protocol import Batch, TaskMessage, TaskSpec
from covalab.worker.context import get_context

if TYPE_CHECKING:
    from covalab.worker.capture import Capture

Path = str | Sequence[str]


class Reporter:
    """Reporter of a running batch: sends journal entries to its dispatch."""

    def __init__(
        self, batch: Batch, blobs: BlobStore, emit: Callable[[bytes], None], capture: Capture | None = None
    ) -> None:
        self._batch = batch
        self._blobs = blobs
        self._emit = emit
        self.capture = capture
        """The capture of output, in a process that runs one task at a time."""
        self._pid = os.getpid()

    @property
    def batch(self) -> Batch:
        """The batch."""
        return self._batch

    @property
    def blobs(self) -> BlobStore:
        """The blob folder of the batch."""
        return self._blobs

    def task(self, node: int) -> TaskSpec:
        """Return a task of the batch."""
        return next(task for task in self._batch.tasks if task.node == node)

    def report(
        self,
        node: int,
        kind: Kind,
        path: tuple[str, ...] = (),
        tree: StateNode | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Send a journal entry."""
        # A fork has a copy of this object, but not the thread and the connection that send for it.
        if os.getpid() != self._pid:
            message = f"the task of node {node} runs in another process (it forked); call this in the task's own"
            raise RuntimeError(message)
        entry = msgspec.msgpack.encode(Entry(kind, time.time(), node, path, tree, data or {}))
        self._emit(msgspec.msgpack.encode(TaskMessage(self._batch.id, entry)))

    def serialize(self, value: Any, what: str) -> StateNode:
        """Serialize a value as a whole."""
        return StateNode(self._blobs.serialize(value, what=what))

    def serialize_leaves(self, value: Any, what: str) -> StateNode:
        """Serialize the leaves of a value: a dictionary with text keys can be read and changed part by part."""
        # A dictionary of a million numbers is data, not state: one blob instead of a million leaves in the journal.
        if _leaves(value, 0) > LEAVES_LIMIT:
            return self.serialize(value, what)
        return self._split(value, what, 0)

    def _split(self, value: Any, what: str, depth: int) -> StateNode:
        if not _is_branch(value, depth):
            return self.serialize(value, what)
        return StateNode(below={key: self._split(part, f"{what}.{key}", depth + 1) for key, part in value.items()})


def _is_branch(value: Any, depth: int) -> bool:
    # Not a subclass: it may have more to it than its items.
    return type(value) is dict and depth < DEPTH_LIMIT and all(type(key) is str for key in value)


def _leaves(value: Any, depth: int) -> int:
    if not _is_branch(value, depth):
        return 1
    total = 1
    for part in value.values():
        total += _leaves(part, depth + 1)
        if total > LEAVES_LIMIT:  # counting on would cost what splitting does
            break
    return total


class _Process:
    """The reporter of this process, for all of its threads: it runs one batch at a time."""

    reporter: Reporter | None = None


process = _Process()

in_thread: ContextVar[Reporter | None] = ContextVar("covalab_reporter", default=None)
"""The reporter of the task of this thread, in a process that runs several at once."""


def blobs_of_batch() -> BlobStore:
    """Return the blob folder of the batch that this process runs."""
    reporter = in_thread.get() or process.reporter
    if reporter is None:
        message = "values of a session are read by the task that needs them; none is running in this process"
        raise RuntimeError(message)
    return reporter.blobs


def _current(name: str) -> tuple[Reporter, int]:
    reporter, node = in_thread.get() or process.reporter, get_context().task_id
    if reporter is None or node is None:
        message = (
            f"ct.{name} speaks for the task that is running, and none is: call it inside an electron, on a worker; "
            "outside, ct.get_result(id).get_state() and ct.get_execution(id) read what was said"
        )
        raise RuntimeError(message)
    return reporter, node


def checked_path(path: Path) -> tuple[str, ...]:
    """Return the parts of a path: a text with dots, or a list of texts if keys contain dots."""
    parts = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
    if not parts or not all(isinstance(part, str) and part for part in parts):
        message = f"a path is a text such as 'report.score', or a list of texts, not {path!r}"
        raise ValueError(message)
    if parts[0] == "nodes" or parts[0] in ("$final_result", "$interventions"):
        message = f"{parts[0]!r} is written by covalab and can only be read; choose another key"
        raise ValueError(message)
    return parts


def set_state(key: Path, value: Any) -> None:
    """Set a part of the dispatch's state. Only inside an electron.

    Parameters
    ----------
    key
        A path with dots (``"report.score"``), or a list of texts for keys that contain dots. Dictionaries on the way
        are made.
    value
        Anything that can be pickled; a copy of it is kept. What is inside a dictionary with text keys can be read and
        set by its own path.

    Raises
    ------
    RuntimeError
        Outside a running task.
    ValueError
        If the key is no path, or begins with what covalab writes itself.
    SerializationError
        If the value cannot be pickled.

    Notes
    -----
    A task does not wait until its report has arrived. A write that cannot be done (below a number, say) changes
    nothing, and the stream says so. TriggerFlow, ``Execution.set_state``.

    Examples
    --------
    >>> set_state("report", {"score": 1})
    Traceback (most recent call last):
    RuntimeError: ct.set_state speaks for the task that is running, and none is: ...
    """
    reporter, node = _current("set_state")
    path = checked_path(key)
    reporter.report(node, "set", path, tree=reporter.serialize_leaves(value, f"state {'.'.join(path)!r}"))


def append_state(key: Path, value: Any) -> None:
    """Append to a list in the dispatch's state; what is no list becomes the first item of one. See `set_state`."""
    reporter, node = _current("append_state")
    path = checked_path(key)
    reporter.report(node, "append", path, tree=reporter.serialize_leaves(value, f"an item of state {'.'.join(path)!r}"))


def del_state(key: Path) -> None:
    """Delete a part of the dispatch's state; one that is not there is no error. See `set_state`."""
    reporter, node = _current("del_state")
    reporter.report(node, "delete", checked_path(key))


def put_into_stream(item: Any) -> None:
    """Put an item into the dispatch's stream; it is kept for later readers.

    Parameters
    ----------
    item
        Anything that can be pickled.

    Raises
    ------
    RuntimeError
        Outside a running task.
    SerializationError
        If the item cannot be pickled.
    """
    reporter, node = _current("put_into_stream")
    reporter.report(node, "stream", tree=reporter.serialize(item, "an item of the stream"))


def set_final_result(value: Any) -> None:
    """Set what `Result.get_final_result` returns, whatever the lattice returns; the last one counts.

    Raises
    ------
    RuntimeError
        Outside a running task.
    SerializationError
        If the value cannot be pickled.
    """
    reporter, node = _current("set_final_result")
    reporter.report(node, "final", tree=reporter.serialize(value, "the final result"))


def get_interventions(
    status: str | None = None,
    target: str | None = None,
    since_version: int | None = None,
    consumed_by: str | None = None,
) -> list[dict[str, Any]]:
    """Return the interventions of this dispatch from before this task started: the same when it is run again.

    Parameters
    ----------
    status, target, since_version, consumed_by
        Only those records; see `Result.get_interventions`.

    Returns
    -------
    list of dict
        In the order of their versions; empty where the lattice takes none.

    Raises
    ------
    RuntimeError
        Outside a running task.
    """
    reporter, node = _current("get_interventions")
    return chosen(reporter.task(node).interventions or [], status, target, since_version, consumed_by)


def mark_intervention_consumed(
    id: str,  # noqa: A002 - TriggerFlow's name
    consumer: str | None = None,
    status: Literal["applied", "ignored"] = "applied",
    note: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Mark an intervention as applied or ignored by this task.

    Parameters
    ----------
    id
        The record's id.
    consumer
        The name of the consumer; by default the task's.
    status
        Whether it was applied or ignored.
    note, metadata
        A remark, and more data as a dict.

    Raises
    ------
    KeyError
        If this task sees no such intervention.
    ValueError
        If the status is another one.
    RuntimeError
        Outside a running task.
    """
    reporter, node = _current("mark_intervention_consumed")
    task = reporter.task(node)
    if id not in {record.id for record in task.interventions or ()}:
        message = f"the task {task.name!r} (node {node}) sees no intervention {id!r}"
        raise KeyError(message)
    if status not in ("applied", "ignored"):
        message = f"status is 'applied' or 'ignored', not {status!r}"
        raise ValueError(message)
    data = {"id": id, "consumer": consumer or task.name, "status": status, "note": note}
    reporter.report(node, "consume", data={**data, "metadata": plain_dict(metadata)})


def plain_dict(value: Any) -> dict[str, Any]:
    """Return a dictionary as JSON could hold it; raises `TypeError` for anything else."""
    if value is not None and not isinstance(value, dict):
        message = f"metadata is a dict, not {value!r}"
        raise TypeError(message)
    found: dict[str, Any] = plain(value or {})
    return found


def plain(value: Any) -> Any:
    """Return a value as JSON could hold it; what JSON does not know becomes its text."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=str))


def chosen(
    records: Sequence[Intervention],
    status: str | None = None,
    target: str | None = None,
    since_version: int | None = None,
    consumed_by: str | None = None,
) -> list[dict[str, Any]]:
    """Return the records that match all criteria, as new dictionaries."""
    return [
        msgspec.to_builtins(record)
        for record in sorted(records, key=lambda record: record.version)
        if (status is None or record.status == status)
        and (target is None or record.target == target)
        and (since_version is None or record.version > since_version)
        and (consumed_by is None or consumed_by in record.consumers)
    ]
