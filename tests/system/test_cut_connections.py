"""Connections that are cut, slow or dead, by a printed seed: one submission is one dispatch, a wait ends right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.system.invariants import seeded
from tests.system.processes import dispatcher
from tests.system.proxy import before_the_dispatcher
from tests.system.tasks import runs, sleeping, witnessed
from tests.waiting import LONG, until

import covalab as ct
from covalab.client import Client, client
from covalab.core.model import Submission
from covalab.sdk.building.submit import prepare


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Run a dispatcher that these tests may kill."""
    with dispatcher(tmp_path_factory.mktemp("cut") / "data") as client:
        yield client


def submission(asked: Client, number: int, witness: Path) -> Submission:
    """Return what is submitted as one id, however often."""
    return prepare(ct.lattice(witnessed), (number, str(witness)), {}, asked.blobs)


@pytest.mark.parametrize("n", [8, pytest.param(200, marks=pytest.mark.nightly)])
def test_a_submission_whose_answer_is_cut_is_one_dispatch(n: int, live: Client, tmp_path: Path) -> None:
    """Of the answer, or of the request, some bytes come through; the client sends it again, and it runs once."""
    chance, witness, before = seeded(), tmp_path / "witness", len(live.dispatches(count=1_000))
    with before_the_dispatcher(live.data_dir) as proxy:
        cut_off = Client(live.data_dir, start=False)
        found = []
        for number in range(n):
            proxy.cut(chance.choice(["answer", "answer", "request"]), chance.choice([0, 1, chance.randrange(400)]))
            found.append(cut_off.submit(submission(cut_off, number, witness)).id)
        assert proxy.n_cut == n
    for one in found:
        assert live.record(one, wait=True, timeout=LONG).summary.status == "completed"
    assert len(live.dispatches(count=1_000)) == before + n
    assert runs(witness) == {str(number): 1 for number in range(n)}


SUBMITTING = """
import sys
from pathlib import Path
import msgspec
from covalab.client import Client
from covalab.core.model import Submission
client = Client(Path(sys.argv[1]), start=False)
submission = msgspec.msgpack.decode(Path(sys.argv[2]).read_bytes(), type=Submission)
for _ in range(25):
    assert client.submit(submission).id == submission.id
"""


@pytest.mark.nightly
def test_four_processes_submit_the_same_a_hundred_times(ours: Client, tmp_path: Path) -> None:
    """It is one dispatch, and runs once; ten times, so that they meet at different moments."""
    before = len(ours.dispatches(count=1_000))
    for number in range(10):
        witness, file = tmp_path / f"witness {number}", tmp_path / f"submission {number}"
        what = submission(ours, number, witness)
        file.write_bytes(msgspec.msgpack.encode(what))
        command = [sys.executable, "-c", SUBMITTING, str(ours.data_dir), str(file)]
        processes = [subprocess.Popen(command) for _ in range(4)]
        assert [process.wait(LONG) for process in processes] == [0] * 4
        assert ours.record(what.id, wait=True, timeout=LONG).summary.status == "completed"
        assert runs(witness) == {str(number): 1}
    assert len(ours.dispatches(count=1_000)) == before + 10


def waited_for(asked: Client, dispatch: str) -> Any:
    """Wait for a dispatch, and return what became of it."""
    record = asked.record(dispatch, wait=True)
    return record.summary.status


@pytest.mark.nightly
@pytest.mark.parametrize("trouble", ["cuts", "delay", "kills"])
def test_a_wait_through_trouble_ends_right(trouble: str, ours: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut or slow connections, or dispatchers that die, more often than a request is repeated: each wait ends once."""
    chance = seeded()
    monkeypatch.setattr(client, "_SERVED_SECONDS", 0.2)
    runs_ = [str(ct.dispatch(ct.lattice(sleeping))(20.0, os.devnull)) for _ in range(2)]
    n_threads = threading.active_count()
    with before_the_dispatcher(ours.data_dir) as proxy, ThreadPoolExecutor(4) as threads:
        if trouble == "delay":
            proxy.delay = 2.0
        waits = [threads.submit(waited_for, Client(ours.data_dir), run) for run in runs_ * 2]
        deadline = time.monotonic() + LONG
        n_troubles = 0
        while not all(wait.done() for wait in waits) and time.monotonic() < deadline:
            time.sleep(0.5 + chance.random())
            n_troubles += 1
            if trouble == "cuts":
                proxy.sever()
            elif trouble == "kills" and n_troubles <= 8:
                os.kill(ours.status().pid, signal.SIGKILL)
        assert [wait.result(0) for wait in waits] == ["completed"] * 4
        print(f"{n_troubles} times, {proxy.n_cut} cut, {proxy.n_connections} connections")
    until(lambda: threading.active_count() <= n_threads)
