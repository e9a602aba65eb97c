"""Ids of tasks, and waiting for one to end."""

from __future__ import annotations

import threading
import time
from typing import Final

from covalab.client import Client
from covalab.core.errors import MissingLatticeRecordError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchSummary, NodeDetail, NodeKind, does_work
from covalab.sdk.tasks.records import TaskRecord, task_record

_ROUND_SECONDS: Final = 10.0
"""Longest wait of one request, in seconds; a caller that is gone is noticed after that."""


def await_task(
    client: Client, task_id: str, *, wait: bool, timeout: float | None, gone: threading.Event
) -> TaskRecord | None:
    """Return how a task ended, or None.

    Parameters
    ----------
    client : Client
        The connection to the dispatcher.
    task_id : str
        The task.
    wait : bool
        Whether to wait until it has ended.
    timeout : float or None
        How many seconds to wait; None: for ever.
    gone : threading.Event
        Set when the caller no longer waits; then this returns None.
    """
    deadline = None if timeout is None or not wait else time.monotonic() + timeout
    try:
        with client.until(deadline):
            found = _awaited(client, *parse_task_id(task_id), wait=wait, deadline=deadline, gone=gone)
    except MissingLatticeRecordError:
        return None
    return None if found is None else task_record(*found, client.blobs.deserialize)


def _awaited(
    client: Client, dispatch: str, node: int | None, *, wait: bool, deadline: float | None, gone: threading.Event
) -> tuple[NodeDetail, DispatchSummary] | None:
    """Return a node that has ended, and its dispatch."""
    summary = client.summary(dispatch)
    detail = fetch_detail(client, dispatch, node)
    while detail is not None and detail.status not in TERMINAL:
        left = _ROUND_SECONDS if deadline is None else deadline - time.monotonic()
        if not wait or left <= 0 or gone.is_set():
            return None
        changes = client.changes(dispatch, since=summary.version, wait=min(left, _ROUND_SECONDS))
        summary = changes.summary
        if any(state.node == detail.node and state.status in TERMINAL for state in changes.nodes):
            detail = fetch_detail(client, dispatch, node)
    return None if detail is None else (detail, summary)


def parse_task_id(task_id: object) -> tuple[str, int | None]:
    """Return the dispatch and the node of a task's id: None if it names no node, -1 if it names what is no node."""
    if not isinstance(task_id, str):
        message = f"a task id is a text like '<dispatch id>:<node>', not {task_id!r}"
        raise TypeError(message)
    dispatch, colon, node = str(task_id).partition(":")
    return dispatch, int(node) if colon and node.isdecimal() else -1 if colon else None


def fetch_detail(client: Client, dispatch: str, node: int | None) -> NodeDetail | None:
    """Fetch a node that does work; without a number, the first one, which of an enqueued task is the task."""
    if node is None:
        nodes = client.graph(dispatch).nodes
        node = next((number for number, it in enumerate(nodes) if does_work(it)), -1)
    if node < 0:
        return None
    detail = client.node(dispatch, node)
    return None if detail.kind in (NodeKind.PARAMETER, NodeKind.LIST, NodeKind.DICT) else detail
