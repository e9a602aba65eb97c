"""`Lepton`: an electron whose function is not Python of the notebook, but of a module, a C library or the shell."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from covalab.core.codec import printable
from covalab.core.errors import GraphError
from covalab.sdk.building.bound import BoundElectron
from covalab.sdk.building.electron import Electron
from covalab.sdk.building.executor_choice import ExecutorSpec
from covalab.sdk.building.options import checked_executor, checked_retries, checked_time_limit
from covalab.sdk.hooks.hook_set import BashSpec, FilesSpec, HookSet, HookSpec, PipSpec, hooks_of
from covalab.sdk.values import UserFunction, UserValue
from covalab.worker.foreign_functions import CFunction, PythonFunction, ShellCommand

if TYPE_CHECKING:
    import datetime as dt

_PYTHON: Final = ("Python", "python")
_C: Final = ("C", "c")
_SHELL: Final = ("bash", "shell")


class Lepton(Electron):
    """Task in another language. Call it in a lattice.

    Parameters
    ----------
    language
        ``"python"``, ``"C"``, or ``"bash"`` (the same as ``"shell"``).
    library_name
        The module, the shared library, or the script that has the function.
    function_name
        The function.
    argtypes
        What goes in and out: pairs of a type (of ``ctypes`` for C, a built-in one for bash) and a direction
        (`INPUT`, `OUTPUT`, `INPUT_OUTPUT`).
    command
        For bash instead of a function: the command, or several that are joined with ``&&``. Keyword arguments of the
        call are filled in as by ``str.format`` and are variables, positional ones are ``$1``, ``$2`` ...
    named_outputs
        For bash: the variables that are the value, one for each output in `argtypes`.
    display_name
        The name of its nodes; the function's name or the command, if not given.
    executor, files, deps_bash, deps_pip, call_before, call_after, retries, time_limit
        As for `electron`; its lattice's executor and hooks apply to it as to any other.

    Returns
    -------
    object
        A call has the value of what was written: None, one value, or a tuple.

    Raises
    ------
    GraphError
        If arguments exclude or need each other; a ``ValueError``.

    Examples
    --------
    >>> Lepton("bash", command="echo $1 | wc -c", display_name="count").name
    'count'
    >>> Lepton("python", library_name="math", function_name="hypot")(3, 4)
    5.0
    """

    takes_hook_values = False
    INPUT: ClassVar = 0
    OUTPUT: ClassVar = 1
    INPUT_OUTPUT: ClassVar = 2

    def __init__(
        self,
        language: str = "python",
        *,
        library_name: str = "",
        function_name: str = "",
        argtypes: Sequence[tuple[Any, int]] | None = None,
        command: str | Sequence[str] = "",
        named_outputs: Sequence[str] | None = None,
        display_name: str = "",
        executor: ExecutorSpec | None = None,
        files: FilesSpec | None = None,
        deps_bash: BashSpec | None = None,
        deps_pip: PipSpec | None = None,
        call_before: HookSpec | None = None,
        call_after: HookSpec | None = None,
        retries: int = 0,
        time_limit: float | dt.timedelta | None = None,
    ) -> None:
        self.language = language
        self.library_name, self.function_name, self.display_name = library_name, function_name, display_name
        self.command = command if isinstance(command, str) else " && ".join(command)
        self.named_outputs = list(named_outputs or ())
        self.argtypes = [(kind.__name__, direction) for kind, direction in argtypes or ()]
        where = f"lepton {display_name or function_name or self.command!r}"
        self._check(where)
        hooks = hooks_of(
            where,
            deps_bash=deps_bash,
            deps_pip=deps_pip,
            call_before=call_before,
            call_after=call_after,
            files=files,
        )
        super().__init__(
            self._made(),
            executor=checked_executor(where, executor),
            retries=checked_retries(where, retries),
            time_limit=checked_time_limit(where, time_limit),
            hooks=_checked_hooks(where, hooks),
        )
        name = display_name or function_name or self.command
        self.name = printable(name, len(name))
        self.__doc__ = f"The {language} function {function_name!r}." if function_name else ""

    @functools.cached_property
    def source(self) -> str:
        """The command, if it has one."""
        return printable(self.command, len(self.command))

    def _check(self, where: str) -> None:
        if self.language not in (*_PYTHON, *_C, *_SHELL):
            message = f"{where}: the language {self.language!r} is not supported; there is python, C and bash"
            raise GraphError(message)
        if self.language in _C and (self.command or self.named_outputs):
            message = (
                f"{where}: `command` and `named_outputs` are for bash; a C function has a library_name and argtypes"
            )
            raise GraphError(message)
        if self.command and self.library_name:
            message = f"{where}: give either `command` or `library_name` with `function_name`, not both"
            raise GraphError(message)
        if not self.library_name and (self.language not in _SHELL or not self.command):
            message = f"{where}: there is nothing to call; give `library_name` with `function_name`" + (
                ", or `command`" if self.language in _SHELL else ""
            )
            raise GraphError(message)
        if self.library_name and not self.function_name:
            message = f"{where}: which function of {self.library_name!r}? Give `function_name`"
            raise GraphError(message)
        n_outputs = sum(direction != Lepton.INPUT for _, direction in self.argtypes)
        if self.language in _SHELL and n_outputs != len(self.named_outputs):
            message = f"{where}: `argtypes` has {n_outputs} outputs, `named_outputs` has {len(self.named_outputs)}"
            raise GraphError(message)

    def _made(self) -> UserFunction:
        if self.language in _PYTHON:
            return PythonFunction(self.library_name, self.function_name)
        if self.language in _C:
            return CFunction(self.library_name, self.function_name, self.argtypes)
        kinds = [kind for kind, direction in self.argtypes if direction != Lepton.INPUT]
        outputs = list(zip(self.named_outputs, kinds, strict=True))
        return ShellCommand(self.command, self.library_name, self.function_name, outputs)


def bash(
    _func: Callable[..., str] | None = None,
    *,
    display_name: str = "",
    executor: ExecutorSpec | None = None,
    files: FilesSpec | None = None,
    deps_bash: BashSpec | None = None,
    deps_pip: PipSpec | None = None,
    call_before: HookSpec | None = None,
    call_after: HookSpec | None = None,
) -> UserFunction:
    """Make a function that returns a command a task that runs it.

    The function is called when the graph is built, so its arguments must be there by then: they cannot be what other
    electrons return. For those, `Lepton` has ``$1`` and named arguments.

    Parameters
    ----------
    display_name
        The name of its nodes; the command itself, if not given.
    executor, files, deps_bash, deps_pip, call_before, call_after
        As for `covalab.electron`.

    Examples
    --------
    >>> @bash
    ... def hello(name):
    ...     return f"echo hello {name}"
    """

    def decorate(function: Callable[..., str]) -> UserFunction:
        @functools.wraps(function)
        def wrapper(*args: UserValue, **kwargs: UserValue) -> UserValue:
            for value in (*args, *kwargs.values()):
                if isinstance(value, BoundElectron):
                    message = (
                        f"the command of {function.__name__!r} is made while the lattice is built, when {value!r} has "
                        "no value yet; use ct.Lepton('bash', command='... $1 ...') and call that with it"
                    )
                    raise TypeError(message)
            return Lepton(
                "bash",
                command=function(*args, **kwargs),
                display_name=display_name,
                executor=executor,
                files=files,
                deps_bash=deps_bash,
                deps_pip=deps_pip,
                call_before=call_before,
                call_after=call_after,
            )()

        return wrapper

    return decorate if _func is None else decorate(_func)


def _checked_hooks(where: str, hooks: HookSet | None) -> HookSet | None:
    """Refuse hooks that would give a lepton an argument."""
    for dep in hooks.before if hooks is not None else ():
        if dep.retval_keyword:
            message = f"{where}: a lepton takes no `retval_keyword`, here {dep.retval_keyword!r}; leave it out"
            raise GraphError(message)
    return hooks
