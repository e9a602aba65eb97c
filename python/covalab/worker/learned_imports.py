"""Learned imports: installed packages that tasks have imported, so that the next stem imports them beforehand."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import Final

_known: Final[set[str]] = set()
"""The top-level packages that were there, or were reported."""
_state = {"modules": 0}
_SKIPPED: Final = frozenset({"covalab", "distributed", "dask", "__main__", "__mp_main__"})


def take_stock() -> None:
    """Count the modules that are here before any task."""
    _known.clear()
    _known.update(name.partition(".")[0] for name in sys.modules)
    _state["modules"] = len(sys.modules)


def new_names() -> list[str]:
    """Return the installed packages that were imported since the last call, in the order of their import."""
    if len(sys.modules) == _state["modules"]:
        return []
    _state["modules"] = len(sys.modules)
    tops = dict.fromkeys(name.partition(".")[0] for name in list(sys.modules))
    new = [name for name in tops if name not in _known]
    _known.update(new)
    return [name for name in new if name not in _SKIPPED and is_installed(name)]


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


def preload(names: list[str]) -> str:
    """Import packages. Return the first after which this process may not be forked any more, or nothing.

    A package that cannot be imported is skipped: the task that imports it gets its error.
    """
    for name in names:
        if name not in sys.modules and not is_installed(name):
            continue
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001, S112 - a package's own code, which may even exit
            continue
        if not may_fork():
            return name
    return ""


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
