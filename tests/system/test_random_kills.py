"""Kills at random moments, by a printed seed: of the dispatcher while 200 tasks run, of clients that dispatch."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.jupyter.kernels import a_kernel
from tests.system.invariants import faults_while_it_runs, kill_dispatcher, seeded, witnessed
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import MissingLatticeRecordError

pytestmark = pytest.mark.sampled(1, of="file")

KILLS_OF_ONE = 10
"""How often the dispatcher of one dispatch is killed."""


@pytest.mark.parametrize("n_kills", [50, pytest.param(300, marks=[pytest.mark.nightly, pytest.mark.timeout(7200)])])
@pytest.mark.timeout(1800)
def test_a_dispatcher_that_is_killed_loses_nothing(n_kills: int, own: Client, tmp_path: Path) -> None:
    """Wherever it is killed, each dispatch has its value at the end, and no task that was recorded runs again."""
    chance = seeded()
    for number in range(n_kills // KILLS_OF_ONE):
        witness = tmp_path / f"witness {number}"
        faults_while_it_runs(own, chance, KILLS_OF_ONE, witness, kill_dispatcher, before_it_begins=True)
        own.purge(time.time() + 1)


TASKS = """
import os, sys, time, random
import covalab as ct

@ct.electron
def noted(number, witness):
    with open(witness, "a") as file:
        file.write(f"{number}\\n")
    return number

@ct.lattice
def noting(number, witness):
    return [noted(number * 10 + part, witness) for part in range(5)]
"""

CLIENTS = f"""{TASKS}
witness, ids, n, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
ct.get_result(ct.dispatch(noting)(-1, witness), wait=True)  # everything is imported and up
began = time.monotonic()
ct.get_result(ct.dispatch(noting)(-2, witness), wait=True)
length = time.monotonic() - began
for number in range(n):
    pid = os.fork()
    if not pid:
        run = ct.dispatch(noting)(number, witness)
        with open(ids, "a") as file:
            file.write(f"{{number}} {{run}}\\n")
        ct.get_result(run, wait=True)
        os._exit(0)
    time.sleep(chance.random() * 2 * length)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""


def killed_kernel(number: int, witness: Path, ids: Path, moment: float) -> None:
    """Dispatch from a cell of a notebook, and kill its kernel meanwhile."""
    with a_kernel() as kernel:
        kernel.succeed(TASKS)
        pid = int(kernel.succeed("os.getpid()").text)
        kernel.begin(
            f"run = ct.dispatch(noting)({number}, {str(witness)!r})\n"
            f"open({str(ids)!r}, 'a').write(f'{number} {{run}}\\n')\n"
            "ct.get_result(run, wait=True)"
        )
        time.sleep(moment * 0.3)
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("n", [30, pytest.param(300, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])])
def test_a_client_that_is_killed_leaves_no_half(n: int, own: Client, tmp_path: Path) -> None:
    """An id that was returned is a dispatch that ends right; without one there is none, or a whole one.

    One in ten more is a kernel, and another kernel reads all values.
    """
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    witness, ids, script = tmp_path / "witness", tmp_path / "ids", tmp_path / "clients.py"
    script.write_text(CLIENTS)
    command = [sys.executable, str(script), str(witness), str(ids), str(n), str(seed)]
    subprocess.run(command, check=True, env={**os.environ, "COVALAB_DATA_DIR": str(own.data_dir)}, timeout=1200)
    for kernel_number in range(n, n + n // 10):
        killed_kernel(kernel_number, witness, ids, random.Random(seed + kernel_number).random())
    returned = dict(line.split() for line in ids.read_text().split("\n") if line) if ids.exists() else {}
    print(f"{len(returned)} of {n + n // 10} clients had their id")
    until(lambda: own.status().active == 0)
    for number, run in returned.items():
        try:
            found = ct.get_result(run).result
        except MissingLatticeRecordError:
            pytest.fail(f"dispatch {run} was acknowledged, and is not there")
        assert found == [int(number) * 10 + part for part in range(5)]
    there = own.dispatches(count=1_000)
    assert {one.id for one in there} >= {*returned.values()}
    assert {one.status for one in there} == {"completed"}
    with a_kernel() as kernel:
        kernel.succeed(f"import covalab as ct\nruns = {returned!r}")
        kernel.succeed("assert all(ct.get_result(run).result[0] == 10 * int(n) for n, run in runs.items())")
    ran = witnessed(witness)
    assert len(ran) == 5 * len(there), "none is half"
    assert {*ran.values()} == {1}
