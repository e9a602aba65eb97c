"""Another host on this machine: a network namespace, and processes that see other folders. For root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

CAN_BE_MADE = os.name == "posix" and os.getuid() == 0 and bool(shutil.which("ip")) and bool(shutil.which("unshare"))
needs_namespaces = pytest.mark.skipif(not CAN_BE_MADE, reason="namespaces of one's own need root, ip and unshare")


class FarHost:
    """A network namespace with one cable to this one.

    Attributes
    ----------
    here, there
        The addresses of both ends of the cable.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        number = os.getpid() % 16_000
        net = f"10.213.{number // 64}.{number % 64 * 4}"
        first = int(net.rpartition(".")[2])
        self.here, self.there = (f"{net.rpartition('.')[0]}.{first + one}" for one in (1, 2))
        self._cable = f"cov{os.getpid()}"[:14]

    def make(self) -> None:
        """Make it."""
        inside = f"{self._cable}x"
        for command in (
            f"netns add {self.name}",
            f"link add {self._cable} type veth peer name {inside} netns {self.name}",
            f"addr add {self.here}/30 dev {self._cable}",
            f"link set {self._cable} up",
            f"-n {self.name} addr add {self.there}/30 dev {inside}",
            f"-n {self.name} link set {inside} up",
            f"-n {self.name} link set lo up",
        ):
            subprocess.run(["ip", *command.split()], check=True)

    def remove(self) -> None:
        """Remove it; the cable goes with it."""
        subprocess.run(["ip", "netns", "del", self.name], check=False)

    def command(self, script: str, *command: str) -> list[str]:
        """Return a command that runs there, after a shell script in its own mount namespace."""
        return ["ip", "netns", "exec", self.name, "unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh", *command]


@contextmanager
def far_host() -> Iterator[FarHost]:
    """Make a far host for the block."""
    host = FarHost(f"covalab-{os.getpid()}")
    host.make()
    try:
        yield host
    finally:
        host.remove()


def hidden(*folders: Path) -> str:
    """Return a shell script that puts empty folders in the place of some."""
    return " && ".join(f"mount -t tmpfs none {folder}" for folder in folders)


def as_everybody_can(hold: Path, *needed: Path | str) -> str:
    """Return a shell script, for a mount namespace, after which other users of the machine can enter some folders.

    Whatever is beside them in a folder that is closed to others is hidden; `hold` is an empty folder for that.
    """
    paths = sorted({Path(one).resolve() for one in needed})
    paths = [one for one in paths if not any(other in one.parents for other in paths)]
    closed: dict[Path, list[Path]] = {}
    for path in paths:
        above = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001]
        if above:
            closed.setdefault(above[0], []).append(path)
    commands = ["true"]
    for number, path in enumerate(one for inside in closed.values() for one in inside):
        commands += [f"mkdir -p {hold}/{number}", f"mount --rbind {path} {hold}/{number}"]
    commands += [f"mount -t tmpfs -o mode=755 none {folder}" for folder in closed]
    for number, path in enumerate(one for inside in closed.values() for one in inside):
        commands += [f"mkdir -p {path}", f"mount --rbind {hold}/{number} {path}"]
    return " && ".join(commands)


def environment_without(*beginnings: str, **more: str) -> dict[str, str]:
    """Return the environment variables of this process without some, and with more."""
    return {key: value for key, value in os.environ.items() if not key.startswith(beginnings)} | more


def run(command: Sequence[str], environment: dict[str, str]) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
