"""A batch system, by a stub of SLURM: jobs that are queued, fail at once, are let go, and reach their wall time."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.system import stub_slurm
from tests.waiting import until

import covalab as ct
from covalab.client import Client, connect

pytestmark = pytest.mark.sampled(1, of="file")

pytest.importorskip("dask_jobqueue")

CLUSTER = """
[clusters.{name}]
cluster_class = "dask_jobqueue.SLURMCluster"
{options}
[clusters.{name}.cluster_kwargs]
cores = 1
processes = 1
memory = "1 GB"
walltime = "{walltime}"
job_extra_directives = ["--stub={mode}"]
scheduler_options = {{host = "127.0.0.1", dashboard_address = "127.0.0.1:0"}}
"""
WALLTIME = 60
LIMIT = 15


class Batch(NamedTuple):
    """Dispatcher whose clusters are jobs of a batch system, and the folder of that."""

    client: Client
    folder: Path


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """Start a dispatcher that finds the stub where SLURM would be."""
    folder = tmp_path_factory.mktemp("batch")
    config = folder / "covalab.toml"
    elastic = "maximum = 2\nidle_minutes = 0.05"
    config.write_text(
        CLUSTER.format(name="queued", mode="queue", options=elastic, walltime="01:00:00")
        + CLUSTER.format(name="broken", mode="fail", options=elastic, walltime="01:00:00")
        + CLUSTER.format(name="short", mode="run", options="num_workers = 1", walltime=f"00:00:{WALLTIME}")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_CONFIG", str(config))
        patch.setenv("COVALAB_DATA_DIR", str(folder / "data"))
        patch.setenv("PATH", f"{stub_slurm.install(folder)}:{os.environ['PATH']}")
        client = connect()
        yield Batch(client, folder)
        client.stop()
        until(lambda: not stub_slurm.alive(folder))  # what was queued is cancelled


def job_of(seconds: float = 0.0) -> str:
    """Return the number of the job in which it runs."""
    time.sleep(seconds)
    return os.environ.get("SLURM_JOB_ID", "none")


def printed_status() -> str:
    """Return what `covalab status` prints, in one line."""
    done = subprocess.run(["covalab", "status"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split())


def test_jobs_are_asked_for_queued_let_go_and_asked_for_again(batch: Batch, capfd: pytest.CaptureFixture[str]) -> None:
    """How many jobs are queued is said; they come by what waits, and go when they have been idle."""
    client, folder = batch
    electron = ct.electron(job_of, executor="queued")
    dispatch = ct.dispatch(ct.lattice(lambda: [electron(3.0), electron(3.1)]))()
    until(lambda: "2 jobs queued" in client.summary(dispatch).notice)
    assert "waits for a worker of cluster queued" in client.summary(dispatch).notice
    ct.get_result(dispatch, wait=True, timeout=0.5)
    assert "2 jobs queued" in capfd.readouterr().err
    assert "2 jobs queued" in printed_status()

    (folder / "go").touch()
    result = ct.get_result(dispatch, wait=True, timeout=120)
    assert result.status == ct.status.COMPLETED, result.error
    assert sorted(result.result) == sorted(map(str, stub_slurm.submitted(folder)[:2]))
    until(lambda: not stub_slurm.alive(folder))
    until(lambda: client.status().pools[0].workers == 0)

    again = ct.dispatch_sync(ct.lattice(electron))()
    assert again.result == str(stub_slurm.submitted(folder)[-1])


def test_the_log_of_a_job_that_died_is_shown(batch: Batch, capfd: pytest.CaptureFixture[str]) -> None:
    """Its last lines and where it is; and such jobs are not submitted again and again."""
    client, folder = batch
    before = len(stub_slurm.submitted(folder))
    dispatch = ct.dispatch(ct.lattice(ct.electron(job_of, executor="broken")))()
    until(lambda: "before its worker came" in client.summary(dispatch).notice)

    notice = client.summary(dispatch).notice
    assert "its log ends: loading modules | slurmstepd: error: module: command not found (" in notice
    assert str(folder / "data" / "logs" / "jobs") in notice
    ct.get_result(dispatch, wait=True, timeout=0.5)
    assert "module: command not found" in capfd.readouterr().err
    assert "module: command not found" in printed_status()
    ct.cancel(dispatch)
    assert len(stub_slurm.submitted(folder)) - before <= 3


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_wall_time_is_known(batch: Batch) -> None:
    """What does not fit the rest of a job waits for the next; one that is lost at its end is said to be that."""
    client, folder = batch
    never = ct.dispatch(ct.lattice(ct.electron(job_of, executor="short", time_limit=WALLTIME + 60)))()
    until(lambda: f"(jobs end after {WALLTIME} s)" in client.summary(never).notice)
    ct.cancel(never)

    first = ct.dispatch_sync(ct.lattice(ct.electron(job_of, executor="short")))().result
    began = (folder / "jobs" / first / "began").stat().st_mtime
    until(lambda: time.time() > began + WALLTIME - LIMIT)
    late = ct.dispatch(ct.lattice(ct.electron(job_of, executor="short", time_limit=LIMIT)))()
    assert ct.get_result(late, wait=True, timeout=200).result != first

    endless = ct.dispatch(ct.lattice(ct.electron(job_of, executor="short")))(1000.0)
    until(lambda: client.node(endless, 0).attempts, 300)
    failure = client.node(endless, 0).attempts[0].outcome.failure
    assert failure is not None
    assert "the job of its worker reached its wall time" in failure.message
    ct.cancel(endless)
