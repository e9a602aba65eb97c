"""Environment and origin of a dispatch: the interpreter and folder its code expects, and the cell that made it.

Asked once per dispatch, nothing is kept but what cannot change in a process.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from covalab import umask
from covalab._version import __version__
from covalab.core.codec import printable
from covalab.core.errors import WorkingFolderGone
from covalab.core.model import Environment, Origin
from covalab.core.os_text import sendable
from covalab.core.process_variables import ProcessVariables
from covalab.sdk.values import UserValue
from covalab.worker.search_path import environment_path, installed_in_place
from covalab.worker.variables import current_variables

_SHELL: Final = (
    *("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("CONDA_PREFIX", "CONDA_EXE", "CONDA_ENVS_PATH", "MAMBA_ROOT_PREFIX"),
)
"""The environment variables that decide what can be imported and run."""


def environment(folder: str | None = None) -> Environment:
    """Return the environment of this process; with `folder`, that of a fresh process which begins in that folder."""
    sys_path = [os.path.abspath(entry) for entry in sys.path] if folder is None else fresh_path(folder)
    return Environment(
        python=sendable(sys.executable),
        prefix=sendable(sys.prefix),
        cwd=sendable(working_folder() if folder is None else folder),
        path=[sendable(entry) for entry in _extra_path(sys_path)],
        versions=_versions(),
        shell_env={name: sendable(os.environ[name]) for name in _SHELL if name in os.environ},
        sys_path=[sendable(entry) for entry in sys_path],
        umask=umask.current(),
    )


def fresh_path(folder: str) -> list[str]:
    """Return the search path of a kernel that is started in a folder, without what this process has added."""
    usual = usual_path() | installed_in_place()
    entries = (os.path.abspath(entry) for entry in sys.path if entry)
    # What is no folder is a hook of a package that is installed where it lies.
    return [folder, *dict.fromkeys(one for one in entries if one in usual or not os.path.isdir(one))]


def working_folder() -> str:
    """Return the current folder of this process, in which its tasks run.

    Raises
    ------
    WorkingFolderGone
        If it was removed. Another one of the same name is not the one in which this process stands.
    """
    try:
        return os.getcwd()
    except FileNotFoundError:
        message = (
            f"the current folder of this process{_former_folder()} was removed, so tasks cannot run in it; change into "
            "one that exists (`%cd FOLDER` in a notebook, else `os.chdir`), then dispatch again"
        )
        raise WorkingFolderGone(message) from None


def _former_folder() -> str:
    """Return the name of a current folder that was removed, if the system knows it, with a space before."""
    try:
        return f" {os.readlink('/proc/self/cwd').removesuffix(' (deleted)')}"
    except OSError:
        return ""


def origin() -> Origin:
    """Return the notebook and cell that are running, as far as the kernel knows them."""
    notebook = os.environ.get("JPY_SESSION_NAME", "")
    return Origin(printable(notebook, len(notebook)), _cell(), os.getpid())


def _extra_path(entries: list[str]) -> list[str]:
    """Return the entries of a search path that a fresh interpreter would not have."""
    usual = usual_path()
    return list(dict.fromkeys(entry for entry in entries if entry not in usual))


@functools.cache
def usual_path() -> frozenset[str]:
    """Return the entries of `sys.path` that any interpreter of this environment has."""
    of_variable = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return environment_path() | {os.path.abspath(entry) for entry in of_variable if entry}


def process_variables() -> bytes:
    """Return the environment variables of this process, packed, as they are now."""
    now = current_variables()
    packed = _Packed.bytes
    if now != _Packed.variables or not packed:
        start = _at_start()
        changed = [name for name in start.keys() | now.keys() if start.get(name) != now.get(name)]
        packed = ProcessVariables(now, sorted(changed)).pack()
        _Packed.variables, _Packed.bytes = now, packed
    return packed


class _Packed:
    """The variables that were packed last: a thousand dispatches in a row pack them once."""

    variables: Mapping[bytes, bytes] = {}
    bytes = b""


_AT_IMPORT: Final = current_variables()


@functools.cache
def _at_start() -> dict[bytes, bytes]:
    """Return the variables with which this process started; where the system does not say, those at the import."""
    entries: list[bytes] = []
    with suppress(OSError):
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")[:-1]
    # A process that shows a title of its own (`setproctitle`) has written it over them.
    if not entries or not all(b"=" in entry for entry in entries):
        return _AT_IMPORT
    return {name: value for name, _, value in (entry.partition(b"=") for entry in entries)}


@functools.cache
def _versions() -> dict[str, str]:
    from importlib import metadata  # noqa: PLC0415 - takes longer to import than all else that a dispatch needs

    found = {"python": platform.python_version(), "covalab": __version__}
    for package in ("cloudpickle", "distributed"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cell() -> str:
    """Return the id of the running cell. Whatever the kernel leaves out, there is just no id."""
    ipython = sys.modules.get("IPython")
    shell: UserValue = ipython.get_ipython() if ipython is not None else None
    parent = getattr(getattr(shell, "kernel", None), "get_parent", None)
    message = parent("shell") if parent is not None else None
    if not isinstance(message, dict):
        return ""
    cell = (message.get("metadata") or {}).get("cellId")
    return cell if isinstance(cell, str) else ""
