"""Executors in a folder of the user's, of which neither the dispatcher nor its executor host was told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import covalab as ct
from covalab.client import Client
from covalab.executors import manager

PLUG_INS = {
    "noisy_one": """
from covalab.executor.base import BaseExecutor
from noise_helper import wrap
EXECUTOR_PLUGIN_NAME = "NoisyOne"
_EXECUTOR_PLUGIN_DEFAULTS = {"word": "default"}
class NoisyOne(BaseExecutor):
    def __init__(self, word="", **kwargs):
        super().__init__(**kwargs)
        self.word = word
    def run(self, function, args, kwargs, task_metadata):
        print(wrap(self.word))
        return function(*args, **kwargs)
""",
    "locked_one": """
import threading
from covalab.executor import AsyncBaseExecutor
EXECUTOR_PLUGIN_NAME = "LockedOne"
LOCK = threading.Lock()  # cannot be pickled: the module travels by name
class LockedOne(AsyncBaseExecutor):
    async def run(self, function, args, kwargs, task_metadata):
        with LOCK:
            print("locked")
            return function(*args, **kwargs)
""",
    "inherits_one": """
from noisy_one import NoisyOne
EXECUTOR_PLUGIN_NAME = "InheritsOne"
class InheritsOne(NoisyOne):
    def setup(self, task_metadata):
        print("set up")
""",
    "broken_one": "import no_such_module_of_mine\nEXECUTOR_PLUGIN_NAME = 'BrokenOne'\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder of plug-ins that this process knows since now."""
    (tmp_path / "noise_helper.py").write_text("def wrap(word):\n    return f'<{word}>'\n")
    for name, text in PLUG_INS.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("COVALENT_EXECUTOR_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    ct.executor._executor_manager.list_executors(regenerate=True, print_names=False)
    yield tmp_path
    monkeypatch.undo()
    for name in (*PLUG_INS, "noise_helper"):
        sys.modules.pop(name, None)
        for known in ("_classes", "_defaults", "_errors", "_loaders"):
            getattr(ct.executor._executor_manager, known).pop(name, None)


def test_instances_and_names_work_everywhere(live: Client, folder: Path) -> None:
    """On electrons, as the lattice's, below a sublattice, and dispatched again by a process that knows no folder."""
    made = ct.executor.NoisyOne(word="made")

    @ct.electron(executor=made)
    def one(x: int) -> int:
        return x + 1

    @ct.electron(executor="noisy_one")
    def two(x: int) -> int:
        return x + 1

    @ct.electron(executor=ct.executor.LockedOne())
    def three(x: int) -> int:
        return x + 1

    @ct.electron
    def four(x: int) -> int:
        return x + 1

    @ct.electron
    @ct.lattice
    def below(x: int) -> Any:
        return one(x)

    @ct.lattice(executor=ct.executor.InheritsOne("inherited"))
    def workflow(x: int) -> Any:
        return four(three(two(one(x)))), below(x)

    result = ct.get_result(ct.dispatch(workflow)(1), wait=True)
    assert result.result == [5, 2], result.error
    printed = {node["node_name"]: node["stdout"] for node in result.get_all_node_results()}
    wanted = {"one": "<made>", "two": "<default>", "three": "locked", "four": "set up\n<inherited>"}
    assert {name: printed[name].strip() for name in wanted} == wanted

    code = f"import covalab as ct; again = ct.redispatch({result.dispatch_id!r})(2)\n"
    code += "print(ct.get_result(again, wait=True).result, ct.get_result(again).lattice.metadata['executor'])"
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "[6, 3] inherits_one\n", ran.stderr


def test_a_class_that_cannot_be_loaded_says_why(folder: Path) -> None:
    """Not only that it is not there; also where its name is asked for."""
    with pytest.raises(
        AttributeError, match=r"'BrokenOne'.*'broken_one': its plug-in .*No module named 'no_such_module"
    ):
        _ = ct.executor.BrokenOne
    with pytest.warns(UserWarning, match=r"No executor found by name 'broken_one' .*no_such_module_of_mine"):
        ct.lattice(lambda: 1, executor="broken_one").build_graph()
    assert "broken_one" not in sys.modules
    assert str(folder) in sys.path
    assert manager.plugin_folders() == [folder]
