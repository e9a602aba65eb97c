"""Commits: what has become of running dispatches is recorded, and only then shown to readers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final, TypeVar

import apsw
import msgspec

from covalab.core.errors import DataFolderError, TakenOver
from covalab.core.journal import Entry
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Attempt, DispatchId, DispatchSummary, NodeState, Outcome, Submission
from covalab.core.runtime_stats import RuntimeStats
from covalab.dispatcher import series
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.committed_state import Snapshot
from covalab.dispatcher.recovery import reuse
from covalab.dispatcher.running import RunningDispatch, summary_of
from covalab.store import Store, dispatch_rows
from covalab.store.journal_rows import insert_entries

_log = logging.getLogger("covalab.dispatcher")
RETRY_SECONDS: Final = 1.0
"""How long to wait before the disk is tried again."""
_SAID_EVERY: Final = 60
_T = TypeVar("_T")


class Changes(msgspec.Struct):
    """Changes of one dispatch since its last commit."""

    run: RunningDispatch
    snapshot: Snapshot
    states: list[NodeState]  # those of the snapshot's nodes that are recorded
    outcomes: list[Outcome]
    attempts: list[Attempt]
    new_children: list[tuple[Submission, DispatchSummary]]  # dispatches that nodes of it have become
    entries: list[tuple[int, Entry]]  # what happened beside its graph
    has_failed: bool = False  # it cannot be recorded

    @property
    def summary(self) -> DispatchSummary:
        """The dispatch as it stood when this was collected."""
        return self.snapshot.summary

    @property
    def is_worth_a_commit(self) -> bool:
        """Whether anything is to be recorded. That a node began is not: after a restart it begins again."""
        has_changed_status = self.summary.status != self.run.committed.summary.status
        return bool(self.outcomes or self.states or self.attempts or self.entries or has_changed_status)


class Commits:
    """The transactions of a dispatcher.

    Parameters
    ----------
    store
        The database.
    clock
        The clock.
    stats
        How long functions take, which is recorded with the outcomes that it was learned from.
    over
        Is set when this process must end: another dispatcher has taken over.
    """

    def __init__(self, store: Store, clock: Clock, stats: RuntimeStats, over: asyncio.Event) -> None:
        self._store = store
        self._clock = clock
        self._stats = stats
        self._over = over
        self.taken_over = False

    async def write(self, job: Callable[[apsw.Connection], _T], about: Collection[str] = ()) -> _T:
        """Run a job in the next transaction; when another dispatcher has taken over, this one ends.

        `about` are the ids of the dispatches that it is about.
        """
        try:
            return await self._store.write(job, about)
        except TakenOver:
            self._end()
            raise

    async def check_epoch(self) -> None:
        """Let this process end if another dispatcher has taken over; one that has nothing to write finds out here."""
        try:
            await self._store.check_epoch()
        except TakenOver as error:
            _log.warning("%s", error)
            self._end()
        except DataFolderError as error:  # the next write says so to whom it concerns
            _log.warning("%s", error)

    def _end(self) -> None:
        self.taken_over = True
        self._over.set()

    def insert(
        self,
        connection: apsw.Connection,
        submission: Submission,
        summary: DispatchSummary,
        encoded: bytes | None,
        also: Callable[[apsw.Connection], None] | None,
    ) -> tuple[int | None, DispatchId, DispatchSummary | None]:
        """Record a submission. Returns its key (None: it was there), its id, and the run that follows its start.

        All of it is one transaction: with a cut between the rows a series would end, or `also` happen twice.
        """
        it = submission.schedule
        known = None if it is None else dispatch_rows.select_newest_run(connection, it.id)
        if known is not None:
            return None, known, None  # its first run may have been deleted: the series is there
        key, is_new = dispatch_rows.insert_dispatch(connection, submission, summary, encoded=encoded)
        if is_new and submission.reuse is not None:
            reuse(connection, key, submission, summary.created_at, str(self._store.path.parent))
        if also is not None:
            also(connection)
        following: DispatchSummary | None = None
        if is_new and not submission.hold:
            following = series.record_after_start(connection, submission, self._clock.now())
        return key if is_new else None, submission.id, following

    def collect(self, run: RunningDispatch) -> Changes:
        """Take out of a dispatch what has become of it since this was called last."""
        snapshot = run.take_snapshot()
        working, children = run.progress.working, snapshot.children
        outcomes, run.outcomes = run.outcomes, []
        attempts, run.attempts = run.attempts, []
        # What has not ended is not recorded: a restart runs it again.
        states = [
            state
            for state in snapshot.nodes
            if working[state.node] and (state.status in TERMINAL or state.node in children)
        ]
        now = self._clock.now()
        submissions = [*run.new_children, *series.after_end(run, snapshot.summary, now)]
        run.new_children = []
        new_children = [(submission, summary_of(submission, now)) for submission in submissions]
        return Changes(run, snapshot, states, outcomes, attempts, new_children, list(run.entries))

    async def commit(self, collected: list[Changes]) -> dict[DispatchId, int]:
        """Record changes of dispatches, then show them to readers. Returns the keys of the dispatches that are new.

        The dispatches of one turn share a transaction: a sync of the disk takes longer than all the rest.
        """
        writes = [changes for changes in collected if changes.is_worth_a_commit]
        keys = await self._record(writes) if writes else {}
        for changes in collected:
            del changes.run.entries[: len(changes.entries)]  # more may have come meanwhile
            if not changes.has_failed:
                changes.run.committed.advance(changes.snapshot, changes.entries)
        return keys

    async def _record(self, writes: list[Changes]) -> dict[DispatchId, int]:
        """Write changes to the disk, however long it is full. Returns the keys of the dispatches that are new."""
        durations = self._stats.take_changed()

        def job(connection: apsw.Connection) -> dict[DispatchId, int]:
            dispatch_rows.keep_durations(connection, durations)
            keys: dict[DispatchId, int] = {}
            for it in writes:
                dispatch_rows.update_dispatch(
                    connection, it.run.key, it.summary, it.states, it.outcomes, attempts=it.attempts
                )
                insert_entries(connection, it.run.key, it.entries)
                # With the node that it stands for, or the next start would find the one without the other.
                keys |= dispatch_rows.insert_dispatches(connection, it.new_children)
            return keys

        about = [it.summary.id for it in writes]
        about += [submission.id for it in writes for submission, _ in it.new_children]
        n_tries = 0
        while True:
            try:
                return await self.write(job, about)
            except DataFolderError as error:
                # Nothing is lost: the outcomes wait here, and nothing new is started until they are on the disk.
                if n_tries % _SAID_EVERY == 0:
                    _log.error("%s; trying again every %g s", error, RETRY_SECONDS)
                n_tries += 1
                await asyncio.sleep(RETRY_SECONDS)
            except TakenOver:
                raise
            except Exception:  # noqa: BLE001 - it is a bug, and must stay one dispatch's bug
                _log.exception("cannot record %s", ", ".join(it.summary.id for it in writes))
                if len(writes) == 1:
                    writes[0].has_failed = True
                    return {}
                # One dispatch's trouble must not keep the others' outcomes from the disk.
                keys: dict[DispatchId, int] = {}
                for it in writes:
                    keys |= await self._record([it])
                return keys
