"""The process of a pool ends when its dispatcher does, whatever it is doing then."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

STUBBORN = '''
import asyncio
from pathlib import Path


class Stubborn:
    """A cluster that starts for ever, and does not let itself be cancelled, as a batch system's client may."""

    def __init__(self, **options):
        Path("starting").touch()

    def __await__(self):
        return self._start().__await__()

    async def _start(self):
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                pass
'''


@pytest.mark.timeout(90)
def test_a_pool_ends_with_its_dispatcher_while_its_cluster_starts(tmp_path: Path) -> None:
    """A cluster whose start cannot be cancelled does not keep the process of a pool that nobody needs."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    (tmp_path / "covalab.toml").write_text('[dask]\ncluster_class = "stubborn.Stubborn"\n')
    address = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    variables = {**os.environ, "COVALAB_CONFIG": str(tmp_path / "covalab.toml"), "PYTHONPATH": path}
    pool = subprocess.Popen(
        [sys.executable, "-m", "covalab.pool", "--socket", address, "--data", str(tmp_path / "data")],
        cwd=tmp_path,
        env=variables,
        start_new_session=True,
    )
    try:
        connection, _ = listener.accept()
        while not (tmp_path / "starting").exists():
            assert pool.poll() is None, "it ended before the cluster started"
        connection.close()

        assert pool.wait(20) is not None
    finally:
        listener.close()
        pool.kill()
        pool.wait()
