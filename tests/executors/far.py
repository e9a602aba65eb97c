"""Another machine for executor plug-ins: an SSH server on loopback, and packages as they come from PyPI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh

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


def installed(folder: Path, *packages: str) -> Path:
    """Install packages, without what they depend on (that would be Covalent), into a folder; return it."""
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "-q"] if uv else [sys.executable, "-m", "pip", "install", "-q"]
    wanted = ["--no-deps", "--target", str(folder), *packages]
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the plug-in is needed from PyPI: {done.stderr}"
    return folder


@contextmanager
def ssh_server(home: Path) -> Iterator[Path]:
    """Serve a folder by SSH as host `far` of whoever has the home folder `home`; yield it."""
    folder = home / "far"
    folder.mkdir()
    for name in ("key", "host_key"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / name))
        (folder / name).chmod(0o600)
        key.write_public_key(str(folder / f"{name}.pub"))
    (home / ".ssh").mkdir()
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=log, stderr=log)
    try:
        while not (folder / "port").exists():
            assert server.poll() is None, (home / "server.log").read_text()
        port = (folder / "port").read_text()
        (home / ".ssh" / "config").write_text(f"Host far\n  HostName 127.0.0.1\n  Port {port}\n")
        yield folder
    finally:
        server.kill()
        server.wait()


def run_program(text: str, folder: Path, plug_in: Path) -> subprocess.CompletedProcess[str]:
    """Run a program behind the doorway, with a plug-in that can be imported and a dispatcher of its own; end that."""
    script = folder / "program.py"
    script.write_text(text)
    environment = os.environ | {
        "HOME": str(folder),
        "PYTHONPATH": str(plug_in),
        "COVALAB_DATA_DIR": str(folder / "data"),
        "COVALAB_CONFIG": str(folder / "covalab.toml"),
    }
    try:
        return subprocess.run(
            [sys.executable, "-m", "covalab.compat", str(script)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        Client(folder / "data", start=False).stop()
