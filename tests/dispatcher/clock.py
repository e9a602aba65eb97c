"""A dispatcher whose time stands still until a test moves it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client
from covalab.sdk.building.submit import prepare

DISPATCHER = """
import functools, sys
from pathlib import Path
from covalab.dispatcher import __main__ as dispatcher
from covalab.dispatcher.clock import Clock
file = Path(sys.argv.pop())
now = lambda: float(file.read_text().split()[0])
elapsed = lambda: float(file.read_text().split()[1])
dispatcher.Service = functools.partial(dispatcher.Service, clock=Clock(now, elapsed))
sys.exit(dispatcher.main())
"""


class Clock:
    """The time of a dispatcher, which stands still until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "clock"
        self.data = folder / "data"
        self.now = 1_000_000.0
        self.elapsed = 0.0
        self.move(0)
        self.processes: list[subprocess.Popen[bytes]] = []

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.elapsed += seconds
        self.set(self.now + seconds)

    def set(self, now: float) -> None:
        """Set the time of day, as NTP or a person does: no time passes."""
        self.now = now
        temporary = self.folder / "clock.new"
        temporary.write_text(f"{self.now} {self.elapsed}")
        temporary.replace(self.file)

    def start(self) -> Client:
        """Start a dispatcher that looks at this clock."""
        command = [sys.executable, "-c", DISPATCHER, "--data-dir", str(self.data), str(self.file)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        self.processes.append(process)
        return Client(self.data, start=False)

    def kill(self) -> None:
        """End the dispatcher as a power cut would."""
        process = self.processes.pop()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def clock_in(folder: Path) -> Iterator[Clock]:
    """Have a clock, and end its dispatchers."""
    it = Clock(folder)
    yield it
    with suppress(Exception):
        Client(it.data, start=False).stop()
    while it.processes:
        it.kill()


def wake(client: Client) -> None:
    """Give the dispatcher something to do, so that it looks at its clock."""
    other = client.submit(prepare(ct.lattice(adding), (1,), {}, client.blobs))
    assert client.record(other.id, wait=True, timeout=120).summary.status == "completed"
