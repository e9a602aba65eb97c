"""Hook runner: shell commands, packages, file transfers and calls around a task, in the task's own process.

Every failure is a `DepsFailed` that names the command or the function; the task then does not run, or, in a hook after
it, its value does not count.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from covalab.core.codec import decode
from covalab.core.errors import DepsFailed
from covalab.core.hooks import Action, Bash, Call, Hooks, Pip, Transfer
from covalab.core.os_text import received
from covalab.worker.shell import run_command


def read_hooks(data: bytes | memoryview) -> Hooks:
    """Return the hooks that were encoded when the graph was built."""
    return msgspec.msgpack.decode(data, type=Hooks)


class HookRunner:
    """The hooks of one run of a task.

    Attributes
    ----------
    given
        The keyword arguments that calls before the task made for it.
    folders
        The package folders that are visible while it runs.
    """

    def __init__(self, hooks: Hooks, packages: str) -> None:
        self._hooks = hooks
        self._packages = Path(packages)
        self._visible = ExitStack()  # several hooks may make packages visible
        self._late: list[Callable[[], None]] = []
        self.given: dict[str, Any] = {}
        self.folders: tuple[str, ...] = ()

    def before(self) -> None:
        """Run the hooks before the task.

        Raises
        ------
        DepsFailed
            If one of them fails; the others do not run.
        """
        returned: dict[str, list[Any]] = {}
        listed: set[str] = set()
        for hook in self._hooks.before:
            if isinstance(hook, Transfer):
                paths = self._transfer(hook)
                # One transfer or several: the task gets a list of pairs in any case.
                if hook.told:
                    listed.add("files")
                    returned.setdefault("files", []).append(paths)
                continue
            result = self._run(hook, "call_before")
            if isinstance(hook, Call) and hook.keyword:
                returned.setdefault(hook.keyword, []).append(result)
        for keyword, values in returned.items():
            self.given[keyword] = values[0] if len(values) == 1 and keyword not in listed else values

    def after(self) -> None:
        """Run the hooks after the task; return values of calls are dropped.

        Raises
        ------
        DepsFailed
            If one of them fails.
        """
        for copy in self._late:
            copy()
        for hook in self._hooks.after:
            self._run(hook, "call_after")

    def leave(self) -> None:
        """Hide the packages from the next task."""
        self._visible.close()

    def _run(self, hook: Action, when: str) -> Any:
        if isinstance(hook, Bash):
            return run_commands(map(received, hook.commands))
        if isinstance(hook, Pip):
            return self._install(hook)
        return _call(hook, when)

    def _transfer(self, hook: Transfer) -> tuple[str, str]:
        """Copy a file now or after the task; return the two paths."""

        def attempt(work: Callable[[], Any]) -> Any:
            try:
                return work()
            except Exception as error:  # a strategy may be the user's own
                message = f"{hook.name} failed: {type(error).__name__}: {error}"
                raise DepsFailed(message) from error

        prepare, copy = attempt(lambda: decode(hook.code, what=hook.name).cp())
        paths: tuple[str, str] = attempt(prepare)
        if hook.late:
            self._late.append(lambda: attempt(copy))
        else:
            attempt(copy)
        return paths

    def _install(self, hook: Pip) -> None:
        from covalab.worker.packages import packages_folder, visible  # noqa: PLC0415 - most tasks want none

        folder = packages_folder(self._packages, hook.packages, hook.requirements)
        if folder is not None:
            self._visible.enter_context(visible(folder))
            self.folders = (*self.folders, folder.name)


def run_commands(commands: Iterable[str]) -> None:
    """Run shell commands one after the other, in the current folder, until one fails.

    Raises
    ------
    DepsFailed
        If one ends with another exit code than 0; the message has the end of its output.
    """
    shell = shutil.which("bash") or "/bin/sh"
    for command in commands:
        ended = run_command([shell, "-c", command], os.environ)
        if ended.code:
            message = f"DepsBash: `{command}` ended with exit code {ended.code}: {ended.tail}"
            raise DepsFailed(message)


def _call(hook: Call, when: str) -> Any:
    try:
        # Deserialized for each run, so that no run sees what another did to the arguments.
        function, args, kwargs = decode(hook.code, what=f"the {when} hook {hook.name!r}")
        return function(*args, **kwargs)
    except Exception as error:  # the hook is the user's code
        message = f"the {when} hook {hook.name!r} failed: {type(error).__name__}: {error}"
        raise DepsFailed(message) from error
