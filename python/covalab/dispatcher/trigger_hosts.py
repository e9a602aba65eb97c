"""Triggers: the host processes that watch, the states of what they watch, and the dispatches that a firing starts.

The objects are the users' and are opened in host processes only (`covalab.triggers.host`), one per interpreter and
folder. A host polls for what it is to watch, and reports what it saw, through the dispatcher's HTTP as clients do.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import apsw
from msgspec.structs import replace

from covalab.core.errors import MissingLatticeRecordError, TriggerError
from covalab.core.model import DispatchId, DispatchSummary, Submission, Trigger
from covalab.core.trigger_states import Firing, TriggerReport, TriggerState, TriggerWatch, TriggerWatches
from covalab.dispatcher.child_process import ChildProcess, ProcessEnd
from covalab.dispatcher.commits import Commits
from covalab.dispatcher.recovery import recorded_submission, resubmission
from covalab.dispatcher.registry import Registry
from covalab.store import trigger_rows as rows

_SHORT_LIFE: Final = 10.0
_LEAVE_SECONDS: Final = 5.0


class Start(Protocol):
    """Starts a dispatch that is held; `also` is recorded with it."""

    async def __call__(
        self, dispatch: DispatchId, *, also: Callable[[apsw.Connection], None] | None = None
    ) -> DispatchSummary:
        """Return the summary of the dispatch."""


class Submit(Protocol):
    """Records and starts a dispatch; `also` is recorded with it."""

    async def __call__(
        self, submission: Submission, *, also: Callable[[apsw.Connection], None] | None = None
    ) -> tuple[DispatchSummary, bool]:
        """Return the summary of the dispatch, and whether it is new."""


class _HostKey(NamedTuple):
    """Interpreter and folder of triggers: there is one host process for each."""

    python: str
    prefix: str
    cwd: str


class TriggerHost:
    """One host process: started when there is something to watch, again when it dies, ended when there is nothing.

    Parameters
    ----------
    number
        Its name, which it sends with each request.
    data_dir
        The data folder.
    on_failed
        Called with the reason when no process can be had.
    """

    def __init__(self, number: int, data_dir: Path, on_failed: Callable[[TriggerHost, str], Awaitable[None]]) -> None:
        self.number = number
        self.watches: dict[str, TriggerWatch] = {}
        self.begun: set[str] = set()  # the triggers of which the process has reported that they watch
        self.version = 0
        self._data_dir = data_dir
        self._report_failure = on_failed
        self._changed = asyncio.Event()
        self._process = ChildProcess(f"trigger host {number}", data_dir / "logs" / f"triggers-{number}.log")

    def add(self, watch: TriggerWatch) -> None:
        """Watch another trigger; starts the process if there is none."""
        self.watches[watch.trigger.id] = watch
        self._mark_changed()
        self._process.supervise(self._run_once, self._on_failed)

    def remove(self, trigger: str) -> None:
        """Watch a trigger no longer. With nothing left to do the process ends."""
        if self.watches.pop(trigger, None) is not None:
            self.begun.discard(trigger)
            self._mark_changed()

    def _mark_changed(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def poll(self, since: int, wait: float) -> TriggerWatches:
        """Return what is to be watched, at once if that changed after version `since`, else after `wait` seconds."""
        if self.version <= since:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)
        return TriggerWatches(self.version, list(self.watches.values()))

    async def stop(self) -> None:
        """End the process and everything it started."""
        await self._process.stop()

    async def _on_failed(self, end: ProcessEnd) -> None:
        await self._report_failure(self, end.message)

    async def _run_once(self) -> ProcessEnd | None:
        """Run one process to its end; None: there is nothing to watch."""
        if not self.watches:
            return None
        environment = next(iter(self.watches.values())).trigger.environment
        command = [environment.python, "-m", "covalab.triggers.host", "--data-dir", str(self._data_dir)]
        command += ["--host", str(self.number)]
        self.begun.clear()
        began = time.monotonic()
        try:
            await self._process.start(command, folder=self._data_dir, variables=environment.shell_env)
        except OSError as error:
            return ProcessEnd(came_up=False, message=f"cannot start {environment.python}: {error.strerror}")
        try:
            await self._wait_for_end()
        finally:
            self._process.kill()
        if not self.watches:
            return None
        # A host does not report that it is up: one that lived for a while was.
        return ProcessEnd(time.monotonic() - began >= _SHORT_LIFE, self._process.last_line())

    async def _wait_for_end(self) -> None:
        """Return when the process has ended, or has nothing to watch and had time to stop what it watched."""
        has_ended = False
        while not has_ended:
            changed = asyncio.create_task(self._changed.wait())
            has_ended = await self._process.wait(changed)
            changed.cancel()
            if not self.watches:
                has_ended = await self._process.wait(timeout=_LEAVE_SECONDS)
                if not self.watches:
                    return


class Triggers:
    """All triggers of a dispatcher.

    Parameters
    ----------
    registry
        The dispatches.
    commits
        Records how triggers stand.
    start, submit
        Start the dispatch of a trigger that fires.
    """

    def __init__(self, registry: Registry, commits: Commits, start: Start, submit: Submit) -> None:
        self._registry = registry
        self._commits = commits
        self._start = start
        self._submit = submit
        self._hosts: dict[_HostKey, TriggerHost] = {}
        self._reported = asyncio.Event()  # replaced after each report
        # Numbers of another life are not ours: a host that outlived its dispatcher is told to go.
        self._numbers = itertools.count(registry.store.epoch * 1_000_000)

    @property
    def n_watching(self) -> int:
        """Number of triggers that are watching."""
        return sum(len(host.watches) for host in self._hosts.values())

    async def recover(self, only: Collection[DispatchId] | None = None) -> None:
        """Watch again the triggers that were watching when the last dispatcher ended: of all, or of some dispatches."""
        for row in await self._registry.store.read(partial(rows.select_triggers, state="watching")):
            if (only is None or row.dispatch in only) and await self._registry.trust.is_own(row.dispatch):
                self.watch(row.dispatch, [row.trigger])

    async def stop(self) -> None:
        """End the hosts; their triggers watch again after the next start."""
        await asyncio.gather(*(host.stop() for host in self._hosts.values()))

    def watch(self, dispatch: DispatchId, triggers: Iterable[Trigger]) -> None:
        """Start watching triggers that are recorded."""
        for trigger in triggers:
            environment = trigger.environment
            key = _HostKey(environment.python, environment.prefix, environment.cwd)
            host = self._hosts.get(key)
            if host is None:
                host = self._hosts[key] = TriggerHost(next(self._numbers), self._registry.folder, self._give_up)
            host.add(TriggerWatch(trigger, dispatch))

    def is_watching(self, dispatch: DispatchId) -> bool:
        """Whether a trigger may start a dispatch again."""
        return any(watch.dispatch == dispatch for host in self._hosts.values() for watch in host.watches.values())

    async def states(self, dispatch: DispatchId) -> list[TriggerState]:
        """Return the states of the triggers of a dispatch; raises `MissingLatticeRecordError`."""
        found = await self._registry.store.read(partial(rows.select_states, dispatch=dispatch))
        if not found:  # no triggers, or no such dispatch
            await self._registry.recorded(dispatch)
        begun = {trigger for host in self._hosts.values() for trigger in host.begun}
        return [
            replace(state, state="starting") if state.state == "watching" and state.id not in begun else state
            for state in found
        ]

    async def settled(self, dispatch: DispatchId, wait: float) -> list[TriggerState]:
        """Return the states of the triggers of a dispatch when none of them is starting, or after `wait` seconds."""
        deadline = time.monotonic() + wait
        while True:
            reported = self._reported
            found = await self.states(dispatch)
            left = deadline - time.monotonic()
            if left <= 0 or all(state.state != "starting" for state in found):
                return found
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reported.wait(), left)

    def _wake_waiting(self) -> None:
        self._reported.set()
        self._reported = asyncio.Event()

    async def register(self, dispatch: DispatchId, triggers: list[Trigger]) -> list[TriggerState]:
        """Attach triggers to a recorded dispatch."""
        key, _ = await self._registry.recorded(dispatch)
        known = {state.id for state in await self.states(dispatch)}
        await self._commits.write(partial(rows.insert_triggers, key=key, triggers=triggers))
        self.watch(dispatch, [trigger for trigger in triggers if trigger.id not in known])
        return await self.states(dispatch)

    async def stop_watching(self, dispatch: DispatchId, chosen: list[str] | None = None) -> list[TriggerState]:
        """Stop triggers of a dispatch (None: all).

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        TriggerError
            If it has no triggers, or not these.
        """
        ids = {state.id for state in await self.states(dispatch)}
        if not ids:
            message = (
                f"dispatch {dispatch} has no triggers; @ct.lattice(triggers=...) or trigger.register() attaches one"
            )
            raise TriggerError(message)
        if strangers := set(chosen or ()) - ids:
            message = f"dispatch {dispatch} has no trigger {', '.join(sorted(strangers))}"
            raise TriggerError(message)
        for trigger in ids if chosen is None else chosen:
            await self._end(trigger, "stopped")
        return await self.states(dispatch)

    async def _end(self, trigger: str, state: str, error: str = "") -> None:
        await self._commits.write(partial(rows.update_state, trigger=trigger, state=state, error=error))  # type: ignore[arg-type]
        self.forget([trigger])
        self._wake_waiting()

    def forget(self, triggers: Iterable[str]) -> None:
        """Stop watching triggers, whose states stay as they are."""
        for trigger in triggers:
            for host in self._hosts.values():
                host.remove(trigger)

    async def _give_up(self, host: TriggerHost, why: str) -> None:
        """Record the failure of all triggers of a host that cannot be started."""
        while host.watches:  # also one that is added meanwhile: this host starts no other process for it
            trigger = next(iter(host.watches))
            await self._end(trigger, "failed", f"no process can be had in which it could watch: {why}")

    # -- requests of hosts ----------------------------------------------------------------------------------

    async def watched(self, host: int, since: int, wait: float) -> TriggerWatches | None:
        """Return the triggers of a host; None if it is none of ours, and must end."""
        found = self._host(host)
        return None if found is None else await found.poll(since, wait)

    def _host(self, number: int) -> TriggerHost | None:
        return next((host for host in self._hosts.values() if host.number == number), None)

    async def report(self, trigger: str, report: TriggerReport) -> bool:
        """Record the state that a host reports of a trigger. False: the host is none of ours, and must end."""
        host = self._host(report.host)
        if host is None:
            return False
        if report.state == "watching":
            await self._commits.write(partial(rows.update_state, trigger=trigger, state="watching", error=report.error))
            if trigger in host.watches:
                host.begun.add(trigger)
                self._wake_waiting()
        else:
            await self._end(trigger, report.state, report.error)
        return True

    async def fire(self, trigger: str, firing: Firing) -> DispatchSummary | None:
        """Start the dispatch of a trigger, or run it once more. None: the host is none of ours, and must end.

        The first firing starts a dispatch that was held. Asked twice with one request, it happens once.

        Raises
        ------
        TriggerError
            If the trigger watches no longer.
        """
        registry = self._registry
        if firing.host is not None and self._host(firing.host) is None:
            return None
        row = await registry.store.read(partial(rows.select_trigger, trigger=trigger))
        if row is None:
            raise MissingLatticeRecordError(trigger, str(registry.folder))
        done = await registry.store.read(partial(rows.select_firing, request=firing.request))
        if done is not None:
            return await registry.summary(done)
        if row.state != "watching":
            message = f"trigger {row.trigger.name} of dispatch {row.dispatch} is {row.state}; register it again"
            raise TriggerError(message)
        await registry.trust.check(row.dispatch)
        if row.dispatch in registry.held:
            return await self._start(row.dispatch, also=_record_firing(trigger, firing.request, row.dispatch))
        recorded = await registry.store.read(partial(recorded_submission, dispatch=row.dispatch))
        assert recorded is not None
        submission = resubmission(recorded, firing.request, reuse=False, strict=False)
        summary, _ = await self._submit(submission, also=_record_firing(trigger, firing.request, firing.request))
        return summary


def _record_firing(trigger: str, request: DispatchId, dispatch: DispatchId) -> Callable[[apsw.Connection], None]:
    # In the transaction of the dispatch: a host that asks again after a crash must find both or neither.
    return partial(rows.insert_firing, trigger=trigger, request=request, dispatch=dispatch)
