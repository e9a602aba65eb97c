"""Public modules of Covalent, by their paths: importable below `covalab` and behind the doorway, one object by each."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

import covalab as ct
from covalab import compat

PATHS: Final[dict[str, tuple[str, ...]]] = {
    "executor": ("BaseExecutor", "DaskExecutor", "LocalExecutor", "RemoteExecutor", "_executor_manager", "get_config"),
    "executor.base": ("AsyncBaseExecutor", "BaseExecutor", "TaskCancelledError", "TaskRuntimeError"),
    "executor.executor_plugins": (),
    "executor.executor_plugins.dask": ("DaskExecutor",),
    "executor.executor_plugins.local": ("LocalExecutor",),
    "executor.executor_plugins.remote_executor": ("RemoteExecutor",),
    "executor.utils": ("Signals", "get_context"),
    "executor.utils.context": ("Context", "get_context"),
    "executor.utils.enums": ("Signals",),
    "fs": ("File", "FileTransfer", "Folder", "Order", "TransferFromRemote", "TransferToRemote"),
    "fs_strategies": ("HTTP", "Rsync", "S3", "Blob", "GCloud"),
    "leptons": ("bash",),
    "triggers": ("BaseTrigger", "DatabaseTrigger", "DirTrigger", "SQLiteTrigger", "TimeTrigger", "available_triggers"),
    "triggers.base": ("BaseTrigger",),
    "triggers.database_trigger": ("DatabaseTrigger",),
    "triggers.dir_trigger": ("DirTrigger",),
    "triggers.sqlite_trigger": ("SQLiteTrigger",),
    "triggers.time_trigger": ("TimeTrigger",),
    "triggers.trigger_loader": ("TriggerLoader", "available_triggers"),
}
"""Modules of Covalent 0.240 without an underscore in their path (`fs` and `fs_strategies` are attributes there)."""

NOT_THERE: Final = (
    *("executor.schemas", "executor.utils.serialize", "executor.utils.wrappers"),
    *("cloud_resource_manager", "cloud_resource_manager.core"),
)
"""The rest of them: COVALENT.md says why."""

STANDS_FOR: Final = {
    "executor.base": "covalab.executors.base",
    "executor.executor_plugins.dask": "covalab.executors.dask",
    "executor.executor_plugins.local": "covalab.executors.local",
    "executor.executor_plugins.remote_executor": "covalab.executors.remote",
    "executor.utils.context": "covalab.worker.context",
    "fs": "covalab.files",
    "fs_strategies": "covalab.files.strategies",
    "leptons": "covalab.sdk.building.lepton_decorators",
    "triggers.database_trigger": "covalab.triggers.database",
    "triggers.dir_trigger": "covalab.triggers.dir",
    "triggers.sqlite_trigger": "covalab.triggers.sqlite",
    "triggers.time_trigger": "covalab.triggers.time",
}


@pytest.fixture
def doorway() -> Iterator[None]:
    """Open it for one test."""
    compat.install()
    yield
    compat.uninstall()


@pytest.mark.usefixtures("doorway")
def test_every_name_is_one_object_by_every_path() -> None:
    """Below `covalab`, behind the doorway, as an attribute of `ct`; a name in two modules is one object as well."""
    found: dict[str, Any] = {}
    for path, names in PATHS.items():
        ours, theirs = (importlib.import_module(f"{package}.{path}") for package in ("covalab", "covalent"))
        for name in names:
            one = found.setdefault(name, getattr(ours, name))
            assert getattr(ours, name) is one, (path, name)
            assert getattr(theirs, name) is one, (path, name)
            assert getattr(ct, name, one) is one, name
    for path in ("executor", "fs", "fs_strategies", "leptons", "triggers"):
        assert getattr(ct, path) is sys.modules[f"covalab.{path}"]


def test_a_path_is_the_module_that_it_stands_for() -> None:
    """So what is put in its place there, in a test or by a subclass, is seen by covalab."""
    for path, home in STANDS_FOR.items():
        assert importlib.import_module(f"covalab.{path}") is importlib.import_module(home)
        assert sys.modules[f"covalab.{path}"] is sys.modules[home]
    # Those that are listed are all there are: a new one needs its row.
    walked = {
        f"{package}.{name}"
        for package in ("executor", "executor.executor_plugins", "executor.utils")
        for _, name, _ in pkgutil.iter_modules(importlib.import_module(f"covalab.{package}").__path__)
    }
    assert walked == {path for path in PATHS if path.startswith("executor.")}


@pytest.mark.usefixtures("doorway")
@pytest.mark.parametrize("path", NOT_THERE)
def test_what_is_not_there_is_an_import_error(path: str) -> None:
    """By both names; and no other package is found by accident below a path."""
    for package in ("covalab", "covalent"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"{package}.{path}")


ORDERS: Final = [
    *itertools.permutations(("covalab.executors.base", "covalab.executor.base", "covalab.executor")),
    ("covalab.executor.executor_plugins.local", "covalab.executor", "covalab.executors.local"),
    ("covalab.triggers.dir_trigger", "covalab.triggers", "covalab.triggers.dir"),
    ("covalab.leptons", "covalab.sdk.building.lepton", "covalab.sdk.building.lepton_decorators"),
    ("covalab.fs_strategies", "covalab.fs", "covalab.files.strategies"),
]

LOOK: Final = """
import importlib, json, sys
for order in json.loads(sys.argv[1]):
    for name in [name for name in sys.modules if name.partition(".")[0] == "covalab"]:
        del sys.modules[name]
    for name in order:
        importlib.import_module(name)
    import covalab as ct
    classes = {getattr(sys.modules[name], "BaseExecutor", ct.executor.BaseExecutor) for name in order}
    assert classes == {ct.executor.BaseExecutor}, order
    homes = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.startswith("covalab.") and file:
            assert homes.setdefault(file, module) is module, (order, name, file)
"""


def test_no_file_is_loaded_twice_whatever_is_imported_first() -> None:
    """A second copy of a module has classes of its own, which covalab would take for those of somebody else."""
    import json

    ran = subprocess.run([sys.executable, "-c", LOOK, json.dumps(ORDERS)], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", ["__path__", "__file__", "__wrapped__", "__all__x__", "_hidden", "Nothing"])
def test_no_name_of_another_package_shows_through(name: str) -> None:
    """The import system asks a module for special names, and must get this one's own or none."""
    from covalab import executors

    found = getattr(ct.executor, name, None)
    assert found is None or found != getattr(executors, name, None)
