"""Tasks of all dispatches, listed and counted: what has ended from the store, what has not from what runs."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

import apsw

from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Status, TaskQuery, TaskRow, TasksSummary, TaskStatusName
from covalab.dispatcher.running import RunningDispatch
from covalab.dispatcher.service import Service
from covalab.store import task_rows
from covalab.store.task_rows import KeyedTask

_OPEN: Final[dict[Status, TaskStatusName]] = {"pending": "pending", "running": "running"}


async def listed(service: Service, query: TaskQuery) -> list[TaskRow]:
    """Return the tasks that a query asks for, newest first."""
    words = {word for word in query.status.split(",") if word} or {"pending", "running", "completed"}
    # Running ones come first: a task that ends between the two is reported as it is recorded.
    running = {task.place: task for task in _running(service, query, words)}
    may_be_held = "pending" in words and not query.error_type and query.min_attempts < 1

    def job(db: apsw.Connection) -> list[KeyedTask]:
        ended = task_rows.select_tasks(db, query)
        return ended + (task_rows.select_held_tasks(db, query.dispatch, query.limit) if may_be_held else [])

    recorded = {task.place: task for task in await service.store.read(job)}
    newest = sorted(running | recorded, reverse=True)[: query.limit if query.limit >= 0 else None]
    return [(recorded.get(place) or running[place]).row for place in newest]


def _running(service: Service, query: TaskQuery, words: set[str]) -> Iterator[KeyedTask]:
    """Yield tasks that have not ended, newest first, as many as are asked for."""
    if query.error_type or words.isdisjoint(_OPEN):
        return
    n_left = query.limit
    for run in sorted(service.runs.values(), key=lambda run: run.key, reverse=True):
        if query.dispatch not in ("", run.id):
            continue
        for node in _open_nodes(run, words):
            if n_left == 0:
                return
            row = _row(run, node)
            if row.attempts >= query.min_attempts:
                n_left -= 1
                yield KeyedTask(run.key, row)


def _open_nodes(run: RunningDispatch, words: set[str]) -> Iterator[int]:
    """Yield the numbers of nodes that do work and have not ended, the largest first."""
    committed = run.committed
    if "pending" not in words:  # few run at a time, however many nodes there are
        yield from sorted(committed.running, reverse=True)
        return
    for node in range(len(run.graph.nodes) - 1, -1, -1):
        status = committed.status(node)
        if status in words and status not in TERMINAL and run.progress.working[node]:
            yield node


def _row(run: RunningDispatch, node: int) -> TaskRow:
    state = run.committed_state(node)
    created = run.created
    return TaskRow(
        run.id,
        node,
        _OPEN[state.status],
        state.attempt,
        created.created_at,
        state.started_at,
        next_at=state.next_at,
        starts_at=created.starts_at,
        schedule_id=created.schedule_id,
    )


async def summary(service: Service) -> TasksSummary:
    """Count all tasks."""
    counts: dict[TaskStatusName, int] = dict.fromkeys(("pending", "running", "completed", "failed", "cancelled"), 0)
    keys = []
    oldest: list[tuple[float, int, TaskRow]] = []
    for run in service.runs.values():
        keys.append(run.key)
        its = run.committed.summary.counts
        counts["pending"] += its.pending
        counts["running"] += its.running
        counts["completed"] += its.completed
        counts["failed"] += its.failed + (its.skipped if its.failed else 0)
        counts["cancelled"] += its.cancelled + (0 if its.failed else its.skipped)
        oldest += (
            (run.committed_state(node).started_at or 0.0, node, _row(run, node))
            for node in _open_nodes(run, {"running"})
        )

    def job(db: apsw.Connection) -> tuple[dict[TaskStatusName, int], int, dict[str, int]]:
        return task_rows.count_tasks(db, keys), task_rows.count_held(db), task_rows.count_errors(db)

    recorded, n_held, errors = await service.store.read(job)
    for word, number in recorded.items():
        counts[word] += number
    counts["pending"] += n_held
    first = heapq.nsmallest(1, oldest, key=lambda it: it[:2])
    return TasksSummary(counts, errors, first[0][2] if first else None)
