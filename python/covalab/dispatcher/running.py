"""Running dispatch: state of a dispatch that has not ended, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from covalab import config
from covalab.core.dispatch_list import call_text
from covalab.core.graph_state import GraphState
from covalab.core.journal import Entry, ExecutionState
from covalab.core.model import (
    Attempt,
    Counts,
    DispatchId,
    DispatchSummary,
    Graph,
    NodeProgress,
    NodeState,
    Outcome,
    Status,
    Submission,
    does_work,
)
from covalab.core.placement import POOLED, queues_of
from covalab.dispatcher.committed_state import CommittedState, Snapshot

_CHANCE: Final = 2
_FAILED_SHOWN: Final = 100  # the text is in every summary that is published and in every commit


class RunningDispatch:
    """A submission, its state, and what came in or happened that is not recorded yet."""

    def __init__(self, key: int, summary: DispatchSummary, submission: Submission) -> None:
        self.key = key
        self.created = summary
        self.submission = submission
        self.graph = submission.graph
        asks_for_home = any(settings.executor == "local" for settings in self.graph.settings)
        has_cluster = asks_for_home and config.has_cluster()
        asks_for_cluster = any(it.executor not in POOLED and not it.instance for it in self.graph.settings)
        clusters = config.cluster_names() if asks_for_cluster else ()
        self.places, queues = queues_of(submission.environment, self.graph, has_cluster=has_cluster, clusters=clusters)
        self.may_lack = any(it.needs is not None or it.time_limit is not None for it in self.graph.settings)
        self.has_needs = any(it.needs is not None for it in self.graph.settings)
        self.queues = {place: queue for queue, place in enumerate(self.places)}
        self.progress = GraphState(self.graph, submission.values, queues)
        self.started_at = summary.started_at
        self.ended_at: float | None = None
        self.inbox: list[Outcome] = []
        self.outcomes: list[Outcome] = []  # applied, on their way to the disk
        self.failed: list[int] = []
        self.made_again: dict[int, int] = {}  # how often the value of a node was lost and made again
        self.failures: dict[int, int] = {}  # how many runs of a node failed: what retries are counted by
        self.attempts: list[Attempt] = []  # runs that were not the last of their node, on their way to the disk
        self.unheard: dict[int, int] = {}  # how often a node's worker was lost before anything was heard of it
        self.committed = CommittedState(summary, len(self.graph.nodes))
        """The part of it that is on the disk. Whoever answers a request reads this, and nothing else of it."""
        self.children: dict[int, DispatchId] = {}  # the dispatches that nodes have become
        self.built: dict[int, Outcome] = {}  # how each of those was built, and what it printed
        self.inner = summary.inner  # how many dispatches are below it
        self.new_children: list[Submission] = []  # on their way to the disk
        self.journal: ExecutionState | None = None  # what happened beside the graph, if anything did
        self.entries: list[tuple[int, Entry]] = []  # of it, that are not on the disk yet
        self.node_progress: dict[int, NodeProgress] = {}  # of running nodes that say how far they are
        self.session_worker = ""  # the worker that holds its session (`Settings.session`), once there is one
        self.closing = ""  # why it is to be closed, once that is asked for
        self.start_is_due: bool | None = None  # whether its start is to be recorded by itself; None: not asked yet

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

    @property
    def has_only_started(self) -> bool:
        """Whether nothing has happened since the last commit but that it started, and nodes of it."""
        is_news = self.outcomes or self.attempts or self.entries or self.new_children or self.children
        return not is_news and self.committed.summary.status == "pending" and self.summary().status == "running"

    def seems_to_begin(self, node: int) -> bool:
        """Whether a node, first of a batch that was lost unheard of, is likely to have begun.

        One that ends its process at once may take the word that it began down with it. Once or twice that is chance:
        a batch that waits behind another is lost with its worker, too.
        """
        self.unheard[node] = self.unheard.get(node, 0) + 1
        return self.unheard[node] > _CHANCE

    def show_loaded(self, journal: ExecutionState | None = None) -> None:
        """Let readers see the dispatch as it was loaded from the disk. `journal` is theirs: it shares nothing."""
        self.committed.load(self.summary(), self.progress, self.children, journal)
        self.progress.changed.clear()

    def take_snapshot(self) -> Snapshot:
        """Return what changed since this was called last, for readers to see once it is committed."""
        progress, touched = self.progress, self.progress.changed
        # A node is counted when it is sent; one that has not begun has made one attempt less.
        waiting = {node for node in touched & progress.in_flight if progress.status[node] == "pending"}
        nodes = [progress.node_state(node) for node in touched]
        if waiting:
            nodes = [_minus_one(state) if state.node in waiting else state for state in nodes]
        children = {node: self.children[node] for node in touched & self.children.keys()} if self.children else {}
        touched.clear()
        return Snapshot(self.summary(), nodes, children)

    # What readers are given (`known.Known`).

    def committed_summary(self) -> DispatchSummary:
        """Return its summary."""
        return self.committed.summary

    def committed_states(self, since: int) -> list[NodeState]:
        """Return the states of the nodes that changed after version `since`."""
        return self.committed.states_since(since)

    def committed_state(self, node: int) -> NodeState:
        """Return the state of one node."""
        return self.committed.node_state(node)

    def committed_children(self) -> Mapping[int, DispatchId]:
        """Return the dispatches that nodes have become, by node."""
        return self.committed.children

    def summary(self) -> DispatchSummary:
        """Return the summary as it is now, ahead of the disk."""
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
            progress=self.share_done(),
        )

    def share_done(self) -> float | None:
        """Return the share of all its work that is done; None if no running node says how far it is."""
        known = [it.done / it.total for it in self.node_progress.values() if it.total]
        if not known:
            return None
        counts = self.progress.counts
        ended = counts.completed + counts.failed + counts.cancelled + counts.skipped
        n_nodes = ended + counts.pending + counts.running
        return round((ended + sum(min(1.0, max(0.0, share)) for share in known)) / n_nodes, 3)


def _minus_one(state: NodeState) -> NodeState:
    return msgspec.structs.replace(state, attempt=state.attempt - 1)


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
        origin=submission.again,
        inputs=call_text(submission.inputs.text),
        tags=list(dict.fromkeys(submission.tags)),
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
