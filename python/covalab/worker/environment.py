"""Environment of a task: variables, umask, folder, search path and local modules of the process that dispatched.

All of it is state of the whole process, entered once per batch.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from covalab import umask
from covalab.blobs import BlobStore
from covalab.core import local_modules, process_variables
from covalab.core.os_text import received
from covalab.core.protocol import Batch
from covalab.worker import learned_imports
from covalab.worker.local_modules import finder
from covalab.worker.search_path import environment_path, installed_in_place
from covalab.worker.variables import current_variables, set_variables

_OF_A_KERNEL: Final = b"JPY_PARENT_PID"


class _State(NamedTuple):
    """State of the process."""

    variables: dict[bytes, bytes]
    umask: int
    folder: str
    path: list[str]


class _Process:
    """State with which this process started, taken when the first batch is entered."""

    own: _State | None = None


def enter(batch: Batch, *, is_ours: bool) -> None:
    """Give this process the environment that a batch expects.

    Parameters
    ----------
    batch
        The batch. One that an earlier version submitted has no variables and no umask: the process keeps its own.
    is_ours
        Whether a cluster of covalab's own runs it. On a worker of another's, which may be on another machine, only the
        variables that the notebook changed or deleted are set.

    Raises
    ------
    BlobNotFound
        If the local modules of the dispatch are no longer in the blob folder.
    """
    own = _own()
    same_interpreter = batch.prefix in ("", sys.prefix)
    variables = wanted_variables(batch, is_ours=is_ours)
    if variables is not None:
        set_variables(variables)
    if batch.umask >= 0:
        os.umask(batch.umask)
    _enter_folder(received(batch.cwd), own.folder)
    if is_ours and same_interpreter and batch.sys_path:
        path = [received(entry) for entry in batch.sys_path] + _of_the_interpreter(
            own.path
        )  # the latter for what the notebook took out of its own
    else:
        path = _around(_of_the_interpreter(own.path) if is_ours else own.path, batch)
    sys.path[:] = dict.fromkeys(path)
    if batch.session and not _is_of_kernel(batch):
        sys.argv[:] = _arguments_of_kernel()
    enter_local_modules(batch)


def wanted_variables(batch: Batch, *, is_ours: bool) -> dict[bytes, bytes] | None:
    """Return the variables that a batch expects; None: the process keeps its own."""
    if not batch.variables:
        return None
    wanted = process_variables.variables_of_task(
        process_variables.unpack(batch.variables),
        _own().variables,
        is_ours=is_ours,
        same_interpreter=batch.prefix in ("", sys.prefix),
    )
    if batch.session and not _is_of_kernel(batch):  # a notebook run that was asked for elsewhere
        wanted.update(process_variables.SET_BY_A_KERNEL)
    # What packages set when they are imported, they would have set in a process of the dispatch, too.
    for name, value in learned_imports.preloaded().changed.items():
        if value is not None:
            wanted.setdefault(name, value)
    return wanted


def is_of_notebook(batch: Batch) -> bool:
    """Whether cells run, or a notebook's kernel dispatched, or a process that one has started."""
    return bool(batch.session) or _is_of_kernel(batch)


def _arguments_of_kernel() -> list[str]:
    """Return what a kernel was started with: `argparse` names the program, and refuses what it does not know."""
    return [os.path.join(sysconfig.get_path("purelib"), "ipykernel_launcher.py"), "-f", "kernel-covalab.json"]


def _is_of_kernel(batch: Batch) -> bool:
    return bool(batch.variables) and _OF_A_KERNEL in process_variables.unpack(batch.variables).variables


def enter_local_modules(batch: Batch) -> None:
    """Let this process import the local modules of a batch, and forget those of another dispatch."""
    if batch.local_modules == finder.digest:
        modules: Mapping[str, local_modules.LocalModule] = finder.modules
    elif batch.local_modules:
        modules = local_modules.unpack(BlobStore(batch.blobs).code(batch.local_modules, batch.code))
    else:
        modules = {}
    folders = [received(entry) for entry in batch.path if entry not in installed_in_place()]
    finder.enter(batch.local_modules, modules, folders)


@contextmanager
def entered(batch: Batch, *, is_ours: bool) -> Iterator[None]:
    """Give this process the environment that a batch expects, and afterwards its own again.

    Local modules stay loaded: the next batch may be of the same dispatch. One of another forgets them.
    """
    own = _own()
    try:
        enter(batch, is_ours=is_ours)
        yield
    finally:
        set_variables(own.variables)
        os.umask(own.umask)
        sys.path[:] = own.path
        with suppress(OSError):
            os.chdir(own.folder)


def enter_folder(cwd: str, path: list[str]) -> None:
    """Enter the notebook's folder, and extend `sys.path`, in a process that several dispatches share.

    For the executor host. Variables and umask stay the process's there: they are of the whole process, and other
    dispatches run in other threads at the same time.
    """
    # Reversed, so that they end up in the notebook's order; never removed, as modules may be imported late.
    for entry in map(received, reversed(path)):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    _enter_folder(received(cwd), own_folder())


def own_folder() -> str:
    """Return the folder in which this process was started, which is no notebook's."""
    return _own().folder


def _own() -> _State:
    if _Process.own is None:
        try:
            folder = os.getcwd()
        except FileNotFoundError:  # it was removed
            folder = tempfile.gettempdir()
        _Process.own = _State(current_variables(), umask.current(), folder, list(sys.path))
    return _Process.own


def _enter_folder(cwd: str, otherwise: str) -> None:
    try:
        os.chdir(cwd)
    except OSError:
        # It is gone, or on another machine: tasks that need it fail with an error that names it. They must not write
        # into the folder of another notebook meanwhile.
        with suppress(OSError):
            os.chdir(otherwise)


def _of_the_interpreter(path: list[str]) -> list[str]:
    """Return the entries that any process of this interpreter has: not the folder in which this one was started."""
    usual = environment_path() | installed_in_place()
    return [entry for entry in path if entry in usual]


def _around(usual: list[str], batch: Batch) -> list[str]:
    """Return the search path of another interpreter: its own entries, those of the notebook before and after them."""
    paths = [received(entry) for entry in batch.path]
    extra = frozenset(paths)
    in_order = [received(entry) for entry in batch.sys_path] or paths
    n_before = next((number for number, entry in enumerate(in_order) if entry not in extra), len(in_order))
    before = in_order[:n_before]
    return [*before, *usual, *(entry for entry in paths if entry not in before)]
