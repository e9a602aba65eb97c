"""A plug-in that was written for Covalent, unchanged from PyPI: the SSH executor, against a server on loopback.

Its package is installed without what it depends on (that would be Covalent) into a folder of its own, beside asyncssh,
which is in the dev group.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from covalab.client import Client

SERVER = """
import asyncio, sys
from pathlib import Path
import asyncssh

folder = Path(sys.argv[1])


async def run(process):
    child = await asyncio.create_subprocess_shell(
        process.command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await child.communicate()
    process.stdout.write(out.decode())
    process.stderr.write(err.decode())
    process.exit(child.returncode)


async def main():
    (folder / "commands").touch()
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "key.pub"),
        process_factory=run,
        sftp_factory=lambda connection: asyncssh.SFTPServer(connection, chroot=str(folder)),
        allow_scp=True,
    )
    (folder / "port.tmp").write_text(str(server.get_port()))
    (folder / "port.tmp").rename(folder / "port")
    await asyncio.Event().wait()


asyncio.run(main())
"""

PROGRAM = """
import os, sys
import covalent as ct

executor = ct.executor.SSHExecutor(
    username="me", hostname="far", ssh_key_file={key!r}, python_path=sys.executable, create_unique_workdir=True,
    poll_freq=1,
)

@ct.electron(executor=executor)
def far(x, y):
    return {{"sum": x + sum(y), "folder": os.getcwd()}}

@ct.electron(executor=executor)
def failing(x):
    raise ValueError(f"no {{x}}")

@ct.electron
def near(d):
    return d["sum"] + 1

@ct.lattice
def flow(x):
    return near(far(x, [x, 2])), far(1, [1])

@ct.lattice
def sad(x):
    return failing(x)

@ct.electron(executor="ssh")
def by_name(x):
    return x * 2

run = ct.dispatch(flow)(3)
result = ct.get_result(run, wait=True)
assert result.status == ct.status.COMPLETED, result.get_all_node_results()
value, other = result.result
assert value == 9, value
assert other["folder"].endswith(f"covalent-workdir/{{run}}/node_6"), other
assert result.get_node_result(0)["node_name"] == "far"
assert result.get_node_result(0)["status"] == "COMPLETED"

result = ct.get_result(ct.dispatch(sad)(4), wait=True)
assert result.status == ct.status.FAILED
assert "no 4" in result.get_node_result(0)["error"], result.get_node_result(0)
assert ct.get_config("executors.ssh.remote_workdir") == "covalent-workdir"
assert "ssh" in ct.executor._executor_manager.list_executors(print_names=False)
result = ct.get_result(ct.dispatch(ct.lattice(by_name))(4), wait=True)
assert result.result == 8, result.get_all_node_results()
print("all is well")
"""


@pytest.fixture(scope="module")
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the plug-in, as it comes from PyPI."""
    folder = tmp_path_factory.mktemp("plug-in")
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "-q"] if uv else [sys.executable, "-m", "pip", "install", "-q"]
    wanted = ["--no-deps", "--target", str(folder), "covalent-ssh-plugin==0.24.1"]
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the plug-in is needed from PyPI: {done.stderr}"
    return folder


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """Start a machine that can be reached by SSH as `far`; return the folder that is its whole disk."""
    folder = tmp_path / "far"
    folder.mkdir()
    for name in ("key", "host_key"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / name))
        (folder / name).chmod(0o600)
        key.write_public_key(str(folder / f"{name}.pub"))
    (tmp_path / ".ssh").mkdir()
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=log, stderr=log)
    while not (folder / "port").exists():
        assert server.poll() is None, (tmp_path / "server.log").read_text()
    port = (folder / "port").read_text()
    (tmp_path / ".ssh" / "config").write_text(f"Host far\n  HostName 127.0.0.1\n  Port {port}\n")
    yield folder
    server.kill()
    server.wait()


def test_the_ssh_plug_in_runs_as_it_is(far: Path, plug_in: Path, tmp_path: Path) -> None:
    """Values, folders and errors come back from over there; by instance, and by name with configured settings."""
    key = str(far / "key")
    (tmp_path / "covalab.toml").write_text(
        '[executors.ssh]\nusername = "me"\nhostname = "far"\n'
        f'ssh_key_file = "{key}"\npython_path = "{sys.executable}"\n'
    )
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(key=key))
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(plug_in),
        "COVALAB_DATA_DIR": str(tmp_path / "data"),
        "COVALAB_CONFIG": str(tmp_path / "covalab.toml"),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "covalab.compat", str(script)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        Client(tmp_path / "data", start=False).stop()

    assert done.returncode == 0, done.stderr[-5000:]
    assert "all is well" in done.stdout
    assert not list((far / ".cache" / "covalent").glob("function_*")), "it tidies up"
