"""What is sent next, and where: a few steps per worker in flight, dispatch after dispatch in turn.

Everything else waits here, so that cancel is instant, a large dispatch does not keep a small one waiting, and Dask's
scheduler stays small.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from covalab.core import lowering
from covalab.core.durations import Durations
from covalab.core.model import WAITING_KINDS, Digest, DispatchId, NodeKind, Outcome
from covalab.core.places import site_of
from covalab.core.protocol import Step, Task
from covalab.dispatcher import live
from covalab.dispatcher.pools import Flight, Pool, Pools
from covalab.dispatcher.run import Run

_QUICK_SECONDS: Final = 0.15
_QUICK_LOOKS: Final = 64


class Frontier:
    """The dispatches that have something ready, and the pools that could take it.

    Parameters
    ----------
    pools
        The pools.
    blobs, spool, packages
        The folders that every step is told of.
    """

    def __init__(self, pools: Pools, blobs: Path, spool: Path, packages: Path) -> None:
        self.durations = Durations()
        self._pools = pools
        self._blobs = str(blobs)
        self._spool = str(spool)
        self._packages = str(packages)
        self._hungry: dict[int, OrderedDict[DispatchId, Run]] = {}
        """Dispatches that had something ready when they last changed, by priority, in the order of their turns."""
        self._steps = itertools.count(1)
        self._encoder = msgspec.msgpack.Encoder()

    def note(self, run: Run) -> None:
        """Take note of a dispatch that changed: if something of it is ready, it gets its turn."""
        if any(run.progress.lanes) and not run.paused:
            self._hungry.setdefault(run.rest.priority, OrderedDict()).setdefault(run.id, run)

    def forget(self, run: Run) -> None:
        """Forget a dispatch that has ended."""
        line = self._hungry.get(run.rest.priority, OrderedDict())
        line.pop(run.id, None)
        if not line:
            self._hungry.pop(run.rest.priority, None)

    def learn(self, run: Run, outcome: Outcome) -> None:
        """Learn from a completed node how long its function takes."""
        it = run.graph.nodes[outcome.node]
        if it.kind is NodeKind.SUBLATTICE or it.kind in WAITING_KINDS:
            return  # how long it took is how long a whole dispatch did, or a person, and all share one function
        function = run.graph.functions[it.function]
        self.durations.learn(function.digest, outcome.ended_at - outcome.started_at)

    def fill(self) -> list[Run]:
        """Give every worker that can take one a step. Returns the dispatches of which something was sent."""
        sent: dict[DispatchId, Run] = {}
        for pool in self._pools:
            if pool.state != "up":
                continue
            for quick_only in (False, True):
                while workers := _free_workers(pool, queue=quick_only):
                    run = self._next_run(pool, quick_only=quick_only)
                    if run is None:
                        break
                    self._send(pool, lowering.choose_worker(run.progress, workers, run.lanes[pool.place]), run)
                    sent[run.id] = run
        return list(sent.values())

    def _next_run(self, pool: Pool, *, quick_only: bool) -> Run | None:
        for priority in sorted(self._hungry, reverse=True):
            run = self._next_in(self._hungry[priority], pool, quick_only=quick_only)
            if run is not None:
                return run
        return None

    def _next_in(self, line: OrderedDict[DispatchId, Run], pool: Pool, *, quick_only: bool) -> Run | None:
        found: Run | None = None
        stale: list[DispatchId] = []
        for run in islice(line.values(), _QUICK_LOOKS if quick_only else None):
            if not any(run.progress.lanes):
                stale.append(run.id)
                continue
            lane = run.lanes.get(pool.place)
            if lane is None or not run.progress.lanes[lane]:
                continue
            if not quick_only or self._is_quick(run, [run.progress.lanes[lane][0]]):
                found = run
                break
        for dispatch in stale:
            del line[dispatch]
        if found is not None:
            line.move_to_end(found.id)  # it has its turn: last in line
        return found

    def _mean(self, run: Run, node: int) -> float | None:
        return self.durations.mean(run.graph.functions[run.graph.nodes[node].function].digest)

    def _is_quick(self, run: Run, nodes: list[int]) -> bool:
        total = 0.0
        for node in nodes:
            mean = self._mean(run, node)
            if mean is None or mean > _QUICK_SECONDS:
                return False
            total += mean
        return total <= lowering.BUDGET_SECONDS

    def _send(self, pool: Pool, worker: str, run: Run) -> None:
        progress = run.progress
        # Others are waiting for the other workers, so only its share of them would go idle.
        n_hungry = sum(map(len, self._hungry.values()))
        n_workers = -(-len(pool.workers) // max(1, n_hungry))
        in_host = pool.place.kind == "host"
        tells = bool(run.rest.interventions)  # each node sees what there is when it begins
        alone = in_host or tells
        lane = run.lanes[pool.place]
        nodes = lowering.take_step(progress, lambda node: self._mean(run, node), n_workers, lane, alone=alone)
        shared = lowering.Shared()
        inside: dict[int, int] = {}
        tasks = []
        for position, node in enumerate(nodes):
            site = None if in_host else site_of(lowering.settings_of(run.graph, node), run.id, node)
            task = lowering.task_of(progress, node, inside, shared, site)
            if tells:
                task = msgspec.structs.replace(task, interventions=live.insert(run, node, time.time()))
            tasks.append(task)
            inside[node] = position
        environment = run.rest.environment
        code = _code_of(tasks, run.rest.code)
        executor = lowering.settings_of(run.graph, nodes[0]) if in_host else None
        if executor is not None and executor.instance in run.rest.code:
            code[executor.instance] = run.rest.code[executor.instance]
        step = Step(
            next(self._steps),
            run.id,
            tasks,
            code,
            lowering.BUDGET_SECONDS,
            environment.cwd,
            environment.path,
            self._blobs,
            self._spool,
            shared.values,
            self._packages,
            executor,
        )
        limit = lowering.settings_of(run.graph, nodes[0]).time_limit if len(nodes) == 1 else None
        flight = Flight(step.id, run.id, nodes, worker, quick=self._is_quick(run, nodes), time_limit=limit)
        if run.started_at is None:
            run.started_at = time.time()
        progress.sent(nodes)
        pool.send(flight, self._encoder.encode(step))


def _code_of(tasks: list[Task], code: dict[Digest, bytes]) -> dict[Digest, bytes]:
    """Return the functions and hooks that tasks need, as far as they are no blobs."""
    found = {task.function: code[task.function] for task in tasks if task.function in code}
    found.update({task.hooks: code[task.hooks] for task in tasks if task.hooks and task.hooks in code})
    return found


def _free_workers(pool: Pool, *, queue: bool) -> list[str]:
    """Return the idle workers; with `queue`, those whose only step will soon be done."""
    if not queue:
        return [worker for worker, in_flight in pool.workers.items() if not in_flight]
    busy = {flight.worker for flight in pool.flights.values() if not flight.quick}
    return [worker for worker, n in pool.workers.items() if n == 1 and worker not in busy]
