"""Tasks that do the worst to their process, and what is right for each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.system.processes import note, noted
from tests.waiting import until

import covalab as ct
from covalab.core.graph_state import LOSSES_ALLOWED

LIFE = 90
"""Seconds after which anything that a task starts here ends by itself, if nobody else ends it."""
LOST = LOSSES_ALLOWED + 1
GIGABYTE = 2**30


class Kind(NamedTuple):
    """One poison, and what is right."""

    task: Any
    type: str  # of the failure; empty: it completes
    attempts: int
    says: str = ""  # a pattern that the message has
    may_complete: bool = False  # a race between its end and what it did

    def __str__(self) -> str:
        """Name it."""
        return str(self.task.__name__)


# -- tasks that end their process ----------------------------------------------------------------------------------


@ct.electron
def segfault(folder: str) -> None:
    """Read where nothing is."""
    import ctypes

    note(folder)
    ctypes.string_at(0)


@ct.electron
def segfault_in_a_thread(folder: str) -> None:
    """Read where nothing is, beside the task."""
    import ctypes
    import threading

    note(folder)
    thread = threading.Thread(target=ctypes.string_at, args=(0,))
    thread.start()
    thread.join()


@ct.electron
def aborting(folder: str) -> None:
    """Give up as a C library does."""
    note(folder)
    os.abort()


@ct.electron
def exiting(folder: str) -> None:
    """Leave without a word."""
    note(folder)
    os._exit(23)


@ct.electron
def exiting_with_zero(folder: str) -> None:
    """Leave as if all were well."""
    note(folder)
    os._exit(0)


@ct.electron
def becoming_another_program(folder: str) -> None:
    """Replace the process."""
    note(folder)
    os.execv("/bin/sh", ["sh", "-c", "exit 21"])


@ct.electron
def killed_by_nobody_known(folder: str) -> None:
    """End as the kernel ends what takes too much memory."""
    note(folder)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LIFE)


@ct.electron
def terminated(folder: str) -> None:
    """End as `kill` ends a process."""
    note(folder)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LIFE)


@ct.electron
def killing_the_group(folder: str) -> None:
    """End all that is in the same process group."""
    note(folder)
    os.killpg(0, signal.SIGKILL)
    time.sleep(LIFE)


@ct.electron
def killing_the_parent(folder: str) -> None:
    """End whatever started this process."""
    note(folder)
    _kill_the_parent()
    time.sleep(LIFE)


@ct.electron
def killing_the_parent_and_returning(folder: str) -> int:
    """End whatever started this process, and go on as if nothing were."""
    note(folder)
    _kill_the_parent()
    return 1


def _kill_the_parent() -> None:
    # A worker that was started by hand, without a nanny, may be a child of the test itself.
    command = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    assert os.getppid() > 1
    assert b"pytest" not in command
    os.kill(os.getppid(), signal.SIGKILL)


@ct.electron
def closing_every_descriptor(folder: str) -> int:
    """Close what a daemon closes."""
    note(folder)
    os.closerange(3, 65_536)
    return 1


@ct.electron
def closing_all_with_the_streams(folder: str) -> int:
    """Close what a daemon closes, then wait."""
    note(folder)
    os.closerange(0, 65_536)
    time.sleep(0.3)
    return 1


@ct.electron
def recursing_in_c(folder: str) -> int:
    """Hash a tuple that is too deep for the stack: nothing counts that recursion, and it takes no time."""
    note(folder)
    nested: tuple[Any, ...] = ()
    for _ in range(10**6):
        nested = (nested,)
    return hash(nested)


@ct.electron
def recursing_through_c(folder: str) -> int:
    """Call Python from C from Python, without a limit."""
    note(folder)
    sys.setrecursionlimit(10**9)

    class Endless:
        def __getattr__(self, name: str) -> Any:
            return getattr(self, name + "x"[:0])

    return len([Endless().x])


@ct.electron
def exiting_in_a_repr(folder: str) -> Any:
    """Return what ends the process when it is shown."""
    note(folder)

    class Deadly:
        def __repr__(self) -> str:
            os._exit(24)

    return Deadly()


@ct.electron
def exiting_in_a_reduce(folder: str) -> Any:
    """Return what ends the process when it is serialized."""
    note(folder)

    class Deadly:
        def __reduce__(self) -> Any:
            os._exit(25)

    return Deadly()


@ct.electron
def memory_bomb(folder: str) -> int:
    """Take memory, faster and faster, up to what the machine can spare."""
    note(folder)
    taken: list[bytes] = []
    while sum(map(len, taken)) < 3 * GIGABYTE // 2:
        taken.append(b"x" * 2**24)
        time.sleep(0.005)
    time.sleep(5)
    return len(taken)


@ct.electron
def memory_bomb_at_once(folder: str) -> int:
    """Take much memory in one step."""
    note(folder)
    taken = bytearray(3 * GIGABYTE // 2)
    for n in range(0, len(taken), 4096):
        taken[n] = 1
    time.sleep(5)
    return len(taken)


# -- tasks that go on for ever, and have a limit -------------------------------------------------------------------


def _child(folder: str, *, spins: bool) -> None:
    """Be a child that nobody waits for."""
    try:
        signal.alarm(LIFE)
        note(folder)
        while True:
            if not spins:
                time.sleep(LIFE)
    finally:
        os._exit(1)


@ct.electron(time_limit=2)
def fork_bomb(folder: str) -> None:
    """Start two hundred processes that sleep."""
    for _ in range(200):
        if os.fork() == 0:
            _child(folder, spins=False)
    time.sleep(LIFE)


@ct.electron(time_limit=2)
def fork_bomb_that_spins(folder: str) -> None:
    """Start forty processes that compute."""
    for _ in range(40):
        if os.fork() == 0:
            _child(folder, spins=True)
    time.sleep(LIFE)


@ct.electron(time_limit=2)
def fork_bomb_that_grows(folder: str) -> None:
    """Double seven times, each in a session of its own."""
    is_child = False
    for _ in range(7):
        if os.fork() == 0:
            os.setsid()
            signal.alarm(LIFE)
            is_child = True
    if is_child:
        _child(folder, spins=False)
    time.sleep(LIFE)


@ct.electron(time_limit=1)
def frozen(folder: str) -> None:
    """Stop the whole process, as Ctrl-Z does."""
    note(folder)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(LIFE)


# -- tasks that fail, in a process that could go on ----------------------------------------------------------------


@ct.electron
def system_exit(folder: str) -> None:
    """End as a script does."""
    sys.exit(5)


@ct.electron
def system_exit_with_text(folder: str) -> None:
    """End as a script does that says why."""
    raise SystemExit("enough")  # noqa: EM101 - a text is what it is about


@ct.electron
def interrupting_itself(folder: str) -> None:
    """Get the signal of a stop button that nobody pressed."""
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(200):
        time.sleep(0.01)


@ct.electron
def generator_exit(folder: str) -> None:
    """Raise what is no Exception."""
    raise GeneratorExit


@ct.electron
def recursing(folder: str) -> int:
    """Recurse up to Python's limit."""

    def down(n: int) -> int:
        return down(n + 1) + 1

    return down(0)


@ct.electron
def deep_value(folder: str) -> list[Any]:
    """Return what is too deep to be serialized."""
    nested: list[Any] = []
    for _ in range(10**5):
        nested = [nested]
    return nested


@ct.electron
def raising_text(folder: str) -> None:
    """Raise what can be neither printed nor shown."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    raise Mute


@ct.electron
def exiting_text(folder: str) -> None:
    """Raise what ends a program when it is printed."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit

        __repr__ = __str__

    raise Mute


@ct.electron
def raising_reduce(folder: str) -> Any:
    """Return what cannot be serialized."""

    class Kept:
        def __reduce__(self) -> Any:
            message = "it stays here"
            raise RuntimeError(message)

    return Kept()


@ct.electron
def exiting_reduce(folder: str) -> Any:
    """Return what ends a program when it is serialized."""

    class Kept:
        def __reduce__(self) -> Any:
            raise SystemExit

    return Kept()


@ct.electron
def raising_what_cannot_travel(folder: str) -> None:
    """Raise what cannot be serialized."""

    class Kept(Exception):
        def __reduce__(self) -> Any:
            raise RuntimeError

    message = "a plain text"
    raise Kept(message)


# -- tasks that are no failures ------------------------------------------------------------------------------------


@ct.electron
def raising_repr(folder: str) -> Any:
    """Return what cannot be shown."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

        __str__ = __repr__

    return Mute()


@ct.electron
def removing_the_folder(folder: str) -> int:
    """Remove the working folder, as a clean-up does that is too thorough."""
    _remove(folder)
    return 1


@ct.electron
def removing_the_folder_and_exiting(folder: str) -> None:
    """Remove the working folder, then leave: the next process would begin in it."""
    note(folder)
    _remove(folder)
    os._exit(26)


def _remove(folder: str) -> None:
    here = Path(folder) / "here"  # the folder that the test has entered, and no other
    if here.exists():
        assert Path.cwd() == here
        shutil.rmtree(here)


@ct.electron
def leaving_a_daemon(folder: str) -> int:
    """Leave a process behind, as a service does: two forks and a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _child(folder, spins=False)
        os._exit(0)
    until((Path(folder) / "pids").exists)
    return 1


@ct.electron
def leaving_a_daemon_that_spins(folder: str) -> int:
    """Leave a program behind that computes, has another environment and ignores what it can."""
    text = f"trap '' INT TERM HUP; echo $$ > {folder}/pid; end=$(($(date +%s) + {LIFE})); "
    text += "while [ $(date +%s) -lt $end ]; do :; done"
    command = ["setsid", "sh", "-c", text]
    subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, start_new_session=True)
    until(lambda: (Path(folder) / "pid").exists() and (Path(folder) / "pid").read_text())
    note(folder, int((Path(folder) / "pid").read_text()))
    return 1


@ct.electron
def leaving_children(folder: str) -> int:
    """Leave ten children behind that have not ended, and ten that nobody has waited for."""
    for n in range(20):
        if os.fork() == 0:
            if n % 2:
                _child(folder, spins=False)
            os._exit(0)
    until(lambda: len(noted(Path(folder))) == 10)
    return 1


@ct.electron
def sharing_memory(folder: str) -> int:
    """Take a third of the limit, and fork six processes that read it: no page is there twice."""
    shared = b"x" * (160 * 2**20)
    for _ in range(6):
        if os.fork() == 0:
            try:
                signal.alarm(LIFE)
                note(folder)
                assert shared.count(b"x") == len(shared)
                time.sleep(1.5)
            finally:
                os._exit(0)
    for _ in range(6):
        os.wait()
    return 1


@ct.electron
def returning_twice(folder: str) -> str:
    """Fork, and return in both processes."""
    parent = os.getpid()
    if os.fork() == 0:
        signal.alarm(LIFE)
        note(folder)
    return "parent" if os.getpid() == parent else "child"


@ct.electron
def two_gigabytes(folder: str) -> int:
    """Print two gigabytes, without Python's streams."""
    print("the beginning", flush=True)
    block = b"0123456789abcdef" * 2**16
    for _ in range(2 * GIGABYTE // len(block)):
        os.write(1, block)
    print("the end")
    return 1


@ct.electron
def half_a_gigabyte_through_python(folder: str) -> int:
    """Print half a gigabyte of text with `print`."""
    print("the beginning")
    text = "x" * 2**20
    for _ in range(GIGABYTE // 2 // len(text)):
        print(text)
    print("the end")
    return 1


@ct.electron
def half_a_gigabyte_of_a_child(folder: str) -> int:
    """Have a program print half a gigabyte."""
    print("the beginning", flush=True)
    subprocess.run(["sh", "-c", f"yes | head -c {GIGABYTE // 2}"], check=True)
    print("the end")
    return 1


KINDS = [
    Kind(segfault, "worker_lost", LOST, "SIGSEGV"),
    Kind(segfault_in_a_thread, "worker_lost", LOST, "SIGSEGV"),
    Kind(aborting, "worker_lost", LOST, "SIGABRT"),
    Kind(exiting, "worker_lost", LOST, r"\b(code|status) 23\b"),
    Kind(exiting_with_zero, "worker_lost", LOST, r"\b(code|status) 0\b"),
    Kind(becoming_another_program, "worker_lost", LOST, r"\b(code|status) 21\b"),
    Kind(killed_by_nobody_known, "worker_lost", LOST, "SIGKILL"),
    Kind(terminated, "worker_lost", LOST, "SIGTERM"),
    Kind(killing_the_group, "worker_lost", LOST, "SIGKILL"),
    Kind(killing_the_parent, "worker_lost", LOST, r"parent.* killed|SIG[A-Z]+|\b(code|status) \d"),
    Kind(killing_the_parent_and_returning, "worker_lost", LOST, "parent.* killed|SIG[A-Z]+", may_complete=True),
    Kind(closing_every_descriptor, "worker_lost", LOST, r"descriptor|SIG[A-Z]+|\b(code|status) \d"),
    Kind(closing_all_with_the_streams, "worker_lost", LOST, r"descriptor|SIG[A-Z]+|\b(code|status) \d"),
    Kind(recursing_in_c, "worker_lost", LOST, "SIGSEGV"),
    Kind(recursing_through_c, "worker_lost", LOST, "SIGSEGV"),
    Kind(exiting_in_a_repr, "worker_lost", LOST, r"\b(code|status) 24\b"),
    Kind(exiting_in_a_reduce, "worker_lost", LOST, r"\b(code|status) 25\b"),
    Kind(memory_bomb, "worker_lost", LOST, "memory.*(limit|more than)|limit.*memory"),
    Kind(memory_bomb_at_once, "worker_lost", LOST, "memory.*(limit|more than)|limit.*memory"),
    Kind(fork_bomb, "timeout", 1, "time limit of 2 s"),
    Kind(fork_bomb_that_spins, "timeout", 1, "time limit of 2 s"),
    Kind(fork_bomb_that_grows, "timeout", 1, "time limit of 2 s"),
    Kind(frozen, "timeout", 1, "time limit of 1 s"),
    Kind(system_exit, "runtime", 1, "^5$"),
    Kind(system_exit_with_text, "runtime", 1, "^enough$"),
    Kind(interrupting_itself, "runtime", 1, ""),
    Kind(generator_exit, "runtime", 1, ""),
    Kind(recursing, "runtime", 1, "maximum recursion depth"),
    Kind(deep_value, "serialization", 1, "deep_value"),
    Kind(raising_text, "runtime", 1, "__str__ raised"),
    Kind(exiting_text, "runtime", 1, "__str__ raised"),
    Kind(raising_reduce, "serialization", 1, "it stays here"),
    Kind(exiting_reduce, "serialization", 1, "exiting_reduce"),
    Kind(raising_what_cannot_travel, "runtime", 1, "a plain text"),
    Kind(removing_the_folder_and_exiting, "worker_lost", LOST, r"\b(code|status) 26\b"),
    Kind(raising_repr, "", 1),
    Kind(removing_the_folder, "", 1),
    Kind(leaving_a_daemon, "", 1),
    Kind(leaving_a_daemon_that_spins, "", 1),
    Kind(leaving_children, "", 1),
    Kind(sharing_memory, "", 1),
    Kind(returning_twice, "", 1),
]

PRINTING = {
    two_gigabytes: 2 * GIGABYTE,
    half_a_gigabyte_through_python: GIGABYTE // 2,
    half_a_gigabyte_of_a_child: GIGABYTE // 2,
}
"""Tasks that print more than may be on the disk, and how many bytes."""

_ALONE = (*(killing_the_parent, killing_the_parent_and_returning, memory_bomb, memory_bomb_at_once, sharing_memory),)
ALONE = [kind for kind in KINDS if kind.task in _ALONE]
"""Kinds that end the process which starts those of others, or take memory that a worker's processes share."""
TOGETHER = [kind for kind in KINDS if kind.task not in _ALONE]
