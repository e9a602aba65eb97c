"""Processes of a dispatcher: found by what they inherited and by their parents; what they take and what is left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from typing_extensions import Self

from covalab.client import Client, connect
from covalab.client.paths import spool_folder

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
HAND_MADE_HOME = "HAND_MADE_HOME"
"""The variable that names the home of workers that were started by hand: they do not inherit our data folder."""


class Process(NamedTuple):
    """One line of /proc/PID/stat."""

    pid: int
    parent: int
    state: str
    cpu: float  # seconds, of all threads
    started: int  # ticks; with the pid, this is one process and not a later one
    threads: int
    rss: int  # bytes

    @property
    def key(self) -> tuple[int, int]:
        """What no other process has."""
        return self.pid, self.started


def process(pid: int) -> Process | None:
    """Return a process, or None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    state, parent = fields[0].decode(), int(fields[1])
    cpu = (int(fields[11]) + int(fields[12])) / TICKS
    return Process(pid, parent, state, cpu, int(fields[19]), int(fields[17]), int(fields[21]) * PAGE)


def family(folder: Path) -> dict[int, Process]:
    """Return every process that belongs to the dispatcher of a data folder: daemons and zombies too, this one not."""
    marks = [f"COVALAB_DATA_DIR={folder}\0".encode()]
    if os.environ.get(HAND_MADE_HOME):
        marks.append(f"HOME={os.environ[HAND_MADE_HOME]}\0".encode())
    everything: dict[int, Process] = {}
    found: set[int] = set()
    for name in os.listdir("/proc"):  # noqa: PTH208 - called every few milliseconds
        if name.isdigit() and (it := process(int(name))) is not None:
            everything[it.pid] = it
            with suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123
                environ = file.read() + b"\0"
                if any(mark in environ for mark in marks):
                    found.add(it.pid)
    found.discard(os.getpid())
    # A child whose environment was replaced, and a zombie, which has none.
    grown = True
    while grown:
        more = {pid for pid, it in everything.items() if it.parent in found} - found - {os.getpid()}
        grown = bool(more)
        found |= more
    return {pid: everything[pid] for pid in found}


def note(folder: str, pid: int | None = None) -> None:
    """Write down which process this is, for `noted`; called by tasks and by what they start."""
    it = process(os.getpid() if pid is None else pid)
    if it is not None:
        with open(f"{folder}/pids", "a") as file:  # noqa: PTH123 - O_APPEND, one short line: atomic
            file.write(f"{it.pid} {it.started}\n")


def noted(folder: Path) -> set[tuple[int, int]]:
    """Return the processes that a task wrote down."""
    path = folder / "pids"
    lines = path.read_text().splitlines() if path.exists() else []
    return {(int(pid), int(started)) for pid, started in map(str.split, lines)}


def alive(keys: Iterable[tuple[int, int]]) -> list[Process]:
    """Return those that still are there, zombies too."""
    found = (process(pid) for pid, _ in keys)
    wanted = set(keys)
    return [it for it in found if it is not None and it.key in wanted]


def described(processes: Iterable[Process]) -> str:
    """Return what an assertion shows of processes."""
    lines = []
    for it in processes:
        command = ""
        with suppress(OSError):
            command = Path(f"/proc/{it.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
        lines.append(f"{it.pid} (parent {it.parent}, {it.state}, {it.cpu:.2f} s): {command}")
    return "\n".join(lines)


def steady(folder: Path, seconds: float = 1.5) -> int:
    """Return how many processes there are once none has come or gone for a while."""
    deadline = time.monotonic() + 20
    members, since = set(family(folder)), time.monotonic()
    while time.monotonic() - since < seconds and time.monotonic() < deadline:
        time.sleep(0.1)
        if (now := set(family(folder))) != members:
            members, since = now, time.monotonic()
    return len(members)


def settle(folder: Path, at_most: int, seconds: float = 20) -> None:
    """Wait until there are no more processes than there were, and no zombie among them."""
    deadline = time.monotonic() + seconds
    while True:
        now = family(folder)
        zombies = [it for it in now.values() if it.state == "Z"]
        if len(now) <= at_most and not zombies:
            return
        assert time.monotonic() < deadline, (
            f"{len(now)} processes, of which {len(zombies)} zombies; there were {at_most}:\n{described(now.values())}"
        )
        time.sleep(0.05)


class Use(NamedTuple):
    """The most that was seen of something while it ran."""

    spool: int  # bytes on the disk
    dispatcher: int  # bytes of memory
    pool: int
    largest: int  # of any process of the family
    processes: int


class Sampler:
    """Sampler of disk and memory, many times a second, while something runs."""

    def __init__(self, client: Client, *, whole_family: bool) -> None:
        self._folder = client.data_dir
        status = client.status()
        self._dispatcher, self._pool = status.pid, status.pools[0].pid
        self._whole_family = whole_family
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_periodically)
        self._most = [0, 0, 0, 0, 0]

    def __enter__(self) -> Self:
        """Begin."""
        self._sample()
        self.before = self.most
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    @property
    def most(self) -> Use:
        """What was seen until now."""
        return Use(*self._most)

    def _sample_periodically(self) -> None:
        while not self._ended.wait(0.02):
            self._sample()

    def _sample(self) -> None:
        members = family(self._folder).values() if self._whole_family else []
        now = [
            blocks(spool_folder(self._folder)),
            getattr(process(self._dispatcher), "rss", 0),
            getattr(process(self._pool), "rss", 0),
            max((it.rss for it in members), default=0),
            len(members),
        ]
        self._most = list(map(max, self._most, now))


def blocks(folder: Path) -> int:
    """Return how many bytes a folder takes on its disk. Files that were removed and are still written do not show."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_blocks * 512
    return total


@contextmanager
def dispatcher(folder: Path, **variables: str) -> Iterator[Client]:
    """Run a dispatcher of its own for the tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_DATA_DIR", str(folder))
        for name, value in variables.items():
            patch.setenv(name, value)
        client = connect(data_dir=folder)
        try:
            yield client
        finally:
            client.stop()
