"""Child process: starts a Python process in a session of its own, reads how it died, and starts another a few times.

Pools (`pools`) and trigger hosts (`trigger_hosts`) are such processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from covalab import open_files
from covalab.core.os_text import received

_log = logging.getLogger("covalab.processes")
_STARTS: Final = 3
_PAUSE_SECONDS: Final = 0.5
_BURIAL_SECONDS: Final = 5.0
_SCARCE_SECONDS: Final = 0.5
_T = TypeVar("_T")
_LOG_TAIL: Final = 4_000
_FORBIDDEN: Final = frozenset({"JPY_PARENT_PID", "MPLBACKEND", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"})
"""Variables of the process that started the dispatcher, which would change what a child imports."""


async def when_files_are_free(make: Callable[[], Awaitable[_T]], what: str) -> _T:
    """Return what is made as soon as this process may open the files for it; `what` is said of the wait, in the log.

    That there are none says nothing of what is to be started, and passes when clients go.
    """
    while True:
        try:
            return await make()
        except OSError as error:
            if not open_files.is_scarcity(error):
                raise
            open_files.warn(_log, what)
            await asyncio.sleep(_SCARCE_SECONDS)


class ProcessEnd(NamedTuple):
    """How one run of a process ended. `hopeless`: another would end the same way; `outdated`: until an upgrade."""

    came_up: bool
    message: str
    hopeless: bool = False
    outdated: bool = False


class ChildProcess:
    """One process at a time, and the task that starts the next when it has died.

    Parameters
    ----------
    name
        What it is called in our log.
    log
        The file that takes its output; begun anew with each start.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.pid = 0
        self._process: asyncio.subprocess.Process | None = None
        self._ended: asyncio.Task[int] | None = None
        self._supervisor: asyncio.Task[None] | None = None

    # -- one process ---------------------------------------------------------------------------------------------

    async def start(
        self, command: list[str], *, folder: Path, variables: Mapping[str, str], has_pipes: bool = False
    ) -> None:
        """Start a process in a folder; `variables` are those of the kernel whose place it takes.

        With `has_pipes` it is talked to through `pipes`.

        Raises
        ------
        OSError
            If there is no such interpreter, or the machine has no room for a process.
        """
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        inherited = {key: value for key, value in os.environ.items() if key not in _FORBIDDEN}
        variables = {**variables, **open_files.limit_for_children()}

        async def start() -> asyncio.subprocess.Process:
            with self.log.open("wb") as log:
                return await asyncio.create_subprocess_exec(
                    *map(received, command),
                    stdin=subprocess.PIPE if has_pipes else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if has_pipes else log,
                    stderr=log,
                    cwd=folder,
                    env={**inherited, **{name: received(value) for name, value in variables.items()}},
                    start_new_session=True,  # so that `kill` reaches what it starts, too
                )

        self._process = await when_files_are_free(start, f"{self.name} is started later")
        self.pid = self._process.pid
        self._ended = asyncio.create_task(self._process.wait())

    @property
    def pipes(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Standard output and input of a process that was started with pipes."""
        assert self._process is not None, "start comes first"
        assert self._process.stdout is not None, "it was started without pipes"
        assert self._process.stdin is not None, "it was started without pipes"
        return self._process.stdout, self._process.stdin

    async def wait(self, until: asyncio.Future[Any] | None = None, *, timeout: float | None = None) -> bool:
        """Wait for the end of the process, for `until`, or for a time. Returns whether the process has ended."""
        assert self._ended is not None, "start comes first"
        awaited = {self._ended} if until is None else {self._ended, until}
        await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return self._ended.done()

    def log_tail(self) -> str:
        """Return the end of what the process wrote."""
        try:
            return self.log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()
        except OSError:
            return ""

    def last_line(self) -> str:
        """Return the last line of what the process wrote, which for Python names the error."""
        tail = self.log_tail()
        return tail.splitlines()[-1] if tail else "it said nothing"

    def is_stopped(self) -> bool:
        """Whether the process was stopped by a signal, or is gone: it does not go on by itself."""
        import psutil  # noqa: PLC0415 - 10 ms that hardly any dispatcher needs

        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.NoSuchProcess:
            return True

    def kill(self) -> None:
        """End the process and all that it started."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    # -- one after another ---------------------------------------------------------------------------------------

    def supervise(
        self,
        run_once: Callable[[], Awaitable[ProcessEnd | None]],
        on_failed: Callable[[ProcessEnd], Awaitable[None]],
    ) -> None:
        """Run one process after another in the background, unless that happens already.

        Parameters
        ----------
        run_once
            Starts a process and returns how it ended; None: none is needed any more.
        on_failed
            Called when no process can be had: the last end was hopeless, or the third in a row that did not come up.
        """
        if self._supervisor is None or self._supervisor.done():
            self._supervisor = asyncio.create_task(self._supervise(run_once, on_failed))

    async def _supervise(
        self,
        run_once: Callable[[], Awaitable[ProcessEnd | None]],
        on_failed: Callable[[ProcessEnd], Awaitable[None]],
    ) -> None:
        n_failures = 0
        try:
            while (end := await run_once()) is not None:
                n_failures = 0 if end.came_up else n_failures + 1
                if end.hopeless or n_failures >= _STARTS:
                    _log.error("%s failed: %s", self.name, end.message)
                    await on_failed(end)
                    return
                _log.warning("%s is lost (%s); starting another", self.name, end.message)
                # One that ran for a while is replaced at once; one that cannot start must not use up the machine.
                await asyncio.sleep(_PAUSE_SECONDS * n_failures)
        finally:
            self.kill()

    async def stop(self) -> None:
        """End the process and all that it started, and start no other."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
        self.kill()
        if self._ended is not None:
            await self.wait(timeout=_BURIAL_SECONDS)  # a moment, unless the machine is in trouble
