"""Process variables: the environment variables of the process that dispatched, and those that its tasks get.

Pure. Variables hold keys and passwords, so they travel packed, and no text made of these structs has a value in it.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

ALL_NAMES: Final = "*"
"""Recorded in place of names when Python code went through the whole environment."""

IN_NOTEBOOK: Final = b"COVALAB_IN_NOTEBOOK"
"""Set while a stem imports packages for tasks of notebooks; no task has it."""

_MASK: Final = bytes(byte ^ 0x5A for byte in range(256))
"""Keeps nothing secret: who may read the data folder may read them. But a few variables are not compressed at all."""

INLINE_BACKEND: Final = "module://matplotlib_inline.backend_inline"
"""The backend of matplotlib that shows figures as outputs."""
_BACKEND: Final = b"MPLBACKEND"
_DRAWS_TO_FILES: Final = frozenset({b"agg", b"cairo", b"pdf", b"pgf", b"ps", b"svg", b"template"})
"""Backends of matplotlib that open no window and belong to no notebook: who sets one wants it."""
_OF_THE_KERNEL: Final = frozenset({b"JPY_PARENT_PID"})  # what has it ends when the Jupyter server does
SET_BY_A_KERNEL: Final[Mapping[bytes, bytes]] = MappingProxyType(
    {
        b"TERM": b"xterm-color",
        b"PAGER": b"cat",
        b"GIT_PAGER": b"cat",
        b"CLICOLOR": b"1",
        b"FORCE_COLOR": b"1",
        b"CLICOLOR_FORCE": b"1",
    }
)
"""Variables that a kernel sets when it starts, whatever they were: ipykernel's, which has them in no table."""
_OF_A_KERNEL: Final = frozenset({*_OF_THE_KERNEL, *SET_BY_A_KERNEL})
_FAR_ONLY: Final = frozenset({b"COVALAB_URL", b"COVALAB_TOKEN", b"COVALAB_CA_FILE"})
"""Variables by which a kernel finds a Jupyter server on another host: its tasks run on that host."""
_OF_THE_WORKER: Final = frozenset({b"COVALAB_TASK_PROCESS"})
_LIMITS: Final = frozenset(  # set by Dask's nanny, because each worker has one core
    {
        *(b"OMP_NUM_THREADS", b"MKL_NUM_THREADS", b"OPENBLAS_NUM_THREADS", b"NUMEXPR_NUM_THREADS"),
        *(b"BLIS_NUM_THREADS", b"VECLIB_MAXIMUM_THREADS", b"MALLOC_TRIM_THRESHOLD_"),
    }
)
_SELECT_AN_INTERPRETER: Final = frozenset(
    {
        *(b"PATH", b"PYTHONPATH", b"PYTHONHOME", b"VIRTUAL_ENV", b"VIRTUAL_ENV_PROMPT"),
        *(b"LD_LIBRARY_PATH", b"DYLD_LIBRARY_PATH"),
    }
)
_READ_WHEN_LOADED: Final = (
    *(b"OMP_", b"OPENBLAS_", b"MKL_", b"BLIS_", b"GOTO_", b"NUMEXPR_", b"VECLIB_", b"KMP_"),
    *(b"CUDA_", b"NVIDIA_", b"ROCR_", b"HIP_", b"TF_", b"XLA_", b"JAX_", b"PYTORCH_", b"TORCH_", b"NCCL_"),
    *(b"LD_", b"DYLD_", b"MALLOC_", b"PYTHON", b"LC_", b"LANG"),
)
"""Beginnings of the names that C libraries, or the interpreter itself, read once, when they are loaded."""
_READ_LATER: Final = (
    *(b"POLARS_", b"RAYON_", b"ARROW_", b"HDF5_", b"GDAL_", b"PROJ_", b"NUMBA_", b"DUCKDB_", b"RUST_", b"TZ"),
    *(b"SSL_", b"CURL_", b"AWS_", b"GOOGLE_", b"AZURE_"),
)
"""Beginnings of further names that libraries read without Python, at any time."""
_READ_BY_NO_PACKAGE: Final = (b"JPY_", b"COVALAB_", b"COVALENT_")
"""Beginnings of names that differ from dispatch to dispatch and change no package that reads every name."""


class ProcessVariables(msgspec.Struct, frozen=True):
    """All variables of a process, and the names of those that it changed or deleted since it started.

    Bytes, because neither names nor values have to be UTF-8.
    """

    variables: dict[bytes, bytes]
    changed: list[bytes] = []

    def __repr__(self) -> str:
        return f"<{len(self.variables)} environment variables>"

    def pack(self) -> bytes:
        """Return it as bytes in which no value can be read by chance."""
        return zlib.compress(msgspec.msgpack.encode(self), 1).translate(_MASK)


@functools.lru_cache(maxsize=8)  # a dispatch sends the same bytes with each of its batches
def unpack(packed: bytes) -> ProcessVariables:
    """Return the variables that `ProcessVariables.pack` packed."""
    return msgspec.msgpack.decode(zlib.decompress(packed.translate(_MASK)), type=ProcessVariables)


def variables_of_task(
    sent: ProcessVariables, own: Mapping[bytes, bytes], *, is_ours: bool, same_interpreter: bool
) -> dict[bytes, bytes]:
    """Return the variables of a task.

    Parameters
    ----------
    sent
        Those of the process that dispatched.
    own
        Those with which the task's process started.
    is_ours
        Whether a cluster of covalab's own runs it: all variables are then those that were sent, except limits and
        settings of the worker that were not sent. A worker of another's cluster, which may be on another machine,
        keeps its own, except those that the process changed or deleted.
    same_interpreter
        Whether it runs under the interpreter of the process that dispatched. If not, what selects an interpreter and
        its libraries stays the task's own.

    Examples
    --------
    >>> sent = ProcessVariables({b"KEY": b"1", b"JPY_PARENT_PID": b"7"}, [b"KEY", b"HOME"])
    >>> variables_of_task(sent, {b"HOME": b"/h", b"OMP_NUM_THREADS": b"1"}, is_ours=True, same_interpreter=True)
    {b'KEY': b'1', b'OMP_NUM_THREADS': b'1', b'MPLBACKEND': b'module://matplotlib_inline.backend_inline'}
    >>> variables_of_task(sent, {b"HOME": b"/h", b"USER": b"me"}, is_ours=False, same_interpreter=True)
    {b'USER': b'me', b'KEY': b'1'}
    """
    changed = frozenset(sent.changed)
    found = dict(sent.variables) if is_ours else dict(own)
    if is_ours:
        found.update({name: value for name, value in own.items() if _stays(name, sent.variables, changed)})
    else:
        for name in sent.changed:
            found.pop(name, None)
            if name in sent.variables:
                found[name] = sent.variables[name]
    if not same_interpreter:
        found = {name: value for name, value in found.items() if not _selects_an_interpreter(name)}
        found.update({name: value for name, value in own.items() if _selects_an_interpreter(name)})
    # A window nobody can see; figures become outputs, as in a notebook.
    if (is_ours or _BACKEND in changed) and found.get(_BACKEND, b"").lower() not in _DRAWS_TO_FILES:
        found[_BACKEND] = INLINE_BACKEND.encode()
    for name in _OF_THE_KERNEL:
        found.pop(name, None)
    return found


def variables_elsewhere(sent: ProcessVariables, there: ProcessVariables, *, same_interpreter: bool) -> ProcessVariables:
    """Return the variables of a process on another host, as they are to be where its tasks run.

    Parameters
    ----------
    sent
        Those of the process.
    there
        Those of a fresh process on the host of the tasks: they hold for all that the process has not set itself.
    same_interpreter
        Whether the tasks run under the interpreter of the process: then what selects it is the process's.

    Examples
    --------
    >>> far = ProcessVariables({b"KEY": b"1", b"HOME": b"/far", b"COVALAB_TOKEN": b"x"}, [b"KEY", b"COVALAB_TOKEN"])
    >>> variables_elsewhere(far, ProcessVariables({b"HOME": b"/here"}), same_interpreter=False).variables
    {b'HOME': b'/here', b'KEY': b'1'}
    """
    changed = [name for name in sent.changed if name not in _FAR_ONLY]
    found = {name: value for name, value in there.variables.items() if name not in _OF_A_KERNEL}
    for name in changed:
        found.pop(name, None)
    of_process = {name for name in sent.variables if same_interpreter and _selects_an_interpreter(name)}
    of_process |= {*changed, *_OF_A_KERNEL}
    found |= {name: value for name, value in sent.variables.items() if name in of_process}
    return ProcessVariables(found, changed)


def _stays(name: bytes, sent: Mapping[bytes, bytes], changed: frozenset[bytes]) -> bool:
    """Whether a variable of a worker stays, whatever was sent."""
    if name in _OF_THE_WORKER:
        return True
    if name.startswith(b"COVALAB_"):  # settings of the dispatcher that started it, but for what a notebook sets itself
        return name not in sent or name not in changed
    return name not in sent and (name in _LIMITS or name.startswith(b"DASK_"))


def _selects_an_interpreter(name: bytes) -> bool:
    return name in _SELECT_AN_INTERPRETER or name.startswith(b"CONDA_")


def different_at_import(
    names_read: frozenset[str], stem: Mapping[bytes, bytes], wanted: Mapping[bytes, bytes]
) -> dict[bytes, bytes | None]:
    """Return the variables by which packages that were imported under some may be other than under those wanted.

    Each with the value that is wanted; None: it is not to be there.

    Parameters
    ----------
    names_read
        The names that Python code read from the environment while it was imported; with `ALL_NAMES` any.
    stem, wanted
        The variables at the imports, and those that a task is to have.

    Examples
    --------
    >>> different_at_import(frozenset({"TZ"}), {b"TZ": b"UTC", b"KEY": b"1"}, {b"TZ": b"UTC", b"KEY": b"2"})
    {}
    >>> different_at_import(frozenset(), {b"OMP_NUM_THREADS": b"1"}, {})
    {b'OMP_NUM_THREADS': None}
    """
    read = {name.encode("utf-8", "surrogateescape") for name in names_read}
    reads_all = ALL_NAMES in names_read
    return {
        name: wanted.get(name)
        for name in stem.keys() | wanted.keys()
        if stem.get(name) != wanted.get(name)
        and (
            name in read
            or name.startswith(_READ_WHEN_LOADED)
            or (reads_all and not name.startswith(_READ_BY_NO_PACKAGE))
        )
    }


def is_read_by_libraries(name: bytes) -> bool:
    """Return whether libraries may read a variable without anybody seeing it.

    Examples
    --------
    >>> [is_read_by_libraries(name) for name in (b"OMP_NUM_THREADS", b"LANG", b"API_KEY")]
    [True, True, False]
    """
    return name.startswith((*_READ_WHEN_LOADED, *_READ_LATER))


def is_read_by_no_package(name: bytes) -> bool:
    """Return whether a variable differs from dispatch to dispatch, and means nothing to code that reads all of them."""
    return name.startswith(_READ_BY_NO_PACKAGE)
