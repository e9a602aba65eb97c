"""Load of a pool's workers: what each has, what of it is in use, and which can take a node."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Protocol

from covalab.core.capacity import NOTHING, ONE_CORE, Capacity, Needs, fits, lack, lasts
from covalab.core.model import DispatchId
from covalab.core.protocol import WorkersChanged
from covalab.core.reservation import Reservation


class Carried(Protocol):
    """Batch as its worker's load counts it."""

    @property
    def worker(self) -> str:
        """The worker that it was sent to."""
        ...

    @property
    def needs(self) -> Needs | None:
        """Its needs there; None: a core."""
        ...


class Load:
    """Load of the workers of one pool.

    Attributes
    ----------
    workers
        How many cores of each worker are in use.
    n_places
        How many batches of one core can run at once.
    ends
        Whether the jobs of some workers reach a wall time.
    reservation
        The worker that is kept for nodes of a dispatch with certain settings.
    """

    def __init__(self) -> None:
        self.workers: dict[str, int] = {}
        self.n_places = 0
        self.ends = False
        self.reservation = Reservation[tuple[DispatchId, int]]()
        self._capacities: dict[str, Capacity] = {}
        self._shared: Capacity | None = None
        self._expected: Capacity | None = None
        self._needy: dict[int, Carried] = {}  # batches that need more than a core, by identity

    def update(self, changed: WorkersChanged) -> None:
        """Take over which workers there are, and what they have."""
        self.workers = {name: self.workers.get(name, 0) for name in changed.names}
        self._capacities, self._shared, self._expected = changed.capacities, changed.shared, changed.expected
        self.n_places = sum(map(self.places, changed.names))
        self.ends = any(capacity.ends_at is not None for capacity in changed.capacities.values())

    def places(self, worker: str) -> int:
        """Return how many batches of one core a worker runs at once."""
        return max(1, self._capacities.get(worker, ONE_CORE).cores)

    def add(self, batch: Carried) -> None:
        """Count a batch that is sent."""
        self.count_cores(batch, 1)
        if batch.needs is not None:
            self._needy[id(batch)] = batch

    def remove(self, batch: Carried) -> None:
        """Give back what a batch has needed besides cores."""
        self._needy.pop(id(batch), None)

    def count_cores(self, batch: Carried, sign: int) -> None:
        """Count the cores of a batch as in use, or not any more."""
        if batch.worker in self.workers:  # one that was lost takes its count along
            self.workers[batch.worker] += sign * (1 if batch.needs is None else batch.needs.cores)

    def free(self, busy: Iterable[str] | None = None) -> list[str]:
        """Return the workers with an idle core; with `busy`, those that have none but will soon, and are not in it."""
        if self._shared is not None and self._needy and sum(self.workers.values()) >= self._shared.cores:
            return []  # a worker is idle, but its core is used by a batch that has more than one
        if busy is None:
            return [worker for worker, in_use in self.workers.items() if in_use < self.places(worker)]
        busy = set(busy)
        return [
            worker
            for worker, in_use in self.workers.items()
            if worker not in busy and self.places(worker) <= in_use < 2 * self.places(worker)
        ]

    def takes(self, worker: str, needs: Needs | None, time_limit: float | None, now: float) -> bool:
        """Whether a worker has what a node needs, beside what it does already, and for as long as that may take."""
        capacity = self._capacities.get(worker, ONE_CORE)
        if not lasts(time_limit, capacity, now):
            return False
        if needs is None:
            return True
        if self._shared is None:
            used = Needs(self.workers[worker], *self._besides_cores(worker))
            return fits(needs, capacity, used)
        used = Needs(sum(self.workers.values()), *self._besides_cores())
        return fits(needs, self._shared, used) and not 0 < capacity.memory < needs.memory

    def is_open(self, worker: str) -> bool:
        """Whether a worker is kept for nobody. On this machine all share what is kept."""
        kept = self.reservation.worker
        return not kept or (self._shared is None and worker != kept)

    def emptiest(self, needs: Needs | None, time_limit: float | None, now: float, without: Collection[str] = ()) -> str:
        """Return the worker that could take a node if it had nothing else to do, and has least; empty: there is none.

        Workers in `without` are none.
        """
        if self._shared is not None and (without or not fits(needs or Needs(), self._shared)):
            return ""
        found = [
            (in_use - self.places(worker), worker)
            for worker, in_use in self.workers.items()
            if worker not in without
            and lasts(time_limit, capacity := self._capacities.get(worker, ONE_CORE), now)
            and (self._shared is not None or fits(needs or Needs(), capacity))
            and not (needs is not None and 0 < capacity.memory < needs.memory)
        ]
        return min(found)[1] if found else ""

    def lack(self, needs: Needs | None, time_limit: float | None) -> str:
        """Return what of a node's needs no worker offers, nor any that is still to come; nothing if one does."""
        there = [self._capacities.get(worker, ONE_CORE) for worker in self.workers]
        if self._shared is not None:
            there = [self._shared]
        if self._expected is not None:
            there.append(self._expected)
        return lack(needs, time_limit, there) if there else ""

    def ends_before(self, time_limit: float | None, now: float) -> float | None:
        """Return when the last job ends where all end before a node's time is up; None if one does not."""
        if time_limit is None or not self.workers:
            return None
        ends = [self._capacities.get(worker, ONE_CORE).ends_at for worker in self.workers]
        last = max(math.inf if end is None else end for end in ends)
        return last if last <= now + time_limit else None

    def _besides_cores(self, worker: str = "") -> tuple[int, tuple[tuple[str, float], ...]]:
        total = NOTHING
        for batch in self._needy.values():
            if batch.needs is not None and worker in ("", batch.worker):
                total += batch.needs
        return total.memory, total.resources
