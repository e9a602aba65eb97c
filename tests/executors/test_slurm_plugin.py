"""A plug-in that was written for Covalent, unchanged from PyPI: the Slurm executor, against a stub of Slurm's commands.

The stub is on a machine that is reached by SSH, as a cluster's login node is; it runs a job script where a queue would.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.executors.far import installed, run_program, ssh_server

from covalab import compat

SBATCH = """#!/bin/bash
# Runs the script at once; its directives say where, and where its output goes.
id=$(date +%s%N)
of() { sed -n "s/^#SBATCH --$1=//p" "$script"; }
script=$(realpath "$1"); cp "$script" FOLDER/job-$id.sh
cd "$(of chdir)" || exit 1
if bash "$script" > "$(of output)" 2> "$(of error)"; then state=COMPLETED; else state=FAILED; fi
echo "JobId=$id JobState=$state" > FOLDER/state-$id
echo $id
"""

SCONTROL = """#!/bin/bash
cat FOLDER/state-$3
"""

PROGRAM = """
import os, sys
import covalent as ct

settings = dict(
    username="me", address="far", ssh_key_file={key!r}, slurm_path={slurm!r}, bashrc_path={bashrc!r},
    cache_dir={cache!r}, variables={{"PYTHONPATH": {doorway!r}}}, options={{"partition": "debug", "cpus-per-task": 2}},
)
executor = ct.executor.SlurmExecutor(**settings, create_unique_workdir=True, prerun_commands=["echo before"])

@ct.electron(executor=executor)
def far(x, y):
    print("on the node")
    return {{"sum": x + sum(y), "folder": os.getcwd()}}

@ct.electron(executor=executor)
def failing(x):
    raise ValueError(f"no {{x}}")

@ct.electron(executor=ct.executor.SlurmExecutor(**settings, postrun_commands=["exit 7"]))
def cut_off():
    return 1

@ct.electron(executor="slurm", call_before=ct.DepsCall(lambda: 40, retval_keyword="more"))
def by_name(x, more=0):
    return x + more

@ct.electron
def near(d):
    return d["sum"] + 1

@ct.lattice
def flow(x):
    return near(far(x, [x, 2])), by_name(2), far(1, y=[1])

run = ct.dispatch(flow)(3)
result = ct.get_result(run, wait=True)
assert result.status == ct.status.COMPLETED, result.get_all_node_results()
value, named, other = result.result
assert (value, named, other["sum"]) == (9, 42, 2), result.result
node = result.get_node_result(0)
assert other["folder"].rpartition("/")[0].endswith(f"covalent-workdir/{{run}}"), other
assert node["stdout"].split() == ["before", "on", "the", "node"], node["stdout"]

for task, said in ((failing, "no 4"), (cut_off, "")):
    result = ct.get_result(ct.dispatch(ct.lattice(task))(*([4] if task is failing else [])), wait=True)
    assert result.status == ct.status.FAILED
    assert said in result.get_node_result(0)["error"], result.get_node_result(0)
assert ct.get_config("executors.slurm.poll_freq") == 5
print("all is well")
"""


@pytest.fixture(scope="module")
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the plug-in, as it comes from PyPI, and the two small packages that it needs."""
    wanted = ("covalent-slurm-plugin==0.18.0", "aiofiles", "filelock")
    return installed(tmp_path_factory.mktemp("plug-in"), *wanted)


@pytest.fixture
def far(tmp_path: Path, plug_in: Path) -> Iterator[Path]:
    """Start a machine with Slurm's commands that can be reached by SSH; return the folder that is its whole disk."""
    with ssh_server(tmp_path) as folder:
        (folder / "slurm").mkdir()
        srun = '#!/bin/bash\nexec "$@"\n'
        for name, text in (("sbatch", SBATCH), ("scontrol", SCONTROL), ("srun", srun)):
            (folder / "slurm" / name).write_text(text.replace("FOLDER", str(folder)))
            (folder / "slurm" / name).chmod(0o755)
        bin_folder = Path(sys.executable).parent
        (folder / "bashrc").write_text(f"conda() {{ true; }}\nexport PATH={bin_folder}:{folder}/slurm:$PATH\n")
        yield folder


def test_the_slurm_plug_in_runs_as_it_is(far: Path, plug_in: Path, tmp_path: Path) -> None:
    """Values, output, folders and errors come back from the job; by instance, and by name with configured settings."""
    key, slurm, bashrc, cache = (str(far / "key"), str(far / "slurm"), str(far / "bashrc"), str(tmp_path / "cache"))
    doorway = os.pathsep.join((compat.DOORWAY, str(plug_in)))
    (tmp_path / "covalab.toml").write_text(
        f'[executors.slurm]\nusername = "me"\naddress = "far"\nssh_key_file = "{key}"\nslurm_path = "{slurm}"\n'
        f'bashrc_path = "{bashrc}"\ncache_dir = "{cache}"\nvariables = {{ PYTHONPATH = "{doorway}" }}\n'
    )
    done = run_program(
        PROGRAM.format(key=key, slurm=slurm, bashrc=bashrc, cache=cache, doorway=doorway), tmp_path, plug_in
    )

    assert done.returncode == 0, done.stderr[-5000:]
    assert "all is well" in done.stdout
    submitted = [path.read_text() for path in far.glob("job-*.sh")]
    assert len([text for text in submitted if "#SBATCH --partition=debug\n#SBATCH --cpus-per-task=2" in text]) == 4
    assert len(submitted) == 5
