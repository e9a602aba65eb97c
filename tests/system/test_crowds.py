"""More clients than a dispatcher may open files: all are served in turn, nothing is lost, and its log says so once."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from tests.waiting import LONG, until

import covalab as ct
from covalab.cli import main
from covalab.client import Client, paths
from covalab.client.launcher import Address, find
from covalab.core import protocol

LIMIT = 160
N_MORE = 220  # than the limit, and fewer than the queue of the socket has room for


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Run a dispatcher that may open few files."""
    folder = tmp_path_factory.mktemp("cramped") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_DATA_DIR", str(folder))
        start = f"{Path(sys.executable).with_name('covalab')} start"
        limits = f"ulimit -Sn {LIMIT // 2} && ulimit -Hn {LIMIT} && exec {start}"
        subprocess.run(["sh", "-c", limits], check=True, capture_output=True)
        client = Client(folder)
        yield client
        client.stop()


def address_of(client: Client) -> Address:
    """Return where its dispatcher is."""
    address = find(client.data_dir)
    assert address is not None
    return address


@ct.electron
def large(number: int) -> bytes:
    """Return a value that becomes a file."""
    return bytes([number]) * 100_000


@ct.electron
def soft_limit() -> int:
    """Return how many files a task may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@ct.lattice
def few() -> Any:
    """Return three large values, and the limit of a task."""
    return [large(number) for number in range(3)], soft_limit()


IDLE = b""
HALF_A_REQUEST = b"POST /dispatches HTTP/1.1\r\nHost: localhost\r\nContent-Le"
HALF_A_BODY = b"POST /dispatches HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf"
HELD = (
    "GET /events?since=%d&wait=3600 HTTP/1.1\r\nHost: localhost\r\n"
    f"{protocol.HEADER}: {protocol.version_header()}\r\n\r\n"
).encode()


@pytest.mark.parametrize("said", [IDLE, HALF_A_REQUEST, HALF_A_BODY, HELD], ids=["idle", "head", "body", "held"])
def test_more_clients_than_files(cramped: Client, said: bytes) -> None:
    """Whoever comes is served nevertheless, work runs to its end, and when the crowd has gone all is as before."""
    address = address_of(cramped)
    assert resource.prlimit(address.pid, resource.RLIMIT_NOFILE) == (LIMIT, LIMIT)
    log = paths.log_file(cramped.data_dir)
    if said is HELD:
        said = HELD % cramped.events(-1, 0).since
    size = log.stat().st_size
    with ExitStack() as stack:
        for _ in range(N_MORE):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(address.socket)
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.send(said)
        assert Client(cramped.data_dir, start=False).status().pid == address.pid
        result = ct.get_result(ct.dispatch(few)(), wait=True, timeout=LONG)
        assert result.status == "COMPLETED", result.error
        values, limit = result.result
        assert [len(value) for value in values] == [100_000] * 3
        assert limit == LIMIT // 2, "a task has the limit that the dispatcher had before it raised its own"
    until(lambda: psutil.Process(address.pid).num_fds() < LIMIT // 2)
    assert cramped.status().pid == address.pid
    new = log.read_text()[size:]
    assert new.count("have given way") <= 1, new
    assert len(new) < 5_000, "the log is not filled"
    assert "Traceback" not in new


@ct.electron
def greedy(*, gives_back: bool) -> bytes:
    """Open all files that a process may, print, and return a large value."""
    import os

    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        print(f"after {len(taken)}: {error.strerror}")
    if gives_back:
        for fd in taken:
            os.close(fd)
    return b"greedy" + bytes([gives_back]) * 100_000  # not one that is there already


def test_a_task_that_opens_all_files_prints_and_is_told_what_its_value_lacks(cramped: Client) -> None:
    """Printing goes on as in a notebook; a value that cannot be written fails as what it is, with what to do."""
    for gives_back in (True, False):
        dispatch = ct.dispatch(ct.lattice(greedy))(gives_back=gives_back)
        ct.get_result(dispatch, wait=True, timeout=LONG)
        node = cramped.node(dispatch, 0)
        assert "Too many open files" in (node.stdout or ""), node
        if gives_back:
            assert node.status == "completed", node.failure
        else:
            assert node.failure is not None
            assert node.failure.type == "storage"
            assert "too many open files: process" in node.failure.message
        assert node.attempt == 1


def test_doctor_names_the_limit(cramped: Client) -> None:
    """It is no fault of the data folder, and nobody would look for it."""
    shown = CliRunner().invoke(main, ["doctor"])
    assert shown.exit_code == 1
    assert f"BAD  the dispatcher (process {cramped.status().pid}) may open {LIMIT} files" in shown.output


def test_files_that_a_dispatcher_cannot_open_are_no_damage_and_no_lost_worker(cramped: Client) -> None:
    """With all but none of its files taken: requests are refused with what to do, work waits, none of it fails."""
    address = address_of(cramped)
    done = ct.dispatch(few)()
    assert ct.get_result(done, wait=True, timeout=LONG).status == "COMPLETED"
    pool = cramped.status().pools[0].pid
    resource.prlimit(address.pid, resource.RLIMIT_NOFILE, (3, LIMIT))
    try:
        os.killpg(pool, 9)  # its replacement needs descriptors
        waiting = ct.dispatch(few)()
        until(lambda: "is started later" in paths.log_file(cramped.data_dir).read_text())
        assert cramped.summary(waiting).status in ("pending", "running")
    finally:
        resource.prlimit(address.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    assert ct.get_result(waiting, wait=True, timeout=LONG).status == "COMPLETED"
    assert not (cramped.data_dir / "damaged").exists()
    assert Path(cramped.data_dir, "covalab.db").exists()
