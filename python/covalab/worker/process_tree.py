"""Process trees: a task process and everything it started, found and ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_HAS_PROC: Final = Path("/proc/self/stat").exists()
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CLOCK_SLACK: Final = 0.05
"""A process may seem this much older than it is: its start is counted in ticks."""
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_ROUNDS: Final = 50
_LIBC: Final = ctypes.CDLL(None)

MARK: Final = "COVALAB_TASK_PROCESS"
"""The environment variable that marks descendants where orphans cannot be adopted."""


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends, so that a daemon stays in its tree."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    else:
        os.environ[MARK] = str(os.getpid())


def end_with_parent() -> None:
    """Let this process be killed when the process that forked it ends. Not for one whose parent forks in a thread."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_first() -> None:
    """Let this process be the first to end when the machine, or the task that it belongs to, has no more memory."""
    _set_oom_score(_FIRST)


def end_before_worker() -> None:
    """Let this process end before its worker and the dispatcher when the machine has no more memory."""
    _set_oom_score(_BEFORE_WORKER)


def _set_oom_score(score: bytes) -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(score)


def end_the_first(pid: int) -> bool:
    """End the processes below one that are the first to end; return whether there were any."""
    found = False
    for one in descendants(pid):
        with suppress(OSError):
            if Path(f"/proc/{one}/oom_score_adj").read_bytes().strip() == _FIRST:
                os.kill(one, signal.SIGKILL)
                found = True
    return found


_FIRST: Final = b"1000"
_BEFORE_WORKER: Final = b"500"


def waits_for_itself(pid: int) -> bool:
    """Return whether all threads of a process wait for a lock of the process itself, for ever; False: nobody knows.

    Linux says which system call a thread is in: `futex` with the flag for one process, and without a time limit.
    """
    number = _FUTEX.get(os.uname().machine)
    try:
        calls = [(one / "syscall").read_text().split() for one in Path(f"/proc/{pid}/task").iterdir()]
        return bool(calls) and all(
            call[0] == str(number)
            and int(call[2], 16) & _FUTEX_PRIVATE
            and int(call[2], 16) & _FUTEX_COMMAND in _FUTEX_WAITS
            and not int(call[4], 16)
            for call in calls
        )
    except (OSError, ValueError, IndexError):  # it has ended, or runs, or this system does not say
        return False


_FUTEX: Final = {"x86_64": 202, "aarch64": 98, "riscv64": 98}
"""Number of the system call by machine."""
_FUTEX_PRIVATE: Final = 128
_FUTEX_COMMAND: Final = 127
_FUTEX_WAITS: Final = (0, 9)  # FUTEX_WAIT, FUTEX_WAIT_BITSET


def block_signals() -> None:
    """Keep signals away from this thread, which is none of the user's: a task may block them all and wait for one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def has_children() -> bool:
    """Whether this process has child processes, also such as ended and were not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one, parents first."""
    children: dict[int, list[int]] = {}
    for one, parent in _parents():
        children.setdefault(parent, []).append(one)
    found: list[int] = []
    line = children.get(pid, [])
    while line:
        found += line
        line = [child for one in line for child in children.get(one, ())]
    if sys.platform != "linux":
        found += [process.pid for process in _marked(pid) if process.pid not in found]
    return found


def children(pid: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    return [one for one, parent in _parents() if parent == pid]


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process of this machine and its parent."""
    if not _HAS_PROC:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                yield process.pid, process.ppid()
        return
    # Not by psutil: it makes an object of every process, which takes ten times as long.
    for name in os.listdir("/proc"):  # noqa: PTH208 - as above
        if name.isdigit():
            with suppress(OSError):
                yield int(name), int(_stat(int(name))[1])


def _stat(pid: int) -> list[bytes]:
    """Return the fields of a process's state on Linux, beginning with its state letter and its parent."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - a Path for each process of the machine takes longer
        return file.read().rpartition(b")")[2].split()


def _marked(pid: int) -> Iterator[psutil.Process]:
    mark = str(pid)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # another user's, or gone
            if process.pid not in (pid, os.getpid()) and process.environ().get(MARK) == mark:
                yield process


def younger(processes: Iterable[int], since: float) -> list[int]:
    """Return those processes that were started after a time (by `clock`)."""
    return [pid for pid in processes if _is_younger(pid, since)]


def clock() -> float:
    """Return the time in seconds, by the clock of process start times.

    On Linux since the start of the machine: processes know the time of day only to a second.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _HAS_PROC else time.time()


def _is_younger(pid: int, since: float) -> bool:
    with suppress(psutil.Error, OSError):
        if _HAS_PROC:
            # psutil's `create_time` adds the time of boot, which is known only to a second.
            return int(_stat(pid)[19]) / _TICKS >= since - _CLOCK_SLACK
        return bool(psutil.Process(pid).create_time() >= since - _CLOCK_SLACK)
    return False


def signal_all(processes: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes, except those that are gone."""
    for pid in processes:
        with suppress(OSError):
            os.kill(pid, number)


def end_descendants(pid: int) -> None:
    """Kill all processes below one, also such as start others meanwhile."""
    for _ in range(_ROUNDS):
        below = descendants(pid)
        alive = [one for one in below if not is_dead(one)]
        if not alive:
            return
        # All are stopped before one is killed: a fork bomb would otherwise outrun this.
        signal_all(alive, signal.SIGSTOP)
        if set(descendants(pid)) <= set(below):
            signal_all(alive, signal.SIGKILL)


def end_tree(pid: int) -> None:
    """Kill a process and all processes below it."""
    signal_all([pid], signal.SIGSTOP)  # or it goes on starting others
    end_descendants(pid)
    signal_all([pid], signal.SIGKILL)


def is_dead(pid: int) -> bool:
    """Return whether a process has ended, also if nobody has taken its end yet."""
    try:
        return _stat(pid)[0] in (b"Z", b"X")
    except OSError:
        if _HAS_PROC:
            return True
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def memory_of(pid: int, *, below: bool = True) -> int:
    """Return the memory of a process in bytes, with all below it: resident, shared pages counted once in each."""
    total = 0
    for one in (pid, *(descendants(pid) if below else ())):
        if _HAS_PROC:
            with suppress(OSError, ValueError, IndexError):
                total += int(Path(f"/proc/{one}/statm").read_bytes().split()[1]) * _PAGE
        else:
            with suppress(psutil.Error):
                total += int(psutil.Process(one).memory_info().rss)
    return total


def share_of_memory(pid: int) -> int:
    """Return the memory of a process and all below it in bytes, each page once. Takes about a millisecond a process."""
    total = 0
    for one in (pid, *descendants(pid)):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_bytes().splitlines()
        except OSError:
            if not _HAS_PROC:
                total += memory_of(one, below=False)
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))
    return total


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def exited_with(status: int | None, code: int) -> bool:
    """Whether a process ended by itself with an exit code, from its wait status."""
    return status is not None and os.waitstatus_to_exitcode(status) == code


def describe_end(status: int | None) -> str:
    """Return how a process ended, from its wait status, as in ``"it was ended by signal 11 (SIGSEGV)"``."""
    if status is None:
        return "its process is gone"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "real-time"
        return f"its process was ended by signal {number} ({name})"
    return f"its process ended with exit code {os.waitstatus_to_exitcode(status)}"
