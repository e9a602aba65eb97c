"""Scheduler: which batch is sent next, and to which worker: a few per worker, dispatch after dispatch in turn.

Everything else waits here, so that cancel is instant, a large dispatch does not keep a small one waiting, and Dask's
scheduler stays small.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from covalab.core import batching
from covalab.core.model import WAITING_KINDS, Digest, DispatchId, NodeKind, Outcome, Settings
from covalab.core.placement import task_paths
from covalab.core.protocol import Batch, TaskSpec
from covalab.core.runtime_stats import RuntimeStats
from covalab.dispatcher import interactions
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.pools import Pool, Pools, SentBatch
from covalab.dispatcher.running import RunningDispatch

_QUICK_SECONDS: Final = 0.15
_QUICK_LOOKS: Final = 64
_TAKER_LOOKS: Final = 512  # looking further would make a batch linear in the queue
_WAITING_LOOKS: Final = 1000
_SOON_SECONDS: Final = 5.0
"""Work that a core does in this time does not ask for another one."""


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
        self._blocked: dict[tuple[DispatchId, int], None] = {}
        """What of the dispatches that were looked at last no idle worker takes: nodes by their settings."""
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
            self._keep(pool)
            for quick_only in (False, True):
                while workers := _free_workers(pool, prefetch=quick_only):
                    found = self._next_run(pool, workers, quick_only=quick_only)
                    if found is None:
                        break
                    run, takers = found
                    self._pass_over(run, pool)
                    self._send(pool, _worker_for(run, takers, run.queues[pool.key], pool), run)
                    sent[run.id] = run
        return list(sent.values())

    def _pass_over(self, run: RunningDispatch, pool: Pool) -> None:
        """Count that the first node of a dispatch goes before what no idle worker takes, and keep one for that."""
        reservation = pool.load.reservation
        first = run.progress.queues[run.queues[pool.key]][0]
        reservation.forget((run.id, run.graph.nodes[first].settings))
        for key in reservation.pass_over(self._blocked, pool.load.n_places):
            if reservation.holder is None:
                self._hold(key, pool)

    def _hold(self, key: tuple[DispatchId, int], pool: Pool) -> None:
        """Keep a worker for nodes of a dispatch.

        Not one at which a task waits for another dispatch: that may need the same worker.
        """
        waiting = {batch.worker for batch in pool.batches.values() if batch.is_waiting}
        settings = self._waits_at(key, pool)
        worker = ""
        if settings is not None:
            worker = pool.load.emptiest(settings.needs, settings.time_limit, self._clock.now(), waiting)
        if worker:
            pool.load.reservation.hold(key, worker)
        else:
            pool.load.reservation.release()

    def _keep(self, pool: Pool) -> None:
        """Look again at which worker is kept, and for what: both may be gone, and the job of a worker may end soon."""
        reservation = pool.load.reservation
        for key in reservation.known():
            if self._waits_at(key, pool) is None:
                reservation.forget(key)
        if reservation.holder is not None:
            self._hold(reservation.holder, pool)

    def _waits_at(self, key: tuple[DispatchId, int], pool: Pool) -> Settings | None:
        """Return the settings of nodes that are ready for a pool, and wait; None if there are none."""
        dispatch, number = key
        run = next((line[dispatch] for line in self._hungry.values() if dispatch in line), None)
        queue = None if run is None else run.queues.get(pool.key)
        if run is None or queue is None:
            return None
        ready = islice(run.progress.queues[queue], _TAKER_LOOKS)
        node = next((node for node in ready if run.graph.nodes[node].settings == number), None)
        return None if node is None else batching.settings_of(run.graph, node)

    def waiting_cores(self, pool: Pool) -> int:
        """Return for how many cores there is work that waits for a worker of a pool."""
        total = 0
        for line in self._hungry.values():
            for run in line.values():
                queue = run.queues.get(pool.key)
                if queue is not None:
                    total += self._waiting_of(run, run.progress.queues[queue], pool)
        return total

    def _waiting_of(self, run: RunningDispatch, ready: Sequence[int], pool: Pool) -> int:
        """Return for how many cores a dispatch has work: quick nodes share one, and what no worker takes has none."""
        cores, seconds = 0, 0.0
        for node in islice(ready, _WAITING_LOOKS):
            settings = batching.settings_of(run.graph, node)
            if settings.needs is not None and pool.load.lack(settings.needs, settings.time_limit):
                continue
            mean = self._mean(run, node)
            if mean is None or mean > _SOON_SECONDS:
                cores += 1 if settings.needs is None else settings.needs.cores
            else:
                seconds += mean
        share = max(1.0, len(ready) / _WAITING_LOOKS)
        return math.ceil((cores + seconds / _SOON_SECONDS) * share)

    def _next_run(
        self, pool: Pool, workers: list[str], *, quick_only: bool
    ) -> tuple[RunningDispatch, list[str]] | None:
        self._blocked.clear()
        for priority in sorted(self._hungry, reverse=True):
            found = self._next_in(self._hungry[priority], pool, workers, quick_only=quick_only)
            if found is not None:
                return found
        return None

    def _next_in(
        self, line: OrderedDict[DispatchId, RunningDispatch], pool: Pool, workers: list[str], *, quick_only: bool
    ) -> tuple[RunningDispatch, list[str]] | None:
        found: tuple[RunningDispatch, list[str]] | None = None
        ends = pool.load.ends
        open_workers = [worker for worker in workers if pool.load.is_open(worker)]
        stale: list[DispatchId] = []
        for run in islice(line.values(), _QUICK_LOOKS if quick_only else None):
            if not any(run.progress.queues):
                stale.append(run.id)
                continue
            queue = run.queues.get(pool.key)
            if queue is None or not run.progress.queues[queue]:
                continue
            if run.session_worker and not _can_begin(run, queue, pool, open_workers):
                continue
            takers = self._takers(run, queue, pool, workers) if run.has_needs or ends else open_workers
            if takers and (not quick_only or self._is_quick(run, [run.progress.queues[queue][0]])):
                found = run, takers
                break
        for dispatch in stale:
            del line[dispatch]
        if found is not None:
            line.move_to_end(found[0].id)  # it has its turn: last in line
        return found

    def _takers(self, run: RunningDispatch, queue: int, pool: Pool, workers: list[str]) -> list[str]:
        """Return the free workers that have what a ready node needs; that node becomes the first of its queue."""
        ready = run.progress.queues[queue]
        now = self._clock.now()
        seen: set[int] = set()
        # What a session needs is the same for all its nodes, and its order was settled before.
        for position, node in enumerate(islice(ready, 1 if run.session_worker else _TAKER_LOOKS)):
            number = run.graph.nodes[node].settings
            if number in seen:
                continue
            seen.add(number)
            settings = batching.settings_of(run.graph, node)
            is_kept = pool.load.reservation.holder == (run.id, number)
            found = [
                one
                for one in workers
                if (is_kept or pool.load.is_open(one))
                and pool.load.takes(one, settings.needs, settings.time_limit, now)
            ]
            if found:
                del ready[position]
                ready.appendleft(node)
                return found
            if settings.needs is not None and not run.session_worker:
                self._blocked[run.id, number] = None
        return []

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
        n_workers = -(-pool.load.n_places // max(1, n_hungry))
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
        settings = batching.settings_of(run.graph, nodes[0])
        limit = settings.time_limit if len(nodes) == 1 else None
        sent = SentBatch(
            batch.id,
            run.id,
            root,
            nodes,
            worker,
            quick=self._is_quick(run, nodes),
            time_limit=limit,
            in_session=in_session,
            needs=settings.needs,
        )
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
    if run.has_needs:  # another node than the first one may not fit these workers
        near = batching.bytes_by_worker(run.progress, first) if run.progress.produced_by else {}
        return max(workers, key=lambda worker: near.get(worker, 0))
    return batching.choose_worker(run.progress, workers, queue)


def _can_begin(run: RunningDispatch, queue: int, pool: Pool, workers: list[str]) -> bool:
    """Whether a dispatch has something that one of the idle workers may run: its session stays where it is.

    On another worker the session would have to be put together again from what is stored. What else is ready goes
    before it, unless it may run beside what its worker is busy with.
    """
    # A worker with several places could otherwise begin its next step beside the one that runs.
    is_alone = pool.load.places(run.session_worker) == 1 or not _is_busy_itself(run, pool)
    is_there = run.session_worker in workers or run.session_worker not in pool.workers
    if (is_there and is_alone) or _may_join(run, pool):
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
    if (
        run.session_worker not in pool.workers
        or _is_busy_itself(run, pool)
        or not pool.load.is_open(run.session_worker)
    ):
        return False
    return sum(pool.workers.values()) < pool.load.n_places


def _is_busy_itself(run: RunningDispatch, pool: Pool) -> bool:
    """Whether a step of the session runs."""
    return any(batch.in_session and batch.dispatch == run.id for batch in pool.batches.values())


def _code_of(tasks: list[TaskSpec], code: dict[Digest, bytes]) -> dict[Digest, bytes]:
    """Return the functions and hooks that tasks need, as far as they are no blobs."""
    found = {task.function: code[task.function] for task in tasks if task.function in code}
    found.update({task.hooks: code[task.hooks] for task in tasks if task.hooks and task.hooks in code})
    return found


def _free_workers(pool: Pool, *, prefetch: bool) -> list[str]:
    """Return the idle workers; with `prefetch`, those whose only batch will soon be done."""
    if not prefetch:
        return pool.load.free()
    return pool.load.free(batch.worker for batch in pool.batches.values() if not batch.quick and not batch.is_waiting)
