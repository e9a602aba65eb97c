"""The order in which nodes are sent: one that needs many cores is gone before for some rounds, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from covalab.core.capacity import Capacity, Needs
from covalab.core.codec import serialize_small
from covalab.core.model import (
    Digest,
    DispatchId,
    Environment,
    Function,
    Graph,
    Node,
    NodeKind,
    Origin,
    Settings,
    Submission,
)
from covalab.core.protocol import WorkersChanged
from covalab.core.reservation import PATIENCE
from covalab.core.runtime_stats import RuntimeStats
from covalab.dispatcher.batch_scheduler import BatchScheduler
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.load import Load
from covalab.dispatcher.pools import SentBatch
from covalab.dispatcher.running import RunningDispatch, summary_of

DIGEST = Digest("0" * 64)


class Workers:
    """A pool, as the scheduler sees one: batches end when the test says so."""

    state = "up"

    def __init__(self, run: RunningDispatch, changed: WorkersChanged) -> None:
        (self.key,) = run.queues
        self.load = Load()
        self.load.update(changed)
        self.batches: dict[int, SentBatch] = {}
        self.sent: list[SentBatch] = []

    @property
    def workers(self) -> Any:
        """How many cores of each worker are in use."""
        return self.load.workers

    def send(self, batch: SentBatch, payload: bytes, spool: str) -> None:
        """Take a batch."""
        self.batches[batch.id] = batch
        self.sent.append(batch)
        self.load.add(batch)

    def end(self, number: int) -> None:
        """Let a batch end."""
        batch = self.batches.pop(number)
        self.load.count_cores(batch, -1)
        self.load.remove(batch)


class OnePool:
    """The pools of a dispatcher that has one."""

    def __init__(self, pool: Workers) -> None:
        self._pool = pool

    def __iter__(self) -> Iterator[Workers]:
        """Go through them."""
        return iter([self._pool])


def running(name: str, n: int, needs: Needs | None) -> RunningDispatch:
    """Return a dispatch of so many nodes, all ready."""
    nodes = [Node(name, NodeKind.ELECTRON, function=0, settings=0) for _ in range(n)]
    graph = Graph(name, nodes, [], [Function(name, DIGEST)], [Settings(needs=needs)], n - 1)
    environment = Environment("/python", "/prefix", "/")
    code = {DIGEST: b"f"}
    submission = Submission(DispatchId(name), graph, [], code, environment, Origin(), serialize_small(1), DIGEST)
    run = RunningDispatch(1, summary_of(submission, 0.0), submission)
    run.progress.start(0.0)
    return run


@given(st.data())
def test_small_nodes_go_before_a_large_one_for_some_rounds_only(data: st.DataObject) -> None:
    """On whatever workers, and in whatever order batches end: of each worker, the oldest first."""
    is_shared = data.draw(st.booleans())
    cores = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    most = len(cores) if is_shared else max(cores)
    large = running("large", 1, Needs(data.draw(st.integers(1, most))))
    small = running("small", 1_000, data.draw(st.sampled_from([None, Needs(1)])))
    names = [f"w{number}" for number in range(len(cores))]
    capacities = {} if is_shared else {name: Capacity(n) for name, n in zip(names, cores, strict=True)}
    pool = Workers(small, WorkersChanged(names, {}, capacities, Capacity(len(cores)) if is_shared else None))
    stats = RuntimeStats()
    if data.draw(st.booleans()):
        stats.learn(DIGEST, 0.1)  # quick: a further batch waits behind each
    folder = Path("/nowhere")
    one: Any = OnePool(pool)
    scheduler = BatchScheduler(one, Clock(lambda: 0.0), stats, blobs=folder, spool=folder, packages=folder)
    scheduler.mark_changed(small)
    scheduler.fill()
    scheduler.mark_changed(large)
    n_before = len(pool.sent)
    while not any(batch.dispatch == large.id for batch in pool.sent):
        worker = data.draw(st.sampled_from(sorted({batch.worker for batch in pool.batches.values()})))
        # The batch of any worker may take long, but not for ever: that of the worker that is kept ends, too.
        kept = pool.load.reservation.worker
        ends = next(batch for batch in pool.batches.values() if batch.worker in (worker, kept))
        pool.end(ends.id)
        scheduler.fill()
        n_rounds = (len(pool.sent) - n_before) / pool.load.n_places
        assert n_rounds <= PATIENCE + 5, f"{n_rounds:g} rounds of small batches went before {large.graph.settings}"

    while pool.batches:
        pool.end(next(iter(pool.batches)))
        scheduler.fill()
    assert sum(len(batch.nodes) for batch in pool.sent) == 1_001
    assert not pool.load.reservation.worker


def test_a_worker_is_kept_for_nobody_who_is_gone() -> None:
    """What is cancelled while a worker is kept for it keeps none."""
    large, small = running("large", 1, Needs(2)), running("small", 1_000, None)
    pool = Workers(small, WorkersChanged(["w"], {}, {"w": Capacity(2)}))
    one: Any = OnePool(pool)
    folder = Path("/nowhere")
    scheduler = BatchScheduler(one, Clock(lambda: 0.0), RuntimeStats(), blobs=folder, spool=folder, packages=folder)
    scheduler.mark_changed(small)
    scheduler.fill()
    scheduler.mark_changed(large)
    while not pool.load.reservation.worker:
        pool.end(next(iter(pool.batches)))
        scheduler.fill()
    pool.end(next(iter(pool.batches)))
    n_before = len(pool.sent)
    scheduler.fill()
    assert len(pool.sent) == n_before, "one core is idle, and is kept"

    scheduler.forget(large)
    scheduler.fill()

    assert len(pool.sent) == n_before + 1
    assert not pool.load.reservation.worker
