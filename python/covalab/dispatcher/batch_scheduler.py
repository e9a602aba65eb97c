"""Scheduler: which batch is sent next, and to which worker: a few per worker, dispatch after dispatch in turn.

Everything else waits here, so that cancel is instant, a large dispatch does not keep a small one waiting, and Dask's
scheduler stays small.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from covalab.core import batching
from covalab.core.model import WAITING_KINDS, Digest, DispatchId, NodeKind, Outcome
from covalab.core.placement import task_paths
from covalab.core.protocol import Batch, TaskSpec
from covalab.core.runtime_stats import RuntimeStats
from covalab.dispatcher import interactions
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.pools import Pool, Pools, SentBatch
from covalab.dispatcher.running import RunningDispatch

_QUICK_SECONDS: Final = 0.15
_QUICK_LOOKS: Final = 64


class BatchScheduler:
    """The dispatches that have something ready, and the pools that could take it.

    Parameters
    ----------
    pools
        The pools.
    clock
        The clock.
    stats
        How long functions take.
    blobs, spool, packages
        The folders that every batch names.
    """

    def __init__(
        self, pools: Pools, clock: Clock, stats: RuntimeStats, *, blobs: Path, spool: Path, packages: Path
    ) -> None:
        self.stats = stats
        self._pools = pools
        self._clock = clock
        self._blobs = str(blobs)
        self._spool = str(spool)
        self._packages = str(packages)
        self._hungry: dict[int, OrderedDict[DispatchId, RunningDispatch]] = {}
        """Dispatches that had something ready when they last changed, by priority, in the order of their turns."""
        self._batches = itertools.count(1)
        self._encoder = msgspec.msgpack.Encoder()

    def mark_changed(self, run: RunningDispatch) -> None:
        """Give a dispatch that changed its turn, if something of it is ready."""
        if any(run.progress.queues) and not run.paused:
            self._hungry.setdefault(run.submission.priority, OrderedDict()).setdefault(run.id, run)

    def forget(self, run: RunningDispatch) -> None:
        """Remove a dispatch that has ended, or is paused."""
        line = self._hungry.get(run.submission.priority, OrderedDict())
        line.pop(run.id, None)
        if not line:
            self._hungry.pop(run.submission.priority, None)

    def learn(self, run: RunningDispatch, outcome: Outcome) -> None:
        """Learn from a completed node how long its function takes."""
        it = run.graph.nodes[outcome.node]
        if it.kind is NodeKind.SUBLATTICE or it.kind in WAITING_KINDS:
            return  # how long it took is how long a whole dispatch did, or a person, and all share one function
        if outcome.reuse is not None and outcome.reuse.dispatch:
            return  # it did not run
        function = run.graph.functions[it.function]
        self.stats.learn(function.digest, outcome.ended_at - outcome.started_at)

    def fill(self) -> list[RunningDispatch]:
        """Give every worker that can take one a batch. Returns the dispatches of which something was sent."""
        sent: dict[DispatchId, RunningDispatch] = {}
        for pool in self._pools:
            if pool.state != "up":
                continue
            for quick_only in (False, True):
                while workers := _free_workers(pool, prefetch=quick_only):
                    run = self._next_run(pool, workers, quick_only=quick_only)
                    if run is None:
                        break
                    self._send(pool, _worker_for(run, workers, run.queues[pool.key], pool), run)
                    sent[run.id] = run
        return list(sent.values())

    def _next_run(self, pool: Pool, workers: list[str], *, quick_only: bool) -> RunningDispatch | None:
        for priority in sorted(self._hungry, reverse=True):
            run = self._next_in(self._hungry[priority], pool, workers, quick_only=quick_only)
            if run is not None:
                return run
        return None

    def _next_in(
        self, line: OrderedDict[DispatchId, RunningDispatch], pool: Pool, workers: list[str], *, quick_only: bool
    ) -> RunningDispatch | None:
        found: RunningDispatch | None = None
        stale: list[DispatchId] = []
        for run in islice(line.values(), _QUICK_LOOKS if quick_only else None):
            if not any(run.progress.queues):
                stale.append(run.id)
                continue
            queue = run.queues.get(pool.key)
            if queue is None or not run.progress.queues[queue]:
                continue
            if run.session_worker and not _can_begin(run, queue, pool, workers):
                continue
            if not quick_only or self._is_quick(run, [run.progress.queues[queue][0]]):
                found = run
                break
        for dispatch in stale:
            del line[dispatch]
        if found is not None:
            line.move_to_end(found.id)  # it has its turn: last in line
        return found

    def _mean(self, run: RunningDispatch, node: int) -> float | None:
        return self.stats.mean(run.graph.functions[run.graph.nodes[node].function].digest)

    def _is_quick(self, run: RunningDispatch, nodes: list[int]) -> bool:
        total = 0.0
        for node in nodes:
            mean = self._mean(run, node)
            if mean is None or mean > _QUICK_SECONDS:
                return False
            total += mean
        return total <= batching.BUDGET_SECONDS

    def _send(self, pool: Pool, worker: str, run: RunningDispatch) -> None:
        progress = run.progress
        # Others are waiting for the other workers, so only its share of them would go idle.
        n_hungry = sum(map(len, self._hungry.values()))
        n_workers = -(-len(pool.workers) // max(1, n_hungry))
        in_host = pool.key.kind == "host"
        takes_interventions = bool(run.submission.interventions)  # each node sees what there is when it begins
        alone = in_host or takes_interventions
        queue = run.queues[pool.key]
        nodes = batching.take_batch(progress, lambda node: self._mean(run, node), n_workers, queue, alone=alone)
        shared = batching.SharedValues()
        inside: dict[int, int] = {}
        tasks = []
        in_session = not in_host and batching.settings_of(run.graph, nodes[0]).session
        for position, node in enumerate(nodes):
            paths = None if in_host else task_paths(batching.settings_of(run.graph, node), run.id, node)
            task = batching.task_spec(progress, node, inside, shared, paths)
            if takes_interventions:
                task = msgspec.structs.replace(task, interventions=interactions.insert(run, node, self._clock.now()))
            tasks.append(task)
            inside[node] = position
        environment = run.submission.environment
        code = _code_of(tasks, run.submission.code)
        executor = batching.settings_of(run.graph, nodes[0]) if in_host else None
        if executor is not None and executor.instance in run.submission.code:
            code[executor.instance] = run.submission.code[executor.instance]
        root = run.submission.root or run.id
        local_modules = run.submission.local_modules
        if local_modules in run.submission.code:
            code[local_modules] = run.submission.code[local_modules]
        batch = Batch(
            next(self._batches),
            run.id,
            tasks,
            code,
            math.inf if in_session else batching.BUDGET_SECONDS,
            environment.cwd,
            environment.path,
            self._blobs,
            self._spool,
            shared.values,
            self._packages,
            executor,
            root,
            environment.prefix,
            environment.sys_path,
            environment.umask,
            run.submission.variables,
            local_modules,
            in_session,
        )
        limit = batching.settings_of(run.graph, nodes[0]).time_limit if len(nodes) == 1 else None
        quick = self._is_quick(run, nodes)
        sent = SentBatch(batch.id, run.id, root, nodes, worker, quick=quick, time_limit=limit, in_session=in_session)
        if in_session:
            run.session_worker = worker
        if run.started_at is None:
            run.started_at = self._clock.now()
        progress.record_sent(nodes)
        pool.send(sent, self._encoder.encode(batch), self._spool)


def _worker_for(run: RunningDispatch, workers: list[str], queue: int, pool: Pool) -> str:
    """Return the worker for the next batch of a dispatch: that which holds its session, if it goes on with that."""
    first = run.progress.queues[queue][0]
    is_there = run.session_worker in workers or _may_join(run, pool)
    if is_there and batching.settings_of(run.graph, first).session:
        return run.session_worker
    return batching.choose_worker(run.progress, workers, queue)


def _can_begin(run: RunningDispatch, queue: int, pool: Pool, workers: list[str]) -> bool:
    """Whether a dispatch has something that one of the idle workers may run: its session stays where it is.

    On another worker the session would have to be put together again from what is stored. What else is ready goes
    before it, unless it may run beside what its worker is busy with.
    """
    if run.session_worker in workers or run.session_worker not in pool.workers or _may_join(run, pool):
        return True
    ready = run.progress.queues[queue]
    for position, node in enumerate(ready):
        if not batching.settings_of(run.graph, node).session:
            del ready[position]
            ready.appendleft(node)
            return True
    return False


def _may_join(run: RunningDispatch, pool: Pool) -> bool:
    """Whether the session may go on beside what its worker runs: a worker is idle, so there is a processor for it.

    It waits there in a process of its own, so nothing has to be moved.
    """
    is_busy_itself = any(batch.in_session and batch.dispatch == run.id for batch in pool.batches.values())
    return run.session_worker in pool.workers and not is_busy_itself and sum(pool.workers.values()) < len(pool.workers)


def _code_of(tasks: list[TaskSpec], code: dict[Digest, bytes]) -> dict[Digest, bytes]:
    """Return the functions and hooks that tasks need, as far as they are no blobs."""
    found = {task.function: code[task.function] for task in tasks if task.function in code}
    found.update({task.hooks: code[task.hooks] for task in tasks if task.hooks and task.hooks in code})
    return found


def _free_workers(pool: Pool, *, prefetch: bool) -> list[str]:
    """Return the idle workers; with `prefetch`, those whose only batch will soon be done."""
    if not prefetch:
        return [worker for worker, in_flight in pool.workers.items() if not in_flight]
    busy = {batch.worker for batch in pool.batches.values() if not batch.quick and not batch.is_waiting}
    return [worker for worker, n in pool.workers.items() if n == 1 and worker not in busy]
