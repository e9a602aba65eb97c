"""Folders that are removed, or removed and made anew, under whoever stands in them: one fails, the others go on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system.tasks import adding
from tests.waiting import until

import covalab as ct
from covalab.client import Client, paths
from covalab.core.errors import WorkingFolderGone

pytestmark = pytest.mark.sampled(4, of="file")

Remove = Callable[[Path], None]


def remove(folder: Path) -> None:
    """Remove a folder."""
    shutil.rmtree(folder)


def replace(folder: Path) -> None:
    """Remove a folder and make another of the same name."""
    shutil.rmtree(folder)
    folder.mkdir()


def rename_and_remove(folder: Path) -> None:
    """Remove a folder by another name."""
    shutil.rmtree(folder.rename(folder.with_name("renamed")))


@pytest.fixture(params=[remove, replace, rename_and_remove], ids=lambda one: one.__name__)
def gone(request: pytest.FixtureRequest) -> Remove:
    """Return a way to remove a folder."""
    found: Remove = request.param
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which this process stands."""
    found = tmp_path / "notebooks"
    found.mkdir()
    monkeypatch.chdir(found)
    return found


def test_a_dispatch_from_a_removed_folder_is_refused(
    live: Client, folder: Path, gone: Remove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names folder and way out; all that needs no folder goes on, and dispatches do from another folder."""
    done = ct.dispatch_sync(ct.lattice(adding))(1).dispatch_id
    gone(folder)

    for attempt in (
        lambda: ct.dispatch(ct.lattice(adding))(1),
        lambda: ct.dispatch_sync(ct.lattice(adding))(1),
        lambda: ct.enqueue(adding, 1),
    ):
        with pytest.raises(WorkingFolderGone, match=r"current folder .*was removed.*%cd FOLDER"):
            attempt()
    assert ct.get_result(done, wait=True).result == 2
    assert ct.get_result(ct.redispatch(done)(), wait=True).result == 2
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert ct.dispatch_sync(ct.lattice(adding))(2).result == 3


PROGRAM = """
import os, shutil, sys
folder = os.getcwd()
if {early}:
    import covalab as ct
shutil.rmtree(folder)
if {anew}:
    os.mkdir(folder)
import covalab as ct
from covalab.core.errors import CovalabError

def add(x):
    return x + 1

try:
    ct.dispatch(ct.lattice(ct.electron(add)))(1)
except CovalabError as error:
    print(type(error).__name__, error)
if {then}:
    os.chdir(os.path.dirname(folder))
    print(ct.dispatch_sync(ct.lattice(ct.electron(add)))(1).result)
"""


@pytest.mark.parametrize(
    ("early", "anew", "then", "variables"),
    [
        (True, True, True, {}),
        (False, False, False, {}),
        (True, False, False, {"PYTHONPATH": "beside:"}),
        (False, True, False, {"PYTHONPATH": "beside:."}),
    ],
)
def test_a_script_in_a_removed_folder(
    own: Client, tmp_path: Path, early: bool, anew: bool, then: bool, variables: dict[str, str]
) -> None:
    """Whenever it imported covalab, and with entries of `sys.path` that are relative to the folder."""
    own.stop()  # the script starts one, from where it stands
    folder = tmp_path / "work"
    folder.mkdir()
    code = PROGRAM.format(early=early, anew=anew, then=then)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.stdout.splitlines() == [
        (
            f"WorkingFolderGone the current folder of this process {folder} was removed, so tasks cannot run in it; "
            "change into one that exists (`%cd FOLDER` in a notebook, else `os.chdir`), then dispatch again"
        ),
        *(["2"] if then else []),
    ], done.stderr


def test_a_relative_data_folder_in_a_removed_one(tmp_path: Path) -> None:
    """It is nowhere, which is said."""
    folder = tmp_path / "work"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(early=True, anew=False, then=False)],
        cwd=folder,
        env={**os.environ, "COVALAB_DATA_DIR": "data"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert "DataFolderError COVALAB_DATA_DIR=data is relative to a current folder that was removed" in done.stdout, (
        done.stderr
    )


def test_a_command_in_a_removed_folder(live: Client, tmp_path: Path) -> None:
    """The command line needs no folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    code = f"import shutil; shutil.rmtree({str(folder)!r}); from covalab.cli import main; main(['status'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert f"process {live.status().pid}" in done.stdout


class Here(ct.executor.BaseExecutor):
    """Runs tasks in the executor host."""

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        """Call."""
        return function(*args, **kwargs)


def test_processes_stand_in_no_folder_of_a_user(own: Client, folder: Path, gone: Remove, tmp_path: Path) -> None:
    """Dispatcher, pool and host, which were started from a folder that is gone, go on for other folders."""
    here = ct.electron(os.getpid, executor=Here())
    ct.dispatch_sync(ct.lattice(adding))(1)
    status = own.status()
    ours = (own.data_dir, paths.socket_folder(own.data_dir))
    for pid in (status.pid, *(pool.pid for pool in status.pools)):
        assert any(Path(psutil.Process(pid).cwd()).is_relative_to(one) for one in ours)
    host = ct.dispatch_sync(ct.lattice(here))().result
    gone(folder)
    os.chdir(tmp_path)

    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
    assert ct.dispatch_sync(ct.lattice(here))().result == host
    assert own.status().pid == status.pid


def in_folder(name: str) -> tuple[str, str, int]:
    """Return the current folder, the text of a file in it, and its inode."""
    return os.getcwd(), Path(name).read_text(), os.stat(".").st_ino  # noqa: PTH109, PTH116


def removing(folder: str) -> str:
    """Remove a folder in which this task stands; return what it read in it."""
    os.chdir(folder)
    text = Path("data").read_text()
    shutil.rmtree(folder)
    return text


@pytest.mark.parametrize("executor", [None, Here()], ids=["dask", "host"])
def test_a_task_that_removes_its_folder_harms_no_other(
    own: Client, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: Any
) -> None:
    """Not the next of the same folder, which is another one by then, nor those of others."""
    monkeypatch.setenv("COVALAB_WORKERS", "1")
    options = {} if executor is None else {"executor": executor}
    remover, reader = ct.electron(removing, **options), ct.electron(in_folder, **options)
    other = tmp_path / "other"
    other.mkdir()
    (other / "data").write_text("other")
    for n in range(3):
        (folder / "data").write_text(f"{n}")
        assert ct.dispatch_sync(ct.lattice(remover))(str(folder)).result == f"{n}"
        monkeypatch.chdir(other)
        assert ct.dispatch_sync(ct.lattice(reader))("data").result[:2] == (str(other), "other")
        folder.mkdir()
        monkeypatch.chdir(folder)
        (folder / "data").write_text("new")
        assert ct.dispatch_sync(ct.lattice(reader))("data").result == (str(folder), "new", folder.stat().st_ino)


@pytest.mark.parametrize("executor", [None, Here()], ids=["dask", "host"])
def test_a_folder_that_is_gone_when_the_task_runs(
    own: Client, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: Any
) -> None:
    """The task does not find its files, and above all not those of the notebook that used the worker before."""
    monkeypatch.setenv("COVALAB_WORKERS", "1")
    options = {} if executor is None else {"executor": executor}
    reader = ct.electron(in_folder, **options)
    other = tmp_path / "other"
    other.mkdir()
    (other / "data").write_text("other")
    (folder / "data").write_text("mine")
    held = str(ct.dispatch(ct.lattice(reader), disable_run=True)("data"))
    monkeypatch.chdir(other)
    assert ct.dispatch_sync(ct.lattice(reader))("data").result[1] == "other"
    shutil.rmtree(folder)
    own.start_held(held)
    result = ct.get_result(held, wait=True)

    assert result.status == ct.status.FAILED
    assert "FileNotFoundError" in str(result.get_node_result(0)["error"])
    assert "'data'" in str(result.get_node_result(0)["error"])
    monkeypatch.chdir(tmp_path)
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2


def leaving(removed: list[str]) -> str:
    """Remove folders; return the one in which this task stood."""
    before = os.getcwd()  # noqa: PTH109
    for one in removed:
        shutil.rmtree(one)
    return before


@pytest.mark.parametrize("removed", [["work"], ["."], ["work", "."]], ids=str)
def test_a_working_folder_of_an_executor(own: Client, folder: Path, removed: list[str]) -> None:
    """The task keeps its value, whatever it removed: its working folder, the notebook's, or both; the next runs."""
    work = folder.parent / "work"
    executor = ct.executor.DaskExecutor(workdir=str(work))
    names = [str(work) if one == "work" else str(folder) for one in removed]
    result = ct.dispatch_sync(ct.lattice(ct.electron(leaving, executor=executor)))(names)

    assert result.result == str(work)
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    assert ct.dispatch_sync(ct.lattice(ct.electron(leaving, executor=executor)))([]).result == str(work)
    assert ct.dispatch_sync(ct.lattice(ct.electron(leaving)))([]).result == str(folder)
    until(lambda: own.status().pools[0].state == "up")
