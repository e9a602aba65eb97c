"""Task processes of a worker: one for each dispatch that has work here, taken from a stem, ended when it is idle.

No Dask and nothing of the user's in here: it runs in the threads of the process that is the worker.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from covalab.core.model import Digest
from covalab.core.worker_protocol import Answer, BatchLost, Job, ValueAsked, ValueOffered
from covalab.worker import channel as kinds
from covalab.worker import learned_imports
from covalab.worker.capture import bound_output, display_files, folder_of_forks, output_files
from covalab.worker.host_cache import HostCache
from covalab.worker.process_tree import describe_end, end_the_first, exited_with, is_dead, memory_of, share_of_memory
from covalab.worker.stem_process import StemLost, StemProcess, TaskProcessHandle
from covalab.worker.task_process import CHANNEL_LOST, BatchEnd, Cancel
from covalab.worker.variables import variables_of_worker

GRACE_SECONDS: Final = 1.0
"""The time that a task has to end after an interrupt; then its process is killed."""
_TICK_SECONDS: Final = 0.025
_FLOOD_SECONDS: Final = 0.005
_MEMORY_SECONDS: Final = 0.1
_IDLE_TICK_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 60.0
_IDLE_KEPT: Final = 4
_QUIET_SECONDS: Final = 0.3
_BUSY_SECONDS: Final = 20.0
_END_SECONDS: Final = 90.0  # its own limit is shorter
_GROWN_BYTES: Final = 2 * 1024**3
"""An idle process that has grown beyond this is ended: the next one shares its memory with the stem again."""
_KEPT_SHARE: Final = 4
_ENDING_MOST: Final = 8
"""Processes that may finish threads of their tasks while others run; more would fill the memory."""
_STATUS_SECONDS: Final = 1.0
_STATUS_MOST_SECONDS: Final = 15.0
_SPOOL_SECONDS: Final = 30.0
"""The time that the output of a process stays after its end: the dispatcher reads it when it hears of the loss."""
_FORK_TRIES: Final = 6
_UNBEGUN_TRIES: Final = 3
_UNCONTROLLED: Final = "it closed the descriptors over which its process is controlled"


class TaskProcesses:
    """The task processes of this worker, and the stem that they come from. All methods may be called from any thread.

    Parameters
    ----------
    memory_limit
        Bytes that a task process may use with all that it starts; 0: any.
    is_new
        Processes are started anew, not forked: slower, for systems on which a fork is not safe.
    is_ours
        Whether the worker is one of our own cluster.
    on_learned
        Called with installed packages that a task imported.
    """

    def __init__(
        self,
        *,
        memory_limit: int = 0,
        is_new: bool = False,
        is_ours: bool = True,
        on_learned: Callable[[list[str]], None] = lambda _names: None,
    ) -> None:
        self._memory_limit = memory_limit
        self._is_new = is_new
        self._is_ours = is_ours
        self._on_learned = on_learned
        self.cache: HostCache | None = None
        """The cache of a host that does not see the data folder of one of its pools."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stem = self._new_stem(())
        self._next_stem: StemProcess | None = None
        self._old_stems: list[StemProcess] = []
        self._imports: OrderedDict[str, None] = OrderedDict()
        self._unsafe: set[str] = set()
        self._variables: Mapping[bytes, bytes | None] = {}
        """The variables under which stems are to import packages, as far as they are not those of this process."""
        self._asked_for: Mapping[bytes, bytes | None] | None = None
        """What the last dispatch would have had instead, when it began here."""
        self._spare: TaskProcessHandle | None = None
        self._idle: OrderedDict[int, TaskProcessHandle] = OrderedDict()
        self._running: dict[int, TaskProcessHandle] = {}
        self._ending: dict[int, tuple[TaskProcessHandle, float]] = {}
        self._dead_files: list[tuple[float, str, int]] = []
        self._quiet_since = self._busy_since = time.monotonic()
        self._requests = itertools.count(1)
        self._is_flooded = False
        self._spool = ""
        """The folder of the last batch's output; a spare is prepared for it."""
        threading.Thread(target=self._watch, name="covalab-processes", daemon=True).start()

    # -- batches ---------------------------------------------------------------------------------------------------

    def run(self, job: Job, emit: Callable[[bytes], None], give_place: Callable[[], None]) -> None:
        """Run a batch in a process of its dispatch; return when it has ended, or its process has.

        Parameters
        ----------
        job
            The batch.
        emit
            Takes every message for the dispatcher, in order.
        give_place
            Called when a task of the batch begins to wait for another dispatch.

        Raises
        ------
        StemLost
            If no process can be had. Nothing has begun then.
        """
        for attempt in range(_UNBEGUN_TRIES):
            handle = self._take(job)
            end = self._converse(handle, job, emit, give_place)
            if end is not None:
                self._release(handle, end)
                return
            batch, node = handle.mark.get()
            self._bury(handle)
            # One that died while it was idle has done nothing of this batch.
            if batch == job.number or attempt == _UNBEGUN_TRIES - 1:
                reason = handle.killed_because or _reason(handle.status)
                at = node if batch == job.number else -1
                lost = BatchLost(job.number, at, reason, over_memory=handle.is_over_memory)
                emit(msgspec.msgpack.encode(lost))
                return

    def _converse(
        self, handle: TaskProcessHandle, job: Job, emit: Callable[[bytes], None], give_place: Callable[[], None]
    ) -> BatchEnd | None:
        """Send a batch and pass on what comes. Return None if the process ended."""
        has_given = False
        handle.mark.set(0, -1)
        try:
            handle.channel.send(kinds.BATCH, job.payload)
        except OSError:
            return None
        while (frame := handle.channel.receive()) is not None:
            kind, data = frame
            if kind == kinds.MESSAGE:
                emit(data)
            elif kind == kinds.ENDED:
                end: BatchEnd = msgspec.msgpack.decode(data, type=BatchEnd)
                return end
            elif kind == kinds.STOPPED:
                handle.stopped = int.from_bytes(data, "big")
            elif kind == kinds.WAITS:
                handle.is_waiting = True
                if not has_given:
                    give_place()
                has_given = True
            elif kind == kinds.RESUMED:
                handle.is_waiting = False
            else:
                self._on_request(handle, job, frame, emit)
        return None

    def _on_request(
        self, handle: TaskProcessHandle, job: Job, frame: tuple[bytes, bytes], emit: Callable[[bytes], None]
    ) -> None:
        """Take what a process asks for while it runs a batch."""
        kind, data = frame
        if kind == kinds.ANEW:
            handle.imported_under = _under(handle, msgspec.msgpack.decode(data, type=dict[bytes, bytes | None]))
        elif kind in (kinds.OFFER, kinds.ASK):
            emit(self._about_value(job.number, kind, data))
        elif kind == kinds.AGAIN:
            with suppress(OSError):
                handle.channel.send(kinds.BATCH, job.payload)

    def _about_value(self, batch: int, kind: bytes, data: bytes) -> bytes:
        """Return the message for the pool of what a task offers or asks."""
        if kind == kinds.ASK:
            return msgspec.msgpack.encode(ValueAsked(batch, int.from_bytes(data[:4], "big"), data[4:]))
        size = int.from_bytes(data[32:], "big")
        if self.cache is not None:
            self.cache.grow(size)
        return msgspec.msgpack.encode(ValueOffered(batch, Digest(data[:32].hex()), size))

    def answer(self, answer: Answer) -> None:
        """Pass the answer to a question on to the process that asked."""
        handle = self._running_batch(answer.owner, answer.batch)
        if handle is not None:
            with suppress(OSError):  # it has just died
                handle.channel.send(kinds.ANSWER, answer.number.to_bytes(4, "big") + answer.content)

    def use_cache(self, cache: HostCache) -> None:
        """Use a cache folder; unless it is to stay, a stem removes it when the last worker has ended."""
        with self._changed:
            self.cache = cache
            for stem in (self._stem, self._next_stem):
                if stem is not None and not cache.stays:
                    stem.remove_at_end(str(cache.folder))

    def ask_to_stop(self, owner: str, number: int, nodes: list[int]) -> Callable[[], bool] | None:
        """Interrupt nodes of a batch (none: all). Return a check whether they run no more; None if it is not here."""
        handle = self._running_batch(owner, number)
        if handle is None:
            return None
        request = next(self._requests)
        with suppress(OSError):  # it has just died
            handle.channel.send(kinds.CANCEL, msgspec.msgpack.encode(Cancel(number, nodes, request)))
        return lambda: handle.stopped >= request or handle.batch != (owner, number)

    def ask_to_return(self, owner: str, number: int) -> None:
        """Let a batch end after the node that runs, if it is here."""
        handle = self._running_batch(owner, number)
        if handle is not None:
            with suppress(OSError):  # it has just died
                handle.channel.send(kinds.RETURN, number.to_bytes(8, "big"))

    def has_idle(self, root: str) -> bool:
        """Whether an idle process would run the next batch of a dispatch."""
        with self._lock:
            return any(handle.root == root for handle in self._idle.values())

    def kill_batch(self, owner: str, number: int, why: str) -> None:
        """Kill the process that runs a batch, and everything that it started."""
        handle = self._running_batch(owner, number)
        if handle is not None:
            handle.kill(why)

    def _running_batch(self, owner: str, number: int) -> TaskProcessHandle | None:
        with self._lock:
            return next((one for one in self._running.values() if one.batch == (owner, number)), None)

    def end_dispatches(self, roots: Iterable[str]) -> None:
        """End the processes of dispatches that have ended: idle ones now, others when their batch is over."""
        ended = set(roots)
        with self._changed:
            for handle in [*self._idle.values(), *self._running.values()]:
                if not ended.isdisjoint((handle.root, handle.root.partition(":")[0])):
                    handle.is_over = True
                    if handle.batch is None:
                        self._retire(handle)

    def learn(self, names: Sequence[str]) -> None:
        """Note packages that the next stem is to import beforehand."""
        with self._changed:
            self._imports.update(dict.fromkeys(names))
            self._changed.notify_all()

    def close(self) -> None:
        """End the stems and with them all task processes."""
        with self._lock:
            for stem in (self._stem, self._next_stem, *self._old_stems):
                if stem is not None:
                    stem.close()

    # -- processes -------------------------------------------------------------------------------------------------

    def _take(self, job: Job) -> TaskProcessHandle:
        """Return a process for a batch: an idle one of its dispatch, the spare, or a new one."""
        with self._changed:
            handle = next((one for one in self._idle.values() if one.root == job.root), None)
            if handle is not None and _has_kept_much(handle, job):
                self._retire(handle)
                handle = None
            if handle is not None:
                del self._idle[handle.pid]
            else:
                self._check_stem()
                handle, self._spare = self._spare, None
            if handle is not None:
                return self._assign(handle, job)
        handle = self._fork()
        with self._changed:
            return self._assign(handle, job)

    def _assign(self, handle: TaskProcessHandle, job: Job) -> TaskProcessHandle:
        self._spool = job.spool
        handle.root, handle.batch = job.root, (job.owner, job.number)
        handle.spool = job.spool
        handle.memory_limit = job.memory
        self._running[handle.pid] = handle
        self._changed.notify_all()
        return handle

    def _fork(self) -> TaskProcessHandle:
        for tries_left in reversed(range(_FORK_TRIES)):
            with self._lock:
                self._check_stem()
                stem = self._stem
            try:
                return stem.fork()
            except (StemLost, OSError):
                if not tries_left:
                    raise
                time.sleep(0.1 * (_FORK_TRIES - tries_left))  # the machine may have room for a process in a moment
        raise AssertionError

    def _check_stem(self) -> None:
        """Replace a stem that is gone, or that has packages of which another version was installed since."""
        stem = self._stem
        if not stem.is_gone and stem.stamp == learned_imports.stamp():
            return
        if not stem.is_gone:
            self._old_stems.append(stem)
        self._use_stem(self._new_stem(()))

    def _use_stem(self, stem: StemProcess) -> None:
        """Take processes from another stem; the spare is of the one before."""
        if self._spare is not None:
            self._retire(self._spare)
            self._spare = None
        self._stem = stem

    def _new_stem(self, imports: Sequence[str]) -> StemProcess:
        variables = self._variables if imports else {}
        stem = StemProcess(imports, variables, self._on_process_end, is_new=self._is_new, is_ours=self._is_ours)
        if self.cache is not None and not self.cache.stays:
            stem.remove_at_end(str(self.cache.folder))
        return stem

    def _release(self, handle: TaskProcessHandle, end: BatchEnd) -> None:
        with self._changed:
            self._forget(handle)
            self._follow(handle)
            self._idle[handle.pid] = handle
            handle.used_at = time.monotonic()
            if end.is_used_up:
                handle.kill("a task that was cancelled left threads that go on")
            if (
                handle.ended.is_set()
                or end.has_threads
                or handle.is_over
                or (not _is_session(handle) and memory_of(handle.pid, below=False) > _GROWN_BYTES)
            ):
                self._retire(handle)
            while len(idle := self._replaceable()) > _IDLE_KEPT:
                self._retire(idle[0])
            self._changed.notify_all()
            if end.has_threads:
                self._changed.wait_for(lambda: len(self._ending) <= _ENDING_MOST, _END_SECONDS)
        if end.learned:
            self._on_learned(end.learned)

    def _follow(self, handle: TaskProcessHandle) -> None:
        """Choose variables for the next stem: those that two dispatches in a row wanted and this one does not have.

        Each of them began in a process that had to start anew, and to import everything itself.
        """
        wanted, handle.imported_under = handle.imported_under, None
        if wanted is None:
            return  # not its first batch
        if wanted in (self._asked_for, self._stem.variables):
            self._variables = wanted
        self._asked_for = wanted

    def _replaceable(self) -> list[TaskProcessHandle]:
        """Return the idle processes that another one can stand for: not those that hold a session."""
        return [handle for handle in self._idle.values() if not _is_session(handle)]

    def _forget(self, handle: TaskProcessHandle) -> None:
        self._running.pop(handle.pid, None)
        handle.batch, handle.is_waiting = None, False
        if not self._running:
            self._quiet_since = time.monotonic()

    def _retire(self, handle: TaskProcessHandle) -> None:
        """Ask a process to end, and see later that it has."""
        self._idle.pop(handle.pid, None)
        with suppress(OSError):
            handle.channel.send(kinds.EXIT)
        if handle.ended.is_set():
            self._close(handle)
        else:
            self._ending[handle.pid] = (handle, time.monotonic() + _END_SECONDS)

    def _bury(self, handle: TaskProcessHandle) -> None:
        """End a process whose channel is closed: it died, or its task has closed all descriptors."""
        if not handle.ended.wait(_STATUS_SECONDS) and not is_dead(handle.pid):
            handle.kill(_UNCONTROLLED)
        handle.ended.wait(_STATUS_MOST_SECONDS)  # its stem is slow to see it where the machine is busy
        with self._changed:
            self._forget(handle)
            self._close(handle)

    def _close(self, handle: TaskProcessHandle) -> None:
        handle.channel.close()
        if handle.spool:
            # Nobody reads what was printed in a process that ended when it was asked to: outcomes have all of it.
            wait = 0.0 if handle.has_ended_cleanly else _SPOOL_SECONDS
            self._dead_files.append((time.monotonic() + wait, handle.spool, handle.pid))
            handle.spool = ""

    def _on_process_end(self, handle: TaskProcessHandle) -> None:
        with self._changed:
            if self._spare is handle:
                self._spare = None
                self._close(handle)
            if self._idle.pop(handle.pid, None) is not None or self._ending.pop(handle.pid, None) is not None:
                self._close(handle)
            # Where other processes have the other end of its socket, its end shows only here.
            if handle.pid in self._running and not handle.is_waiting:
                handle.channel.shut()
            self._changed.notify_all()

    # -- watching --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Keep a spare, limit memory and output, end what is idle for long: for ever, in a thread."""
        while True:
            with suppress(StemLost, OSError):  # OSError: no descriptors are left, for a moment
                self._refill()
            self._is_flooded = False
            for handle in list(self._running.values()):
                self._limit(handle)
            with self._changed:
                self._expire(time.monotonic())
                self._turn_over(time.monotonic())
                self._changed.wait(self._pause())

    def _pause(self) -> float | None:
        if self._running:
            return _FLOOD_SECONDS if self._is_flooded else _TICK_SECONDS
        if self._idle or self._ending or self._dead_files or self._old_stems or self._is_outdated():
            return _IDLE_TICK_SECONDS if self._next_stem is None else _TICK_SECONDS
        return None if self._spare is not None else _TICK_SECONDS

    def _refill(self) -> None:
        """Fork the next spare, so that no dispatch waits for it."""
        with self._lock:
            stem = self._stem
            if self._spare is not None or not stem.is_ready:
                return
        handle = stem.fork()
        if self._spool:
            with suppress(OSError):
                handle.channel.send(kinds.PREPARE, self._spool.encode())
        with self._changed:
            if self._spare is None and stem is self._stem and not handle.ended.is_set():
                self._spare = handle
            else:
                self._retire(handle)

    def _limit(self, handle: TaskProcessHandle) -> None:
        for file in output_files(handle.spool, handle.pid):
            if bound_output(file):
                self._is_flooded = True
        limit = min(filter(None, (self._memory_limit, handle.memory_limit)), default=0)
        if limit and handle.looked_at < time.monotonic():
            used = self._memory_of(handle, limit)
            if used > limit and end_the_first(handle.pid):
                handle.looked_at = 0.0  # is it enough?
            elif used > limit:
                handle.is_over_memory = limit == handle.memory_limit
                whose = "it asks for (memory=)" if handle.is_over_memory else "a worker may use (dask.mem_per_worker)"
                handle.kill(f"it used {used / 1e9:.3g} GB of memory, more than the {limit / 1e9:.3g} GB that {whose}")

    def _memory_of(self, handle: TaskProcessHandle, limit: int) -> int:
        """Return what a process uses; exactly only if it may be too much, as that takes long."""
        began = time.monotonic()
        used = memory_of(handle.pid)
        if used > limit:
            used = share_of_memory(handle.pid)
        now = time.monotonic()
        handle.looked_at = now + max(_MEMORY_SECONDS, 10 * (now - began))
        return used

    def _expire(self, now: float) -> None:
        for handle in [one for one in self._replaceable() if now - one.used_at > _IDLE_SECONDS]:
            self._retire(handle)
        for handle in [handle for handle, until in self._ending.values() if now > until]:
            handle.kill("it did not end")
        for entry in [entry for entry in self._dead_files if entry[0] <= now]:
            self._dead_files.remove(entry)
            for file in [*output_files(*entry[1:]), *display_files(*entry[1:])]:
                file.unlink(missing_ok=True)
            shutil.rmtree(folder_of_forks(*entry[1:]), ignore_errors=True)
        for stem in [stem for stem in self._old_stems if stem.is_gone or not stem.tasks]:
            stem.close()
            self._old_stems.remove(stem)

    def _wanted(self) -> tuple[str, ...]:
        return tuple(name for name in self._imports if name.partition(".")[0] not in self._unsafe)

    def _is_outdated(self) -> bool:
        return self._wanted() != self._stem.imports or self._has_other_variables()

    def _has_other_variables(self) -> bool:
        return bool(self._stem.imports) and self._variables != self._stem.variables

    def _turn_over(self, now: float) -> None:
        """Start the next stem when there are packages to import and little else to do; use it when it is up."""
        stem = self._next_stem
        if stem is None:
            is_quiet = not self._running and now - self._quiet_since > _QUIET_SECONDS
            if self._is_outdated() and self._stem.is_ready:
                if is_quiet or now - self._busy_since > _BUSY_SECONDS or self._has_other_variables():
                    self._next_stem = self._new_stem(self._wanted())
            else:
                self._busy_since = now
            return
        if stem.unsafe or stem.is_gone:
            # Without a name it died of an import; which one is not known.
            self._unsafe.update({stem.unsafe} if stem.unsafe else {name.partition(".")[0] for name in stem.imports})
            self._next_stem = None
            stem.close()
        elif stem.is_ready:
            self._old_stems.append(self._stem)
            self._next_stem, self._busy_since = None, now
            self._use_stem(stem)


def _is_session(handle: TaskProcessHandle) -> bool:
    """Whether a process has values that the next batch of its dispatch goes on with (`RunBatch.root`)."""
    return ":" in handle.root


def _under(handle: TaskProcessHandle, different: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
    """Return the variables under which a process imports anew, as far as they are not those of this worker."""
    own = variables_of_worker()
    under = {**(handle.imported_under or {}), **different}
    return {name: value for name, value in under.items() if own.get(name) != value}


def _has_kept_much(handle: TaskProcessHandle, job: Job) -> bool:
    """Whether what earlier batches have left in a process is more than a quarter of what the next one may use."""
    return not _is_session(handle) and 0 < job.memory < _KEPT_SHARE * memory_of(handle.pid, below=False)


def _reason(status: int | None) -> str:
    """Return why a process is gone, as a message goes on after "the last time"."""
    return _UNCONTROLLED if exited_with(status, CHANNEL_LOST) else describe_end(status)
