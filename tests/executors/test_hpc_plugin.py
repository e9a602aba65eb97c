"""A plug-in that was written for Covalent, unchanged from PyPI: the HPC executor, which submits through PSI/J.

A stub of PSI/J is on a machine that is reached by SSH, as on a cluster's login node; it runs a job where a queue would.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.executors.far import installed, run_program, ssh_server

from covalab import compat

PSIJ = """
import enum, os, subprocess
from pathlib import Path
from types import SimpleNamespace

JobState = enum.Enum("JobState", "QUEUED CANCELED ACTIVE FAILED COMPLETED")

class JobSpec(SimpleNamespace):
    pass

class Job:
    def __init__(self, spec=None):
        self.spec = spec

    def wait(self, target_states, timeout):
        return SimpleNamespace(state=JobState[Path(f"state-{self.native_id}").read_text()])

class JobExecutor:
    @staticmethod
    def get_instance(name):
        assert name == "slurm"
        return JobExecutor()

    def submit(self, job):
        spec, job.native_id = job.spec, os.getpid()
        command = f". {spec.pre_launch}; exec {spec.executable} {' '.join(spec.arguments)}"
        with open(spec.stdout_path, "w") as out, open(spec.stderr_path, "w") as err:
            # Where it is submitted: the plug-in writes paths that are relative to that.
            done = subprocess.run(["bash", "-c", command], env=os.environ | spec.environment, stdout=out, stderr=err)
        Path(f"state-{job.native_id}").write_text("FAILED" if done.returncode else "COMPLETED")

    def attach(self, job, native_id):
        job.native_id = native_id

def JobAttributes(**_):
    return None

ResourceSpecV1 = JobAttributes
"""

PROGRAM = """
import os
import covalent as ct

executor = ct.executor.HPCExecutor(
    username="me", address="far", ssh_key_file={key!r}, instance="slurm", remote_python_exe={python!r},
    remote_workdir="covalent-workdir", create_unique_workdir=True, cache_dir={cache!r}, poll_freq=1,
    environment={{"PATH": {path!r}}},
    pre_launch_cmds=["echo before"],
)

@ct.electron(executor=executor)
def far(x, y):
    print("on the node")
    return {{"sum": x + sum(y), "folder": os.getcwd()}}

@ct.electron(executor=executor)
def failing(x):
    raise ValueError(f"no {{x}}")

@ct.electron
def near(d):
    return d["sum"] + 1

@ct.lattice
def flow(x):
    return near(far(x, [x, 2])), far(1, y=[1])

run = ct.dispatch(flow)(3)
result = ct.get_result(run, wait=True)
assert result.status == ct.status.COMPLETED, result.error
value, other = result.result
assert (value, other["sum"]) == (9, 2), result.result
assert os.path.basename(other["folder"]) == "far", other
assert "on the node" in result.get_node_result(0)["stdout"], result.get_node_result(0)["stdout"]
result = ct.get_result(ct.dispatch(ct.lattice(failing))(4), wait=True)
assert result.status == ct.status.FAILED
assert "no 4" in result.get_node_result(0)["error"], result.get_node_result(0)
assert ct.get_config("executors.hpc.poll_freq") == 60
print("all is well")
"""


@pytest.fixture(scope="module")
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the plug-in, as it comes from PyPI, and the small package that it needs."""
    return installed(tmp_path_factory.mktemp("plug-in"), "covalent-hpc-plugin==0.0.8", "aiofiles")


@pytest.fixture
def far(tmp_path: Path, plug_in: Path) -> Iterator[Path]:
    """Start a machine with the stub that can be reached by SSH; return the folder that is its whole disk."""
    with ssh_server(tmp_path) as folder:
        (folder / "lib").mkdir()
        (folder / "lib" / "psij.py").write_text(PSIJ)
        found = os.pathsep.join((compat.DOORWAY, str(folder / "lib")))
        (folder / "python").write_text(f'#!/bin/bash\nPYTHONPATH={found} exec {sys.executable} "$@"\n')
        (folder / "python").chmod(0o755)
        yield folder


@pytest.mark.nightly
def test_the_hpc_plug_in_runs_as_it_is(far: Path, plug_in: Path, tmp_path: Path) -> None:
    """Values, output, folders and errors come back from the job."""
    (tmp_path / "cache").mkdir()
    path = f"{far}{os.pathsep}{os.environ['PATH']}"
    words = {"key": str(far / "key"), "python": str(far / "python"), "cache": str(tmp_path / "cache"), "path": path}
    done = run_program(PROGRAM.format(**words), tmp_path, plug_in)

    assert done.returncode == 0, done.stderr[-5000:]
    assert "all is well" in done.stdout
