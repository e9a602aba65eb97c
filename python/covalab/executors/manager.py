"""Executor manager: finds executors that are built in, in installed packages, and in folders the user named.

A plug-in is a module with ``EXECUTOR_PLUGIN_NAME``, the name of its class, and perhaps ``_EXECUTOR_PLUGIN_DEFAULTS``.
Its short name is the last part of the module's name (Covalent, how-to "Create a custom executor"). A plug-in that
cannot be imported is left out; asking for it raises the reason.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from covalab import config
from covalab.core.errors import ExecutorNotFound
from covalab.executors.base import _AbstractBaseExecutor

GROUPS: Final = ("covalab.executors", "covalent.executor.executor_plugins")
"""The entry points of packages with executors: covalab's and Covalent's."""

_BUILT_IN: Final = ("local", "dask", "remote")
_SHORT: Final = {"remote": "remote_executor"}  # Covalent's name of that module


class _ExecutorManager:
    """The executors by short name, found at first use, once per process."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Any]] = {}
        self._defaults: dict[str, dict[str, Any]] = {}
        self._errors: dict[str, str] = {}
        self._loaders: dict[str, Callable[[], Any]] = {}
        self._is_loaded = False

    @property
    def executor_plugins_map(self) -> dict[str, type[Any]]:
        """The executor classes by short name."""
        self._load()
        return self._classes

    def all_defaults(self) -> dict[str, dict[str, Any]]:
        """Return the defaults of each plug-in, by short name."""
        self._load()
        return {name: dict(defaults) for name, defaults in self._defaults.items()}

    def defaults(self, name: str) -> dict[str, Any]:
        """Return the defaults of one plug-in."""
        self._load()
        return self._defaults.get(name, {})

    def get_executor(self, name: Any) -> Any:
        """Return an executor: the argument if it is one, else a new one with the settings of its configuration section.

        Raises
        ------
        ExecutorNotFound
            If there is none of this name; the message lists those there are, and why a plug-in was left out.
        TypeError
            If it is neither a name nor an executor.
        """
        if isinstance(name, _AbstractBaseExecutor):
            return name
        if not isinstance(name, str):
            message = f"an executor is named or made from BaseExecutor or AsyncBaseExecutor, it is not {name!r}"
            raise TypeError(message)
        chosen = self.find(name)
        return chosen(**self._settings(name))

    def find(self, name: str) -> type[Any]:
        """Return the class of an executor; raises `ExecutorNotFound`."""
        self._load()
        if name in self._errors:
            self._try(name, self._loaders[name])  # its missing module may have been installed since
        if name not in self._classes:
            known = {*self._classes, *config.cluster_names()}
            raise ExecutorNotFound(name, "", tuple(sorted(known)), self._errors.get(name, ""))
        return self._classes[name]

    def is_in_a_folder(self, name: str) -> bool:
        """Return whether an executor comes from a folder of the user's, of which other processes may not know."""
        self._load()
        return isinstance(self._loaders.get(name), functools.partial)

    def troubles(self) -> dict[str, str]:
        """Return why plug-ins could not be loaded, by short name."""
        self._load()
        return dict(self._errors)

    def list_executors(self, regenerate: bool = False, print_names: bool = True) -> list[str]:
        """Return the short names of all executors, and print them."""
        if regenerate:
            self._is_loaded = False
        self._load()
        if print_names:
            print("\n".join(self._classes))  # noqa: T201 - Covalent prints them
        return list(self._classes)

    def _settings(self, name: str) -> dict[str, Any]:
        return {**self.defaults(name), **config.raw().get("executors", {}).get(name, {})}

    def _load(self) -> None:
        if self._is_loaded:
            return
        self._is_loaded = True  # first: a plug-in may ask for others while it is imported
        for module_name in _BUILT_IN:
            module = importlib.import_module(f"covalab.executors.{module_name}")
            self._add(_SHORT.get(module_name, module_name), module)
        for group in GROUPS:
            for entry in metadata.entry_points(group=group):
                self._try(entry.value.rpartition(".")[2], entry.load)
        for folder in plugin_folders():
            for path in sorted(folder.glob("*.py")):
                if not path.name.startswith("_"):
                    self._try(path.stem, functools.partial(_module_of, path))

    def _try(self, name: str, load: Callable[[], Any]) -> None:
        self._loaders[name] = load
        self._errors.pop(name, None)
        try:
            self._add(name, load())
        except Exception as error:  # noqa: BLE001 - plug-ins are others' code; a broken one must not disable the rest
            missing = (getattr(error, "name", None) or "").partition(".")[0]
            way_out = "; it is written for Covalent: call covalab.compat.install() first" * (missing == "covalent")
            self._errors[name] = f"its plug-in could not be loaded: {type(error).__name__}: {error}{way_out}"

    def _add(self, name: str, plugin: Any) -> None:
        if isinstance(plugin, type):  # an entry point that names the class
            plugin = sys.modules[plugin.__module__]
        class_name = getattr(plugin, "EXECUTOR_PLUGIN_NAME", getattr(plugin, "executor_plugin_name", None))
        if class_name is None:
            message = f"module {plugin.__name__} does not say which class it is: EXECUTOR_PLUGIN_NAME = 'ClassName'"
            raise AttributeError(message)
        self._classes[name] = getattr(plugin, class_name)
        self._defaults[name] = dict(getattr(plugin, "_EXECUTOR_PLUGIN_DEFAULTS", {}))


def plugin_folders() -> list[Path]:
    """Return the folders in which the user keeps executor plug-ins: ``sdk.executor_dir``, separated by colons."""
    named = config.sdk().executor_dir.split(os.pathsep)
    return list(dict.fromkeys(Path(entry).expanduser() for entry in named if entry))


def _module_of(path: Path) -> ModuleType:
    # What its folder holds can be imported in tasks and in the executor host, too: the search path travels.
    folder = str(path.parent.absolute())
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Importable by its name, so that its instances can be pickled; a module that was imported before takes precedence.
    kept = sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if kept is module:
            del sys.modules[path.stem]  # half of it would be taken for the whole when it is imported next
        raise
    return module


_executor_manager: Final = _ExecutorManager()
