"""The doorway: programs that import Covalent run on covalab when asked, and only then."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from tests.compat import old_paths

import covalab as ct
from covalab import compat
from covalab.client import Client
from covalab.core.errors import CovalentFound

PROGRAM = Path(__file__).parent / "programs" / "written_for_covalent.py"


@pytest.fixture
def doorway() -> Iterator[Any]:
    """Open it for one test; return what `import covalent` is then."""
    compat.install()
    yield importlib.import_module("covalent")
    compat.uninstall()


def run(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a Python of our own."""
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False, **options)


def test_it_is_closed_unless_asked() -> None:
    """Importing all of covalab opens nothing."""
    code = "import covalab as ct, covalab.compat; [getattr(ct, name) for name in ct.__all__]; import covalent"

    assert "No module named 'covalent'" in run("-c", code).stderr


def test_a_program_written_for_covalent_runs(live: Client) -> None:
    """Unchanged, with its arguments, its tasks using Covalent on the worker; its result can be had without the door."""
    done = run("-m", "covalab.compat", str(PROGRAM), "4", "more")
    assert done.returncode == 0, done.stderr
    dispatch, value, args = json.loads(done.stdout)

    # The program's `ct` is pickled as covalab, so that it opens anywhere; what is imported on the worker is the door.
    assert value == [5, ct.__version__, "covalab.sdk.building.electron"]
    assert args == ["4", "more"]
    assert ct.get_result(dispatch).result == (5, ct.__version__, "covalab.sdk.building.electron")
    assert ct.get_result(dispatch).inputs.get_deserialized() == {"args": (4,), "kwargs": {}}


def test_a_module_runs_too(tmp_path: Path) -> None:
    """As with Python's own -m."""
    (tmp_path / "mine.py").write_text("import sys, covalent\nprint(covalent.electron.__module__, sys.argv[1:])\n")
    done = run("-m", "covalab.compat", "-m", "mine", "a", "-b", cwd=tmp_path)

    assert done.stdout == "covalab.sdk.building.electron ['a', '-b']\n"


def test_every_public_name_is_behind_it(doorway: Any) -> None:
    """The same objects; only the version is Covalent's."""
    for name in ct.__all__:
        here, there = getattr(ct, name), getattr(doorway, name)
        assert there is here or set(dir(here)) <= set(dir(there)), name
    assert doorway.__version__ == compat.SPOKEN == "0.240.0"
    assert set(ct.__all__) <= set(dir(doorway))
    with pytest.raises(AttributeError, match="'covalent' has no attribute 'qelectron'"):
        _ = doorway.qelectron


PATHS = [
    ("covalent._results_manager", "Result", "covalab", "Result"),
    ("covalent._results_manager.result", "Result", "covalab", "Result"),
    ("covalent._results_manager.results_manager", "get_result", "covalab", "get_result"),
    (
        "covalent._results_manager.results_manager",
        "ResultManager",
        "covalab.sdk.results.result_manager",
        "ResultManager",
    ),
    (
        "covalent._results_manager.results_manager",
        "_delete_result",
        "covalab.sdk.results.result_manager",
        "_delete_result",
    ),
    ("covalent._dispatcher_plugins", "LocalDispatcher", "covalab.sdk.dispatching.local_dispatcher", "LocalDispatcher"),
    (
        "covalent._dispatcher_plugins.local",
        "LocalDispatcher",
        "covalab.sdk.dispatching.local_dispatcher",
        "LocalDispatcher",
    ),
    ("covalent._workflow.depsbash", "DepsBash", "covalab", "DepsBash"),
    ("covalent._workflow.depspip", "DepsPip", "covalab", "DepsPip"),
    ("covalent._workflow.depscall", "DepsCall", "covalab", "DepsCall"),
    ("covalent._workflow.depsmodule", "DepsModule", "covalab", "DepsModule"),
    ("covalent._shared_files.exceptions", "MissingLatticeRecordError", "covalab", "MissingLatticeRecordError"),
    ("covalent.fs", "FileTransfer", "covalab.files", "FileTransfer"),
    ("covalent.fs_strategies", "Rsync", "covalab.files.strategies", "Rsync"),
    ("covalent._file_transfer", "File", "covalab.files", "File"),
    ("covalent._file_transfer.enums", "Order", "covalab.files", "Order"),
    ("covalent._file_transfer.file_transfer", "TransferToRemote", "covalab.files", "TransferToRemote"),
    ("covalent._file_transfer.strategies", "HTTP", "covalab.files.strategies", "HTTP"),
    ("covalent._file_transfer.strategies.s3_strategy", "S3", "covalab.files.strategies", "S3"),
    ("covalent._workflow", "electron", "covalab", "electron"),
    ("covalent._workflow.electron", "Electron", "covalab.sdk.building.electron", "Electron"),
    ("covalent._workflow.electron", "electron", "covalab", "electron"),
    ("covalent._workflow.lattice", "Lattice", "covalab", "Lattice"),
    ("covalent._workflow.transport", "_TransportGraph", "covalab.sdk.building.transport_graph", "TransportGraph"),
    ("covalent._workflow.transport", "TransportableObject", "covalab", "TransportableObject"),
    ("covalent._workflow.transportable_object", "TransportableObject", "covalab", "TransportableObject"),
    ("covalent._workflow.lepton", "Lepton", "covalab", "Lepton"),
    ("covalent.leptons", "bash", "covalab.sdk.building.lepton_decorators", "bash"),
    ("covalent.triggers", "BaseTrigger", "covalab.triggers", "BaseTrigger"),
    ("covalent.triggers.base", "BaseTrigger", "covalab.triggers", "BaseTrigger"),
    ("covalent.triggers.dir_trigger", "DirTrigger", "covalab.triggers", "DirTrigger"),
    ("covalent.triggers.time_trigger", "TimeTrigger", "covalab.triggers", "TimeTrigger"),
    ("covalent.triggers.database_trigger", "DatabaseTrigger", "covalab.triggers", "DatabaseTrigger"),
    ("covalent.triggers.sqlite_trigger", "SQLiteTrigger", "covalab.triggers", "SQLiteTrigger"),
    ("covalent.executor", "BaseExecutor", "covalab.executors", "BaseExecutor"),
    ("covalent.executor", "_executor_manager", "covalab.executors", "_executor_manager"),
    ("covalent.executor.base", "AsyncBaseExecutor", "covalab.executors", "AsyncBaseExecutor"),
    ("covalent.executor.executor_plugins.local", "LocalExecutor", "covalab.executors", "LocalExecutor"),
    ("covalent.executor.executor_plugins.dask", "DaskExecutor", "covalab.executors", "DaskExecutor"),
    ("covalent.executor.executor_plugins.remote_executor", "RemoteExecutor", "covalab.executors", "RemoteExecutor"),
    ("covalent.executor.utils", "get_context", "covalab", "get_context"),
    ("covalent.executor.utils.context", "get_context", "covalab", "get_context"),
    ("covalent._shared_files.exceptions", "TaskCancelledError", "covalab.core.errors", "TaskCancelledError"),
    ("covalent._shared_files.config", "get_config", "covalab", "get_config"),
    ("covalent._shared_files.config", "update_config", "covalab.sdk.configuration", "update_config"),
    ("covalent._shared_files.util_classes", "RESULT_STATUS", "covalab", "status"),
    ("covalent._shared_files.util_classes", "Status", "covalab.core.covalent_status", "Status"),
    ("covalent._shared_files.utils", "format_server_url", "covalab.sdk.configuration", "format_server_url"),
    ("covalent._shared_files.defaults", "WAIT_EDGE_NAME", "covalab.sdk.building.trace", "WAIT_EDGE"),
]


@pytest.mark.usefixtures("doorway")
@pytest.mark.parametrize(("path", "name", "home", "there"), PATHS)
def test_a_submodule_that_programs_import_is_behind_it(path: str, name: str, home: str, there: str) -> None:
    """By Covalent's path, our object."""
    ours = getattr(importlib.import_module(home), there)

    assert getattr(importlib.import_module(path), name) is ours


@pytest.mark.usefixtures("doorway")
@pytest.mark.parametrize("path", old_paths.PATHS)
def test_every_old_path_has_its_names(path: str) -> None:
    """Each name is the object of covalab, also by `import *`; packages are packages; there is a docstring."""
    module: Any = importlib.import_module(path)
    assert module.__doc__
    assert sys.modules[path] is module
    assert hasattr(module, "__path__") == (path in old_paths.PACKAGES) or path in old_paths.ALIASES

    if path in old_paths.ALIASES:
        assert module is importlib.import_module(old_paths.ALIASES[path])
        return
    assert module.__name__ == path
    for name, home in old_paths.NAMES.get(path, {}).items():
        assert getattr(module, name) is pkgutil.resolve_name(home), name
    values = old_paths.VALUES.get(path, {})
    assert {name: getattr(module, name) for name in values} == values
    if path in old_paths.DOORS:
        target = importlib.import_module(old_paths.DOORS[path])
        ours = [name for name in dir(target) if not name.startswith("__")]
        assert set(ours) <= set(dir(module))
        for name in ours:
            assert f"{path}.{name}" in sys.modules or getattr(module, name) is getattr(target, name), name
        return
    space: dict[str, Any] = {}
    exec(f"from {path} import *", space)
    assert {*old_paths.NAMES.get(path, {}), *values} <= set(space)


@pytest.mark.usefixtures("doorway")
def test_constants_and_the_logger_are_covalents() -> None:
    """Values of Covalent's internal modules that plug-ins read."""
    defaults = importlib.import_module("covalent._shared_files.defaults")
    assert (defaults.parameter_prefix, defaults.WAIT_EDGE_NAME) == (":parameter:", "!waiting_edge")
    assert sys.maxsize == importlib.import_module("covalent._results_manager.wait").EXTREME
    shared = importlib.import_module("covalent._shared_files")
    assert shared.logger.app_log.name == "covalent"
    assert shared.logger is importlib.import_module("covalent._shared_files.logger")
    assert shared.__all__ == ["TaskCancelledError", "TaskRuntimeError", "get_config", "logger", "set_config"]


LOOK = """
import importlib.util, json, pkgutil, sys
import covalent
found = {"covalent": True, **{it.name: it.ispkg for it in pkgutil.walk_packages(covalent.__path__, "covalent.")}}
loaded = [name for name in sys.modules if name.startswith("covalent")]
specs = {name: importlib.util.find_spec(name) is not None for name in found}
try:
    import covalent.nothing
except ModuleNotFoundError as error:
    message = str(error)
import covalent.executor.executor_plugins.local
from covalent._workflow.electron import Electron as E
from covalent._shared_files import logger
from covalent import executor, _results_manager
print(json.dumps([found, specs, message, E.__module__, importlib.util.find_spec("covalent._workflow.nothing")]))
"""


def test_old_paths_are_found_where_only_the_path_is_known() -> None:
    """A process with the folder on its PYTHONPATH, as a worker has it, can list, find and import them all."""
    done = run("-c", LOOK, env=os.environ | {"PYTHONPATH": compat.DOORWAY})
    assert done.returncode == 0, done.stderr
    found, specs, message, home, nothing = json.loads(done.stdout)

    assert found == {path: path in old_paths.PACKAGES for path in old_paths.PATHS}
    assert all(specs.values())
    assert message == "No module named 'covalent.nothing'"
    assert (home, nothing) == ("covalab.sdk.building.electron", None)


def test_modules_of_an_installed_covalent_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the doorway was open and is closed again, no module of it is left, and none is found in its place."""
    compat.install()
    for path in old_paths.PATHS:
        importlib.import_module(path)
    compat.uninstall()
    assert not [name for name in sys.modules if name.partition(".")[0] == "covalent"]

    (tmp_path / "covalent" / "_workflow").mkdir(parents=True)
    for file in ("__init__.py", "_workflow/__init__.py", "_workflow/electron.py"):
        (tmp_path / "covalent" / file).write_text("__version__ = 'real'")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert importlib.import_module("covalent._workflow.electron").__version__ == "real"
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("covalent._workflow.lattice")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("covalent.triggers")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "covalent"]:
            del sys.modules[name]


@pytest.mark.usefixtures("doorway")
def test_what_is_pickled_behind_it_opens_without_it(doorway: Any) -> None:
    """Functions that use the package by its name, modules, classes, closed values."""
    space: dict[str, Any] = {"covalent": doorway, "__name__": "__main__"}
    exec("def use(x):\n    return covalent.TransportableObject(x).get_deserialized()", space)
    data = cloudpickle.dumps([space["use"], doorway, doorway.Result, doorway.TransportableObject([1])])
    code = (
        "import sys, cloudpickle; use, module, result, closed = cloudpickle.loads(sys.stdin.buffer.read()); "
        "print(use(3), module.__name__, result.__name__, closed.get_deserialized(), 'covalent' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)

    assert done.stdout == b"3 covalab Result [1] False\n"


def test_an_installed_covalent_is_never_shadowed_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with what to do; only `replace` puts covalab in its place; one that is imported stays."""
    (tmp_path / "covalent").mkdir()
    (tmp_path / "covalent" / "__init__.py").write_text("__version__ = 'real'")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CovalentFound, match=r"replace=True"):
        compat.install()
    assert compat.DOORWAY not in sys.path

    compat.install(replace=True)
    compat.install()
    try:
        assert importlib.import_module("covalent").__version__ == compat.SPOKEN
    finally:
        compat.uninstall()
    assert importlib.import_module("covalent").__version__ == "real"
    try:
        with pytest.raises(CovalentFound, match="before anything imports it"):
            compat.install(replace=True)
    finally:
        del sys.modules["covalent"]


def test_the_command_says_that_covalent_is_there(tmp_path: Path) -> None:
    """In one line, with exit code 2; beside the program counts as there."""
    (tmp_path / "covalent.py").write_text("__version__ = 'real'")
    (tmp_path / "program.py").write_text("import covalent; print(covalent.__version__)")
    refused = run("-m", "covalab.compat", str(tmp_path / "program.py"))
    replaced = run("-m", "covalab.compat", "--replace", str(tmp_path / "program.py"))

    assert refused.returncode == 2
    assert str(tmp_path / "covalent.py") in refused.stderr
    assert "Traceback" not in refused.stderr
    assert replaced.stdout == "0.240.0\n"
