"""Triggers: what is watched, by which processes, and what follows when one fires.

The objects are the users' and are opened in host processes only (`covalab.triggers.host`), one per interpreter and
folder. A host asks what it is to watch, and says what it saw, through the dispatcher's HTTP like anybody else.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import apsw

from covalab.core.errors import MissingLatticeRecordError, TriggerError
from covalab.core.model import (
    DispatchId,
    DispatchSummary,
    Firing,
    Submission,
    Trigger,
    TriggerReport,
    TriggerState,
    TriggerWatch,
    TriggerWatches,
)
from covalab.dispatcher.commits import Commits
from covalab.dispatcher.pools import child_environment
from covalab.dispatcher.recovery import recorded_submission, resubmission
from covalab.dispatcher.registry import Registry
from covalab.store import trigger_rows as rows

_log = logging.getLogger("covalab.triggers")
_STARTS: Final = 3
_SHORT_LIFE: Final = 10.0
_LOG_TAIL: Final = 4_000
_LEAVE_SECONDS: Final = 5.0


class _Home(NamedTuple):
    """Where triggers watch: one host process for each."""

    python: str
    prefix: str
    cwd: str


class TriggerHost:
    """One host process: started when there is something to watch, again when it dies, ended when there is nothing.

    Parameters
    ----------
    number
        Its name.
    data_dir
        The data folder.
    on_failed
        Is told why no host can be had.
    """

    def __init__(self, number: int, data_dir: Path, on_failed: Callable[[TriggerHost, str], Awaitable[None]]) -> None:
        self.number = number
        self.watches: dict[str, TriggerWatch] = {}
        self.version = 0
        self._data_dir = data_dir
        self._on_failed = on_failed
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, watch: TriggerWatch) -> None:
        """Watch something more."""
        self.watches[watch.trigger.id] = watch
        self._note()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def remove(self, trigger: str) -> None:
        """Watch something no longer. With nothing left to do the process ends."""
        if self.watches.pop(trigger, None) is not None:
            self._note()

    def _note(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def news(self, since: int, wait: float) -> TriggerWatches:
        """Return what is to be watched, at once if that changed after `since`."""
        if self.version <= since:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)
        return TriggerWatches(self.version, list(self.watches.values()))

    async def stop(self) -> None:
        """End the process and everything it started."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        failures = 0
        try:
            while self.watches:
                began = time.monotonic()
                why = await self._live()
                if not self.watches:
                    return
                failures = failures + 1 if time.monotonic() - began < _SHORT_LIFE else 1
                _log.warning("the trigger host %d is gone (%s); starting another", self.number, why)
                if failures >= _STARTS:
                    await self._on_failed(self, why)
                    return
                await asyncio.sleep(0.5 * failures)
        finally:
            self._kill()

    async def _live(self) -> str:
        """One life of the process. Returns why it ended."""
        environment = next(iter(self.watches.values())).trigger.environment
        log = self._data_dir / "logs" / f"triggers-{self.number}.log"
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [environment.python, "-m", "covalab.triggers.host", "--data-dir", str(self._data_dir)]
        try:
            with log.open("wb") as out:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    *("--host", str(self.number)),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    cwd=self._data_dir,
                    env=child_environment(environment.shell_env),
                    start_new_session=True,
                )
        except OSError as error:
            return f"cannot start {environment.python}: {error.strerror}"
        try:
            await self._watch_over(self._process)
        finally:
            self._kill()
        if not self.watches:
            return "there is nothing to watch"
        tail = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()
        return tail.splitlines()[-1] if tail else "it said nothing"

    async def _watch_over(self, process: asyncio.subprocess.Process) -> None:
        """Return when the process has ended, or has nothing to do and had time to stop what it watched."""
        ended = asyncio.create_task(process.wait())
        while not ended.done():
            changed = asyncio.create_task(self._changed.wait())
            await asyncio.wait((ended, changed), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if not self.watches:
                await asyncio.wait((ended,), timeout=_LEAVE_SECONDS)
                if not self.watches:
                    break
        ended.cancel()

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


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
        self._hosts: dict[_Home, TriggerHost] = {}
        # Numbers of another life are not ours: a host that outlived its dispatcher is told to go.
        self._numbers = itertools.count(registry.store.epoch * 1_000_000)

    @property
    def n_watching(self) -> int:
        """How many triggers are watching."""
        return sum(len(host.watches) for host in self._hosts.values())

    async def recover(self) -> None:
        """Watch again what was watched when the last dispatcher ended."""
        for row in await self._registry.store.read(partial(rows.select_triggers, state="watching")):
            self.watch(row.dispatch, [row.trigger])

    async def stop(self) -> None:
        """End the hosts; what they watch is watched again at the next start."""
        await asyncio.gather(*(host.stop() for host in self._hosts.values()))

    def watch(self, dispatch: DispatchId, triggers: Iterable[Trigger]) -> None:
        """Let triggers that are recorded watch."""
        for trigger in triggers:
            environment = trigger.environment
            home = _Home(environment.python, environment.prefix, environment.cwd)
            host = self._hosts.get(home)
            if host is None:
                host = self._hosts[home] = TriggerHost(next(self._numbers), self._registry.folder, self._give_up)
            host.add(TriggerWatch(trigger, dispatch))

    def is_watching(self, dispatch: DispatchId) -> bool:
        """Whether something may start a dispatch again."""
        return any(watch.dispatch == dispatch for host in self._hosts.values() for watch in host.watches.values())

    async def states(self, dispatch: DispatchId) -> list[TriggerState]:
        """Return how the triggers of a dispatch stand; raises `MissingLatticeRecordError`."""
        found = await self._registry.store.read(partial(rows.select_states, dispatch=dispatch))
        if not found:
            await self._registry.recorded(dispatch)
        return found

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

    def forget(self, triggers: Iterable[str]) -> None:
        """Let hosts watch something no longer."""
        for trigger in triggers:
            for host in self._hosts.values():
                host.remove(trigger)

    async def _give_up(self, host: TriggerHost, why: str) -> None:
        """No process can be had: its triggers have failed."""
        for trigger in list(host.watches):
            await self._end(trigger, "failed", f"no process can be had in which it could watch: {why}")

    # -- what hosts ask and say ----------------------------------------------------------------------------------

    async def watched(self, host: int, since: int, wait: float) -> TriggerWatches | None:
        """Return what a host is to watch; None if it is none of ours, and must go."""
        found = self._host(host)
        return None if found is None else await found.news(since, wait)

    def _host(self, number: int) -> TriggerHost | None:
        return next((host for host in self._hosts.values() if host.number == number), None)

    async def tell(self, trigger: str, news: TriggerReport) -> bool:
        """Take down what a host says of a trigger. False: the host is none of ours, and must go."""
        if self._host(news.host) is None:
            return False
        if news.state == "watching":
            await self._commits.write(partial(rows.update_state, trigger=trigger, state="watching", error=news.error))
        else:
            await self._end(trigger, news.state, news.error)
        return True

    async def fire(self, trigger: str, firing: Firing) -> DispatchSummary | None:
        """Start the dispatch of a trigger, or run it once more. None: the host is none of ours, and must go.

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
        if row.dispatch in registry.held:
            return await self._start(row.dispatch, also=_noted(trigger, firing.request, row.dispatch))
        recorded = await registry.store.read(partial(recorded_submission, dispatch=row.dispatch))
        assert recorded is not None
        submission = resubmission(recorded, firing.request, reuse=False, strict=False)
        summary, _ = await self._submit(submission, also=_noted(trigger, firing.request, firing.request))
        return summary


def _noted(trigger: str, request: DispatchId, dispatch: DispatchId) -> Callable[[apsw.Connection], None]:
    return partial(rows.insert_firing, trigger=trigger, request=request, dispatch=dispatch)
