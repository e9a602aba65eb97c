"""Capacities of workers: what Dask knows of each, what the configuration says, and what the worker itself found."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import psutil
from distributed import Client

from covalab.config import DaskConfig
from covalab.core.capacity import ONE_CORE, Capacity, parse_memory
from covalab.core.fitness import WorkerFacts
from covalab.core.walltime import parse_walltime

_MARGIN_SECONDS: Final = 2.0
"""What is done that long before the wall time of a job counts as done by it: outcomes take a moment to arrive."""


class Capacities:
    """Capacities of the workers of one cluster.

    Parameters
    ----------
    client
        The client of the cluster.
    config
        What the configuration says about it.
    is_ours
        Whether the workers are on this machine, and share it.
    """

    def __init__(self, client: Client, config: DaskConfig, *, is_ours: bool) -> None:
        self._client = client
        self._config = config
        self._is_ours = is_ours
        self._seconds = walltime_of(config)
        self._hosts: dict[str, tuple[str, int, int]] = {}  # of each worker: its host, its threads, the host's cores
        self._declared: dict[str, Mapping[str, float]] = {}
        self._asking = asyncio.Lock()
        self._identity: Mapping[str, Any] = {}
        self.known: dict[str, Capacity] = {}
        self.names: dict[str, object] = {}
        """The workers' names in the cluster, by address."""

    async def learn(self, worker: str, facts: WorkerFacts | None) -> None:
        """Find out what a worker has."""
        async with self._asking:  # one answer has all workers that came at once
            if worker not in self._identity:
                assert self._client.scheduler is not None
                self._identity = (await self._client.scheduler.identity(n_workers=-1))["workers"]
        found = self._identity.get(worker)
        if found is None:
            return
        facts = facts or WorkerFacts((0, 0), "", "")
        self._declared[worker] = found.get("resources") or {}
        self.names[worker] = found.get("name", worker)
        ends_at = facts.job_end or (facts.job_start + self._seconds if facts.job_start and self._seconds else 0.0)
        seconds = facts.job_end - facts.job_start if facts.job_end and facts.job_start else self._seconds
        self.known[worker] = Capacity(
            int(found["nthreads"]),
            int(found.get("memory_limit") or 0),
            {**self._config.resources, **self._declared[worker]},
            ends_at - _MARGIN_SECONDS if ends_at else None,
            seconds,
        )
        self._hosts[worker] = (facts.host, int(found["nthreads"]), facts.cores)

    def forget(self, worker: str) -> None:
        """Forget a worker that is gone."""
        self.known.pop(worker, None)
        self._hosts.pop(worker, None)
        self._declared.pop(worker, None)
        self.names.pop(worker, None)

    def declared(self, worker: str, resources: Mapping[str, float]) -> dict[str, float]:
        """Return those resources that the cluster counts: it would wait for ever for one that it does not know."""
        known = self._declared.get(worker, {})
        return {name: amount for name, amount in resources.items() if name in known}

    def of(self, workers: Iterable[str]) -> dict[str, Capacity]:
        """Return the capacities of workers that have another one than a core."""
        if self._is_ours:
            limit = self._config.mem_per_worker
            one = Capacity(memory=0 if limit == "auto" else _bytes(limit))
            return {} if one == ONE_CORE else dict.fromkeys(workers, one)
        return {worker: self.known[worker] for worker in workers if self.known.get(worker, ONE_CORE) != ONE_CORE}

    def shared(self, n_workers: int) -> Capacity | None:
        """Return what the workers of this machine have together."""
        return Capacity(n_workers, psutil.virtual_memory().total, self._config.resources) if self._is_ours else None

    def expected(self) -> Capacity | None:
        """Return what a worker has that is still to come."""
        config = self._config
        if not (config.cluster_class and (config.num_workers or config.maximum)):
            return None
        given = config.cluster_kwargs
        processes = int(given.get("processes") or 1)
        cores = given.get("cores") or given.get("threads_per_worker") or 0
        memory = given.get("memory") or given.get("memory_limit") or 0
        return Capacity(int(cores) // processes, _bytes(memory) // processes, config.resources, None, self._seconds)

    def is_over(self, worker: str, now: float) -> bool:
        """Whether the job of a worker has reached its wall time."""
        capacity = self.known.get(worker)
        return capacity is not None and capacity.ends_at is not None and now >= capacity.ends_at

    def idle_text(self, workers: Iterable[str]) -> str:
        """Return on which hosts the workers have fewer threads than there are cores for them."""
        threads: dict[str, int] = defaultdict(int)
        cores: dict[str, int] = defaultdict(int)
        for worker in workers:
            host, n_threads, n_cores = self._hosts.get(worker, ("", 0, 0))
            threads[host] += n_threads
            cores[host] = max(cores[host], n_cores)
        idle = [host for host in threads if host and threads[host] < cores[host]]
        texts = [f"{host}: {threads[host]} of {cores[host]} cores" for host in sorted(idle)]
        more = f"; {len(texts) - 3} more hosts" if len(texts) > 3 else ""
        return "; ".join(texts[:3]) + more


def walltime_of(config: DaskConfig) -> float | None:
    """Return how many seconds a job of a cluster may run; None if that is not known."""
    given = config.walltime or config.cluster_kwargs.get("walltime") or ""
    return parse_walltime(str(given))


def _bytes(amount: object) -> int:
    try:
        return parse_memory(amount) if isinstance(amount, str | int) else 0
    except ValueError:  # "auto", or a share
        return 0
