"""Scaling of a cluster that a class of the configuration has started: how many workers it has, and jobs that died.

Dask's own `adapt` does it where it can be given the number that is wanted (every `SpecCluster`, so all of
dask-jobqueue): its scheduler does not see what waits in the dispatcher. Other classes are scaled by their `scale`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from distributed import Client
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.spec import SpecCluster

from covalab.config import DaskConfig
from covalab.core.protocol import ClusterNews
from covalab.pool import batch_jobs
from covalab.pool.capacities import Capacities

_log = logging.getLogger("covalab.pool")
_TICK_SECONDS: Final = 2.0
_FIRST_WAIT: Final = 15.0
_LONGEST_WAIT: Final = 600.0


class Scaling:
    """Scaling of one cluster.

    Parameters
    ----------
    client
        The client of the cluster, which has the cluster.
    config
        What the configuration says.
    capacities
        Those of its workers.
    cores_in_use
        Returns how many cores of each worker are in use.
    let_go
        Called with the addresses of workers that are about to be closed.
    on_news
        Called when there is something else to say about the cluster.
    """

    def __init__(
        self,
        client: Client,
        config: DaskConfig,
        capacities: Capacities,
        *,
        cores_in_use: Callable[[], Mapping[str, int]],
        let_go: Callable[[Collection[str]], None],
        on_news: Callable[[], None],
    ) -> None:
        self._cluster: Any = client.cluster
        self._config = config
        self._capacities = capacities
        self._cores_in_use = cores_in_use
        self.let_go = let_go
        self._on_news = on_news
        self._deaths = batch_jobs.Deaths(_FIRST_WAIT, _LONGEST_WAIT)
        self._had_worker: set[str] = set()
        self._idle_since = time.monotonic()
        self._asked = 0
        self.waiting_cores = 0
        self.queued = 0

    def start(self) -> None:
        """Begin to scale the cluster."""
        config = self._config
        if not config.maximum:
            if config.num_workers:
                self._cluster.scale(config.num_workers)
        elif isinstance(self._cluster, SpecCluster):
            scaling = self

            class ByDemand(Adaptive):
                """Dask's adaptive scaling, by what waits in the dispatcher."""

                async def target(self) -> int:
                    return scaling.wanted()

                async def workers_to_close(self, target: int) -> list[Any]:
                    return scaling.idle_names(len(self.plan) - target)

                async def scale_down(self, workers: Any) -> None:
                    scaling.let_go(scaling.addresses(workers))
                    await super().scale_down(workers)

            ticks = max(1, round(config.idle_minutes * 60))
            self._cluster.adapt(
                Adaptive=ByDemand, minimum=config.minimum, maximum=config.maximum, interval="1s", wait_count=ticks
            )

    def wanted(self) -> int:
        """Return how many workers there should be, between the bounds of the configuration."""
        if not self._config.maximum:
            return self._config.num_workers
        known = list(self._capacities.known.values())
        expected = self._capacities.expected()
        cores = known[0].cores if known else (expected.cores if expected else 1) or 1
        in_use = sum(self._cores_in_use().values())
        total = math.ceil((in_use + self.waiting_cores) / max(1, cores))
        if time.monotonic() < self._deaths.next_at:
            total = min(total, len(self._cluster.plan))  # jobs die at once: not yet again
        return max(self._config.minimum, min(self._config.maximum, total))

    def idle_names(self, count: int) -> list[object]:
        """Return the names of workers that do nothing."""
        in_use = self._cores_in_use()
        return [
            name
            for address, name in self._capacities.names.items()
            if address in self._capacities.known and not in_use.get(address)
        ][: max(0, count)]

    def addresses(self, names: Collection[object]) -> list[str]:
        """Return the addresses of workers."""
        return [address for address, name in self._capacities.names.items() if name in names]

    def news(self) -> ClusterNews:
        """Return what there is to say about the cluster."""
        return ClusterNews(self.queued, self._deaths.text, grows=bool(self._config.maximum))

    async def watch(self) -> None:
        """Look after jobs and scale from time to time, for ever."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            before = self.news()
            try:
                await self._look_after_jobs()
                await self._scale_by_hand()
            except Exception:  # noqa: BLE001 - a class of others' may raise anything, and its workers go on
                _log.exception("cannot look after the cluster")
            if self.news() != before:
                self._on_news()

    async def _look_after_jobs(self) -> None:
        cluster = self._cluster
        there = {str(name) for name in cluster.observed} if hasattr(cluster, "observed") else set()
        if not batch_jobs.is_batch_class(type(cluster)):
            asked = {str(name) for name in cluster.plan} if hasattr(cluster, "plan") else set()
            self.queued = len(asked - there)
            return
        if there - self._had_worker:
            self._deaths.forget()
            self._had_worker |= there
        absent = {name: job for name, job in cluster.workers.items() if job.job_id and not _of_job(name, there)}
        found = await batch_jobs.states(cluster.job_cls.cancel_command, (str(job.job_id) for job in absent.values()))
        if found is None:
            self.queued = len(absent)
            return
        self.queued = len(found.queued)
        for name, job in absent.items():
            if str(job.job_id) in found.ended:
                await self._drop(name, job)
        # What was dropped, and what Dask has dropped by itself, is asked for again.
        wanted = self._jobs_wanted()
        is_short = len(cluster.worker_spec) < wanted or len(cluster.workers) < min(wanted, len(cluster.worker_spec))
        if time.monotonic() >= self._deaths.next_at and is_short:
            cluster.scale(self.wanted())

    def _jobs_wanted(self) -> int:
        processes = int(self._config.cluster_kwargs.get("processes") or 1)
        return -(-self.wanted() // processes)

    async def _drop(self, name: str, job: Any) -> None:
        """Forget a job that has ended, so that it is not counted as one that is to come."""
        cluster = self._cluster
        # Another name for the next one: Dask cancels the job of a name 15 s after a worker of that name was lost.
        cluster._i = getattr(cluster, "_i", 0) + 1  # noqa: SLF001 - if it is gone, the next job may be cancelled once
        cluster.worker_spec.pop(name, None)
        cluster.workers.pop(name, None)
        if _of_job(name, self._had_worker):
            _log.warning("job %s of worker %s has ended", job.job_id, name)
            return
        words = await asyncio.to_thread(batch_jobs.last_words, job.log_directory, str(job.job_id))
        self._deaths.note(str(job.job_id), words)
        _log.warning("%s", self._deaths.text)

    async def _scale_by_hand(self) -> None:
        """Scale a class that cannot be given the number that is wanted: up at once, down when all has been idle."""
        if not self._config.maximum or isinstance(self._cluster, SpecCluster):
            return
        wanted = self.wanted()
        if self.waiting_cores or sum(self._cores_in_use().values()):
            self._idle_since = time.monotonic()
            if wanted <= self._asked:
                return
        elif time.monotonic() - self._idle_since < self._config.idle_minutes * 60 or wanted == self._asked:
            return
        self._asked = wanted
        done = self._cluster.scale(wanted)
        if asyncio.iscoroutine(done) or isinstance(done, asyncio.Future):
            await done

    async def close(self) -> None:
        """Let everything go that was asked for, queued jobs too."""
        await self._cluster.close()


def _of_job(name: str, workers: Collection[str]) -> bool:
    """Whether a job has one of the workers: a job of several processes has names like ``NAME-0``."""
    return any(worker == str(name) or worker.startswith(f"{name}-") for worker in workers)
