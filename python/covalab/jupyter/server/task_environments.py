"""Environments for the tasks of kernels on other hosts.

A far kernel's own environment is taken where it is on this host, too (a shared disk, the same image); otherwise that of
a kernel of this server with the same minor version of Python: byte code and pickles of another cannot be read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from jupyter_server.utils import ensure_async
from msgspec.structs import replace

from covalab.core.errors import VersionMismatch
from covalab.core.far_kernels import TaskEnvironment
from covalab.core.model import Environment, Submission
from covalab.core.os_text import received
from covalab.core.process_variables import unpack, variables_elsewhere
from covalab.jupyter.server.prewarm import KernelProcess, kernel_process

_MUST_AGREE: Final = ("python", "covalab", "cloudpickle")


class TaskEnvironments:
    """Environments of this host in which tasks of far kernels run.

    Parameters
    ----------
    specs
        The server's kernel specifications (`KernelSpecManager`).
    default_kernel
        The name of the server's default kernel.
    folder
        The server's folder, in which tasks run whose own folder is not here.
    """

    def __init__(self, specs: Any, default_kernel: str, folder: str) -> None:
        self._specs = specs
        self._default_kernel = default_kernel
        self._folder = folder
        self._processes: dict[tuple[str, ...], asyncio.Task[KernelProcess | None]] = {}

    async def of(self, far: Environment) -> TaskEnvironment:
        """Return where the tasks of a far process run.

        Raises
        ------
        VersionMismatch
            If there is no environment with the same minor version of Python and covalab.
        """
        return (await self._chosen(far))[0]

    async def placed(self, submission: Submission) -> Submission:
        """Return a submission of a far process with environment, folder and variables of this host."""
        chosen, process, is_own = await self._chosen(submission.environment)
        variables = submission.variables
        if variables:
            there = unpack(process.variables)
            variables = variables_elsewhere(unpack(variables), there, same_interpreter=is_own).pack()
        triggers = [
            replace(one, environment=(await self.of(one.environment)).environment) for one in submission.triggers
        ]
        return replace(submission, environment=chosen.environment, variables=variables, triggers=triggers)

    async def _chosen(self, far: Environment) -> tuple[TaskEnvironment, KernelProcess, bool]:
        """Return the environment, a fresh process of it, and whether it is the far process's own."""
        own = await self._own(far)
        if own is not None:
            cwd = far.cwd if _is_folder(far.cwd) else self._folder
            notice = "" if cwd == far.cwd else f"tasks run in the folder {cwd}: {far.cwd} is not on that host"
            return TaskEnvironment(replace(far, cwd=cwd), notice), own, True
        wanted = _minor(far)
        seen: list[str] = []
        for name, process in await self._kernels():
            found = await process
            if found is None:
                continue
            here = found.environment
            if _minor(here) == wanted:
                notice = (
                    f"tasks run in the environment of the kernel {name!r} (Python {here.versions['python']}, "
                    f"{here.prefix}) in {here.cwd}: the one of this process, {far.prefix}, is not on that host"
                )
                return TaskEnvironment(replace(here, umask=far.umask), notice), found, False
            seen.append(f"{name!r} (Python {here.versions['python']})")
        message = (
            f"this process runs Python {far.versions.get('python', 'of unknown version')}, and no kernel of the "
            f"Jupyter server has covalab and Python {wanted}, so that nothing from here could run there; it has "
            f"{', '.join(seen) or 'none with covalab'}. Use such a Python here, or install a kernel of Python {wanted} "
            f"there: `python{wanted} -m pip install covalab ipykernel`, then `python{wanted} -m ipykernel install "
            "--user`"
        )
        raise VersionMismatch(message)

    async def _own(self, far: Environment) -> KernelProcess | None:
        """Return a fresh process of the far process's environment, if that is on this host, too."""
        python = received(far.python)
        if not (_is_folder(far.prefix) and os.access(python, os.X_OK)):
            return None
        found = await self._process([python], {})
        if found is None or found.environment.prefix != far.prefix:
            return None
        here, there = found.environment.versions, far.versions
        return found if all(here.get(name) == there.get(name) for name in _MUST_AGREE) else None

    async def _kernels(self) -> list[tuple[str, Awaitable[KernelProcess | None]]]:
        """Return the kernels of this server, the default one first, and what tells a process of each."""
        found: Mapping[str, Any] = await ensure_async(self._specs.get_all_specs())
        names = sorted(found, key=lambda name: (name != self._default_kernel, name))
        specs = [(name, found[name]["spec"]) for name in names]
        return [
            (name, self._process(spec["argv"], spec.get("env") or {}))
            for name, spec in specs
            if spec.get("language", "").lower() == "python"
        ]

    async def _process(self, argv: list[str], variables: Mapping[str, str]) -> KernelProcess | None:
        key = (*argv[:1], *(f"{name}={value}" for name, value in sorted(variables.items())))
        task = self._processes.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() or task.result() is None)):
            task = self._processes[key] = asyncio.create_task(kernel_process(argv, variables, self._folder))
        return await asyncio.shield(task)  # who gives up does not end it for the others


def _is_folder(text: str) -> bool:
    return os.path.isdir(received(text))  # noqa: PTH112 - a text of another host


def _minor(environment: Environment) -> str:
    return ".".join(environment.versions.get("python", "").split(".")[:2])
