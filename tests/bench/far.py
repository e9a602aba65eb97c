"""Values on hosts without a shared folder: our dispatches beside raw Dask, on the same two workers in the same run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client as DaskClient
from tests.system.hosts import Hosts

import covalab as ct
from covalab.client import connect

MEGABYTE = 1_000_000
_marks = itertools.count(1)


def block(mark: int, number: int) -> bytes:
    """Return a megabyte that no other call returns: what the data folder has already would not travel."""
    return f"{mark:08d}{number:08d}".encode() * (MEGABYTE // 16)


def size(value: bytes) -> int:
    """Return the length of a value."""
    return len(value)


made = ct.electron(block)
measured = ct.electron(size)


@ct.lattice
def results(mark: int, n: int) -> object:
    """Values that come back."""
    return [made(mark, number) for number in range(n)]


@ct.lattice
def arguments(values: list[bytes]) -> object:
    """Values that are sent."""
    return [measured(value) for value in values]


class Far:
    """Both sides: a dispatcher whose pool has joined the scheduler of two hosts, and a Dask client of it."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    def results(self, n: int) -> float:
        """Return the time of a dispatch with so many values, until they are here."""
        mark = next(_marks)
        begun = time.perf_counter()
        found = ct.dispatch_sync(results)(mark, n).result
        taken = time.perf_counter() - begun
        assert found == [block(mark, number) for number in range(n)]
        return taken

    def dask_results(self, n: int) -> float:
        """Return the same for a map and a gather."""
        mark = next(_marks)

        def block(mark: int, number: int) -> bytes:  # by value: the scheduler cannot import this module
            return f"{mark:08d}{number:08d}".encode() * (1_000_000 // 16)

        with DaskClient(self._hosts.address, set_as_default=False) as client:
            begun = time.perf_counter()
            found = client.gather(client.map(block, [mark] * n, range(n), pure=False))
            taken = time.perf_counter() - begun
        assert len(found) == n
        return taken

    def arguments(self, n: int) -> float:
        """Return the time of a dispatch with so many arguments."""
        mark = next(_marks)
        values = [block(mark, number) for number in range(n)]
        begun = time.perf_counter()
        assert ct.dispatch_sync(arguments)(values).result == [len(values[0])] * n
        return time.perf_counter() - begun

    def dask_arguments(self, n: int) -> float:
        """Return the same for a scatter and a map."""
        mark = next(_marks)
        values = [block(mark, number) for number in range(n)]
        with DaskClient(self._hosts.address, set_as_default=False) as client:
            begun = time.perf_counter()
            found = client.gather(client.map(len, client.scatter(values), pure=False))
            taken = time.perf_counter() - begun
        assert found == [len(values[0])] * n
        return taken


@contextmanager
def far_away(folder: Path) -> Iterator[Far]:
    """Start two hosts, each with a worker, and a dispatcher whose data folder they do not see."""
    data = folder / "far" / "data"
    hosts = Hosts(folder / "far" / "dask", [data])
    for host in hosts.hosts:
        hosts.add_worker(host)
    config = data.with_name("covalab.toml")
    config.write_text(f'[dask]\nscheduler_address = "{hosts.address}"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_DATA_DIR", str(data))
        patch.setenv("COVALAB_CONFIG", str(config))
        patch.delenv("COVALAB_WORKERS", raising=False)
        client = connect(data_dir=data)
        try:
            with DaskClient(hosts.address, set_as_default=False) as dask:
                dask.wait_for_workers(len(hosts.hosts))
            ct.dispatch_sync(results)(0, 2)
            while client.status().pools[0].workers < len(hosts.hosts):
                time.sleep(0.05)
            yield Far(hosts)
        finally:
            client.stop()
            hosts.close()
