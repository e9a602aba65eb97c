"""Worker loss: the nodes of a batch that have no outcome when the batch ends are run again, or fail.

A node that was running when its worker died is a suspect: it runs again, alone, and fails when it has been there at
`LOSSES_ALLOWED` deaths.
"""

from __future__ import annotations

from covalab.core.graph_state import LOSSES_ALLOWED
from covalab.core.model import Attempt, Failure, Outcome
from covalab.core.protocol import BatchEnded
from covalab.dispatcher.pools import SentBatch
from covalab.dispatcher.running import RunningDispatch
from covalab.dispatcher.task_output import Spool


def end_unfinished(
    run: RunningDispatch, batch: SentBatch, ended: BatchEnded, *, was_cancelled: bool, now: float, spool: Spool
) -> None:
    """End or return the nodes of a batch that ended without outcomes of them."""
    unfinished = _unfinished(run, batch)
    if unfinished and ended.timeout:
        # A batch with a time limit has one task: the others, if any, had not begun.
        _fail(run, batch, unfinished[0], _timeout_failure(batch.time_limit), now, spool)
        unfinished = unfinished[1:]
    elif unfinished and ended.trouble:
        message = f"the batch could not be run: {ended.trouble}; see `covalab logs`"
        for node in unfinished:
            _fail(run, batch, node, Failure("executor", message), now, spool)
        unfinished = []
    elif ended.over_memory and ended.node in unfinished and not was_cancelled:
        # It would need as much the next time.
        _fail(run, batch, ended.node, _memory_failure(run, ended), now, spool)
        unfinished.remove(ended.node)
    elif unfinished and was_cancelled and ended.lost:
        # The worker was killed because of other nodes of its batch, which were cancelled: these are no suspects.
        run.progress.return_to_queue(unfinished)
        unfinished = []
    elif ended.node in unfinished:
        _suspect(run, batch, [ended.node], now, spool, ended)
        unfinished.remove(ended.node)
    elif unfinished and ended.lost and batch.begun is not None:
        _suspect(run, batch, unfinished, now, spool, ended)
        unfinished = []
    elif unfinished and ended.lost and run.seems_to_begin(unfinished[0]):
        _suspect(run, batch, unfinished[:1], now, spool, ended)
        unfinished = unfinished[1:]
    run.progress.return_unstarted(unfinished)


def end_with_pool(run: RunningDispatch, batch: SentBatch, *, now: float, spool: Spool) -> None:
    """Return the nodes of a batch whose pool died.

    The one that was running is a suspect all the same, or a task that takes the pool down would do so for ever.
    """
    unfinished = _unfinished(run, batch)
    if batch.begun is not None and batch.begun.node in unfinished:
        _suspect(run, batch, [batch.begun.node], now, spool)
        unfinished.remove(batch.begun.node)
    run.progress.return_unstarted(unfinished)


def _unfinished(run: RunningDispatch, batch: SentBatch) -> list[int]:
    return [node for node in batch.nodes if node in batch.open and node in run.progress.in_flight]


def _suspect(
    run: RunningDispatch, batch: SentBatch, nodes: list[int], now: float, spool: Spool, ended: BatchEnded | None = None
) -> None:
    """Count a loss for nodes: each runs again, or fails when it had too many."""
    for node in nodes:
        may_run_again = run.progress.count_loss(node)
        failure = _lost_failure(run.progress.losses[node], ended)
        if not may_run_again:
            _fail(run, batch, node, failure, now, spool)
            continue
        started = run.progress.started_at[node] or now
        stdout, stderr, times = spool.timed(batch, node)
        outputs = spool.last_outputs(batch, node, failure)
        outcome = Outcome(
            node, "failed", started, now, None, failure, stdout, stderr, batch.worker, outputs=outputs, times=times
        )
        run.attempts.append(Attempt(run.progress.attempt[node], outcome))
    run.progress.return_to_queue(node for node in nodes if run.progress.losses[node] <= LOSSES_ALLOWED)


def _fail(run: RunningDispatch, batch: SentBatch, node: int, failure: Failure, now: float, spool: Spool) -> None:
    stdout, stderr, times = spool.timed(batch, node)
    outputs = spool.last_outputs(batch, node, failure)
    started = run.progress.started_at[node] or now
    stderr += f"{failure.message}\n"
    run.inbox.append(Outcome(node, "failed", started, now, None, failure, stdout, stderr, outputs=outputs, times=times))


def _lost_failure(losses: int, ended: BatchEnded | None) -> Failure:
    """Return the failure of a task whose process died too often; `ended` says how it did the last time, if known."""
    why = "" if ended is None else ended.lost
    how = f"the last time {why}" if why else "it ran out of memory, crashed in native code or called os._exit"
    advice = "look at the last lines it printed, and try it with less data"
    if ended is not None and ended.is_over:
        advice = "give it a time_limit, so that it starts only where enough time is left, or ask for longer jobs"
    return Failure("worker_lost", f"the worker process died {losses} times while it ran this task: {how}; {advice}")


def _memory_failure(run: RunningDispatch, ended: BatchEnded) -> Failure:
    """Return the failure of a task that used more memory than it asks for; `ended` has the figures."""
    name = run.graph.nodes[ended.node].name
    advice = "raise memory, or try it with less data"
    return Failure("worker_lost", f"node {ended.node} ({name}) was stopped: {ended.lost}; {advice}")


def _timeout_failure(limit: float | None) -> Failure:
    """Return the failure of a task whose time was up."""
    return Failure("timeout", f"stopped after its time limit of {limit:g} s; raise time_limit or make the task smaller")
