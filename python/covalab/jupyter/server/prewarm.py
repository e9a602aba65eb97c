"""Environment of a kernel of this Jupyter server: of the default one, its workers start before the first dispatch."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from covalab.core.model import Environment

_LIMIT: Final = 30.0  # seconds
_THIS_PYTHON: Final = frozenset({"python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info)})
"""Names of the server's own interpreter in a kernel specification; `jupyter_client` replaces them by its path."""

_DESCRIBE: Final = """
import sys
import msgspec
from covalab.sdk.environment import environment, process_variables
sys.stdout.buffer.write(msgspec.msgpack.encode([environment(), process_variables()]))
"""


class KernelProcess(msgspec.Struct, frozen=True, array_like=True):
    """Fresh process of a kernel: its environment, and its variables, packed."""

    environment: Environment
    variables: bytes

    def __repr__(self) -> str:
        return f"<process of {self.environment.python}>"  # without the variables


async def kernel_environment(argv: Sequence[str], variables: Mapping[str, str], cwd: str) -> Environment | None:
    """Return the environment of a kernel; see `kernel_process`."""
    found = await kernel_process(argv, variables, cwd)
    return None if found is None else found.environment


async def kernel_process(argv: Sequence[str], variables: Mapping[str, str], cwd: str) -> KernelProcess | None:
    """Return what a fresh process of a kernel has, as its interpreter says.

    Parameters
    ----------
    argv
        The kernel's command line; the first word is its interpreter.
    variables
        The environment variables that the kernel specification adds.
    cwd
        The folder of the notebooks.

    Returns
    -------
    KernelProcess or None
        None if it is no Python with covalab: then there is nothing to warm up.
    """
    if not argv:
        return None
    python = sys.executable if argv[0] in _THIS_PYTHON else argv[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *(python, "-c", _DESCRIBE),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
            cwd=cwd,
            env={**os.environ, **variables},
        )
    except OSError:
        return None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _LIMIT)
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # one that did not answer in time; others have ended
    try:
        return msgspec.msgpack.decode(output, type=KernelProcess)
    except msgspec.DecodeError:
        return None
