"""A plug-in that was written for Covalent, unchanged from PyPI: the SSH executor, against a server on loopback.

Its package is installed without what it depends on (that would be Covalent) into a folder of its own, beside asyncssh,
which is in the dev group.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.executors.far import installed, run_program, ssh_server

PROGRAM = """
import os, sys
import covalent as ct

executor = ct.executor.SSHExecutor(
    username="me", hostname="far", ssh_key_file={key!r}, python_path=sys.executable, create_unique_workdir=True,
    poll_freq=1,
)

@ct.electron(executor=executor)
def far(x, y):
    return {{"sum": x + sum(y), "folder": os.getcwd()}}

@ct.electron(executor=executor)
def failing(x):
    raise ValueError(f"no {{x}}")

@ct.electron
def near(d):
    return d["sum"] + 1

@ct.lattice
def flow(x):
    return near(far(x, [x, 2])), far(1, [1])

@ct.lattice
def sad(x):
    return failing(x)

@ct.electron(executor="ssh")
def by_name(x):
    return x * 2

run = ct.dispatch(flow)(3)
result = ct.get_result(run, wait=True)
assert result.status == ct.status.COMPLETED, result.get_all_node_results()
value, other = result.result
assert value == 9, value
assert other["folder"].endswith(f"covalent-workdir/{{run}}/node_6"), other
assert result.get_node_result(0)["node_name"] == "far"
assert result.get_node_result(0)["status"] == "COMPLETED"

result = ct.get_result(ct.dispatch(sad)(4), wait=True)
assert result.status == ct.status.FAILED
assert "no 4" in result.get_node_result(0)["error"], result.get_node_result(0)
assert ct.get_config("executors.ssh.remote_workdir") == "covalent-workdir"
assert "ssh" in ct.executor._executor_manager.list_executors(print_names=False)
result = ct.get_result(ct.dispatch(ct.lattice(by_name))(4), wait=True)
assert result.result == 8, result.get_all_node_results()
print("all is well")
"""


@pytest.fixture(scope="module")
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the plug-in, as it comes from PyPI."""
    return installed(tmp_path_factory.mktemp("plug-in"), "covalent-ssh-plugin==0.24.1")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """Start a machine that can be reached by SSH as `far`; return the folder that is its whole disk."""
    with ssh_server(tmp_path) as folder:
        yield folder


def test_the_ssh_plug_in_runs_as_it_is(far: Path, plug_in: Path, tmp_path: Path) -> None:
    """Values, folders and errors come back from over there; by instance, and by name with configured settings."""
    key = str(far / "key")
    (tmp_path / "covalab.toml").write_text(
        '[executors.ssh]\nusername = "me"\nhostname = "far"\n'
        f'ssh_key_file = "{key}"\npython_path = "{sys.executable}"\n'
    )
    done = run_program(PROGRAM.format(key=key), tmp_path, plug_in)

    assert done.returncode == 0, done.stderr[-5000:]
    assert "all is well" in done.stdout
    assert not list((far / ".cache" / "covalent").glob("function_*")), "it tidies up"
