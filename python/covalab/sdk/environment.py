"""Environment and origin of a dispatch: the interpreter and folder its code expects, and the cell that made it.

Asked once per dispatch, nothing is kept but what cannot change in a process.
"""

from __future__ import annotations

import functools
import os
import platform
import site
import sys
import sysconfig
from typing import Final

from covalab._version import __version__
from covalab.core.codec import printable
from covalab.core.errors import WorkingFolderGone
from covalab.core.model import Environment, Origin
from covalab.core.os_text import sendable
from covalab.sdk.values import UserValue

_SHELL: Final = (
    *("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("CONDA_PREFIX", "CONDA_EXE", "CONDA_ENVS_PATH", "MAMBA_ROOT_PREFIX"),
)
"""The environment variables that decide what can be imported and run."""


def environment() -> Environment:
    """Return the environment of this process."""
    return Environment(
        python=sendable(sys.executable),
        prefix=sendable(sys.prefix),
        cwd=sendable(os.getcwd()),
        path=[sendable(entry) for entry in _extra_path()],
        versions=_versions(),
        shell_env={name: sendable(os.environ[name]) for name in _SHELL if name in os.environ},
    )


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


def _extra_path() -> list[str]:
    """Return the entries of `sys.path` that a fresh interpreter would not have, made absolute."""
    usual = usual_path()
    entries = (os.path.abspath(entry) for entry in sys.path)
    return list(dict.fromkeys(entry for entry in entries if entry not in usual))


@functools.cache
def usual_path() -> frozenset[str]:
    """Return the entries of `sys.path` that any interpreter of this environment has."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {os.path.join(folder, "lib-dynload") for folder in found}
    found |= {*site.getsitepackages(), site.getusersitepackages()}
    found |= {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    found |= {os.path.join(os.path.dirname(folder), archive) for folder in found}
    return frozenset(found)


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
