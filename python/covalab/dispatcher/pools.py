"""Pools: one process per pool key (`core.placement`), started when needed, replaced when it dies.

A pool of Dask workers and an executor host are the same here: processes that take batches. A pool has the batches that
are at its workers; what a batch means is decided by its listener.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

from covalab import config
from covalab.client.framing import read_frame, write_frame
from covalab.core import protocol, silence
from covalab.core.capacity import Needs
from covalab.core.dispatcher_status import PoolStatus
from covalab.core.errors import VersionMismatch
from covalab.core.model import DispatchId, Environment, NodeProgress
from covalab.core.placement import PoolKey
from covalab.core.protocol import (
    BatchEnded,
    CancelBatch,
    ClusterNews,
    DispatchesEnded,
    Outcomes,
    Ping,
    Pong,
    PoolFailed,
    PoolReady,
    ReturnUnstarted,
    RunBatch,
    StopPool,
    TaskMessage,
    TaskProgress,
    TaskResumed,
    TaskStarted,
    TaskWaits,
    WorkersChanged,
    WorkWaits,
)
from covalab.crash_points import crash_point
from covalab.dispatcher.child_process import ChildProcess, ProcessEnd, when_files_are_free
from covalab.dispatcher.clock import Clock
from covalab.dispatcher.interpreters import Interpreter, InterpreterNotFound, interpreter_of
from covalab.dispatcher.load import Load

_log = logging.getLogger("covalab.pools")
_START_LIMIT: Final = 120.0
_READ_LIMIT: Final = 1 << 20
_END_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 15.0
_UPGRADE_SECONDS: Final = 60.0
"""The time after which a pool hears of dispatches that have ended: a message to all workers costs what a task does."""
_MODULES: Final = {"pool": "covalab.pool", "host": "covalab.executors.host"}


class SentBatch:
    """A batch that is at a worker."""

    __slots__ = (
        "begun",
        "dispatch",
        "id",
        "in_session",
        "is_waiting",
        "needs",
        "nodes",
        "open",
        "quick",
        "root",
        "time_limit",
        "worker",
    )

    def __init__(
        self,
        number: int,
        dispatch: DispatchId,
        root: DispatchId,
        nodes: list[int],
        worker: str,
        *,
        quick: bool,
        time_limit: float | None,
        in_session: bool = False,
        needs: Needs | None = None,
    ) -> None:
        self.id = number
        self.dispatch = dispatch
        self.root = root
        self.nodes = nodes
        self.open = set(nodes)
        self.worker = worker
        self.quick = quick
        self.time_limit = time_limit
        self.in_session = in_session
        self.needs = needs
        self.begun: TaskStarted | None = None
        self.is_waiting = False
        """Whether its task waits for another dispatch: its worker takes a further batch meanwhile."""


class Listener(Protocol):
    """Receiver of what happens in pools."""

    def on_task_started(self, batch: SentBatch, begun: TaskStarted) -> None:
        """A worker began a node."""

    def on_outcomes(self, batch: SentBatch, payload: bytes) -> None:
        """Nodes of a batch ended."""

    def on_task_message(self, batch: SentBatch, payload: bytes) -> None:
        """A running node sent an entry of the journal."""

    def on_task_progress(self, batch: SentBatch, progress: NodeProgress) -> None:
        """A running node said how far it is."""

    def on_task_waits(self, batch: SentBatch, returned: list[int]) -> None:
        """A running node waits for another dispatch; some nodes of its batch will not begin."""

    def on_batch_ended(self, batch: SentBatch, ended: BatchEnded) -> None:
        """Nothing more will come of a batch."""

    def on_pool_lost(self, batches: Iterable[SentBatch]) -> None:
        """A pool's process is gone."""

    def on_pool_failed(self, pool: Pool) -> None:
        """A pool cannot be had."""

    def on_workers_changed(self) -> None:
        """Workers came or went."""


class Pool:
    """One pool: its process, its workers, its batches.

    Parameters
    ----------
    key
        Which of the processes of an environment it is.
    environment
        Its interpreter, unless the key names another, and its variables.
    socket
        The address at which the process connects to us.
    log
        The file that takes the output of the process.
    listener
        Receiver of what happens in the pool.
    clock
        The clock.
    """

    def __init__(
        self, key: PoolKey, environment: Environment, socket: Path, log: Path, listener: Listener, clock: Clock
    ) -> None:
        self.key = key
        self.environment = environment
        self.state: Literal["starting", "up", "failed"] = "starting"
        self.message = ""
        self.batches: dict[int, SentBatch] = {}
        self.load = Load()
        self.unfit: dict[str, str] = {}
        self._n_carried = 0
        self._store_trouble = ""
        self.news = ClusterNews()
        self._waits_since = clock.now()
        self._cluster = ""
        self._interpreter = Interpreter(environment.python, environment.shell_env)
        self._fell_back = False
        self._upgraded: asyncio.Event | None = None
        self._socket = socket
        self._listener = listener
        self._clock = clock
        self._writer: asyncio.StreamWriter | None = None
        self._roots: set[DispatchId] = set()
        self._ended_roots: list[DispatchId] = []
        self._waiting_cores = 0
        self._is_stopping = False
        self._encoder = protocol.encoder()
        self._was_heard = False  # since the last tick
        self._has_answered = True  # the last ping
        self._why_killed = ""
        self._process = ChildProcess(f"the {key.kind} of {environment.python}", log)
        self._process.supervise(self._run_once, self._on_failed)

    @property
    def status(self) -> PoolStatus:
        """State of the pool, as `covalab status` shows it."""
        where = self.key.scheduler or self.key.conda_env or ("this machine" if self.key.home else self._cluster)
        if self.key.cluster:
            where = f"cluster {self.key.cluster}" + (f" ({self._cluster})" if self._cluster else "")
        return PoolStatus(
            self._interpreter.python,
            self.state,
            len(self.workers),
            self._process.pid,
            self.message,
            self.key.kind,
            where,
            self.unfit,
            None if self.workers else self._waits_since,
            self._n_carried if self.workers else 0,
            self.news,
            self._store_trouble,
            self._waiting_cores,
        )

    @property
    def workers(self) -> Mapping[str, int]:
        """How many cores of each worker are in use."""
        return self.load.workers

    def ask_for_workers(self, cores: int) -> None:
        """Let a cluster that grows know for how many cores there is work."""
        if cores != self._waiting_cores and self.state == "up" and self.key.kind == "pool":
            self._waiting_cores = cores
            self._send(WorkWaits(cores))

    def send(self, batch: SentBatch, payload: bytes, spool: str) -> None:
        """Send a batch to its worker; `spool` is the folder of what it prints."""
        self.batches[batch.id] = batch
        self.load.add(batch)
        self._roots.add(batch.root)
        root = f"{batch.root}:{batch.dispatch}" if batch.in_session else batch.root
        crash_point("batch.chosen")
        needs = batch.needs or Needs()
        resources = dict(needs.resources)
        limits = batch.time_limit, root, spool, resources, needs.cores, needs.memory
        self._send(RunBatch(batch.id, batch.worker, payload, *limits))

    def cancel_batch(self, batch: int, nodes: list[int]) -> None:
        """Stop nodes of a batch; it will end like any other."""
        self._send(CancelBatch(batch, nodes))

    def return_unstarted(self, batch: int) -> None:
        """Let a batch end after the node that runs."""
        self._send(ReturnUnstarted(batch))

    def end_dispatch(self, root: DispatchId) -> None:
        """Let the processes of an outermost dispatch end; a little later, for all that end meanwhile at once."""
        if root not in self._roots:
            return
        self._roots.remove(root)
        if not self._ended_roots:
            asyncio.get_running_loop().call_later(_END_SECONDS, self._send_ended)
        self._ended_roots.append(root)

    def _send_ended(self) -> None:
        roots, self._ended_roots = self._ended_roots, []
        self._send(DispatchesEnded(roots))

    async def stop(self) -> None:
        """End the process and everything it started, jobs in a queue too."""
        if self._cluster and self._writer is not None and self.state == "up":
            self._is_stopping = True
            self._send(StopPool())
            with suppress(asyncio.TimeoutError):
                await self._process.wait(timeout=_STOP_SECONDS)
        await self._process.stop()

    def _send(self, message: protocol.ToPool) -> None:
        if self._writer is not None:
            write_frame(self._writer, self._encoder.encode(message))

    # -- the process ---------------------------------------------------------------------------------------------

    async def _run_once(self) -> ProcessEnd | None:
        while (end := await self._run_to_end()).outdated:
            await self._wait_for_upgrade()
        return None if self._is_stopping else end  # one that ended because we asked is not replaced

    async def _run_to_end(self) -> ProcessEnd:
        self.state = "starting"
        try:
            end = await self._run_process()
        except Exception as error:  # noqa: BLE001 - becomes the message of this pool
            # A full disk, or a frame that no pool of ours sends: without this, dispatches would wait for ever.
            _log.exception("%s", self._process.name)
            end = ProcessEnd(came_up=False, message=f"cannot run a worker pool: {type(error).__name__}: {error}")
        self.message = end.message
        if self._is_stopping:
            return end  # the next dispatcher goes on with what ran there
        batches = list(self.batches.values())
        self.batches.clear()
        self.load = Load()
        self.unfit = {}
        self.news = ClusterNews()
        self._waiting_cores = 0
        self._waits_since = self._clock.now()
        self._listener.on_pool_lost(batches)
        if end.hopeless and self.key.or_here and not self._fell_back:
            self._fell_back = True
            _log.warning("%s; using %s instead", end.message, self.environment.python)
            return await self._run_to_end()
        return end

    async def _wait_for_upgrade(self) -> None:
        """Wait until the environment may have another version: work that ran there before is not lost for that."""
        self._upgraded = asyncio.Event()
        self.state = "failed"
        _log.warning("%s; what ran there before waits, and is tried again every %g s", self.message, _UPGRADE_SECONDS)
        self._listener.on_pool_failed(self)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._upgraded.wait(), _UPGRADE_SECONDS)
        self._upgraded = None

    @property
    def waits_for_upgrade(self) -> bool:
        """Whether its environment has another version of covalab, which may change."""
        return self._upgraded is not None

    def try_again(self) -> None:
        """Start the process of an environment that had another version at once."""
        if self._upgraded is not None:
            self._upgraded.set()
            self.state = "starting"

    async def _on_failed(self, _: ProcessEnd) -> None:
        self.state = "failed"
        self._listener.on_pool_failed(self)

    async def _run_process(self) -> ProcessEnd:
        connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        connected = asyncio.get_running_loop().create_future()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if connected.done():
                writer.close()
            else:
                connected.set_result((reader, writer))

        self._socket.unlink(missing_ok=True)
        server = await when_files_are_free(
            partial(asyncio.start_unix_server, accept, self._socket, limit=_READ_LIMIT),
            f"{self._process.name} is started later",
        )
        self._socket.chmod(0o600)
        try:
            trouble = await self._start()
            if trouble is not None:
                return trouble
            await self._process.wait(connected, timeout=_START_LIMIT)
            if not connected.done():
                return self._death(came_up=False)
            server.close()  # no other process has business at this socket
            reader, self._writer = connected.result()
            liveness = asyncio.create_task(self._watch_liveness(config.silent_seconds()))
            try:
                return await self._listen(reader)
            finally:
                liveness.cancel()
        finally:
            server.close()
            self._socket.unlink(missing_ok=True)
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._process.kill()

    async def _start(self) -> ProcessEnd | None:
        """Start the process. Returns why that cannot be done, if so."""
        try:
            if self._fell_back:
                self._interpreter = Interpreter(self.environment.python, self.environment.shell_env)
            else:
                self._interpreter = await asyncio.to_thread(interpreter_of, self.key, self.environment)
            python, variables = self._interpreter
            self._process.name = f"the {self.key.kind} of {python}"
            command = [python, "-m", _MODULES[self.key.kind], "--socket", str(self._socket)]
            if self.key.kind == "pool":
                command += ["--data", str(self._process.log.parent.parent)]
            if self.key.scheduler:
                command += ["--scheduler", self.key.scheduler]
            if self.key.home:
                command.append("--home")
            if self.key.cluster:
                command += ["--cluster", self.key.cluster]
            # The temporary folder that Dask takes by itself can be read by others.
            dask = {
                "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "warning",
                "DASK_TEMPORARY_DIRECTORY": str(self._socket.parent),
                "COVALAB_LEARNED_IMPORTS": str(self._process.log.parent / "imports"),
            }
            await self._process.start(command, folder=self._socket.parent, variables={**variables, **dask})
        except InterpreterNotFound as error:
            return ProcessEnd(came_up=False, message=str(error), hopeless=True)
        except OSError as error:
            message = (
                f"cannot start {self._interpreter.python}: {error.strerror}; "
                "is that environment still there? Dispatch again from a kernel that runs in one that is"
            )
            return ProcessEnd(came_up=False, message=message, hopeless=isinstance(error, FileNotFoundError))
        return None

    async def _listen(self, reader: asyncio.StreamReader) -> ProcessEnd:
        came_up = False
        messages = protocol.decoder(protocol.FromPool)
        while (frame := await read_frame(reader)) is not None:
            message = messages.decode(frame)
            self._was_heard = True
            if isinstance(message, PoolReady):
                try:
                    protocol.check_version(
                        message.version,
                        f"the environment of {message.python}",
                        f"install the same version there: {message.python} -m pip install -U covalab",
                    )
                except VersionMismatch as error:
                    return ProcessEnd(came_up=False, message=str(error), hopeless=True, outdated=True)
                came_up = True
                self.state = "up"
                self._cluster = message.cluster
            elif isinstance(message, PoolFailed):
                return ProcessEnd(came_up, message.message, message.hopeless)
            elif isinstance(message, Pong):
                self._has_answered = True
            else:
                self._on_message(message)
        return self._death(came_up=came_up)

    async def _watch_liveness(self, limit: float) -> None:
        """Kill the process when it sends nothing for the limit while it has batches."""
        silent: dict[str, int] = {}
        self._has_answered, self._why_killed = True, ""
        while limit:
            await asyncio.sleep(silence.tick_seconds(limit))
            heard, self._was_heard = self._was_heard, False
            watched = (self._process.name,) if self.batches else ()
            silent = silence.count_tick(silent, watched, watched if heard else ())
            if silence.lost(silent) and self._may_be_killed():
                self._why_killed = f"{self._process.name} has not answered for {limit:g} s"
                self._process.kill()  # ends `_listen`, as any death does
                return
            if watched and self._has_answered:
                self._has_answered = False
                self._send(Ping())

    def _may_be_killed(self) -> bool:
        """Whether silence means that the process will not go on.

        In an executor host user code runs, which may hold the interpreter's lock for an hour: only a host that is
        stopped is taken for lost.
        """
        return self.key.kind == "pool" or self._process.is_stopped()

    def _on_message(
        self,
        message: (
            WorkersChanged | TaskStarted | Outcomes | TaskMessage | TaskProgress | TaskWaits | TaskResumed | BatchEnded
        ),
    ) -> None:
        crash_point("pool.message")
        if isinstance(message, WorkersChanged):
            if self.workers and not message.names:
                self._waits_since = self._clock.now()
            self.load.update(message)
            self.unfit, self.news, self._n_carried = message.unfit, message.news, message.carried
            self._store_trouble = message.store_trouble
            self._listener.on_workers_changed()
            return
        batch = self.batches.get(message.batch)
        if batch is None:
            return
        if isinstance(message, TaskStarted):
            batch.begun = message
            self._listener.on_task_started(batch, message)
        elif isinstance(message, Outcomes):
            self._listener.on_outcomes(batch, message.payload)
        elif isinstance(message, TaskMessage):
            self._listener.on_task_message(batch, message.payload)
        elif isinstance(message, TaskProgress):
            self._listener.on_task_progress(batch, message.progress)
        elif isinstance(message, TaskWaits):
            self._set_waiting(batch, is_waiting=True)
            self._listener.on_task_waits(batch, message.returned)
        elif isinstance(message, TaskResumed):
            self._set_waiting(batch, is_waiting=False)
        else:
            del self.batches[message.batch]
            self._set_waiting(batch, is_waiting=True)  # it has no place any more
            self.load.remove(batch)
            self._listener.on_batch_ended(batch, message)

    def _set_waiting(self, batch: SentBatch, *, is_waiting: bool) -> None:
        """Count a batch as one that its worker runs, or not."""
        if batch.is_waiting is not is_waiting:
            self.load.count_cores(batch, -1 if is_waiting else 1)
        batch.is_waiting = is_waiting

    def _death(self, *, came_up: bool) -> ProcessEnd:
        """Return how the process ended that sent no `PoolFailed`, from the last line of its log."""
        if self._why_killed:
            return ProcessEnd(came_up, self._why_killed)
        tail, python = self._process.log_tail(), self._interpreter.python
        if "No module named covalab" in tail or "No module named 'covalab'" in tail:
            env = f" (conda environment {self.key.conda_env!r})" if self.key.conda_env else ""
            message = f"{python}{env} does not have covalab; install it there: {python} -m pip install covalab"
            return ProcessEnd(came_up, message, hopeless=True)
        more = f"{self._process.last_line()} (more in {self._process.log})"
        return ProcessEnd(came_up, f"the worker {self.key.kind} of {python} ended: {more}")


class Pools:
    """All pools of a dispatcher, by key."""

    def __init__(self, sockets: Path, logs: Path, listener: Listener, clock: Clock, *, epoch: int) -> None:
        self._sockets = sockets
        self._epoch = epoch
        self._logs = logs
        self._listener = listener
        self._clock = clock
        self._pools: dict[PoolKey, Pool] = {}
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[Pool]:
        return iter(list(self._pools.values()))

    def batches_of(self, dispatch: DispatchId) -> Iterator[SentBatch]:
        """Yield the batches of a dispatch that were sent and have not ended."""
        return (batch for pool in self for batch in pool.batches.values() if batch.dispatch == dispatch)

    def of(self, key: PoolKey, environment: Environment) -> Pool:
        """Return the pool of a key, for a dispatch of an environment; a failed one is started again."""
        pool = self._pools.get(key)
        if pool is not None and pool.waits_for_upgrade:
            pool.try_again()
            return pool
        if pool is None or pool.state == "failed":
            name = f"{key.kind}-{next(self._numbers)}"
            pool = Pool(
                key,
                environment,
                # Of this dispatcher: one that was overtaken removes its own when it ends, and its workers' too.
                self._sockets / f"{name}-{self._epoch}.sock",
                self._logs / f"{name}.log",
                self._listener,
                self._clock,
            )
            self._pools[key] = pool
        return pool

    def end_dispatch(self, root: DispatchId) -> None:
        """Let the processes of an outermost dispatch end, wherever they are."""
        for pool in self._pools.values():
            pool.end_dispatch(root)

    async def stop(self) -> None:
        """End all pools."""
        await asyncio.gather(*(pool.stop() for pool in self._pools.values()))
        self._pools.clear()
