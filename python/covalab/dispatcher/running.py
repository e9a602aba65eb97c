"""Running dispatches: the state in memory of a dispatch that has not ended, and its summary."""

from __future__ import annotations

from typing import Final

import msgspec

from covalab.core.graph_state import GraphState
from covalab.core.journal import Entry, ExecutionState
from covalab.core.model import (
    Attempt,
    Counts,
    DispatchId,
    DispatchSummary,
    Failure,
    Graph,
    NodeState,
    Outcome,
    Status,
    Submission,
    does_work,
)
from covalab.core.placement import queues_of

_CHANCE: Final = 2
_FAILED_SHOWN: Final = 100  # the text is in every summary that is told and in every commit


class RunningDispatch:
    """Progress, what was submitted, and what has come in but is not yet recorded."""

    def __init__(self, key: int, summary: DispatchSummary, submission: Submission) -> None:
        self.key = key
        self.created = summary
        self.submission = submission
        self.graph = submission.graph
        self.places, queues = queues_of(submission.environment, self.graph)
        self.queues = {place: queue for queue, place in enumerate(self.places)}
        self.progress = GraphState(self.graph, submission.values, queues)
        self.started_at = summary.started_at
        self.ended_at: float | None = None
        self.inbox: list[Outcome] = []
        self.outcomes: list[Outcome] = []  # applied, on their way to the disk
        self.failed: list[int] = []
        self.failures: dict[int, int] = {}  # how many runs of a node failed: what retries are counted by
        self.attempts: list[Attempt] = []  # runs that were not the last of their node, on their way to the disk
        self.unheard: dict[int, int] = {}  # how often a node's worker was lost before anything was heard of it
        self.told = summary
        self.children: dict[int, DispatchId] = {}  # the dispatches that nodes have become
        self.built: dict[int, Outcome] = {}  # how each of those was built, and what it printed
        self.inner = summary.inner  # how many dispatches are below it
        self.births: list[Submission] = []  # children on their way to the disk
        self.journal: ExecutionState | None = None  # what happened beside the graph, if anything did
        self.entries: list[tuple[int, Entry]] = []  # of it, that are not on the disk yet
        self.closing = ""  # why somebody wants it to be closed

    @property
    def id(self) -> DispatchId:
        """The dispatch's id."""
        return self.created.id

    @property
    def paused(self) -> bool:
        """Whether nothing new is to be sent."""
        return self.journal is not None and self.journal.paused

    @property
    def may_end(self) -> bool:
        """Whether it ends when its graph does: it is no service, or it was closed."""
        return self.submission.auto_close or bool(self.closing) or self.ended_at is not None

    def seems_to_begin(self, node: int) -> bool:
        """Whether a node, first of a batch that was lost unheard of, is likely to have begun.

        One that ends its process at once may take the word that it began down with it. Once or twice that is chance:
        a batch that waits behind another is lost with its worker, too.
        """
        self.unheard[node] = self.unheard.get(node, 0) + 1
        return self.unheard[node] > _CHANCE

    def summary(self) -> DispatchSummary:
        """Where it stands now."""
        progress = self.progress
        status: Status = progress.outcome if self.may_end else "running"
        if status == "running" and self.started_at is None:
            status = "pending"
        return msgspec.structs.replace(
            self.created,
            status=status,
            version=progress.version,
            started_at=self.started_at,
            ended_at=self.ended_at,
            counts=progress.counts,
            inner=self.inner,
            error=error_text(self.graph, self.failed),
            waiting=0 if self.journal is None else len(self.journal.waiting),
            paused=self.paused,
        )

    # What readers are given (`known.Known`). They wait for the commit before (`Service.settled`).

    def committed_summary(self) -> DispatchSummary:
        """Return its summary."""
        return self.summary()

    def committed_states(self, since: int) -> list[NodeState]:
        """Return the states of the nodes that changed after version `since`."""
        return self.progress.states_since(since)

    def committed_state(self, node: int) -> NodeState:
        """Return the state of one node."""
        return self.progress.node_state(node)


def error_text(graph: Graph, failed: list[int]) -> str:
    """Return what `Result.error` says: one line, then a line per failed node (of very many, the first that failed)."""
    if not failed:
        return ""
    lines = [f"{node}: {graph.nodes[node].name}" for node in sorted(failed[:_FAILED_SHOWN])]
    if len(failed) > _FAILED_SHOWN:
        lines.append(f"and {len(failed) - _FAILED_SHOWN:,} more")
    return "\n".join(["The following tasks failed:", *lines])


def summary_of(submission: Submission, at: float) -> DispatchSummary:
    """Return the summary of a dispatch that is new."""
    graph, origin = submission.graph, submission.origin
    return DispatchSummary(
        id=submission.id,
        name=graph.name,
        status="pending",
        version=1,
        created_at=at,
        started_at=None,
        ended_at=None,
        counts=counts_of(graph),
        notebook=origin.notebook,
        cell=origin.cell,
        root=submission.root,
        parent_node=submission.parent_node,
        held=submission.hold,
        parent=submission.parent,
        starts_at=submission.starts_at,
        schedule_id=None if submission.schedule is None else submission.schedule.id,
        interval=None if submission.schedule is None else submission.schedule.interval,
    )


def counts_of(graph: Graph) -> Counts:
    """Return the counts of a dispatch that has not begun."""
    return Counts(pending=sum(map(does_work, graph.nodes)))


def rebuild(submission: Submission, summary: DispatchSummary, states: list[NodeState]) -> GraphState:
    """Return the progress of a dispatch from its record; virtual nodes, which have none, follow from the others."""
    progress = GraphState(submission.graph, submission.values)
    progress.start(summary.created_at)
    progress.restore(states, {}, summary.version)
    return progress


def lost_failure(losses: int) -> Failure:
    """Say what a worker's death means for the task that was there."""
    return Failure(
        "worker_lost",
        f"the worker process died {losses} times while it ran this task: it ran out of memory, crashed in native code "
        "or called os._exit; look at the last lines it printed, and try it with less data",
    )


def timeout_failure(limit: float | None) -> Failure:
    """Say that a task's time was up."""
    return Failure("timeout", f"stopped after its time limit of {limit:g} s; raise time_limit or make the task smaller")
