"""Options of `electron` and `lattice`, checked where they are written and not on a worker.

Covalent's whole signature is accepted. What cannot be done yet is refused by name; nothing is ignored in silence.
"""

from __future__ import annotations

import datetime as dt
import inspect
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, TypedDict

import msgspec

from covalab.blobs import Blobs
from covalab.core.capacity import Needs
from covalab.core.codec import class_name
from covalab.core.errors import GraphError
from covalab.core.model import RetryPolicy, Trigger
from covalab.core.retries import ERROR_TYPES
from covalab.sdk.building.executor_choice import ExecutorSpec, is_executor
from covalab.sdk.hooks.hook_set import BashSpec, FilesSpec, HookSpec, ModuleSpec, PipSpec
from covalab.sdk.timestamps import plain_seconds
from covalab.sdk.values import FieldDict, UserFunction, UserValue

RetryOn: TypeAlias = "str | type[BaseException]"
InterventionMode: TypeAlias = Literal["planned", "auto"] | None


class WorkflowTrigger(Protocol):
    """Trigger as a lattice and its dispatch read it (`covalab.triggers`, which is above this package)."""

    def observe(self) -> object:
        """Watch, and fire each time."""
        ...

    def to_dict(self) -> FieldDict:
        """Return it as a dictionary."""
        ...

    def _serialized(self, blobs: Blobs) -> Trigger:
        """Return it as it travels."""
        ...

    def _attach(self, dispatch: str, registered: str) -> None:
        """Remember the dispatch that it starts."""
        ...


TriggerSpec: TypeAlias = "WorkflowTrigger | Sequence[WorkflowTrigger]"
"""Triggers as users write them: one or several."""


def refuse_unsupported(where: str, **given: UserValue) -> None:
    """Raise for the first option that was given and is not supported yet.

    Raises
    ------
    GraphError
        Naming the option.
    """
    for name, value in given.items():
        if value is not None and value is not False and value not in ([], (), ""):
            message = f"{where}: `{name}` is not supported by this version of covalab; leave it out"
            raise GraphError(message)


def checked_executor(
    where: str, executor: ExecutorSpec | None, backend: ExecutorSpec | None = None
) -> ExecutorSpec | None:
    """Return an executor, named or as an instance; `backend` is Covalent's older word for it.

    Whether there is such an executor is asked when a graph is built, where the name decides something.

    Raises
    ------
    GraphError
        If it is neither.
    """
    if backend is not None:
        warnings.warn("`backend` is deprecated; write `executor`", DeprecationWarning, stacklevel=3)
        executor = backend
    if executor is not None and not isinstance(executor, str) and not is_executor(executor):
        message = f"{where}: executor is the name or an instance of an executor, one of them, not {executor!r}"
        raise GraphError(message)
    return executor


class RetryOptions(TypedDict, total=False):
    """Options that say when a failed run is tried again (see `electron`)."""

    max_retries: int
    timeout: float | dt.timedelta | None
    retry_on: RetryOn | Iterable[RetryOn]
    retry_delay: float | dt.timedelta
    retry_backoff: float
    retry_max_delay: float | dt.timedelta
    retry_jitter: float


class RunOptions(RetryOptions, total=False):
    """Options of a run of an electron: as `RetryOptions`, and what it needs of a worker."""

    resources: Mapping[str, float] | None
    memory: str | int | None
    cores: int


class _SharedOptions(RetryOptions, total=False):
    """Options that `electron` and `lattice` have in common."""

    backend: ExecutorSpec | None
    executor: ExecutorSpec | None
    deps_bash: BashSpec | None
    deps_pip: PipSpec | None
    call_before: HookSpec | None
    call_after: HookSpec | None
    retries: int
    time_limit: float | dt.timedelta | None


class ElectronOptions(_SharedOptions, total=False):
    """Options of `electron`."""

    resources: Mapping[str, float] | None
    memory: str | int | None
    cores: int
    files: FilesSpec | None
    deps_module: ModuleSpec | None
    cache: bool
    ttl: float | dt.timedelta | None
    version: str | int
    key: UserFunction | None


def cached(
    where: str,
    function: UserFunction,
    *,
    cache: bool,
    ttl: float | dt.timedelta | None,
    version: str | int,
    key: UserValue,
) -> UserFunction:
    """Return the function of an electron as it travels: with `cache`, one that looks for an earlier call first.

    Raises
    ------
    GraphError
        If an option has no meaning.
    """
    if not cache:
        if ttl is not None or version != "" or key is not None:
            message = f"{where}: ttl, version and key are options of the cache; add cache=True"
            raise GraphError(message)
        return function
    if inspect.iscoroutinefunction(function):
        message = f"{where}: cache=True is for functions that return their value, and this one is asynchronous"
        raise GraphError(message)
    seconds = None if ttl is None else _seconds(ttl)
    if ttl is not None and (seconds is None or seconds <= 0):
        message = f"{where}: ttl must be seconds above 0 or a timedelta, not {ttl!r}"
        raise GraphError(message)
    if key is not None and not callable(key):
        message = f"{where}: key is a function of the arguments, not {key!r}"
        raise GraphError(message)
    from covalab.worker.reuse.cached import CachedFunction  # noqa: PLC0415 - few electrons have it

    return CachedFunction(function, seconds, str(version), key)


class LatticeOptions(_SharedOptions, total=False):
    """Options of `lattice`."""

    workflow_executor: ExecutorSpec | None
    triggers: TriggerSpec | None
    intervention_mode: InterventionMode


class Limits(NamedTuple):
    """Limits of a run: how often it is tried again, how long a try may take, and what a worker must have for it."""

    retries: int = 0
    time_limit: float | None = None
    retry: RetryPolicy | None = None
    needs: Needs | None = None


NO_LIMITS: Final = Limits()

_POLICY: Final = {
    "retry_delay": "delay",
    "retry_backoff": "backoff",
    "retry_max_delay": "max_delay",
    "retry_jitter": "jitter",
}


def limits_of(
    where: str, retries: object, time_limit: object, options: RetryOptions, needs: Needs | None = None
) -> Limits:
    """Check everything that is said about how often and how long something may run.

    Raises
    ------
    GraphError
        For a number or an error type that has no meaning, or the same said twice.
    TypeError
        For an option that there is not.
    """
    return Limits(
        checked_retries(where, retries, options),
        checked_time_limit(where, time_limit, options),
        checked_policy(where, options),
        needs,
    )


def checked_retries(where: str, retries: object, options: RetryOptions | None = None) -> int:
    """Check how often a failed node is tried again; `max_retries` is another word for it."""
    options = options or {}
    if "max_retries" in options:
        if retries:
            message = f"{where}: retries and max_retries mean the same; give one of them"
            raise GraphError(message)
        retries = options["max_retries"]
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        message = f"{where}: retries must be a whole number from 0 on, not {retries!r}"
        raise GraphError(message)
    return retries


def checked_time_limit(where: str, time_limit: object, options: RetryOptions | None = None) -> float | None:
    """Check how long one try may take, in seconds; `timeout` is another word for it."""
    options = options or {}
    if "timeout" in options:
        if time_limit is not None:
            message = f"{where}: time_limit and timeout mean the same; give one of them"
            raise GraphError(message)
        time_limit = options["timeout"]
    if time_limit is None:
        return None
    seconds = _seconds(time_limit)
    if seconds is None or seconds <= 0:
        message = f"{where}: time_limit must be seconds above 0 or a timedelta, not {time_limit!r}"
        raise GraphError(message)
    return seconds


def checked_policy(where: str, options: RetryOptions) -> RetryPolicy | None:
    """Return when a failed run is tried again, or None where nothing is said about it.

    Raises
    ------
    GraphError
        For an error type that there is not, or a number that has no meaning.
    TypeError
        For an option that there is not.
    """
    given: FieldDict = dict(options)
    for known in ("max_retries", "timeout"):
        given.pop(known, None)
    unknown = sorted(given.keys() - _POLICY.keys() - {"retry_on"})
    if unknown:
        message = f"{where} has no option {', '.join(map(repr, unknown))}; see `help(covalab.electron)`"
        raise TypeError(message)
    if not given:
        return None
    changes: FieldDict = {}
    if "retry_on" in given:
        changes["on"] = _checked_on(where, given.pop("retry_on"))
    for name, value in given.items():
        number = _seconds(value)
        least = 1 if name == "retry_backoff" else 0
        most = 1 if name == "retry_jitter" else math.inf
        if number is None or not least <= number <= most:
            message = f"{where}: {name} must be a number from {least} {'to 1' if most == 1 else 'on'}, not {value!r}"
            raise GraphError(message)
        changes[_POLICY[name]] = number
    return msgspec.structs.replace(RetryPolicy(), **changes)


def _checked_on(where: str, retry_on: UserValue) -> tuple[str, ...]:
    several = retry_on if isinstance(retry_on, list | tuple | set | frozenset) else (retry_on,)
    found = []
    for one in several:
        if isinstance(one, type) and issubclass(one, BaseException):
            found.append(class_name(one))
        elif isinstance(one, str) and one in ERROR_TYPES:
            found.append(one)
        else:
            known = ", ".join(sorted(ERROR_TYPES))
            message = f"{where}: retry_on takes exception classes and error types ({known}), not {one!r}"
            raise GraphError(message)
    return tuple(found)


def _seconds(value: UserValue) -> float | None:
    """Return a finite number of seconds, or None if it is none."""
    number = plain_seconds(value)
    return number if number is not None and math.isfinite(number) else None


def trigger_list(where: str, triggers: TriggerSpec | None) -> list[WorkflowTrigger]:
    """Return triggers as a list, whether one, several or none was given.

    Raises
    ------
    GraphError
        If something is no trigger.
    """
    several: Iterable[UserValue] = triggers if isinstance(triggers, list | tuple) else [triggers]
    found: list[WorkflowTrigger] = [] if triggers is None else list(several)
    for one in found:
        if isinstance(one, type) or not hasattr(one, "observe") or not hasattr(one, "to_dict"):
            message = f"{where}: {one!r} is not a trigger; give an object like covalab.triggers.TimeTrigger(60)"
            raise GraphError(message)
    return found
