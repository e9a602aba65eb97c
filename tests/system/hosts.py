"""Hosts that share nothing with this one but a network: namespaces of network and mounts, a Dask worker in each."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.waiting import until

PREFIX = () if os.getuid() == 0 else ("sudo", "-n")


def _ip(*arguments: str) -> None:
    subprocess.run([*PREFIX, "ip", *arguments], check=True, capture_output=True)


class Host:
    """One host: a network of its own, joined to the switch of `Hosts`, in which some folders are empty."""

    def __init__(self, name: str, address: str, switch: str, hidden: Sequence[Path], folder: Path) -> None:
        self.name, self.address = name, address
        self.folder = folder
        self._hidden = hidden
        self.link = f"v{name[1:]}"  # the end on this side
        folder.mkdir(parents=True)
        _ip("netns", "add", name)
        _ip("link", "add", "name", self.link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", self.link, "master", switch, "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def command(self, *command: str) -> list[str]:
        """Return a command that runs another one on this host."""
        mounts = "".join(f"mount -t tmpfs none '{path}' && " for path in self._hidden)
        inside = ["unshare", "-m", "sh", "-c", f'{mounts}exec "$@"', "sh", *command]
        return [*PREFIX, "ip", "netns", "exec", self.name, *inside]

    def cut(self) -> None:
        """Take the network away."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """Bring it back."""
        _ip("link", "set", self.link, "up")

    def remove(self) -> None:
        """Remove the host; its processes must have ended."""
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.name)


class Hosts:
    """A scheduler on this machine, and hosts with workers.

    Parameters
    ----------
    folder
        The folder of their logs and of what workers leave.
    hidden
        Folders that the hosts do not see.
    n
        How many hosts there are.
    options
        Options of the workers.
    """

    def __init__(self, folder: Path, hidden: Sequence[Path], n: int = 2, *, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.options = list(options) or ["--nthreads=1", "--nanny"]
        mark = secrets.token_hex(3)
        self._switch = f"b{mark}"
        # Of the networks that are for trials (RFC 2544), one that no other run is likely to have.
        net = f"198.{18 + secrets.randbelow(2)}.{secrets.randbelow(256)}"
        self._net = net
        self._mark = mark
        self.servers: list[Host] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.hosts: list[Host] = []
        for path in hidden:
            path.mkdir(parents=True, exist_ok=True)
        _ip("link", "add", "name", self._switch, "type", "bridge")
        _ip("addr", "add", f"{net}.1/24", "dev", self._switch)
        _ip("link", "set", self._switch, "up")
        for number in range(n):
            name = f"h{mark}{number}"
            self.hosts.append(Host(name, f"{net}.{10 + number}", self._switch, hidden, folder / name))
        port_file = folder / "scheduler.json"
        self.run(
            [],
            "scheduler",
            *(f"--host={net}.1", "--port=0", "--no-dashboard", f"--dashboard-address={net}.1:0"),
            f"--scheduler-file={port_file}",
        )
        until(port_file.exists)
        until(lambda: '"address"' in port_file.read_text())
        self.address = port_file.read_text().split('"address": "')[1].split('"')[0]

    def add_server(self, *script: str) -> tuple[Host, subprocess.Popen[bytes]]:
        """Start a program of Python's on a host of its own, with that host's address as its first argument."""
        number = len(self.servers)
        name = f"h{self._mark}s{number}"
        host = Host(name, f"{self._net}.{200 + number}", self._switch, [], self.folder / name)
        self.servers.append(host)
        return host, self.start(host.command(), script[0], host.address, *script[1:])

    def passed_here(self) -> int:
        """Return how many bytes have passed between this machine and the hosts, in both directions."""
        counters = Path("/sys/class/net", self._switch, "statistics")
        return sum(int((counters / name).read_text()) for name in ("rx_bytes", "tx_bytes"))

    def add_worker(self, host: Host, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker on a host."""
        scratch = host.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return self.run(
            host.command(),
            "worker",
            self.address,
            *(f"--host={host.address}", f"--local-directory={scratch}", "--dashboard-address=:0"),
            *(options or self.options),
        )

    def run(self, before: Sequence[str], what: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a part of Dask, with its output in a log."""
        return self.start(before, "-m", f"distributed.cli.dask_{what}", *arguments)

    def start(self, before: Sequence[str], *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program of Python's, with its output in a log."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("COVALAB_", "DASK_", "PYTEST"))
        }
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        environment["HOME"] = str(home)
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen(
                [*before, sys.executable, *arguments],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def cache(self, host: Host) -> Path:
        """Return the cache folder of a host's workers."""
        return next(iter((host.folder / "scratch").glob("*/covalab-cache-*")), host.folder / "none")

    def close(self) -> None:
        """End everything at once."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for host in [*self.hosts, *self.servers]:
            for pid in _pids(host.name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 10
            while _pids(host.name) and time.monotonic() < deadline:
                time.sleep(0.05)
            host.remove()
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._switch)


def _pids(name: str) -> list[int]:
    found = subprocess.run([*PREFIX, "ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def killed(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and its nanny at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
