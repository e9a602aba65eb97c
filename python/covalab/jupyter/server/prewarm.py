"""The environment that the first kernel of a Jupyter server will have, so that its workers are up before it asks."""

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
"""What a kernel specification calls the interpreter of the server; `jupyter_client` puts the path in its place."""

_DESCRIBE: Final = """
import sys
import msgspec
from covalab.sdk.environment import environment
sys.stdout.buffer.write(msgspec.msgpack.encode(environment()))
"""


async def kernel_environment(argv: Sequence[str], variables: Mapping[str, str], cwd: str) -> Environment | None:
    """Ask the interpreter of a kernel what its environment is.

    Parameters
    ----------
    argv
        The kernel's command line; the first word is its interpreter.
    variables
        The environment variables that the kernel specification adds.
    cwd
        The folder in which notebooks are.

    Returns
    -------
    Environment or None
        None if it is not a Python that has covalab: then there is nothing to warm up.
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
        said, _ = await asyncio.wait_for(process.communicate(), _LIMIT)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    try:
        return msgspec.msgpack.decode(said, type=Environment)
    except msgspec.DecodeError:
        return None
