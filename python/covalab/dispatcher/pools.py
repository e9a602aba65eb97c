"""The pools' processes: one per place (`core.placement`), started when needed, replaced when they die.

A pool of Dask workers and an executor host are the same here: processes that take batches.

Knows which batches are at which worker; what a batch means is the service's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

from covalab.client.framing import read_frame, write_frame
from covalab.core import protocol
from covalab.core.errors import VersionMismatch
from covalab.core.model import Environment, PoolStatus
from covalab.core.placement import PoolKey
from covalab.core.protocol import (
    BatchEnded,
    CancelBatch,
    Outcomes,
    PoolFailed,
    PoolReady,
    RunBatch,
    StopPool,
    TaskMessage,
    TaskStarted,
    WorkersChanged,
)
from covalab.dispatcher.interpreters import Interpreter, InterpreterNotFound, interpreter_of

_log = logging.getLogger("covalab.pools")
_START_LIMIT: Final = 120.0
_STARTS: Final = 3
_LOG_TAIL: Final = 4_000
_MODULES: Final = {"pool": "covalab.pool", "host": "covalab.executors.host"}


class SentBatch:
    """A batch that is at a worker."""

    __slots__ = ("begun", "dispatch", "id", "nodes", "open", "quick", "time_limit", "worker")

    def __init__(
        self, number: int, dispatch: str, nodes: list[int], worker: str, *, quick: bool, time_limit: float | None
    ) -> None:
        self.id = number
        self.dispatch = dispatch
        self.nodes = nodes
        self.open = set(nodes)
        self.worker = worker
        self.quick = quick
        self.time_limit = time_limit
        self.begun: TaskStarted | None = None


class _End(NamedTuple):
    """How a life of a pool's process ended. `hopeless`: another would end the same way."""

    came_up: bool
    message: str
    hopeless: bool


class Listener(Protocol):
    """What a pool tells the service."""

    def on_begun(self, batch: SentBatch, begun: TaskStarted) -> None:
        """A worker began a node."""

    def on_outcomes(self, batch: SentBatch, payload: bytes) -> None:
        """Nodes of a batch ended."""

    def on_noted(self, batch: SentBatch, payload: bytes) -> None:
        """A running node has something to say."""

    def on_ended(self, batch: SentBatch, ended: BatchEnded) -> None:
        """Nothing more will come of a batch."""

    def on_pool_lost(self, batches: Iterable[SentBatch]) -> None:
        """A pool's process is gone."""

    def on_pool_failed(self, pool: Pool) -> None:
        """A pool cannot be had."""

    def on_pool_changed(self) -> None:
        """Workers came or went."""


class Pool:
    """One pool: its process, its workers, its batches.

    Parameters
    ----------
    place
        Which of the processes of an environment it is.
    environment
        Whose interpreter it runs under, and whose variables it sees.
    socket
        Where it will find us.
    log
        Where it writes what it has to say.
    listener
        Who hears of what happens.
    """

    def __init__(self, place: PoolKey, environment: Environment, socket: Path, log: Path, listener: Listener) -> None:
        self.place = place
        self.environment = environment
        self._interpreter = Interpreter(environment.python, environment.shell_env)
        self._fell_back = False
        self.state: Literal["starting", "up", "failed"] = "starting"
        self.message = ""
        self.batches: dict[int, SentBatch] = {}
        self.workers: dict[str, int] = {}  # batches in batch at each
        self.pid = 0
        self._socket = socket
        self._log = log
        self._listener = listener
        self._writer: asyncio.StreamWriter | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._encoder = protocol.encoder()
        self._task = asyncio.create_task(self._run())

    @property
    def status(self) -> PoolStatus:
        """What `covalab status` shows."""
        where = self.place.scheduler or self.place.conda_env
        return PoolStatus(
            self._interpreter.python, self.state, len(self.workers), self.pid, self.message, self.place.kind, where
        )

    def send(self, batch: SentBatch, payload: bytes) -> None:
        """Send a batch to its worker."""
        self.batches[batch.id] = batch
        self.workers[batch.worker] += 1
        self._send(RunBatch(batch.id, batch.worker, payload, batch.time_limit))

    def drop(self, batch: int, nodes: list[int]) -> None:
        """Stop nodes of a batch; it will end like any other."""
        self._send(CancelBatch(batch, nodes))

    async def stop(self) -> None:
        """End the process and everything it started."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    # -- the process ---------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        try:
            while True:
                self.state = "starting"
                try:
                    came_up, self.message, hopeless = await self._live()
                except Exception as error:  # noqa: BLE001 - told to whoever needs this pool
                    # A full disk, a frame that is none of ours: without this, who waits for us would wait for ever.
                    _log.exception("the %s of %s", self.place.kind, self._interpreter.python)
                    came_up, hopeless = False, False
                    self.message = f"cannot run a worker pool: {type(error).__name__}: {error}"
                failures = 0 if came_up else failures + 1
                batches = list(self.batches.values())
                self.batches.clear()
                self.workers.clear()
                self._listener.on_pool_lost(batches)
                if hopeless and self.place.or_here and not self._fell_back:
                    self._fell_back = True
                    _log.warning("%s; using %s instead", self.message, self.environment.python)
                    continue
                if hopeless or failures >= _STARTS:
                    self.state = "failed"
                    _log.error("%s of %s failed: %s", self.place.kind, self._interpreter.python, self.message)
                    self._listener.on_pool_failed(self)
                    return
                _log.warning(
                    "%s of %s is lost (%s); starting another", self.place.kind, self._interpreter.python, self.message
                )
                await asyncio.sleep(0.5 * failures)
        finally:
            self._kill()

    async def _live(self) -> _End:
        """One life of the pool's process. Returns whether it came up, and how it ended."""
        connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        connected = asyncio.get_running_loop().create_future()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if connected.done():
                writer.close()
            else:
                connected.set_result((reader, writer))

        self._socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(accept, self._socket, limit=_READ_LIMIT)
        self._socket.chmod(0o600)
        try:
            try:
                if self._fell_back:
                    self._interpreter = Interpreter(self.environment.python, self.environment.shell_env)
                else:
                    self._interpreter = await asyncio.to_thread(interpreter_of, self.place, self.environment)
                process = await self._spawn()
            except InterpreterNotFound as error:
                return _End(came_up=False, message=str(error), hopeless=True)
            except OSError as error:
                message = (
                    f"cannot start {self._interpreter.python}: {error.strerror}; "
                    "is that environment still there? Dispatch again from a kernel that runs in one that is"
                )
                return _End(came_up=False, message=message, hopeless=isinstance(error, FileNotFoundError))
            died = asyncio.create_task(process.wait())
            await asyncio.wait((connected, died), timeout=_START_LIMIT, return_when=asyncio.FIRST_COMPLETED)
            if not connected.done():
                died.cancel()
                return self._death(came_up=False)
            server.close()  # nobody else needs to find this door
            reader, self._writer = connected.result()
            return await self._listen(reader)
        finally:
            server.close()
            self._socket.unlink(missing_ok=True)
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._kill()

    async def _spawn(self) -> asyncio.subprocess.Process:
        environment = child_environment(self._interpreter.variables)
        environment["DASK_DISTRIBUTED__LOGGING__DISTRIBUTED"] = "warning"
        environment["DASK_TEMPORARY_DIRECTORY"] = str(self._socket.parent)  # the default is readable by others
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._interpreter.python,
                "-m",
                _MODULES[self.place.kind],
                "--socket",
                str(self._socket),
                *(["--scheduler", self.place.scheduler] if self.place.scheduler else []),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._socket.parent,
                env=environment,
                start_new_session=True,
            )
        self.pid = self._process.pid
        return self._process

    async def _listen(self, reader: asyncio.StreamReader) -> _End:
        came_up = False
        messages = protocol.decoder(protocol.FromPool)
        while (frame := await read_frame(reader)) is not None:
            message = messages.decode(frame)
            if isinstance(message, PoolReady):
                try:
                    protocol.check_version(
                        message.version,
                        f"the environment of {message.python}",
                        f"install the same version there: {message.python} -m pip install -U covalab",
                    )
                except VersionMismatch as error:
                    return _End(came_up=False, message=str(error), hopeless=True)
                came_up = True
                self.state = "up"
            elif isinstance(message, PoolFailed):
                return _End(came_up, message.message, message.hopeless)
            else:
                self._hear(message)
        return self._death(came_up=came_up)

    def _hear(self, message: WorkersChanged | TaskStarted | Outcomes | TaskMessage | BatchEnded) -> None:
        if isinstance(message, WorkersChanged):
            self.workers = {name: self.workers.get(name, 0) for name in message.names}
            self._listener.on_pool_changed()
            return
        batch = self.batches.get(message.batch)
        if batch is None:
            return
        if isinstance(message, TaskStarted):
            batch.begun = message
            self._listener.on_begun(batch, message)
        elif isinstance(message, Outcomes):
            self._listener.on_outcomes(batch, message.payload)
        elif isinstance(message, TaskMessage):
            self._listener.on_noted(batch, message.payload)
        else:
            del self.batches[message.batch]
            if batch.worker in self.workers:
                self.workers[batch.worker] -= 1
            self._listener.on_ended(batch, message)

    def _death(self, *, came_up: bool) -> _End:
        """Say why the process ended without a word, from the last thing it wrote."""
        try:
            tail = self._log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()
        except OSError:
            tail = ""
        python = self._interpreter.python
        if "No module named covalab" in tail or "No module named 'covalab'" in tail:
            env = f" (conda environment {self.place.conda_env!r})" if self.place.conda_env else ""
            message = f"{python}{env} does not have covalab; install it there: {python} -m pip install covalab"
            return _End(came_up, message, hopeless=True)
        last = tail.splitlines()[-1] if tail else "it said nothing"
        return _End(
            came_up, f"the worker {self.place.kind} of {python} ended: {last} (more in {self._log})", hopeless=False
        )

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _send(self, message: RunBatch | CancelBatch | StopPool) -> None:
        if self._writer is not None:
            write_frame(self._writer, self._encoder.encode(message))


_FORBIDDEN: Final = frozenset({"JPY_PARENT_PID", "MPLBACKEND", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"})
"""Variables of whoever started the dispatcher that would change what a pool imports."""

_READ_LIMIT: Final = 1 << 20


def child_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a process that stands where the user's kernel stood; `variables` are its."""
    return {**{key: value for key, value in os.environ.items() if key not in _FORBIDDEN}, **variables}


class Pools:
    """All pools of a dispatcher, by place."""

    def __init__(self, sockets: Path, logs: Path, listener: Listener) -> None:
        self._sockets = sockets
        self._logs = logs
        self._listener = listener
        self._pools: dict[PoolKey, Pool] = {}
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[Pool]:
        return iter(list(self._pools.values()))

    def of(self, place: PoolKey, environment: Environment) -> Pool:
        """Return the pool of a place, for a dispatch of an environment; a failed one is given another chance."""
        pool = self._pools.get(place)
        if pool is None or pool.state == "failed":
            name = f"{place.kind}-{next(self._numbers)}"
            pool = Pool(place, environment, self._sockets / f"{name}.sock", self._logs / f"{name}.log", self._listener)
            self._pools[place] = pool
        return pool

    async def stop(self) -> None:
        """End all pools."""
        await asyncio.gather(*(pool.stop() for pool in self._pools.values()))
        self._pools.clear()
