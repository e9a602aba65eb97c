"""Hosts that are reached by SSH, by Dask's `SSHCluster`: an SSH server on this machine stands for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from tests.waiting import until

import covalab as ct
from covalab.client import connect

SERVER = """
import asyncio, os, signal, sys
from pathlib import Path
import asyncssh

folder = Path(sys.argv[1])


async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data.decode())


async def listen(process, pid):
    try:
        await process.stdin.read()
    except asyncssh.SignalReceived as received:
        os.killpg(pid, getattr(signal, f"SIG{received.signal}"))
    except (asyncssh.Error, OSError):
        pass
    else:
        await process.wait_closed()


async def run(process):
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(
        f"export HOME={folder}; exec {process.command}", stdout=pipe, stderr=pipe, start_new_session=True
    )
    (folder / f"pid-{child.pid}").touch()
    copying = asyncio.gather(copy(child.stdout, process.stdout), copy(child.stderr, process.stderr))
    signalled = asyncio.create_task(listen(process, child.pid))
    await asyncio.wait((copying, signalled), return_when=asyncio.FIRST_COMPLETED)
    code = await child.wait()  # a connection that is cut ends nothing, as with sshd
    process.exit(code)


async def main():
    keys = {"server_host_keys": [str(folder / "key")], "authorized_client_keys": str(folder / "key.pub")}
    server = await asyncssh.listen("127.0.0.1", 0, process_factory=run, **keys)
    (folder / "port.tmp").write_text(str(server.get_port()))
    (folder / "port.tmp").rename(folder / "port")
    await asyncio.Event().wait()


asyncio.run(main())
"""

CLUSTER = """
[clusters.hosts]
cluster_class = "distributed.SSHCluster"
[clusters.hosts.cluster_kwargs]
hosts = ["127.0.0.1", "127.0.0.1", "127.0.0.1"]
connect_options = {{port = {port}, known_hosts = "{folder}/known_hosts", client_keys = ["{folder}/key"]}}
worker_options = {{nthreads = 2}}
scheduler_options = {{dashboard_address = "127.0.0.1:0"}}
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    """Serve commands by SSH."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "key"))
    key.write_public_key(str(tmp_path / "key.pub"))
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=log, stderr=log)
    until((tmp_path / "port").exists)
    yield (tmp_path / "port").read_text()
    server.kill()
    server.wait()


def started(folder: Path) -> list[int]:
    """Return the processes that the SSH server has started."""
    return [int(path.name.partition("-")[2]) for path in folder.glob("pid-*")]


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_hosts_by_ssh_run_work_and_are_left_clean(port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scheduler and workers are started there, with as many steps at once as they have threads.

    They end with us, and also when the pool is killed: another starts others.
    """
    config = tmp_path / "covalab.toml"
    config.write_text(CLUSTER.format(port=port, folder=tmp_path))
    public = (tmp_path / "key.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    monkeypatch.setenv("COVALAB_CONFIG", str(config))
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client = connect()
    try:

        @ct.electron(executor="hosts")
        def home() -> str:
            return os.environ["HOME"]

        assert ct.dispatch_sync(ct.lattice(lambda: [home() for _ in range(4)]))().result == [str(tmp_path)] * 4
        (pool,) = client.status().pools
        assert pool.workers == 2
        left = started(tmp_path)
        os.kill(pool.pid, signal.SIGKILL)
        assert ct.dispatch_sync(ct.lattice(home))().result == str(tmp_path)
        until(lambda: not [pid for pid in left if Path(f"/proc/{pid}").exists()])
        assert ct.dispatch_sync(ct.lattice(home))().result == str(tmp_path)
    finally:
        client.stop()
    pids = started(tmp_path)
    assert len(pids) >= 6
    until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])
