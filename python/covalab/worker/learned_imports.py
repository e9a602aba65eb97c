"""Learned imports: installed packages that tasks have imported, so that the next stem imports them beforehand."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from covalab.core.process_variables import IN_NOTEBOOK
from covalab.worker import import_filters
from covalab.worker.process_tree import memory_of
from covalab.worker.variables import current_variables, recorded_variables

_LIMIT: Final = 4_000
_MEMORY_LIMIT: Final = 400_000_000
"""Bytes of a stem after which it imports no more: there is one for each worker, whether it is needed there or not."""
_SKIPPED: Final = frozenset({"covalab", "distributed", "dask", "__main__", "__mp_main__", "matplotlib_inline"})
"""The last finds the shell of its process when it is imported, and there is none in a stem."""
_FORGOTTEN: Final = frozenset({"tqdm.auto", "tqdm.autonotebook"})
"""Modules of a few lines that look, when they are imported, whether they are in a notebook."""
_SHELL: Final = "IPython.core.interactiveshell"
_known: Final[set[str]] = set()
"""The modules that were there before any task, or were reported."""


def take_stock() -> None:
    """Note the modules that are here before any task."""
    _known.clear()
    _known.update(sys.modules)


def new_names() -> list[str]:
    """Return the modules of installed packages that were imported since the last call, in the order of their import."""
    if len(sys.modules) <= len(_known):
        return []
    new = [name for name in list(sys.modules) if name not in _known]
    _known.update(new)
    tops = dict.fromkeys(name.partition(".")[0] for name in new)
    wanted = {top for top in tops if top not in _SKIPPED and is_installed(top)}
    # With submodules: importing a package does not import those, and they may be most of it.
    return [name for name in new if name.partition(".")[0] in wanted][:_LIMIT]


def is_installed(name: str) -> bool:
    """Whether a package is one of this environment: never a module of the user's folder, or installed in place."""
    module = sys.modules.get(name)
    try:
        spec = importlib.util.find_spec(name) if module is None else module.__spec__
    except (ImportError, ValueError, AttributeError):
        return False
    origin = getattr(spec, "origin", None)
    if not isinstance(origin, str):
        return False
    return any(Path(origin).is_relative_to(folder) for folder in _FOLDERS)


_FOLDERS: Final = tuple(dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib")))


def stamp() -> tuple[int, ...]:
    """Return a value that changes when a package is installed or removed."""
    found = []
    for folder in _FOLDERS:
        try:
            found.append(Path(folder).stat().st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)


class Preloaded(NamedTuple):
    """Imports of this process's stem: which variables were read and set, all as they were, and for which tasks.

    `for_notebook` is None if no package has asked whether it is in a notebook.
    """

    read: frozenset[str] = frozenset()
    changed: Mapping[bytes, bytes | None] = MappingProxyType({})
    under: Mapping[bytes, bytes] = MappingProxyType({})
    for_notebook: bool | None = None


class _Process:
    preloaded = Preloaded()


def preloaded() -> Preloaded:
    """Return the variables of the imports that this process has from its stem; empty if it has none."""
    return _Process.preloaded


def preload(names: Sequence[str]) -> str:
    """Import modules. Return the package after which this process is of no use as a stem any more, or nothing.

    It has threads or an open device, or a package has looked for the shell of its process, which only a task has, and
    decided how to show things.
    """
    under = current_variables()
    for_notebook = IN_NOTEBOOK in under
    with recorded_variables() as found, import_filters.deferred(), _asked_for_shell(for_notebook) as asked:
        unsafe = _import(names)
    if names:
        _Process.preloaded = Preloaded(frozenset(found.read), found.changed, under, for_notebook if asked else None)
    return unsafe


class _Shell:
    """Shell of a notebook for packages that ask for it while they are imported, and only look at what it is."""

    kernel = None


_Shell.__name__ = "ZMQInteractiveShell"


@contextmanager
def _asked_for_shell(for_notebook: bool) -> Iterator[list[None]]:
    """Give a list that is no longer empty once a package has looked for the shell where a notebook has it.

    pandas does, and shows other tables in a notebook.
    """
    asked: list[None] = []

    def get_ipython() -> Any:
        asked.append(None)
        if for_notebook:
            return _Shell()
        message = "name 'get_ipython' is not defined"
        raise NameError(message)

    builtins.get_ipython = get_ipython  # type: ignore[attr-defined]
    try:
        yield asked
    finally:
        del builtins.get_ipython  # type: ignore[attr-defined]


def _import(names: Sequence[str]) -> str:
    tops: dict[str, bool] = {}
    asked = _questions_for_shell() if _SHELL in names else []
    for name in names:
        top = name.partition(".")[0]
        if top not in tops:
            tops[top] = top in sys.modules or is_installed(top)
        if not tops[top] or name in sys.modules or name in _FORGOTTEN:
            continue
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001, S112 - a package's own code, which may even exit; the task gets its error
            continue
        if asked or not may_fork():
            return top
        if memory_of(os.getpid(), below=False) > _MEMORY_LIMIT:
            break
    for name in _FORGOTTEN:
        sys.modules.pop(name, None)
    return ""


def _questions_for_shell() -> list[None]:
    """Return a list that is no longer empty once somebody has asked IPython for the shell of this process."""
    asked: list[None] = []
    with suppress(Exception):  # as in `_import`
        kind: Any = importlib.import_module(_SHELL).InteractiveShell
        initialized = kind.initialized.__func__

        def noted(cls: Any) -> bool:
            asked.append(None)
            return bool(initialized(cls))

        kind.initialized = classmethod(noted)
    return asked


def may_fork() -> bool:
    """Whether this process has one thread and no device open: neither lives on in a fork."""
    try:
        if len(list(Path("/proc/self/task").iterdir())) > 1:
            return False
        files = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return False
    for file in files:
        with suppress(OSError):  # the one that was open for the listing
            if str(file.readlink()).startswith(_DEVICES):
                return False
    return True


_DEVICES: Final = ("/dev/nvidia", "/dev/kfd", "/dev/dri", "/dev/accel")
