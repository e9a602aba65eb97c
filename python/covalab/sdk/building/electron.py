"""`electron`: an ordinary function that becomes a node when it is called inside a lattice.

Outside a lattice, and on a worker, an electron is just the function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast, overload

from covalab.core.capacity import Needs
from covalab.core.errors import GraphError
from covalab.core.model import RetryPolicy
from covalab.core.transportable import TransportableObject
from covalab.sdk.building.bound import BoundElectron
from covalab.sdk.building.executor_choice import ExecutorSpec, executor_words
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.metadata import Metadata, executor_of
from covalab.sdk.building.needs import NEEDS, needs_of
from covalab.sdk.building.options import (
    ElectronOptions,
    RetryOptions,
    RunOptions,
    cached,
    checked_executor,
    checked_retries,
    checked_time_limit,
    limits_of,
    refuse_unsupported,
)
from covalab.sdk.building.parameters import Parameters
from covalab.sdk.building.postprocess import replaying
from covalab.sdk.building.sublattice import build
from covalab.sdk.building.trace import active
from covalab.sdk.code.source import name_of, source_of
from covalab.sdk.hooks.hook_set import BashSpec, FilesSpec, HookSet, HookSpec, ModuleSpec, PipSpec, hooks_of
from covalab.sdk.values import FieldDict, UserFunction, UserValue

if TYPE_CHECKING:
    import datetime as dt

    from typing_extensions import Unpack


_P = ParamSpec("_P")
_T = TypeVar("_T")


class Electron:
    """Function with the way it is to be run. `electron` makes one and puts it on the function it returns.

    Attributes
    ----------
    name
        The function's name; the name of its nodes.
    executor
        The name of the executor, or an instance, or None for the lattice's. May be changed at any time; the next graph
        sees it.
    retries, time_limit
        How often a failed node is tried again, and how many seconds a try may take.
    retry
        After which failures, and after how long, or None for the usual.
    hooks
        What is done around it, or None.
    needs
        What a worker must have for it, or None for nothing but a core.
    takes_hook_values
        Whether the function gets what hooks make for it as keyword arguments.
    builder
        The function that builds a sublattice on a worker. Supplied from here, so that `trace` need not import it.
    lattice
        The lattice that it is, if it is one: a sublattice; else None.
    """

    needs: Needs | None = None  # of one that was pickled before there were any
    takes_hook_values = True
    builder = staticmethod(build)

    def __init__(
        self,
        function: UserFunction,
        *,
        executor: ExecutorSpec | None = None,
        retries: int = 0,
        time_limit: float | None = None,
        retry: RetryPolicy | None = None,
        hooks: HookSet | None = None,
        needs: Needs | None = None,
    ) -> None:
        self.needs = needs
        self.function = function
        self.lattice = function if isinstance(function, Lattice) else None
        self.name = name_of(function)
        self.executor = executor
        self.retries = retries
        self.time_limit = time_limit
        self.retry = retry
        self.hooks = hooks
        self.__doc__ = function.__doc__

    def __call__(self, /, *args: UserValue, **kwargs: UserValue) -> UserValue:
        """Add a node to the lattice that is being built; where none is, call the function."""
        trace = active()
        if trace is not None:
            return trace.call(self, args, kwargs)
        replay = replaying()
        if replay is not None:
            return replay.next_output(self.name)
        return self.function(*args, **kwargs)

    def __getstate__(self) -> FieldDict:
        # Without what was only remembered to be quick.
        return {key: value for key, value in self.__dict__.items() if key not in ("parameters", "source")}

    @functools.cached_property
    def parameters(self) -> Parameters:
        """The function's parameters."""
        return Parameters(self.function) if self.lattice is None else self.lattice.parameters

    @functools.cached_property
    def source(self) -> str:
        """The function's source text."""
        return source_of(self.function) if self.lattice is None else self.lattice.workflow_function_string

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the parts of its value, where they have names (those of a cell with several outputs)."""
        outputs = getattr(self.function, "__covalab_outputs__", ())
        return tuple(outputs) if len(outputs) > 1 else ()

    @property
    def metadata(self) -> FieldDict:
        """The settings by Covalent's names; writing an entry changes the setting."""
        executor, executor_data = executor_words(self.executor)
        settings = {
            "executor": executor,
            "executor_data": executor_data,
            "hooks": None if self.hooks is None else self.hooks.metadata,
            "retries": self.retries,
            "time_limit": self.time_limit,
        }
        return Metadata(self, settings)

    def get_metadata(self, name: str) -> UserValue:
        """Return one setting.

        Raises
        ------
        KeyError
            If there is no such setting.
        """
        return self.metadata[name]

    def set_metadata(self, name: str, value: UserValue) -> None:
        """Change one setting: an entry of `metadata`."""
        where = f"electron {self.name!r}"
        if name == "executor":
            self.executor = checked_executor(where, value)
        elif name == "executor_data":
            self.executor = executor_of(self.executor, value)
        elif name == "retries":
            self.retries = checked_retries(where, value)
        elif name == "time_limit":
            self.time_limit = checked_time_limit(where, value)
        elif name == "hooks":
            self.hooks = HookSet.from_metadata(value or {})
        else:
            refuse_unsupported(where, **{name: value})

    @property
    def as_transportable_dict(self) -> FieldDict:
        """The electron as a dictionary that JSON can hold; settings that were not made are left out."""
        return {
            "name": self.name,
            "function": TransportableObject(self.function).to_dict(),
            "function_string": self.source,
            "metadata": {key: value for key, value in self.metadata.items() if value},
        }


@overload
def electron(_func: Callable[_P, _T], **options: Unpack[ElectronOptions]) -> Callable[_P, _T]: ...
@overload
def electron(
    _func: None = None, **options: Unpack[ElectronOptions]
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]: ...
def electron(
    _func: object = None,
    *,
    backend: ExecutorSpec | None = None,
    executor: ExecutorSpec | None = None,
    files: FilesSpec | None = None,
    deps_bash: BashSpec | None = None,
    deps_pip: PipSpec | None = None,
    deps_module: ModuleSpec | None = None,
    call_before: HookSpec | None = None,
    call_after: HookSpec | None = None,
    retries: int = 0,
    time_limit: float | dt.timedelta | None = None,
    cache: bool = False,
    ttl: float | dt.timedelta | None = None,
    version: str | int = "",
    key: UserFunction | None = None,
    **retry: Unpack[RunOptions],
) -> UserValue:
    """Make a function a task.

    Called inside a lattice it becomes a node of the transport graph; anywhere else it is the function it was. Use it
    bare, with options, or as a plain call: ``electron(function, retries=2)``.

    Over a lattice it makes a sublattice: one node, which becomes a dispatch of its own when the values of its
    arguments are there, so that its body may look at them (Covalent, how-to "construct a dynamic workflow").

    Parameters
    ----------
    executor
        The name of the executor that runs it, or an instance; the lattice's, if not given.
    retries
        How often a failed run is tried again: at most ``retries + 1`` runs; as often as the executor says, if 0.
    time_limit
        How many seconds (or a ``timedelta``) one run may take; what the executor says, if not given.
    max_retries, timeout
        OmniQ's words for `retries` and `time_limit`.
    retry_on
        After which failures: error types (``"runtime"``, ``"storage"``, ``"timeout"``, ``"worker_lost"``, ...),
        exception classes, or both. If not given, after any exception, and not when a time limit was reached.
    retry_delay, retry_backoff, retry_max_delay, retry_jitter
        How long to wait before run n + 1: ``min(retry_delay * retry_backoff ** (n - 1), retry_max_delay)`` seconds,
        times a random number between ``1 - retry_jitter`` and ``1 + retry_jitter``. If not given: 1, 2, 60 and 0.25,
        as OmniQ has them. No worker is occupied meanwhile, and the wait survives a restart.
    backend
        Deprecated: the same as `executor`.
    deps_bash, deps_pip
        Shell commands (`DepsBash`, or texts) and packages (`DepsPip`, or names) that it needs.
    call_before, call_after
        `DepsCall`, or a list: functions that are called in its process.
    deps_module
        A module (or its name, or a list) that travels with it by value.
    cache
        Whether a call is not made again whose code, arguments, files, variables and packages are those of an earlier
        one: its value is taken from there. ``covalab explain`` says why one was made.
    ttl, version, key
        Of the cache: how many seconds (or a ``timedelta``) a value may be used; a version, to be raised when the
        function makes other values for a reason that cannot be seen; a function of the arguments whose value stands
        for them.
    resources, memory, cores
        What it needs of a worker while it runs, e.g. ``{"GPU": 1}``, ``"4 GB"`` and ``2``: it runs only on one that
        has them, and others do not get them meanwhile. The summary of its dispatch says if no worker has them. A call
        that uses more memory, with all processes that it starts, is stopped, and fails.
    files
        A list of ``ct.fs`` transfers. The function gets the pairs of paths as its keyword argument ``files``.

    Returns
    -------
    function
        An ordinary function. Its attribute ``electron_object`` is the `Electron`.

    Raises
    ------
    GraphError
        If an option is not one this version supports, or has no meaning (a ``ValueError``).

    Examples
    --------
    >>> @electron(retries=2)
    ... def add(x, y):
    ...     return x + y
    >>> add(1, 2)
    3
    """
    if _func is None:
        return functools.partial(
            electron,
            backend=backend,
            executor=executor,
            files=files,
            deps_bash=deps_bash,
            deps_pip=deps_pip,
            deps_module=deps_module,
            call_before=call_before,
            call_after=call_after,
            retries=retries,
            time_limit=time_limit,
            cache=cache,
            ttl=ttl,
            version=version,
            key=key,
            **retry,
        )
    if not callable(_func):
        message = f"electron takes a function, not {_func!r}"
        raise TypeError(message)
    where = f"electron {name_of(_func)!r}"
    if isinstance(_func, Lattice) and time_limit is not None:
        message = f"{where} is a lattice: give `time_limit` to its electrons"
        raise GraphError(message)
    more: FieldDict = {**retry}
    needs = needs_of(where, {name: more.pop(name) for name in NEEDS if name in more})
    if isinstance(_func, Lattice) and needs is not None:
        message = f"{where} is a lattice: give `resources`, `memory` and `cores` to its electrons"
        raise GraphError(message)
    if isinstance(_func, Lattice) and cache:
        message = f"{where} is a lattice: give `cache` to its electrons"
        raise GraphError(message)
    electron_object = Electron(
        cached(where, _func, cache=cache, ttl=ttl, version=version, key=key),
        executor=checked_executor(where, executor, backend),
        **limits_of(where, retries, time_limit, cast("RetryOptions", more), needs)._asdict(),
        hooks=hooks_of(
            where,
            deps_bash=deps_bash,
            deps_pip=deps_pip,
            deps_module=deps_module,
            call_before=call_before,
            call_after=call_after,
            files=files,
        ),
    )

    # A lattice lends its function's name, text and signature; its own state stays its own.
    @functools.wraps(_func.function if isinstance(_func, Lattice) else _func)
    def wrapper(*args: UserValue, **kwargs: UserValue) -> UserValue:
        return electron_object(*args, **kwargs)

    wrapper.electron_object = electron_object  # type: ignore[attr-defined]
    return wrapper


def wait(child: _T, parents: UserValue | Iterable[UserValue]) -> _T:
    """Let one electron start only after others have ended, without taking their values.

    Parameters
    ----------
    child
        The electron that is to wait.
    parents
        One electron or several.

    Returns
    -------
    electron
        The child. Outside a lattice nothing else happens.
    """
    if active() is None:
        return child
    if not isinstance(child, BoundElectron):
        message = f"only an electron called in this lattice can wait, not {child!r}"
        raise TypeError(message)
    child.wait_for(parents)
    return child
