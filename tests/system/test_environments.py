"""Tasks run under the interpreter of whoever dispatched, whatever runs the dispatcher."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client

PROGRAM = """
import sys
import covalab as ct

@ct.electron
def where():
    import only_in_the_second_environment as module
    return sys.prefix, module.NUMBER

@ct.electron
def folder():
    import os
    return os.getcwd()

@ct.lattice
def flow():
    return where(), folder()

result = ct.dispatch_sync(flow)()
assert result.status == "COMPLETED", result.get_node_result(0)
(prefix, number), cwd = result.result
print(prefix, number, cwd, sep="\\n")
"""


def second_environment(folder: Path) -> Path:
    """Make an environment that sees this one's packages and has one more."""
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "lib" / version / "site-packages"
    here = {sysconfig.get_paths()["purelib"], str(Path(ct.__file__).parent.parent)}
    (packages / "first.pth").write_text("\n".join(sorted(here)))
    (packages / "only_in_the_second_environment.py").write_text("NUMBER = 42\n")
    return folder / "bin" / "python"


def test_a_task_sees_the_packages_of_the_kernel_that_dispatched_it(live: Client, tmp_path: Path) -> None:
    """The dispatcher's environment lacks a package; the task imports it all the same, in the caller's folder."""
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2  # the pool of this environment is up as well
    python = second_environment(tmp_path / "second")
    work = tmp_path / "work"
    work.mkdir()
    program = work / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [str(python), str(program)], capture_output=True, text=True, cwd=work, env=dict(os.environ), check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "second"), "42", str(work)]
    pythons = {pool.python for pool in live.status().pools}
    assert {str(python), sys.executable} <= pythons


def test_a_module_beside_the_script_is_found_by_its_tasks(live: Client, tmp_path: Path) -> None:
    """What `python script.py` can import, its tasks can import."""
    (tmp_path / "helper_of_the_script.py").write_text("def double(x):\n    return 2 * x\n")
    program = tmp_path / "program.py"
    program.write_text(
        "import covalab as ct\nfrom helper_of_the_script import double\n"
        "task = ct.electron(double)\nflow = ct.lattice(lambda x: task(x))\n"
        "print(ct.dispatch_sync(flow)(21).result)\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, cwd="/", env=dict(os.environ), check=False
    )

    assert (done.returncode, done.stdout.strip()) == (0, "42"), done.stderr
