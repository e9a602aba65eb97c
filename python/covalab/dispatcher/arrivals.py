"""What pools tell: that nodes began and ended, that steps and whole pools were lost, and what follows for the nodes.

Facts are laid into the inbox of their dispatch, whose next turn (`Service`) applies and records them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from covalab.core.journal import Entry
from covalab.core.model import Attempt, DispatchId, Failure, Outcome
from covalab.core.progress import LOSSES_ALLOWED
from covalab.core.protocol import Begun, Ended
from covalab.dispatcher import live
from covalab.dispatcher.pools import Flight, Pool
from covalab.dispatcher.run import Run, lost_failure, timeout_failure
from covalab.dispatcher.spool import spooled

if TYPE_CHECKING:
    from covalab.dispatcher.service import Service


class Arrivals:
    """Hears what pools tell (`pools.Listener`).

    Parameters
    ----------
    service
        Has the dispatches.
    spool
        The folder in which running tasks leave what they print.
    """

    def __init__(self, service: Service, spool: Path) -> None:
        self._service = service
        self._spool = spool
        self._outcomes = msgspec.msgpack.Decoder(list[Outcome])
        self._entries = msgspec.msgpack.Decoder(Entry)
        self._stream_items = live.stream_items()
        self.dropped: set[int] = set()
        """Steps that were stopped because some of their nodes were cancelled."""

    def on_begun(self, flight: Flight, begun: Begun) -> None:
        """A worker began a node."""
        run = self._service.runs.get(DispatchId(flight.dispatch))
        if run is not None:
            run.progress.began(begun.node, begun.at)
            self._service.note(run)

    def on_outcomes(self, flight: Flight, payload: bytes) -> None:
        """Nodes ended."""
        outcomes = self._outcomes.decode(payload)
        flight.open.difference_update(outcome.node for outcome in outcomes)
        run = self._service.runs.get(DispatchId(flight.dispatch))
        if run is not None:
            for outcome in outcomes:
                run.progress.made(outcome, flight.worker)
            run.inbox += outcomes
            self._service.note(run)

    def on_noted(self, flight: Flight, payload: bytes) -> None:
        """A running node has something to say; it is on the disk no later than how the node ended."""
        run = self._service.runs.get(DispatchId(flight.dispatch))
        if run is not None:
            live.note(run, self._entries.decode(payload))
            live.let_go(run, self._stream_items)
            self._service.note(run)

    def on_ended(self, flight: Flight, ended: Ended) -> None:
        """Nothing more will come of a step: what it has not done is ready again, or ends here."""
        was_dropped = flight.step in self.dropped
        self.dropped.discard(flight.step)
        run = self._service.runs.get(DispatchId(flight.dispatch))
        if run is None:
            self._service.wake()
            return
        now = time.time()
        unfinished = [node for node in flight.nodes if node in flight.open and node in run.progress.in_flight]
        if unfinished and ended.timeout:
            node = unfinished[0]
            self._fail(run, flight, node, timeout_failure(flight.time_limit), now)
            unfinished = unfinished[1:]
        elif unfinished and ended.trouble:
            message = f"the step could not be run: {ended.trouble}; see `covalab logs`"
            for node in unfinished:
                self._fail(run, flight, node, Failure("executor", message), now)
            unfinished = []
        elif unfinished and was_dropped and ended.lost:
            # We killed the worker for what was cancelled; the others of its step are no suspects.
            run.progress.returned(unfinished)
            unfinished = []
        elif unfinished and ended.lost and flight.begun is not None:
            self._suspect(run, flight, unfinished, now)
            unfinished = []
        elif unfinished and ended.lost and run.seems_to_begin(unfinished[0]):
            self._suspect(run, flight, unfinished[:1], now)
            unfinished = unfinished[1:]
        run.progress.unsent(unfinished)
        self._service.note(run)

    def on_pool_lost(self, flights: Iterable[Flight]) -> None:
        """A pool's process is gone, and with it what it was doing: that is ready again.

        Who was running is a suspect all the same, or a task that takes the pool down would do so for ever.
        """
        now = time.time()
        for flight in flights:
            self.dropped.discard(flight.step)
            run = self._service.runs.get(DispatchId(flight.dispatch))
            if run is None:
                continue
            unfinished = [node for node in flight.nodes if node in flight.open and node in run.progress.in_flight]
            if flight.begun is not None and flight.begun.node in unfinished:
                self._suspect(run, flight, [flight.begun.node], now)
                unfinished.remove(flight.begun.node)
            run.progress.unsent(unfinished)
            self._service.note(run)

    def _suspect(self, run: Run, flight: Flight, nodes: list[int], now: float) -> None:
        """Let nodes that were there when their worker went run again, alone; blame the one that was there too often."""
        for node in nodes:
            may_go_on = run.progress.lost(node)
            failure = lost_failure(run.progress.losses[node])
            if not may_go_on:
                self._fail(run, flight, node, failure, now)
                continue
            started = run.progress.started_at[node] or now
            stdout, stderr = spooled(self._spool, flight, node)
            outcome = Outcome(node, "failed", started, now, None, failure, stdout, stderr, flight.worker)
            run.attempts.append(Attempt(run.progress.attempt[node], outcome))
        run.progress.returned(node for node in nodes if run.progress.losses[node] <= LOSSES_ALLOWED)

    def on_pool_failed(self, pool: Pool) -> None:
        """A pool cannot be had at all: what needs it fails. Called again when more of that has become ready."""
        now = time.time()
        for run in self._service.runs.values():
            lane = run.lanes.get(pool.place)
            if lane is None or not run.progress.lanes[lane]:
                continue
            failure = Failure("executor", pool.message)
            for node in run.progress.lanes[lane]:
                run.inbox.append(Outcome(node, "failed", now, now, None, failure, "", f"{pool.message}\n"))
            run.progress.lanes[lane].clear()
            self._service.note(run)

    def on_pool_changed(self) -> None:
        """Workers came or went."""
        self._service.wake()

    def _fail(self, run: Run, flight: Flight, node: int, failure: Failure, now: float) -> None:
        stdout, stderr = spooled(self._spool, flight, node)
        started = run.progress.started_at[node] or now
        stderr += f"{failure.message}\n"
        run.inbox.append(Outcome(node, "failed", started, now, None, failure, stdout, stderr))
