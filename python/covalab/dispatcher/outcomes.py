"""Outcomes: what came in about a dispatch is applied to it, and retries and children follow from that."""

from __future__ import annotations

import logging
import random

from covalab.core import batching, retries
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Attempt, Outcome
from covalab.dispatcher import interactions
from covalab.dispatcher.alarms import Alarms
from covalab.dispatcher.batch_scheduler import BatchScheduler
from covalab.dispatcher.children import Children
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.lost_values import LostValues, missing_blob
from covalab.dispatcher.running import RunningDispatch

_log = logging.getLogger("covalab.dispatcher")


class OutcomeHandler:
    """Applies outcomes.

    Parameters
    ----------
    clock, alarms
        The clock, and what a retry waits for.
    scheduler
        Learns from each outcome how long a function takes.
    children
        Takes the sublattices that workers built.
    lost_values
        Takes the failures of nodes whose inputs are damaged.
    """

    def __init__(
        self, clock: Clock, alarms: Alarms, scheduler: BatchScheduler, children: Children, lost_values: LostValues
    ) -> None:
        self._clock = clock
        self._alarms = alarms
        self._scheduler = scheduler
        self._children = children
        self._lost_values = lost_values

    def apply(self, run: RunningDispatch) -> None:
        """Apply the inbox of a dispatch, and end the dispatch if nothing of it is left."""
        self._apply_inbox(run)
        while run.progress.ready_interactions:  # what ends without a worker may be all that others wait for
            interactions.arrive(run, self._clock.now())
            self._apply_inbox(run)
        if run.progress.is_terminal and run.ended_at is None and run.may_end:
            # The clock may have been set back since it began.
            run.ended_at = max(self._clock.now(), run.started_at or run.created.created_at)
            run.started_at = run.started_at or run.ended_at
            if run.journal is not None or run.closing:
                interactions.close(run, run.ended_at, run.closing or "auto_close")

    def _apply_inbox(self, run: RunningDispatch) -> None:
        inbox, run.inbox = run.inbox, []
        progress = run.progress
        for received in inbox:
            outcome = received if received.submission is None else self._children.accept_child(run, received)
            if outcome is None:
                continue
            node = outcome.node
            if outcome.status == "completed":
                outcome = missing_blob(outcome, self._lost_values.blobs) or outcome
            elif outcome.failure is not None and outcome.failure.type == "storage":
                outcome = self._lost_values.take(run, outcome)
                if outcome is None:
                    continue
            if outcome.status == "completed":
                self._scheduler.learn(run, outcome)
            elif outcome.status != "skipped" and self._schedule_retry(run, outcome):
                continue
            if progress.record_outcome(outcome):
                run.outcomes.append(outcome)
                if outcome.status == "failed":
                    run.failed.append(node)
                    _log_failure(run, outcome, "failed")

    def _schedule_retry(self, run: RunningDispatch, outcome: Outcome) -> bool:
        """Let a node that failed wait for its next run, if it may have one."""
        node, failure = outcome.node, outcome.failure
        if failure is None or run.progress.status[node] in TERMINAL:
            return False
        settings = batching.settings_of(run.graph, node)
        n_failed = run.failures[node] = run.failures.get(node, 0) + 1
        if not retries.may_retry(settings, failure, n_failed):
            return False
        delay = retries.delay_before(settings.retry, n_failed, random.random())  # noqa: S311 - no secret
        next_at = self._clock.now() + delay
        run.attempts.append(Attempt(run.progress.attempt[node], outcome, next_at))
        run.progress.schedule_retry(node, next_at)
        run.children.pop(node, None)
        self._alarms.set_alarm(next_at, run.id, is_delay=True)
        _log_failure(run, outcome, "failed, and runs again")
        return True


def _log_failure(run: RunningDispatch, outcome: Outcome, what: str) -> None:
    """Log what failed where. The message is the user's, and may have anything in it: it is with the dispatch."""
    failure = outcome.failure
    kind = "" if failure is None else failure.type
    _log.info("node %d of dispatch %s on %s %s: %s", outcome.node, run.id, outcome.worker or "no worker", what, kind)
