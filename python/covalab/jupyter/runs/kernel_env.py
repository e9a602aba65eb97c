"""Interpreter of a notebook's kernel: found by its kernel spec, and asked whether it has covalab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from covalab._version import __version__
from covalab.jupyter.runs.document import Document, NotebookRefused

_SECONDS = 60.0


class KernelPython(NamedTuple):
    """Interpreter of a kernel, and the environment variables that its spec adds."""

    python: str
    variables: Mapping[str, str]

    @property
    def is_this(self) -> bool:
        """Whether it is that of this process."""
        return os.path.abspath(self.python) == os.path.abspath(sys.executable) and not self.variables  # noqa: PTH100


def kernel_python(document: Document) -> KernelPython:
    """Return the interpreter of the kernel that a notebook names.

    Raises
    ------
    NotebookRefused
        If it names none, there is no such kernel, its interpreter is no Python, or that has no covalab.
    """
    spec: Any = document.metadata.get("kernelspec")
    name = spec.get("name") if isinstance(spec, dict) else None
    if not name:
        message = (
            f"{document.path.name} names no kernel; choose one in Jupyter and save it, or run without --kernel-env"
        )
        raise NotebookRefused(message)
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel  # noqa: PLC0415 - only with --kernel-env

    try:
        found = KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        message = (
            f"{document.path.name} names the kernel {name!r}, and there is none of that name here (`jupyter kernelspec "
            "list`); choose another in Jupyter, or run without --kernel-env"
        )
        raise NotebookRefused(message) from None
    if found.language.lower() != "python":
        message = f"the kernel {name!r} of {document.path.name} is of {found.language}; covalab runs Python notebooks"
        raise NotebookRefused(message)
    python = shutil.which(found.argv[0]) if found.argv else None
    if python is None or "python" not in os.path.basename(python).lower():  # noqa: PTH119 - a text
        message = f"the kernel {name!r} starts {found.argv[:1]}, which is no Python that covalab can run"
        raise NotebookRefused(message)
    made = KernelPython(python, dict(found.env))
    if not made.is_this:
        _check_covalab(made, name)
    return made


def _check_covalab(kernel: KernelPython, name: str) -> None:
    code = "import covalab; print(covalab.__version__)"
    ran = subprocess.run(
        [kernel.python, "-c", code],
        env={**os.environ, **kernel.variables},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    version = ran.stdout.strip()
    if ran.returncode or version != __version__:
        has = f"covalab {version}" if version and not ran.returncode else "no covalab"
        message = (
            f"the kernel {name!r} runs in {kernel.python}, which has {has}; install covalab {__version__} there "
            f"(`{kernel.python} -m pip install covalab=={__version__}`)"
        )
        raise NotebookRefused(message)
