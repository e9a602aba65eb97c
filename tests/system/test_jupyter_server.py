"""A real Jupyter server: with a crowd of idle and slow clients, and killed while tasks run of a kernel of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from tests.system.invariants import seeded
from tests.system.processes import described, family
from tests.waiting import LONG, until

from covalab.client import Client
from covalab.client.launcher import find

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

TOKEN = "the-token-of-ada"
N_IDLE = 1_000
MORE_BYTES = 100 * 1024**2
CELL = """
import time
import covalab as ct

@ct.electron
def step(number):
    time.sleep(0.5)
    return number

dispatch = ct.dispatch(ct.lattice(lambda: [step(number) for number in range({n})]))()
"""


class Server:
    """A server with our extension; its dispatcher is idle after two seconds."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        runtime = self._runtime = folder / "runtime"
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "JUPYTER"))}
        with (folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--port=0"),
                    *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
                    "--ServerApp.jpserver_extensions=covalab=True",
                ],
                env=ours
                | {
                    "COVALAB_DATA_DIR": str(self.data),
                    "COVALAB_IDLE_SECONDS": "2",
                    "JUPYTER_RUNTIME_DIR": str(runtime),
                    "JUPYTER_CONFIG_DIR": str(folder / "config"),
                    "HOME": str(folder),
                },
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        self.port = until(self._port)
        self.client = Client(self.data, start=False)

    def _port(self) -> int:
        assert self.process.poll() is None
        for file in self._runtime.glob("jpserver-*.json"):
            port = int(json.loads(file.read_text() or "{}").get("port", 0))
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), LONG):
                return port  # the file is there before it listens
        return 0

    def ask(self, path: str, body: object = None) -> Any:
        """Send a request and return the answer."""
        url = f"http://127.0.0.1:{self.port}/{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Authorization": f"token {TOKEN}"})
        with urllib.request.urlopen(request, timeout=LONG) as answer:
            return json.loads(answer.read())

    def run(self, cell: str) -> int:
        """Run a cell in a new kernel of the server; return its process."""
        kernel = self.ask("api/kernels", {"name": "python3"})["id"]
        client = BlockingKernelClient(connection_file=str(self._runtime / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels()
        try:
            until(lambda: _is_ready(client))
            answer = client.execute_interactive(
                cell, timeout=LONG, user_expressions={"pid": "__import__('os').getpid()"}
            )
        finally:
            client.stop_channels()
        assert answer["content"]["status"] == "ok", answer
        return int(answer["content"]["user_expressions"]["pid"]["data"]["text/plain"])

    def kill(self) -> None:
        """Kill it: nothing of it is tidied up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def _is_ready(client: BlockingKernelClient) -> bool:
    try:
        client.wait_for_ready(10)
    except RuntimeError:  # its heart has not begun to beat
        return False
    return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Start a server."""
    server = Server(tmp_path / "server")
    yield server
    server.kill()
    server.client.stop()


def kill_while_tasks_run(server: Server, seconds: float) -> None:
    """Kill a server a while after its kernel's tasks began; work goes on to its end, and then nothing is left."""
    kernel = server.run(CELL.format(n=12))
    (dispatch,) = until(server.client.dispatches)
    until(lambda: server.client.summary(dispatch.id).counts.completed)
    time.sleep(seconds)
    address = find(server.data)
    assert address is not None
    server.kill()

    until(lambda: not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == psutil.STATUS_ZOMBIE)
    # Before its work is done, after which it stays for two seconds.
    assert find(server.data) == address, "the dispatcher stayed"
    assert address.pid in family(server.data)
    until(lambda: server.client.summary(dispatch.id).status == "completed")
    deadline = time.monotonic() + LONG
    while left := {pid: it for pid, it in family(server.data).items() if it.state != "Z"}:
        assert time.monotonic() < deadline, described(left.values())
        time.sleep(0.2)


def test_a_crowd_is_served_and_a_server_that_is_killed_leaves_nothing_behind(server: Server) -> None:
    """A thousand idle clients and half-sent requests at its port and at the dispatcher's socket keep nobody waiting."""
    until(lambda: find(server.data))
    pid = server.client.status().pid
    rss = psutil.Process(pid).memory_info().rss
    address = find(server.data)
    assert address is not None
    said = (b"", b"GET /covalab/api/dispatches HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    with ExitStack() as stack:
        for number in range(N_IDLE):
            for one, where in (
                (socket.socket(), ("127.0.0.1", server.port)),
                (socket.socket(socket.AF_UNIX), address.socket),
            ):
                stack.enter_context(one)
                one.connect(where)
                one.sendall(said[number % 2])
        assert server.ask("covalab/api/dispatches") == []
        assert server.client.status().pid == pid
        assert psutil.Process(pid).memory_info().rss < rss + MORE_BYTES
        kill_while_tasks_run(server, 0)


def test_servers_that_are_killed_leave_nothing_behind(tmp_path: Path) -> None:
    """At ten random moments of their tasks."""
    chance = seeded()
    for number in range(10):
        server = Server(tmp_path / str(number))
        try:
            kill_while_tasks_run(server, chance.random() * 2)
        finally:
            server.kill()
            server.client.stop()
